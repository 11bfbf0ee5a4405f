"""How far what latents show is from a picture, and how that changes with each of them.

With x^ = g_s(y^) and J its Jacobian, the squared error |x - x^|^2 has the slope -2 J^T (x - x^)
and, where g_s bends little, the curvature 2 J^T J. Each takes one backward pass: E[(J^T v)^2] over
noise v of unit variance is the diagonal of J^T J (Bekas, Kokiopoulou, Saad 2007).

What models for MS-SSIM minimise has the slope J^T d, with d its slope by each sample of x^. Where
it bends most, in smooth parts, differs so much from place to place, and so little within one, that
the curvature along a latent is taken to be that of its channel in photographs, as many times as
great as the curvature along each sample of the place is that of the picture's mean place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codec.limits import SEARCH_PIXELS
from codec.model.objective import distortion_bits
from codec.runtime.torch_engine import TorchEngine
from codec.tiles import LATENT_STRIDE, Box

STRIP_PIXELS = SEARCH_PIXELS
"""Of the tile that go through g_s at once, with what they depend on around them."""
SEED = 1
"""Of the noise, so that the same picture gives the same file."""
LEAST_SIDE = 161
"""Pixels that MS-SSIM needs a side: windows of 11 at a sixteenth of the resolution."""
EXCESS = 2.0
"""Curvature of the distortion of MS-SSIM that is reckoned with, times what photographs have: steps
are single, and it bends more along them than on average. With 1.5, 8 rounds saved 0.4 % of the bits
less on four held-out tiles at two rates, and without regard to places 1.5 % less."""
NUDGE = 2.0
"""By which samples of 0..255 are moved to see how the slope changes."""
PLACE_RANGE = 0.2, 8.0
"""How much a place's curvature may differ from the mean."""


@dataclass(frozen=True)
class Original:
    """What is to be shown."""

    samples: NDArray[np.uint8]
    """[h, w, 3]."""
    visible: NDArray[np.bool_] | None
    """[h, w], where an error counts; None for everywhere."""
    grey: bool
    """Whether the mean of the three colours is shown in place of each."""


@dataclass(frozen=True)
class Slopes:
    """First and second derivatives of the distortion, [M, H, W] each."""

    gradient: NDArray[np.float32]
    curvature: NDArray[np.float32] | None
    """Of the diagonal of the Hessian, if asked for: an unbiased estimate from one sample of noise;
    or, if `expected`, what it is on average where the picture is like this."""
    expected: bool = False

    def times(self, weight: float) -> Slopes:
        """Those of the distortion times a weight."""
        curvature = None if self.curvature is None else self.curvature * weight
        return Slopes(self.gradient * weight, curvature, self.expected)


