"""Squared error of a tile's reconstruction, and its derivatives by the latents.

With x^ = g_s(y^) and J its Jacobian, |x - x^|^2 has the gradient -2 J^T (x - x^) and, where g_s is
nearly linear, the Hessian 2 J^T J. Each takes one backward pass: E[(J^T v)^2] over noise v of unit
variance is the diagonal of J^T J (Bekas, Kokiopoulou, Saad 2007).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.engine.base import Scene, Slopes
from codec.engine.torch import TorchEngine
from codec.level_map import part_of
from codec.tiles import LATENT_STRIDE, Box

SEED = 1
"""Seed of the noise, so that the same picture gives the same file."""


class TileDistortion(ABC):
    """Distortion of a tile's reconstruction, strip by strip; see `codec.engine.base.Distortion`.

    Args:
        engine: that reconstructs the tile.
        scene: the tile; latents inside of it are not read.
        restoration: weights of the restoration filter.
    """

    def __init__(self, engine: TorchEngine, scene: Scene, restoration: Sequence[int] = ()) -> None:
        original = scene.original
        self._engine = engine
        self._level = scene.level
        self._window = engine.tensor(scene.surroundings)
        self._inner = scene.inner
        self._restoration = restoration
        samples = original.samples[:, :, :1] if original.grey else original.samples
        planes = np.ascontiguousarray(samples.transpose(2, 0, 1))
        self._original = engine.tensor(planes).float()
        self._grey = original.grey
        visible = original.visible
        counts = np.ones(planes.shape[1:], bool) if visible is None else visible
        self._visible = engine.tensor(counts)
        self._weights = None if scene.weights is None else engine.tensor(scene.weights).float()
        self._noise = torch.Generator().manual_seed(SEED)

    @abstractmethod
    def error(self, y_hat: NDArray[np.float32]) -> float:
        """Distortion of the visible samples after rounding to 8 bits.

        Args:
            y_hat: latents of the tile, [M, H, W].
        """

    @abstractmethod
    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        """`error`, and the derivatives of the distortion without rounding to 8 bits.

        Args:
            y_hat: latents of the tile, [M, H, W].
            sampled: whether to estimate the curvature.
        """

    def _strips(self) -> Iterator[Box]:
        """Cut the tile into strips of about the same size across its longer side."""
        height, width = self._original.shape[1:]
        count = -(-height * width // self._engine.strip_pixels)
        side = -(-max(height, width) // count)
        side = -(-side // LATENT_STRIDE) * LATENT_STRIDE
        for start in range(0, max(height, width), side):
            if height >= width:
                yield Box(0, start, width, min(start + side, height))
            else:
                yield Box(start, 0, min(start + side, width), height)

    def _reconstruct(self, latents: Tensor, strip: Box) -> Tensor:
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
        source = (
            strip.shrunk(LATENT_STRIDE)
            .relative_to(corner)
            .grown(self._engine.synthesis_halo, within=whole)
        )
        rows, columns = source.slices
        level = part_of(self._level, source)
        x_hat = self._engine.reconstruct(window[:, rows, columns], level, self._restoration)
        top = (inner.top - source.top) * LATENT_STRIDE + strip.top
        left = (inner.left - source.left) * LATENT_STRIDE + strip.left
        x_hat = x_hat[:, top : top + strip.height, left : left + strip.width]
        if self._grey:
            x_hat = x_hat.mean(0, keepdim=True)
        return (x_hat * 255).clamp(0, 255)


class SquaredError(TileDistortion):
    """Sum of squared errors of 8-bit samples over three colours."""

    def error(self, y_hat: NDArray[np.float32]) -> float:
        with torch.inference_mode():
            latents = self._engine.tensor(y_hat)
            return sum(
                self._rounded_error(self._reconstruct(latents, strip), strip)
                for strip in self._strips()
            )

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        latents = self._engine.tensor(y_hat).requires_grad_()
        error, gradient, sample = 0.0, torch.zeros_like(latents), torch.zeros_like(latents)
        for strip in self._strips():
            rows, columns = strip.slices
            weight = self._weight(strip)
            x_hat = self._reconstruct(latents, strip)
            slope = 2 * (x_hat - self._original[:, rows, columns]).detach() * weight
            gradient += torch.autograd.grad(x_hat, latents, slope, retain_graph=sampled)[0]
            if sampled:
                noise = torch.randn(x_hat.shape, generator=self._noise).to(x_hat.device)
                sample += torch.autograd.grad(x_hat, latents, noise * weight.sqrt())[0]
            error += self._rounded_error(x_hat.detach(), strip)
        curvature = 2 * sample.square().cpu().numpy() if sampled else None
        return error, Slopes(gradient.cpu().numpy(), curvature)

    def _weight(self, strip: Box) -> Tensor:
        """Weight of each pixel, [h, w]; of a grey picture one sample stands for three."""
        rows, columns = strip.slices
        weight = self._visible[rows, columns] * (3.0 / len(self._original))
        if self._weights is None:
            return weight
        at = (torch.arange(s.start, s.stop) // LATENT_STRIDE for s in strip.slices)
        return weight * self._weights[torch.meshgrid(*at, indexing="ij")]

    def _rounded_error(self, x_hat: Tensor, strip: Box) -> float:
        rows, columns = strip.slices
        difference = x_hat.round() - self._original[:, rows, columns]
        errors = difference.square() * self._weight(strip)
        return float(errors.sum(dtype=torch.float64))
