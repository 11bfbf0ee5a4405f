"""Offsets of a map of levels to bytes and back, see `codec.level_map`.

An offset is predicted from those to the left (a), above (b) and above to the left (c): by
a + b - c, clamped to the range of a and b (Martucci 1990), or by the one neighbour that there is.
What it differs by has a two-sided geometric density whose ratio, in 256ths, is the first byte.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.entropy.range_coder import CoderTables, RangeDecoder, RangeEncoder
from codec.entropy.tables import TOTAL, FrequencyTables
from codec.errors import DamagedFileError
from codec.level_map import RANGE, Offsets

REACH = RANGE[-1] - RANGE[0]
"""Largest difference."""
START = 1 << 22
"""What the ratio takes its powers of."""


def table_of(ratio: int) -> FrequencyTables:
    """Frequencies of differences -255..255 for a ratio of 0..255, in 256ths."""
    powers = [START]
    for _ in range(REACH):
        powers.append(powers[-1] * ratio >> 8)
    falling = np.array(powers, np.int64)
    shares = np.concatenate([falling[:0:-1], falling])
    frequencies = 1 + shares * (TOTAL - len(shares)) // shares.sum()
    frequencies[REACH] += TOTAL - frequencies.sum()
    return FrequencyTables.build([-REACH], [frequencies])


def write_offsets(offsets: Offsets) -> bytes:
    """Bytes of the offsets of a picture's cells [rows, columns], with the ratio of least cost."""
    differences = np.empty(offsets.shape, np.int32)
    known = offsets.tolist()
    for row, line in enumerate(known):
        for column, offset in enumerate(line):
            differences[row, column] = offset - _predicted(known, row, column)
    flat = differences.reshape(-1)
    numbers = np.zeros(len(flat), np.intp)
    ratio = min(range(256), key=lambda one: float(table_of(one).bits(flat, numbers).sum()))
    encoder = RangeEncoder()
    encoder.encode(flat, numbers, CoderTables(table_of(ratio)))
    return bytes([ratio]) + encoder.finish()


def read_offsets(data: bytes, shape: tuple[int, int]) -> Offsets:
    """Offsets of a picture with that many rows and columns of cells.

    Raises:
        DamagedFileError: the bytes are no map of such a picture.
    """
    decoder = RangeDecoder(data[1:])
    numbers: NDArray[np.intp] = np.zeros(shape[0] * shape[1], np.intp)
    differences = decoder.decode(numbers, CoderTables(table_of(data[0]))).reshape(shape).tolist()
    decoder.finish()
    for row, line in enumerate(differences):
        for column in range(len(line)):
            line[column] += _predicted(differences, row, column)
            if line[column] not in RANGE:
                raise DamagedFileError("damaged: an impossible map of levels")
    return np.array(differences, np.int8)


def _predicted(offsets: list[list[int]], row: int, column: int) -> int:
    """What the offsets before one in reading order make expect there."""
    if not row:
        return offsets[0][column - 1] if column else 0
    above = offsets[row - 1][column]
    if not column:
        return above
    left, corner = offsets[row][column - 1], offsets[row - 1][column - 1]
    return min(max(left + above - corner, min(left, above)), max(left, above))
