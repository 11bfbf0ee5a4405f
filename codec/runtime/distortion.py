"""The error of what latents show, and how it changes with each of them.

With x^ = g_s(y^) and J its Jacobian, the squared error |x - x^|^2 has the slope -2 J^T (x - x^)
and, where g_s bends little, the curvature 2 J^T J. Each takes one backward pass: E[(J^T v)^2] over
noise v of unit variance is the diagonal of J^T J (Bekas, Kokiopoulou, Saad 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.runtime.torch_engine import TorchEngine
from codec.tiles import LATENT_STRIDE, Box

SEED = 1
"""Of the noise, so that the same picture gives the same file."""


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
    """First and second derivatives of the squared error, [M, H, W] each."""

    gradient: NDArray[np.float32]
    curvature: NDArray[np.float32]
    """An unbiased estimate of the diagonal of the Hessian, from one sample of noise."""


class Distortion:
    """Squared error of 8-bit samples as a function of the latents of a tile.

    Args:
        engine: that will show the latents.
        level: in units of 2^-12.
        original: of the tile.
        surroundings: latents of a window around the tile, [M, rows, columns], float32; those of
            the tile itself are not read.
        inner: the tile's latents in the window.
    """

    def __init__(
        self,
        engine: TorchEngine,
        level: int,
        original: Original,
        surroundings: NDArray[np.float32],
        inner: Box,
    ) -> None:
        self._engine = engine
        self._level = level
        self._window = engine.tensor(surroundings)
        self._inner = inner
        samples = original.samples[:, :, :1] if original.grey else original.samples
        planes = np.ascontiguousarray(samples.transpose(2, 0, 1))
        self._original = engine.tensor(planes).float()
        self._grey = original.grey
        self._weight = engine.tensor(np.array(3.0 / len(planes), np.float32))
        if original.visible is not None:
            self._weight = self._weight * engine.tensor(original.visible)
        self._noise = torch.Generator().manual_seed(SEED)

    def error(self, y_hat: NDArray[np.float32]) -> float:
        """Sum of squared differences of visible 8-bit samples, of three colours.

        Args:
            y_hat: latents of the tile, [M, H, W].
        """
        with torch.inference_mode():
            return self._rounded_error(self._show(self._engine.tensor(y_hat)))

    def slopes(self, y_hat: NDArray[np.float32]) -> tuple[float, Slopes]:
        """`error`, and the derivatives of it without the rounding to 8 bits."""
        latents = self._engine.tensor(y_hat).requires_grad_()
        shown = self._show(latents)
        difference = (shown - self._original).detach() * self._weight
        noise = torch.randn(shown.shape, generator=self._noise).to(shown.device)
        (gradient,) = torch.autograd.grad(shown, latents, 2 * difference, retain_graph=True)
        (sample,) = torch.autograd.grad(shown, latents, noise * self._weight.sqrt())
        curvature = 2 * sample.square()
        error = self._rounded_error(shown.detach())
        return error, Slopes(gradient.cpu().numpy(), curvature.cpu().numpy())

    def _show(self, latents: Tensor) -> Tensor:
        """Samples of the tile, [1 or 3, h, w] in 0..255."""
        rows, columns = self._inner.slices
        window = self._window
        if self._inner.width < window.shape[2] or self._inner.height < window.shape[1]:
            window = window.clone()
            window[:, rows, columns] = latents
        else:
            window = latents
        shown = self._engine.show(window, self._level)
        area = self._inner.enlarged(LATENT_STRIDE)
        height, width = self._original.shape[1:]
        shown = shown[:, area.top : area.top + height, area.left : area.left + width]
        if self._grey:
            shown = shown.mean(0, keepdim=True)
        return (shown * 255).clamp(0, 255)

    def _rounded_error(self, shown: Tensor) -> float:
        errors = (shown.round() - self._original).square() * self._weight
        return float(errors.sum(dtype=torch.float64))
