"""Our own codec as one of those that are measured, and what the model says of its files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from codec.codec import Codec
from codec.encoder.options import DEFAULT_EFFORT
from codec.entropy.coder import symbol_coder
from codec.entropy.latents import LatentCoder, RoundedLatents
from codec.evaluation.provenance import source_digest
from codec.evaluation.results import ModelBits
from codec.format.container import ContainerFile
from codec.level import Level
from codec.model.autoencoder import RoundingAutoencoder
from codec.picture.pixels import from_image, pad_to_stride
from codec.tiles import HYPER_STRIDE, LATENT_STRIDE, UNTILED_PIXELS, WINDOW, Box, Grid, latent_size
from codec.training.initial import state_of

FINEST = 0.5
"""Step of the qualities that a search for a size may choose from."""


class ModelCoder:
    """A model of ours; see `codec.evaluation.coders.Coder`.

    Args:
        codec: the model, loaded.
        effort: of the encoder, 0..9.
        name: how to call it; "vqcodec", the model's name and the effort by default.
    """

    def __init__(self, codec: Codec, effort: int = DEFAULT_EFFORT, name: str = "") -> None:
        self.codec = codec
        self._effort = effort
        weights, config = codec.weights, codec.weights.config
        tried = "" if effort == DEFAULT_EFFORT else f" effort {effort}"
        self.name = name or f"vqcodec {weights.name}{tried}"
        self.description = (
            f"vqcodec {version('vqcodec')} (source {source_digest()}), "
            f"model {weights.name} ({weights.short_id.hex()}), effort {effort}, "
            f"{codec.model.engine.precision} on {_named(codec.model.engine.device)}"
        )
        top = config.anchors - 1
        steps = top if config.rounding == "vq" else round(100 / FINEST)
        self.settings = tuple(100 * n / top for n in range(top + 1)) if top else (50.0,)
        self.finer = tuple(100 * n / steps for n in range(steps + 1)) if top else (50.0,)

    def encode(self, image: Image.Image, setting: float) -> bytes:
        return self.codec.encode(image, setting, effort=self._effort).data

    def decode(self, data: bytes) -> Image.Image:
        return self.codec.decompress(data)

    def model_bits(self, image: Image.Image, setting: float, data: bytes) -> ModelBits:
        """What the model says of the file that `encode` made."""
        lengths = [len(stream) for stream, _, _ in self._streams(data)]
        header = ContainerFile(BytesIO(data), self.codec.limits).header
        restoration = 8.0 * header.restoration_bytes
        container = 8.0 * (len(data) - sum(lengths)) - restoration
        if self.codec.weights.config.rounding == "vq":
            bits = self.codec.encode(image, setting).bits
            return ModelBits(0.0, (bits,), container, None, len(lengths))
        sums = [[float(g.bits.sum()) for g in rounded.groups] for rounded, _ in self._rounded(data)]
        z, *passes = map(sum, zip(*sums, strict=True))
        noisy = self._noisy(image, self.codec.level_of(setting))
        return ModelBits(z, tuple(passes), container, noisy, len(lengths), restoration)

    def position_bits(self, data: bytes) -> NDArray[np.float64] | None:
        """-log2 P of a file by latent position, [ceil(H/16), ceil(W/16)].

        None with rounding to centres.
        """
        if self.codec.weights.config.rounding == "vq":
            return None
        header = ContainerFile(BytesIO(data), self.codec.limits).header
        whole = np.zeros(latent_size(header.height, header.width))
        for rounded, box in self._rounded(data):
            whole[box.shrunk(LATENT_STRIDE).slices] = rounded.position_bits
        return whole

    def _streams(self, data: bytes) -> Iterator[tuple[bytes, Box, Level]]:
        """(coded latents, pixels, level) of each tile of a file."""
        file = ContainerFile(BytesIO(data), self.codec.limits)
        for number in range(len(file.grid)):
            yield file.read_tile(number).stream, file.grid.box(number), file.header.level

    def _rounded(self, data: bytes) -> Iterator[tuple[RoundedLatents, Box]]:
        """(latents, pixels) of each tile of a file."""
        for stream, box, level in self._streams(data):
            rows, columns = latent_size(box.height, box.width)
            yield self._reader.read_symbols(stream, rows, columns, level), box

    @cached_property
    def _reader(self) -> LatentCoder:
        coder = symbol_coder(self.codec.weights)
        assert isinstance(coder, LatentCoder)
        return coder

    @cached_property
    def _training_model(self) -> RoundingAutoencoder:
        model = RoundingAutoencoder(self.codec.weights.config)
        model.load_state_dict(state_of(self.codec.weights))
        return model.eval().requires_grad_(False)

    def _noisy(self, image: Image.Image, level: Level) -> float:
        """-log2 of the density of the latents with one draw of noise, as in training.

        The prior sees noise too (training lets it see rounded latents by default): then it is
        an upper bound, in the mean, on the mutual information of picture and noisy latents.
        """
        picture, model = from_image(image), self._training_model
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


def _named(device: str) -> str:
    """A device with the name of its kind."""
    if torch.device(device).type != "cuda":
        return device
    return f"{device} ({torch.cuda.get_device_name(device)})"
