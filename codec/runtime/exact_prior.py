"""The prior networks in exact arithmetic: the twin of `codec.model.hyperprior.ExactPrior`.

Latents are handled in two packed passes of shape [M/2, H*W], the even squares of the
checkerboard in front of the odd ones. On even squares pass 1 holds channels 0 .. M/2-1 and
pass 2 the rest; on odd ones the other way round. `LatentGrid` packs and unpacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.model.config import LEVEL_BITS, ModelConfig
from codec.runtime.dyadic import (
    HIGHEST,
    LOWEST,
    UNIT,
    WEIGHT_BITS,
    Block,
    Exact,
    Pointwise,
    Shapes,
    bias_in_units,
    block_shapes,
    check_bounds,
    check_shapes,
    interpolate,
    pixel_shuffle,
    requantise,
)

Real = TypeVar("Real", bound=np.number)


@dataclass(frozen=True)
class LatentGrid:
    """Size of y in latent positions, and its checkerboard."""

    height: int
    width: int

    @property
    def hyper_shape(self) -> tuple[int, int]:
        """Rows and columns of z: one per 4x4 positions of y, rounded up."""
        return -(-self.height // 4), -(-self.width // 4)

    @property
    def evens(self) -> int:
        """Number of even squares."""
        return (self.height * self.width + 1) // 2

    def halves(self, swap: bool) -> tuple[slice, slice]:
        """Packed positions of (even, odd) squares, or of (odd, even) ones."""
        even, odd = slice(None, self.evens), slice(self.evens, None)
        return (odd, even) if swap else (even, odd)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Row-major positions of the packed ones: even squares, then odd ones; [H*W]."""
        rows, columns = np.ogrid[: self.height, : self.width]
        return np.argsort((rows + columns).reshape(-1) % 2, kind="stable")

    def to_packed(self, x: NDArray[Real]) -> NDArray[Real]:
        """Columns [C, H*W] from row-major to packed order."""
        return np.take(x, self.order, axis=1)

    def to_spatial(self, x: NDArray[Real]) -> NDArray[Real]:
        """Inverse of `to_packed`."""
        return np.take(x, np.argsort(self.order), axis=1)

    def pack(self, y: NDArray[np.floating]) -> tuple[Exact, Exact]:
        """y [M, H, W] to (pass 1, pass 2), each [M/2, H*W]."""
        upper, lower = np.split(self.to_packed(y.reshape(len(y), -1).astype(np.float64)), 2)
        n = self.evens
        first = np.concatenate([upper[:, :n], lower[:, n:]], axis=1)
        return first, np.concatenate([lower[:, :n], upper[:, n:]], axis=1)

    def unpack(self, first: Exact, second: Exact) -> Exact:
        """Inverse of `pack`."""
        n = self.evens
        upper = np.concatenate([first[:, :n], second[:, n:]], axis=1)
        lower = np.concatenate([second[:, :n], first[:, n:]], axis=1)
        y = self.to_spatial(np.concatenate([upper, lower]))
        return y.reshape(len(y), self.height, self.width)


@dataclass(frozen=True)
class Prediction:
    """What the prior says of one packed pass, [M/2, H*W] each."""

    mean: Exact
    """In units of 2^-10, integer-valued."""
    table: NDArray[np.uint8]
    """Number of the frequency table, 0..63."""

    def residual(self, y: Exact) -> NDArray[np.int32]:
        """round(y - mu) for latents in plain units (encoder side)."""
        bounded = np.clip(y, LOWEST / UNIT, HIGHEST / UNIT)
        return np.rint(bounded - self.mean / UNIT).astype(np.int32)

    def reconstruct(self, residual: NDArray[np.int32]) -> Exact:
        """y^ = q + mu in units of 2^-10, clamped."""
        return np.clip(residual * float(UNIT) + self.mean, LOWEST, HIGHEST)


