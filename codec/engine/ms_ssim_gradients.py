"""What models for MS-SSIM minimise, and how it changes with each latent.

Its slope is J^T d, with J the Jacobian of x^ = g_s(y^) and d the slope by each sample of x^. Where
it bends most, in smooth parts, differs so much from place to place, and so little within one, that
single samples of the curvature along latents say little. The curvature along the samples of a place
of the picture, beside that of its mean place, says more, and takes no pass of the synthesis.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codec.engine.base import Slopes
from codec.engine.gradients import TileDistortion
from codec.model.objective import distortion_bits
from codec.tiles import LATENT_STRIDE

NUDGE = 2.0
"""By which samples of 0..255 are moved to see how the slope changes."""
PLACE_RANGE = 0.2, 8.0
"""How much a place's curvature may differ from the mean."""


class Dissimilarity(TileDistortion):
    """What models for MS-SSIM minimise, times the pixels; see `codec.model.objective`.

    Of tiles with sides of at least `MS_SSIM_SIDE`. What is invisible counts as shown without error.
    """

    def error(self, y_hat: NDArray[np.float32]) -> float:
        with torch.inference_mode():
            latents = self._engine.tensor(y_hat)
            parts = [self._show(latents, strip) for strip in self._strips()]
            return self._error(self._join(parts))

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        latents = self._engine.tensor(y_hat).requires_grad_()
        strips = list(self._strips())
        with torch.set_grad_enabled(len(strips) == 1):  # more would be kept in memory all at once
            parts = [self._show(latents, strip) for strip in strips]
        with torch.no_grad():
            shown = self._join(parts)
            error = self._error(shown)
        slope = self._slope(shown)
        places = self._places(shown, slope) if sampled else None
        gradient = torch.zeros_like(latents)
        for strip in strips:
            rows, columns = strip.slices
            part = parts[0] if len(strips) == 1 else self._show(latents, strip)
            gradient += torch.autograd.grad(part, latents, slope[:, rows, columns])[0]
        return error, Slopes(gradient.cpu().numpy(), None, places)

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Strips to the tile, [1 or 3, h, w]."""
        _, height, width = self._original.shape
        shown = torch.cat(parts, 1 if height >= width else 2)
        return torch.where(self._visible, shown, self._original)

    def _error(self, shown: Tensor) -> float:
        """After rounding to 8 bits."""
        return sum(float(value) for value in self._values(shown.round()))

    def _values(self, shown: Tensor) -> Iterator[Tensor]:
        """Of each colour, whose mean it is: one by one they need less memory."""
        for one, other in zip(self._original, shown, strict=True):
            x, x_hat = one[None, None] / 255, other[None, None] / 255
            yield distortion_bits(x, x_hat, 1.0, "ms-ssim").sum() / len(shown)

    def _slope(self, shown: Tensor) -> Tensor:
        """By each sample of what is shown, [1 or 3, h, w]."""
        at = shown.detach().requires_grad_()
        slope = torch.zeros_like(shown)
        for value in self._values(at):
            slope += torch.autograd.grad(value, at)[0]
        return slope * self._visible

    def _places(self, shown: Tensor, slope: Tensor) -> NDArray[np.float32]:
        """See `Slopes.places`: by how the slope changes along each sample of the place and of those
        around (Hutchinson 1990)."""
        signs = torch.randint(0, 2, shown.shape, generator=self._noise) * 2.0 - 1
        nudge = NUDGE * signs.to(shown.device)
        change = ((self._slope(shown + nudge) - slope) / nudge).sum(0)
        below, right = -change.shape[0] % LATENT_STRIDE, -change.shape[1] % LATENT_STRIDE
        sums = torch.stack([change, self._visible.float()])
        places = F.avg_pool2d(F.pad(sums, (0, right, 0, below)), LATENT_STRIDE)
        places = F.avg_pool2d(F.pad(places, (1, 1, 1, 1)), 3, stride=1)
        least = torch.finfo(torch.float32).tiny
        bending, seen = places.clamp(min=least)
        part = bending / seen / (bending.sum() / seen.sum())
        return part.clamp(*PLACE_RANGE).cpu().numpy()
