"""Distortions other than squared error, and their derivatives by the latents of a tile.

The gradient is J^T d, with J the Jacobian of x^ = g_s(y^) and d the gradient by the samples of x^.
The curvature of MS-SSIM and SSIMULACRA 2 varies strongly between regions and little within one, so
single samples of the curvature along latents are too noisy. Instead one relative curvature per
block of 16x16 pixels is estimated from the samples of x^, which takes no pass of the synthesis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codec.engine.base import Scene, Slopes
from codec.engine.gradients import TileDistortion
from codec.engine.torch import TorchEngine
from codec.model.objective import distortion_bits
from codec.tiles import LATENT_STRIDE
from codec.weights.config import Distortion

NUDGE = 2.0
"""Finite difference of samples in 0..255."""
RELATIVE_RANGE = 0.2, 8.0
"""Bounds of a block's curvature relative to the mean."""


class PerceptualError(TileDistortion):
    """Distortion of `codec.model.objective` for MS-SSIM or for looks, times the pixels.

    The sides of the tile are at least `MS_SSIM_SIDE`. Transparent pixels count as free of error; a
    map of levels gives no weights.

    Args:
        engine: that reconstructs the tile.
        scene: the tile.
        kind: of the distortion, "ms-ssim" or "looks".
        restoration: weights of the restoration filter.
    """

    def __init__(
        self,
        engine: TorchEngine,
        scene: Scene,
        kind: Distortion,
        restoration: Sequence[int] = (),
    ) -> None:
        super().__init__(engine, scene, restoration)
        self._kind = kind

    def error(self, y_hat: NDArray[np.float32]) -> float:
        # Inference mode is for what keeps no tensors: SSIMULACRA 2 keeps constants, for slopes too.
        with torch.no_grad():
            latents = self._engine.tensor(y_hat)
            parts = [self._reconstruct(latents, strip) for strip in self._strips()]
            return self._error(self._join(parts))

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        latents = self._engine.tensor(y_hat).requires_grad_()
        strips = list(self._strips())
        with torch.set_grad_enabled(len(strips) == 1):  # more would be kept in memory all at once
            parts = [self._reconstruct(latents, strip) for strip in strips]
        with torch.no_grad():
            x_hat = self._join(parts)
            error = self._error(x_hat)
        slope = self._slope(x_hat)
        positions = self._relative_curvature(x_hat, slope) if sampled else None
        gradient = torch.zeros_like(latents)
        for strip in strips:
            rows, columns = strip.slices
            part = parts[0] if len(strips) == 1 else self._reconstruct(latents, strip)
            gradient += torch.autograd.grad(part, latents, slope[:, rows, columns])[0]
        return error, Slopes(gradient.cpu().numpy(), None, positions)

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Join strips to the tile, [1 or 3, h, w]."""
        _, height, width = self._original.shape
        x_hat = torch.cat(parts, 1 if height >= width else 2)
        return torch.where(self._visible, x_hat, self._original)

    def _error(self, x_hat: Tensor) -> float:
        """Distortion after rounding to 8 bits."""
        return sum(float(value) for value in self._values(x_hat.round()))

    def _values(self, x_hat: Tensor) -> Iterator[Tensor]:
        """Terms of the distortion: of MS-SSIM by colour, since one by one they need less memory."""
        if self._kind == "looks":
            x, y = (one.expand(3, -1, -1)[None] / 255 for one in (self._original, x_hat))
            yield distortion_bits(x, y, 1.0, self._kind).sum()
            return
        for one, other in zip(self._original, x_hat, strict=True):
            x, y = one[None, None] / 255, other[None, None] / 255
            yield distortion_bits(x, y, 1.0, self._kind).sum() / len(x_hat)

    def _slope(self, x_hat: Tensor) -> Tensor:
        """Gradient by the samples of the reconstruction, [1 or 3, h, w]."""
        at = x_hat.detach().requires_grad_()
        slope = torch.zeros_like(x_hat)
        for value in self._values(at):
            slope += torch.autograd.grad(value, at)[0]
        return slope * self._visible

    def _relative_curvature(self, x_hat: Tensor, slope: Tensor) -> NDArray[np.float32]:
        """`Slopes.positions`: change of the gradient along a random sign vector (Hutchinson 1990),
        summed over each block of 16x16 pixels and its neighbours."""
        signs = torch.randint(0, 2, x_hat.shape, generator=self._noise) * 2.0 - 1
        nudge = NUDGE * signs.to(x_hat.device)
        change = ((self._slope(x_hat + nudge) - slope) / nudge).sum(0)
        below, right = -change.shape[0] % LATENT_STRIDE, -change.shape[1] % LATENT_STRIDE
        sums = torch.stack([change, self._visible.float()])
        blocks = F.avg_pool2d(F.pad(sums, (0, right, 0, below)), LATENT_STRIDE)
        blocks = F.avg_pool2d(F.pad(blocks, (1, 1, 1, 1)), 3, stride=1)
        least = torch.finfo(torch.float32).tiny
        curvature, seen = blocks.clamp(min=least)
        relative = curvature / seen / (curvature.sum() / seen.sum())
        return relative.clamp(*RELATIVE_RANGE).cpu().numpy()
