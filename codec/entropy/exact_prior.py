"""The prior networks in exact arithmetic: the twin of `codec.model.hyperprior.LatentPrior`.

Latents are handled pass by pass, in packed arrays of shape [M/P, H*W] with the positions sorted
by their class; `LatentGrid` packs and unpacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.entropy.crew import ALONE, Crew
from codec.entropy.dyadic import (
    HIGHEST,
    LOWEST,
    UNIT,
    Block,
    Exact,
    Pointwise,
    bias_in_units,
    check_bounds,
    check_shapes,
    interpolate,
    pixel_shuffle,
    requantise,
)
from codec.entropy.graph import (
    FEATURES,
    QUARTERS,
    SCALE_TABLES,
    STEPS,
    UPSAMPLING,
    WEIGHT_BITS,
    Pattern,
    latent_parameters,
)
from codec.level import Level
from codec.level_map import Levels, of_hyper
from codec.tiles import HYPER_STRIDE
from codec.weights.config import PASSES, ModelConfig

Real = TypeVar("Real", bound=np.number)


@dataclass(frozen=True)
class LatentGrid:
    """Size of y in latent positions, and their classes."""

    height: int
    width: int
    pattern: Pattern = QUARTERS

    @property
    def passes(self) -> int:
        """Number of passes, which is that of classes."""
        return 1 + max(map(max, self.pattern))

    @property
    def hyper_shape(self) -> tuple[int, int]:
        """Rows and columns of z: one per 4x4 positions of y, rounded up."""
        return -(-self.height // HYPER_STRIDE), -(-self.width // HYPER_STRIDE)

    @cached_property
    def _positions(self) -> list[NDArray[np.intp]]:
        """Row-major positions of each class, rising."""
        rows, columns = np.ogrid[: self.height, : self.width]
        class_of = np.array(self.pattern)[rows % 2, columns % 2]
        return [np.flatnonzero(class_of == number) for number in range(self.passes)]

    @cached_property
    def classes(self) -> tuple[slice, ...]:
        """Packed positions of each class."""
        ends = np.cumsum([len(positions) for positions in self._positions]).tolist()
        return tuple(slice(first, end) for first, end in zip([0, *ends], ends, strict=False))

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Row-major positions of the packed ones, class by class, [H*W]."""
        return np.concatenate(self._positions)

    @cached_property
    def _inverse(self) -> NDArray[np.intp]:
        """Packed positions of the row-major ones, [H*W]."""
        inverse = np.empty_like(self.order)
        inverse[self.order] = np.arange(len(inverse))
        return inverse

    def to_packed(self, x: NDArray[Real]) -> NDArray[Real]:
        """Columns [C, H*W] from row-major to packed order."""
        return np.take(x, self.order, axis=1)

    def to_spatial(self, x: NDArray[Real]) -> NDArray[Real]:
        """Inverse of `to_packed`."""
        return np.take(x, self._inverse, axis=1)

    def pack(self, y: NDArray[np.floating]) -> list[Exact]:
        """y [M, H, W] to its passes, each [M/P, H*W]."""
        return self._exchange(self.to_packed(y.reshape(len(y), -1).astype(np.float64)))

    def spread(self, channels: Exact, number: int) -> Exact:
        """Values of the channels, [M] or by position [M, H, W], of one pass: [M/P, H*W]."""
        if channels.ndim > 1:
            return self.pack(channels)[number]
        parts = np.split(channels, self.passes)
        out = np.empty((len(parts[0]), self.height * self.width))
        for c, at in enumerate(self.classes):
            out[:, at] = parts[c ^ number][:, None]
        return out

    def unpack(self, passes: Sequence[Exact]) -> Exact:
        """Inverse of `pack`."""
        y = self.to_spatial(np.concatenate(self._exchange(np.concatenate(passes))))
        return y.reshape(len(y), self.height, self.width)

    def _exchange(self, packed: Exact) -> list[Exact]:
        """Parts of the channels to passes, or passes to parts: [M, H*W] to P of [M/P, H*W]."""
        parts = np.split(packed, self.passes)
        return [
            np.concatenate([parts[c ^ k][:, at] for c, at in enumerate(self.classes)], axis=1)
            for k in range(self.passes)
        ]


@dataclass(frozen=True)
class Prediction:
    """Prediction of one packed pass, [M/P, H*W] each."""

    mean: Exact
    """Means in units of 2^-10, integer-valued."""
    table: NDArray[np.uint8]
    """Number of the frequency table, 0..63."""

    def residual(self, y: Exact) -> NDArray[np.float64]:
        """y - mu for latents in plain units (encoder side)."""
        return np.clip(y, LOWEST / UNIT, HIGHEST / UNIT) - self.mean / UNIT

    def reconstruct(self, residual: NDArray[np.int32]) -> Exact:
        """y^ = q + mu in units of 2^-10, clamped."""
        return np.clip(residual * float(UNIT) + self.mean, LOWEST, HIGHEST)