class _Head:
    """Means and table numbers of one pass, computed only for the latents it holds."""

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], name: str) -> None:
        weight, self._bias = tensors[f"{name}.weight"], tensors[f"{name}.level_bias"]
        check_bounds(weight, self._bias, name)
        latent = len(weight) // 2
        rows = np.arange(2 * latent).reshape(2, 2, latent // 2)
        # For each half of the channels, the rows that give their mu and their scale.
        self._rows = rows.transpose(1, 0, 2).reshape(2, latent)
        self._weights = [weight[rows] * 2.0**-WEIGHT_BITS for rows in self._rows]

    def __call__(self, packed: Exact, level: int, grid: LatentGrid, swap: bool) -> Prediction:
        """Predict from packed features; `swap` puts the second half on the even squares."""
        offset = bias_in_units(interpolate(self._bias, level, LEVEL_BITS))
        out = np.empty((len(self._rows[0]), packed.shape[1]))
        for half, squares in enumerate(grid.halves(swap)):
            np.matmul(self._weights[half], packed[:, squares], out=out[:, squares])
            out[:, squares] += offset[self._rows[half], None]
        requantise(out, LOWEST)
        mean, scale = np.split(out, 2)
        scale += UNIT // 2
        scale *= 1 / UNIT
        np.clip(np.floor(scale, out=scale), 0, 63, out=scale)
        return Prediction(mean, scale.astype(np.uint8))


def prior_shapes(config: ModelConfig) -> Shapes:
    """Shape of every tensor of the prior, by name."""
    width, latent = config.prior, config.latent
    shapes: Shapes = {
        "stem.weight": (width, config.hyper),
        "stem.bias": (width,),
        "level_bias": (config.anchors, width),
        "context.weight": (width, latent),
        "context.bias": (width,),
    }
    for name in ("up64", "up32"):
        shapes |= {f"{name}.weight": (4 * width, width), f"{name}.bias": (4 * width,)}
    for name in ("block64", "block32", "block16", "context_block1", "context_block2"):
        shapes |= block_shapes(name, width)
    for name in ("first_head", "second_head"):
        shapes[f"{name}.weight"] = (2 * latent, width)
        shapes[f"{name}.level_bias"] = (config.anchors, 2 * latent)
    return shapes


class ExactPrior:
    """h_s, heads and context network.

    Args:
        tensors: integer parameters by name, without the `prior.` prefix.
        config: the shape they must have.

    Raises:
        WeightsError: a tensor is missing, has another shape or breaks the exactness bound.
    """

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], config: ModelConfig) -> None:
        check_shapes(tensors, prior_shapes(config))
        self._stem = Pointwise(tensors, "stem")
        self._level_bias = tensors["level_bias"]
        self._block64 = Block(tensors, "block64")
        self._up64 = Pointwise(tensors, "up64")
        self._block32 = Block(tensors, "block32")
        self._up32 = Pointwise(tensors, "up32")
        self._block16 = Block(tensors, "block16")
        self._first_head = _Head(tensors, "first_head")
        self._context = _SplitPointwise(tensors, "context")
        self._context_blocks = [Block(tensors, f"context_block{i}") for i in (1, 2)]
        self._second_head = _Head(tensors, "second_head")

    def features(self, z: NDArray[np.int32], level: int, grid: LatentGrid) -> Exact:
        """h_s: z^ [hyper, Hz, Wz] to packed features [prior, H*W].

        Args:
            z: rounded hyper-latents, |z| < 2048.
            level: position on the ladder of lambdas in units of 2^-12.
        """
        h = self._stem((z.reshape(len(z), -1) * UNIT).astype(np.float64))
        h += np.floor(bias_in_units(interpolate(self._level_bias, level, LEVEL_BITS)))[:, None]
        h = np.clip(h, LOWEST, HIGHEST).reshape(-1, *z.shape[1:])
        for block, up in ((self._block64, self._up64), (self._block32, self._up32)):
            h = block(h)
            h = pixel_shuffle(up(h.reshape(len(h), -1)).reshape(-1, *h.shape[1:]))
        h = np.ascontiguousarray(h[:, : grid.height, : grid.width])
        return grid.to_packed(self._block16(h).reshape(len(h), -1))

    def first_pass(self, features: Exact, level: int, grid: LatentGrid) -> Prediction:
        """Prediction for pass 1 from the hyper-latents alone."""
        return self._first_head(features, level, grid, swap=False)

    def second_pass(
        self, features: Exact, y_hat_first: Exact, level: int, grid: LatentGrid
    ) -> Prediction:
        """Prediction for pass 2, given y^ of pass 1 in units of 2^-10, packed."""
        h = self._context(y_hat_first, grid)
        h += features
        np.clip(h, LOWEST, HIGHEST, out=h)
        h = grid.to_spatial(h).reshape(-1, grid.height, grid.width)
        for block in self._context_blocks:
            h = block(h)
        packed = grid.to_packed(h.reshape(len(h), -1))
        return self._second_head(packed, level, grid, swap=True)


class _SplitPointwise:
    """1x1 convolution of packed pass 1: each square uses the weights of its own channels."""

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], name: str) -> None:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        check_bounds(weight, bias, name)
        self._weights = np.split(weight * 2.0**-WEIGHT_BITS, 2, axis=1)
        self._offset = bias_in_units(bias)[:, None]

    def __call__(self, x: Exact, grid: LatentGrid) -> Exact:
        out = np.empty((len(self._offset), x.shape[1]))
        for weight, squares in zip(self._weights, grid.halves(swap=False), strict=True):
            np.matmul(weight, x[:, squares], out=out[:, squares])
        out += self._offset
        return requantise(out, LOWEST)
