"""Rounded latents to bytes and back: z, then y in two passes, in one range-coded stream.

Encoder and decoder walk the same exact prior; the encoder feeds it its own rounded values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.checksum import SymbolChecksum
from codec.bitstream.range_coder import CoderTables, RangeDecoder, RangeEncoder
from codec.runtime.dyadic import UNIT
from codec.runtime.exact_prior import LatentGrid, Prediction
from codec.runtime.tables import FrequencyTables
from codec.runtime.weights import Weights


@dataclass(frozen=True)
class Symbols:
    """One group of symbols in coding order, each with its table."""

    values: NDArray[np.int32]
    """[n], inside the support of their tables."""
    table: NDArray[np.integer]
    """[n]."""
    bits: NDArray[np.float64]
    """-log2 P of each by the integer tables, [n]."""


@dataclass(frozen=True)
class RoundedLatents:
    """Latents as the decoder will have them, with their exact cost, before they are coded."""

    grid: LatentGrid
    z: Symbols
    first: Symbols
    """Pass 1 of y."""
    second: Symbols
    """Pass 2 of y."""
    y_hat: NDArray[np.float32]
    """What the decoder will see, [M, H, W]."""

    @property
    def groups(self) -> tuple[Symbols, Symbols, Symbols]:
        """In coding order."""
        return self.z, self.first, self.second

    @property
    def bits(self) -> float:
        """-log2 P of all symbols."""
        return sum(float(group.bits.sum()) for group in self.groups)

    @property
    def position_bits(self) -> NDArray[np.float64]:
        """-log2 P by latent position, [H, W]; those of z are shared by the positions it covers."""
        grid = self.grid
        packed = np.stack([self.first.bits, self.second.bits]).reshape(-1, grid.height * grid.width)
        y_bits = grid.to_spatial(packed.sum(0, keepdims=True)).reshape(grid.height, grid.width)
        return y_bits + self._z_bits_by_position()

    def _z_bits_by_position(self) -> NDArray[np.float64]:
        rows, columns = (np.arange(n) // 4 for n in (self.grid.height, self.grid.width))
        by_hyper = self.z.bits.reshape(-1, *self.grid.hyper_shape).sum(0)
        share = np.outer(np.bincount(rows), np.bincount(columns))
        return (by_hyper / share)[rows[:, None], columns]


@dataclass(frozen=True)
class CodedLatents:
    """What the encoder made of a picture's latents."""

    stream: bytes
    checksum: int
    """CRC-32 of all symbols in coding order, as little-endian int16."""
    rounded: RoundedLatents

    @property
    def y_hat(self) -> NDArray[np.float32]:
        """What the decoder will see, [M, H, W]."""
        return self.rounded.y_hat

    @property
    def bits(self) -> float:
        """-log2 P of all symbols by the integer tables."""
        return self.rounded.bits


class LatentCoder:
    """Codes the latents of one model; keeps the coder's tables between pictures."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    @cached_property
    def _y_coder(self) -> CoderTables:
        return CoderTables(self._weights.y_tables)

    @cached_property
    def _z_coder(self) -> CoderTables:
        return CoderTables(self._weights.z_tables)

    def _z_table(self, grid: LatentGrid) -> NDArray[np.intp]:
        rows, columns = grid.hyper_shape
        return np.repeat(np.arange(self._weights.config.hyper), rows * columns)

    def encode(self, y: NDArray[np.floating], z: NDArray[np.floating], level: int) -> CodedLatents:
        """`round` and `write`."""
        return self.write(self.round(y, z, level))

    def round(self, y: NDArray[np.floating], z: NDArray[np.floating], level: int) -> RoundedLatents:
        """Round, and find the exact cost of what comes of it.

        Args:
            y: latents after the gain, [M, H, W].
            z: hyper-latents, [hyper, ceil(H/4), ceil(W/4)].
            level: position on the ladder of lambdas in units of 2^-12.
        """
        prior, grid = self._weights.prior, LatentGrid(*y.shape[1:])
        z_symbols = np.rint(np.nan_to_num(z)).clip(-2047, 2047).astype(np.int32).reshape(-1)
        z_group = _symbols(self._weights.z_tables, z_symbols, self._z_table(grid))
        features = prior.features(z_group.values.reshape(z.shape), level, grid)

        def round_pass(
            prediction: Prediction, packed: NDArray[np.float64]
        ) -> tuple[Symbols, NDArray[np.float64]]:
            table = prediction.table
            residual = prediction.residual(packed)
            group = _symbols(self._weights.y_tables, residual.reshape(-1), table.reshape(-1))
            return group, prediction.reconstruct(group.values.reshape(table.shape))

        first_y, second_y = grid.pack(np.nan_to_num(y))
        first, first_hat = round_pass(prior.first_pass(features, level, grid), first_y)
        prediction = prior.second_pass(features, first_hat, level, grid)
        second, second_hat = round_pass(prediction, second_y)
        return RoundedLatents(grid, z_group, first, second, _to_float(grid, first_hat, second_hat))

    def write(self, rounded: RoundedLatents) -> CodedLatents:
        """Code what `round` gave."""
        encoder, checksum = RangeEncoder(), SymbolChecksum()
        coders = (self._z_coder, self._y_coder, self._y_coder)
        for group, coder in zip(rounded.groups, coders, strict=True):
            encoder.encode(group.values, group.table, coder)
            checksum.add(group.values)
        return CodedLatents(encoder.finish(), checksum.value, rounded)

    def decode(
        self, stream: bytes, height: int, width: int, level: int
    ) -> tuple[NDArray[np.float32], int]:
        """Decode latents of a given size.

        Returns:
            (y^ [M, height, width], CRC-32 of the symbols).

        Raises:
            DamagedFileError: the stream is impossible.
        """
        prior, grid = self._weights.prior, LatentGrid(height, width)
        decoder, checksum = RangeDecoder(stream), SymbolChecksum()
        z_symbols = decoder.decode(self._z_table(grid), self._z_coder)
        checksum.add(z_symbols)
        features = prior.features(z_symbols.reshape(-1, *grid.hyper_shape), level, grid)

        def code(prediction: Prediction) -> NDArray[np.float64]:
            symbols = decoder.decode(prediction.table.reshape(-1), self._y_coder)
            checksum.add(symbols)
            return prediction.reconstruct(symbols.reshape(prediction.table.shape))

        first = code(prior.first_pass(features, level, grid))
        second = code(prior.second_pass(features, first, level, grid))
        decoder.finish()
        return _to_float(grid, first, second), checksum.value


def _to_float(
    grid: LatentGrid, first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float32]:
    plain: NDArray[np.float32] = (grid.unpack(first, second) / UNIT).astype(np.float32)
    return plain


def _symbols(
    tables: FrequencyTables, values: NDArray[np.int32], table: NDArray[np.integer]
) -> Symbols:
    clamped = tables.clamp(values, table)
    return Symbols(clamped, table, tables.bits(clamped, table))