class Distortion(ABC):
    """Of what is shown, as a function of the latents of a tile.

    Args:
        engine: that will show the latents.
        level: in units of 2^-12.
        original: of the tile.
        surroundings: latents of a window around the tile, [M, rows, columns], float32; those of
            the tile itself are not read.
        inner: the tile's latents in the window.
        halo: latents around a strip that its samples depend on.
        restoration: weights of the restoration filter.
    """

    def __init__(
        self,
        engine: TorchEngine,
        level: int,
        original: Original,
        surroundings: NDArray[np.float32],
        inner: Box,
        halo: int,
        restoration: Sequence[int] = (),
    ) -> None:
        self._engine = engine
        self._level = level
        self._window = engine.tensor(surroundings)
        self._inner = inner
        self._halo = halo
        self._restoration = restoration
        samples = original.samples[:, :, :1] if original.grey else original.samples
        planes = np.ascontiguousarray(samples.transpose(2, 0, 1))
        self._original = engine.tensor(planes).float()
        self._grey = original.grey
        visible = original.visible
        counts = np.ones(planes.shape[1:], bool) if visible is None else visible
        self._visible = engine.tensor(counts)
        self._noise = torch.Generator().manual_seed(SEED)

    @abstractmethod
    def error(self, y_hat: NDArray[np.float32]) -> float:
        """The distortion of visible 8-bit samples.

        Args:
            y_hat: latents of the tile, [M, H, W].
        """

    @abstractmethod
    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        """`error`, and the derivatives of it without the rounding to 8 bits.

        Args:
            y_hat: latents of the tile, [M, H, W].
            sampled: whether to tell the curvature.
        """

    def _strips(self) -> Iterator[Box]:
        """Pixels of the tile in strips across its longer side, of about the same size."""
        height, width = self._original.shape[1:]
        count = -(-height * width // STRIP_PIXELS)
        side = -(-max(height, width) // count)
        side = -(-side // LATENT_STRIDE) * LATENT_STRIDE
        for start in range(0, max(height, width), side):
            if height >= width:
                yield Box(0, start, width, min(start + side, height))
            else:
                yield Box(start, 0, min(start + side, width), height)

    def _show(self, latents: Tensor, strip: Box) -> Tensor:
        """Samples of a strip, [1 or 3, h, w] in 0..255."""
        inner, window = self._inner, self._window
        rows, columns = inner.slices
        whole = Box(0, 0, window.shape[2], window.shape[1])
        if inner == whole:
            window = latents
        else:
            window = window.clone()
            window[:, rows, columns] = latents
        corner = Box(-inner.left, -inner.top, 0, 0)
        source = strip.shrunk(LATENT_STRIDE).relative_to(corner).grown(self._halo, within=whole)
        rows, columns = source.slices
        shown = self._engine.show(window[:, rows, columns], self._level, self._restoration)
        top = (inner.top - source.top) * LATENT_STRIDE + strip.top
        left = (inner.left - source.left) * LATENT_STRIDE + strip.left
        shown = shown[:, top : top + strip.height, left : left + strip.width]
        if self._grey:
            shown = shown.mean(0, keepdim=True)
        return (shown * 255).clamp(0, 255)


class SquaredError(Distortion):
    """Sum of squared differences of 8-bit samples, of three colours."""

    def error(self, y_hat: NDArray[np.float32]) -> float:
        with torch.inference_mode():
            latents = self._engine.tensor(y_hat)
            return sum(
                self._rounded_error(self._show(latents, strip), strip) for strip in self._strips()
            )

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        latents = self._engine.tensor(y_hat).requires_grad_()
        error, gradient, sample = 0.0, torch.zeros_like(latents), torch.zeros_like(latents)
        for strip in self._strips():
            rows, columns = strip.slices
            weight = self._weight(strip)
            shown = self._show(latents, strip)
            slope = 2 * (shown - self._original[:, rows, columns]).detach() * weight
            gradient += torch.autograd.grad(shown, latents, slope, retain_graph=sampled)[0]
            if sampled:
                noise = torch.randn(shown.shape, generator=self._noise).to(shown.device)
                sample += torch.autograd.grad(shown, latents, noise * weight.sqrt())[0]
            error += self._rounded_error(shown.detach(), strip)
        curvature = 2 * sample.square().cpu().numpy() if sampled else None
        return error, Slopes(gradient.cpu().numpy(), curvature)

    def _weight(self, strip: Box) -> Tensor:
        """Of each place, [h, w]: the mean of three colours stands for each."""
        rows, columns = strip.slices
        return self._visible[rows, columns] * (3.0 / len(self._original))

    def _rounded_error(self, shown: Tensor, strip: Box) -> float:
        rows, columns = strip.slices
        difference = shown.round() - self._original[:, rows, columns]
        errors = difference.square() * self._weight(strip)
        return float(errors.sum(dtype=torch.float64))


class Dissimilarity(Distortion):
    """What models for MS-SSIM minimise, times the pixels; see `codec.model.objective`.

    Of tiles with sides of at least `LEAST_SIDE`. What is invisible counts as shown without error.

    Args:
        engine: as for `Distortion`, like those that follow.
        typical: curvature along latents of each channel in photographs, in this unit, [M].
    """

    def __init__(
        self,
        engine: TorchEngine,
        level: int,
        original: Original,
        surroundings: NDArray[np.float32],
        inner: Box,
        halo: int,
        typical: NDArray[np.floating],
    ) -> None:
        super().__init__(engine, level, original, surroundings, inner, halo)
        self._typical = typical.astype(np.float32)[:, None, None]

    def error(self, y_hat: NDArray[np.float32]) -> float:
        with torch.inference_mode():
            latents = self._engine.tensor(y_hat)
            parts = [self._show(latents, strip) for strip in self._strips()]
            return sum(float(value) for value in self._values(self._join(parts).round()))

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        latents = self._engine.tensor(y_hat).requires_grad_()
        strips = list(self._strips())
        with torch.set_grad_enabled(len(strips) == 1):  # more would be kept in memory all at once
            parts = [self._show(latents, strip) for strip in strips]
        with torch.no_grad():
            shown = self._join(parts)
            error = sum(float(value) for value in self._values(shown.round()))
        slope = self._slope(shown)
        curvature = self._curvature(shown, slope) if sampled else None
        gradient = torch.zeros_like(latents)
        for strip in strips:
            rows, columns = strip.slices
            part = parts[0] if len(strips) == 1 else self._show(latents, strip)
            gradient += torch.autograd.grad(part, latents, slope[:, rows, columns])[0]
        return error, Slopes(gradient.cpu().numpy(), curvature, expected=True)

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Strips to the tile, [1 or 3, h, w]."""
        _, height, width = self._original.shape
        shown = torch.cat(parts, 1 if height >= width else 2)
        return torch.where(self._visible, shown, self._original)

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

    def _curvature(self, shown: Tensor, slope: Tensor) -> NDArray[np.float32]:
        """Along each latent, [M, H, W], by how the slope changes along each sample of its place and
        of those around (Hutchinson 1990)."""
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
        return EXCESS * self._typical * part.clamp(*PLACE_RANGE).cpu().numpy()
