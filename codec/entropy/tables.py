"""Integer frequency tables: the only probabilities that the range coder ever sees.

A table covers the symbols low .. low + n - 1 with frequencies that sum to 2^24, each at
least 1. They are made once, at export, and stored; nothing is computed from a float when a
file is coded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codec.errors import WeightsError

PRECISION = 24
TOTAL = 2**PRECISION
MAX_SYMBOL = 4095
"""Largest magnitude of a symbol in any table."""


def quantise_frequencies(probabilities: NDArray[np.float64]) -> NDArray[np.int32]:
    """Integer frequencies >= 1 summing to 2^24, closest to `probabilities` [n].

    The largest entry takes what rounding leaves over.

    Raises:
        WeightsError: the probabilities are not finite, negative or all zero.
    """
    total = float(probabilities.sum())
    if not (np.isfinite(total) and total > 0 and probabilities.min() >= 0):
        raise WeightsError("a probability table is not finite or has no mass")
    share = probabilities / total * (TOTAL - len(probabilities))
    frequencies = 1 + np.floor(share).astype(np.int64)
    frequencies[np.argmax(frequencies)] += TOTAL - frequencies.sum()
    return frequencies.astype(np.int32)


class FrequencyTables:
    """A family of frequency tables, addressed by number.

    Args:
        low: least symbol of each table, int32 [count].
        size: number of symbols of each table, int32 [count].
        frequencies: all tables one after the other, int32 [sum of sizes].

    Raises:
        WeightsError: shapes do not match, or a table is empty, too wide, has an entry
            below 1 or another sum than 2^24.
    """

    def __init__(
        self, low: NDArray[np.int32], size: NDArray[np.int32], frequencies: NDArray[np.int32]
    ) -> None:
        parts = (low, size, frequencies)
        if any(a.dtype != np.int32 or a.ndim != 1 for a in parts) or len(low) != len(size):
            raise WeightsError("frequency tables must be one-dimensional int32 arrays")
        high = low.astype(np.int64) + size - 1
        if len(low) == 0 or size.min() < 2 or low.min() < -MAX_SYMBOL or high.max() > MAX_SYMBOL:
            raise WeightsError("a frequency table is empty or too wide")
        if size.sum(dtype=np.int64) != len(frequencies):
            raise WeightsError("the frequency tables have another length than they declare")
        starts = np.concatenate([[0], np.cumsum(size[:-1], dtype=np.int64)])
        sums = np.add.reduceat(frequencies.astype(np.int64), starts)
        if frequencies.min() < 1 or np.any(sums != TOTAL):
            raise WeightsError("a frequency table has an entry below 1 or does not sum to 2^24")
        self.low, self.high = low, high.astype(np.int32)
        self.size = size
        self.frequencies = frequencies
        self._starts = starts

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, number: int) -> NDArray[np.int32]:
        start = self._starts[number]
        return self.frequencies[start : start + self.size[number]]

    @classmethod
    def build(cls, low: Sequence[int], tables: Sequence[NDArray[np.int32]]) -> FrequencyTables:
        """Join separate tables."""
        sizes = np.array([len(t) for t in tables], np.int32)
        return cls(np.array(low, np.int32), sizes, np.concatenate(tables).astype(np.int32))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.int32]], name: str) -> FrequencyTables:
        """Read `name.low`, `name.size`, `name.frequencies`."""
        try:
            parts = [tensors[f"{name}.{part}"] for part in ("low", "size", "frequencies")]
        except KeyError as error:
            raise WeightsError(f"the weights lack the table {error.args[0]}") from error
        return cls(*parts)

    def to_tensors(self, name: str) -> dict[str, NDArray[np.int32]]:
        return {
            f"{name}.low": self.low,
            f"{name}.size": self.size,
            f"{name}.frequencies": self.frequencies,
        }

    def clamp(self, symbols: NDArray[np.int32], table: NDArray[np.integer]) -> NDArray[np.int32]:
        """Symbols moved into the support of their tables; shapes broadcast."""
        return np.clip(symbols, self.low[table], self.high[table])

    @cached_property
    def _costs(self) -> NDArray[np.float64]:
        return PRECISION - np.log2(self.frequencies)

    def bits(self, symbols: NDArray[np.int32], table: NDArray[np.integer]) -> NDArray[np.float64]:
        """-log2 P of each symbol, which must lie in the support of its table."""
        return self._costs[self._starts[table] + symbols - self.low[table]]
