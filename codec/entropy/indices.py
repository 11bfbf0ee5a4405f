"""Indices of a vector-quantised latent to bytes and back, level by level, in one stream.

Encoder and decoder walk the same exact prior. The encoder chooses the indices on the way, so
that it can weigh the exact cost of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.entropy.checksum import SymbolChecksum
from codec.entropy.exact_prior import LatentGrid
from codec.entropy.graph import CHECKERBOARD
from codec.entropy.model import CentreModel
from codec.entropy.range_coder import RangeDecoder, RangeEncoder
from codec.entropy.rounding import Rounded, Rule
from codec.entropy.tables import PRECISION
from codec.level import Level
from codec.level_map import Levels


@dataclass(frozen=True)
class RoundedIndices:
    """Latents as the decoder will have them; indices are coded while they are chosen."""

    stream: bytes
    checksum: int
    """CRC-32 of all indices in coding order, as little-endian int16."""
    y_hat: NDArray[np.float32]
    """The sum of the chosen centres, [M, H, W]."""
    indices: NDArray[np.int32]
    """The chosen centres, [levels, G, H, W]."""
    level_bits: tuple[float, ...]
    """-log2 P by the integer frequencies, of each residual level,"""
    position_bits: NDArray[np.float64]
    """and of all by latent position, [H, W]."""

    @property
    def bits(self) -> float:
        return sum(self.level_bits)


class IndexCoder:
    """Codes the latents of one model that rounds to centres."""

    def __init__(self, model: CentreModel) -> None:
        self.model = model
        self._config = model.config
        self._prior = model.prior
        self._codebook = model.codebook
        self._weighs = model.config.assignment == "rate-weighted"

    def round(
        self,
        y: NDArray[np.floating],
        z: NDArray[np.floating],
        level: Levels,
        rule: Rule | None = None,
        same_z: Rounded | None = None,
        threads: int = 1,
    ) -> RoundedIndices:
        """Choose the indices of levels 0 .. `level` / 2^12.

        Args:
            y: latents before rounding, [M, H, W].
            z: unused, like `rule`, `same_z` and `threads`; there are no hyper-latents.
            level: of the last residual level.
        """
        grid = LatentGrid(y.shape[1], y.shape[2], CHECKERBOARD)
        flat = grid.to_packed(np.nan_to_num(y).reshape(len(y), -1))
        remainder = self._group(flat.astype(np.float32))
        y_hat = np.zeros_like(remainder)
        encoder, checksum, level_bits = RangeEncoder(), SymbolChecksum(), []
        position_bits = np.zeros((1, grid.height * grid.width))
        walk = self._prior.walk(grid)
        assert isinstance(level, Level)
        count = level.anchor + 1
        packed = np.empty((count, self._config.groups, grid.height * grid.width), np.int32)
        for number in range(count):
            bits = 0.0
            for part, frequencies in walk.parts(number):
                costs = PRECISION - np.log2(frequencies)
                weighed = costs * self._distance_per_bit(number) if self._weighs else None
                latents = remainder[part]
                indices = self._codebook.choose(latents, number, part.group, weighed)
                encoder.encode_each(indices, frequencies)
                checksum.add(indices)
                chosen_costs = costs[np.arange(len(indices)), indices]
                bits += float(chosen_costs.sum())
                position_bits[0, part.squares] += chosen_costs
                walk.tell(number, part, indices)
                packed[number][part] = indices
                chosen = self._codebook.look_up(indices, number, part.group)
                y_hat[part] += chosen
                remainder[part] -= chosen
            level_bits.append(bits)
        return RoundedIndices(
            encoder.finish(),
            checksum.value,
            self._ungroup(y_hat, grid),
            grid.to_spatial(packed.reshape(-1, packed.shape[2])).reshape(
                *packed.shape[:2], grid.height, grid.width
            ),
            tuple(level_bits),
            grid.to_spatial(position_bits).reshape(grid.height, grid.width),
        )

    def write(self, rounded: Rounded) -> bytes:
        """Stream of what `round` gave."""
        assert isinstance(rounded, RoundedIndices)
        return rounded.stream

    def read(
        self,
        stream: bytes,
        rows: int,
        columns: int,
        level: Levels,
        levels: int | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.float32], int]:
        """Decode latents of a given size; see `codec.entropy.coder.SymbolCoder.read`."""
        grid = LatentGrid(rows, columns, CHECKERBOARD)
        y_hat = np.zeros((self._config.groups, rows * columns, self._config.dimensions), np.float32)
        decoder, checksum = RangeDecoder(stream), SymbolChecksum()
        walk = self._prior.walk(grid)
        assert isinstance(level, Level)
        count = level.anchor + 1
        for number in range(count):
            for part, frequencies in walk.parts(number):
                indices = decoder.decode_each(frequencies)
                checksum.add(indices)
                walk.tell(number, part, indices)
                if number < (count if levels is None else levels):
                    y_hat[part] += self._codebook.look_up(indices, number, part.group)
        decoder.finish()
        return self._ungroup(y_hat, grid), checksum.value

    def _distance_per_bit(self, number: int) -> float:
        return math.log(2) / self._config.assignment_lambda(number)

    def _group(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """[M, H*W] to [G, H*W, D]; group g holds the channels g, g + G, g + 2G, ..."""
        parts = y.reshape(self._config.dimensions, self._config.groups, -1)
        return np.ascontiguousarray(parts.transpose(1, 2, 0))

    def _ungroup(self, latents: NDArray[np.float32], grid: LatentGrid) -> NDArray[np.float32]:
        """[G, H*W, D] in packed order to [M, H, W]."""
        y = latents.transpose(2, 0, 1).reshape(self._config.latent, -1)
        return grid.to_spatial(y).reshape(len(y), grid.height, grid.width)
