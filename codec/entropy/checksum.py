"""Checksum of decoded symbols, which detects what a range decoder got wrong."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


class SymbolChecksum:
    """CRC-32 of symbols in coding order, as little-endian int16."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, symbols: NDArray[np.int32]) -> None:
        """Append symbols of any shape, in C order."""
        self.value = zlib.crc32(np.ascontiguousarray(symbols, "<i2").tobytes(), self.value)
