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
from codec.runtime.weights import Weights


@dataclass(frozen=True)
class CodedLatents:
    """What the encoder made of a picture's latents."""

    stream: bytes
    checksum: int
    """CRC-32 of all symbols in coding order, as little-endian int16."""
    y_hat: NDArray[np.float32]
    """What the decoder will see, [M, H, W]."""
    z_bits: float
    """-log2 P by the integer tables, of z and of each pass of y."""
    first_bits: float
    second_bits: float

    @property
    def bits(self) -> float:
        return self.z_bits + self.first_bits + self.second_bits


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
        """Round and code.

        Args:
            y: latents after the gain, [M, H, W].
            z: hyper-latents, [hyper, ceil(H/4), ceil(W/4)].
            level: position on the ladder of lambdas in units of 2^-12.
        """
        prior, grid = self._weights.prior, LatentGrid(*y.shape[1:])
        encoder, checksum = RangeEncoder(), SymbolChecksum()
        first_y, second_y = grid.pack(np.nan_to_num(y))

        z_table = self._z_table(grid)
        z_symbols = np.rint(np.nan_to_num(z)).clip(-2047, 2047).astype(np.int32).reshape(-1)
        z_symbols = self._weights.z_tables.clamp(z_symbols, z_table)
        encoder.encode(z_symbols, z_table, self._z_coder)
        checksum.add(z_symbols)
        z_bits = self._weights.z_tables.bits(z_symbols, z_table)
        features = prior.features(z_symbols.reshape(z.shape), level, grid)

        def code(
            prediction: Prediction, packed: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], float]:
            tables, table = self._weights.y_tables, prediction.table
            symbols = tables.clamp(prediction.residual(packed), table)
            encoder.encode(symbols.reshape(-1), table.reshape(-1), self._y_coder)
            checksum.add(symbols)
            return prediction.reconstruct(symbols), tables.bits(symbols, table)

        first, first_bits = code(prior.first_pass(features, level, grid), first_y)
        second, second_bits = code(prior.second_pass(features, first, level, grid), second_y)
        y_hat = _to_float(grid, first, second)
        stream = encoder.finish()
        return CodedLatents(stream, checksum.value, y_hat, z_bits, first_bits, second_bits)

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
