"""Rate of noisy latents: an upper bound on the mutual information of picture and latents."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from codec.level import Level
from codec.model.autoencoder import RoundingAutoencoder
from codec.picture.pixels import Picture, pad_to_stride
from codec.tiles import HYPER_STRIDE, UNTILED_PIXELS, WINDOW, Grid
from codec.training.initial import state_of
from codec.weights.file import Weights


class NoisyRate:
    """-log2 of the density of y + u and z + u, u ~ U(-1/2, 1/2), under exported weights.

    The prior is conditioned on noisy latents too (in training it is on rounded ones by default), so
    that the mean over the noise bounds I(x, (y + u, z + u)) from above. The densities are those
    that were trained; files have tables fitted to rounded latents instead. So the excess over the
    rate of a file is that of the noise, of its way into the prior, and of the densities.

    Args:
        weights: a model that rounds to integers.
    """

    def __init__(self, weights: Weights) -> None:
        model = RoundingAutoencoder(weights.config)
        model.load_state_dict(state_of(weights))
        self._model = model.eval().requires_grad_(False)

    def bits(self, picture: Picture, level: Level) -> float:
        """Bits of a picture with one draw of noise, the same in each call."""
        model = self._model
        side = WINDOW if picture.whole.area > UNTILED_PIXELS else 0
        position = torch.tensor([level.position])
        total = 0.0
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for box in Grid(picture.height, picture.width, side).boxes():
                samples = pad_to_stride(picture.crop(box)[0])
                x = torch.from_numpy(samples.copy()).permute(2, 0, 1)[None].float() / 255
                y = model.gain(model.g_a(x, position), position)
                rows, columns = y.shape[2:]
                right, below = -columns % HYPER_STRIDE, -rows % HYPER_STRIDE
                padded = F.pad(y, (0, right, 0, below), mode="replicate")
                _, y_bits, z_bits = model.prior_bits(padded, position, "noise")
                total += float(y_bits[..., :rows, :columns].sum() + z_bits.sum())
        return total
