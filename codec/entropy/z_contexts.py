"""Contexts of the hyper-latents z: what a symbol's neighbours to the left and above say of it.

The density that z is trained with knows its channel alone. In photographs neighbours of z are
alike, and its scale changes with the rate: so a file takes, for each symbol, one of a family of
tables by the channel, the anchor nearest to the rate level, and the two neighbours, each clamped
to -2..2. z is coded diagonal by diagonal, so that the neighbours are known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

REACH = 2
"""Magnitude to which neighbours are clamped."""
SIDE = 2 * REACH + 1
CONTEXTS = SIDE**2


class Positions(NamedTuple):
    """Some positions of z."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def everywhere(height: int, width: int) -> Positions:
    """All positions, row by row."""
    rows, columns = np.indices((height, width)).reshape(2, -1)
    return Positions(rows, columns)


def diagonals(height: int, width: int) -> list[Positions]:
    """The positions with row + column = 0, 1, 2, ..., each from the uppermost down."""
    rows, columns = everywhere(height, width)
    numbers = rows + columns
    return [
        Positions(rows[numbers == number], columns[numbers == number])
        for number in range(height + width - 1)
    ]


def contexts(z: NDArray[np.integer], positions: Positions) -> NDArray[np.intp]:
    """Numbers of the contexts at n positions, [..., n] in 0 .. 24.

    A neighbour outside is taken to be like the other one; the first position sees zeros.

    Args:
        z: [..., H, W]; read to the left of the positions and above them.
        positions: n positions.
    """
    rows, columns = positions
    left, up = z[..., rows, columns - 1], z[..., rows - 1, columns]
    left = np.where(columns > 0, left, np.where(rows > 0, up, 0))
    up = np.where(rows > 0, up, left)
    numbers = SIDE * (left.clip(-REACH, REACH) + REACH) + up.clip(-REACH, REACH) + REACH
    return numbers.astype(np.intp)