class _Head:
    """Means and table numbers of one pass, computed only for the latents it holds."""

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], name: str, number: int) -> None:
        weight, self._bias = tensors[f"{name}.weight"], tensors[f"{name}.level_bias"]
        check_bounds(weight, self._bias, name)
        channels = np.arange(len(weight)).reshape(2, PASSES, -1)  # of mu and scale, by part
        self._rows = [channels[:, c ^ number].reshape(-1) for c in range(PASSES)]
        self._weights = [weight[rows] * 2.0**-WEIGHT_BITS for rows in self._rows]

    def __call__(self, packed: Exact, level: Levels, grid: LatentGrid, crew: Crew) -> Prediction:
        """Predict from packed features."""
        out = np.empty((len(self._rows[0]), packed.shape[1]))
        table = np.empty((len(out) // 2, packed.shape[1]), np.uint8)

        def predict(c: int) -> None:
            rows, at = self._rows[c], grid.classes[c]
            here = level if isinstance(level, Level) else level.reshape(-1)[grid.order[at]]
            both = out[:, at]
            np.matmul(self._weights[c], packed[:, at], out=both)
            both += bias_in_units(interpolate(self._bias[:, rows], here))
            requantise(both, LOWEST)
            scale = both[len(table) :]
            scale += UNIT // 2
            scale *= 1 / UNIT
            table[:, at] = np.clip(np.floor(scale, out=scale), 0, SCALE_TABLES - 1, out=scale)

        crew.map(predict, range(PASSES))
        return Prediction(out[: len(table)], table)


class _Context:
    """1x1 convolution of the passes before one; each class has the channels it knows."""

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], name: str, number: int) -> None:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        check_bounds(weight, bias, name)
        parts = np.split(weight * 2.0**-WEIGHT_BITS, PASSES, axis=1)
        self._weights = [
            np.concatenate([parts[c ^ k] for k in range(number)], axis=1) for c in range(PASSES)
        ]
        self._offset = bias_in_units(bias)[:, None]

    def __call__(self, known: Sequence[Exact], grid: LatentGrid, crew: Crew) -> Exact:
        x = np.concatenate(known)
        out = np.empty((len(self._offset), x.shape[1]))

        def mix(c: int) -> None:
            at = grid.classes[c]
            here = np.matmul(self._weights[c], x[:, at], out=out[:, at])
            here += self._offset
            requantise(here, LOWEST)

        crew.map(mix, range(PASSES))
        return out


class _Step(NamedTuple):
    """Layers that predict one pass."""

    context: _Context | None
    """None in the first pass."""
    blocks: Sequence[Block]
    head: _Head


class ExactPrior:
    """h_s, heads and context network.

    Args:
        tensors: integer parameters by name, without the `prior.` prefix.
        config: the shape they must have.

    Raises:
        WeightsError: a tensor is missing, has another shape or breaks the exactness bound.
    """

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], config: ModelConfig) -> None:
        check_shapes(tensors, latent_parameters(config))
        self._stem = Pointwise(tensors, "stem")
        self._level_bias = tensors["level_bias"]
        self._upsampling = [
            (Block(tensors, block), Pointwise(tensors, up)) for block, up in UPSAMPLING
        ]
        self._last = Block(tensors, FEATURES)
        self._steps = [
            _Step(
                _Context(tensors, context, number) if context else None,
                [Block(tensors, name) for name in blocks],
                _Head(tensors, head, number),
            )
            for number, (context, blocks, head) in enumerate(STEPS)
        ]

    def features(
        self, z: NDArray[np.int32], level: Levels, grid: LatentGrid, crew: Crew = ALONE
    ) -> Exact:
        """h_s: z^ [hyper, Hz, Wz] to packed features [prior, H*W].

        Args:
            z: rounded hyper-latents, |z| < 2048.
            level: of the file, or those of the latent positions, [H, W].
            grid: of the latents.
            crew: does the work.
        """
        h = self._stem((z.reshape(len(z), -1) * UNIT).astype(np.float64))
        h += np.floor(bias_in_units(interpolate(self._level_bias, of_hyper(level))))
        h = np.clip(h, LOWEST, HIGHEST).reshape(-1, *z.shape[1:])
        for block, up in self._upsampling:
            h = block(h, crew)
            h = pixel_shuffle(up(h.reshape(len(h), -1)).reshape(-1, *h.shape[1:]))
        h = np.ascontiguousarray(h[:, : grid.height, : grid.width])
        return grid.to_packed(self._last(h, crew).reshape(len(h), -1))

    def predict(
        self,
        features: Exact,
        known: Sequence[Exact],
        level: Levels,
        grid: LatentGrid,
        crew: Crew = ALONE,
    ) -> tuple[Exact, Prediction]:
        """Predict the next pass.

        Args:
            features: as the pass before left them, at first those of `features`; packed.
            known: y^ of all passes before in units of 2^-10, packed; its length is the number
                of the pass.
            level: as in `features`, like `grid` and `crew`.

        Returns:
            (features for the pass after, the prediction).
        """
        context, blocks, head = self._steps[len(known)]
        if context:
            h = context(known, grid, crew)
            h += features
            np.clip(h, LOWEST, HIGHEST, out=h)
            h = grid.to_spatial(h).reshape(-1, grid.height, grid.width)
            for block in blocks:
                h = block(h, crew)
            features = grid.to_packed(h.reshape(len(h), -1))
        return features, head(features, level, grid, crew)
