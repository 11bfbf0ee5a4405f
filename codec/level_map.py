"""The rate level by latent position: one for the whole picture, or a map of offsets to it.

A map has an offset for each cell of 32x32 pixels, in units of an eighth of an anchor. Levels of
latent positions are interpolated between the centres of cells, so that quality changes gradually;
all that depends on the level then depends on the position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.level import UNITS, Level
from codec.tiles import HYPER_STRIDE, Box

CELL = 32
"""Side of a cell in pixels: two latent positions."""
STEP = UNITS // 8
"""Levels that a unit of an offset stands for."""
RANGE = range(-128, 128)
"""Offsets that a map may have."""

Levels = Level | NDArray[np.int32]
"""One level for all latent positions, or levels [H, W] of each."""
Offsets = NDArray[np.int8]
"""Offsets of the cells of a picture, [ceil(height / 32), ceil(width / 32)]."""

_NEAR, _FAR = 3, 1
"""Weights, in quarters, of the cell that a latent position lies in and of the next one."""


def map_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the cells of a picture."""
    return -(-height // CELL), -(-width // CELL)


@dataclass(frozen=True)
class LevelMap:
    """The levels of a picture.

    Args:
        base: level of the file.
        offsets: of its cells, [rows, columns]; None for one level everywhere.
        top: highest level of the model.
    """

    base: Level
    offsets: Offsets | None
    top: Level

    def within(self, box: Box) -> Levels:
        """Levels of a box of latent positions."""
        if self.offsets is None:
            return self.base
        rows = _interpolated(self.offsets.astype(np.int32), box.top, box.bottom)
        sums = _interpolated(rows.T, box.left, box.right).T
        levels = self.base + sums * (STEP // (_NEAR + _FAR) ** 2)
        return levels.clip(0, self.top).astype(np.int32)


def _interpolated(cells: NDArray[np.int32], start: int, end: int) -> NDArray[np.int32]:
    """Rows of latent positions from rows of cells, times 4; beyond the border the last one counts.

    A position's centre lies a quarter of a cell from that of its own, towards the one above for
    the first of a cell and the one below for the second.
    """
    positions = np.arange(start, end)
    own = positions // 2
    other = (own + np.where(positions % 2, 1, -1)).clip(0, len(cells) - 1)
    return _NEAR * cells[own] + _FAR * cells[other]


def part_of(levels: Levels, box: Box) -> Levels:
    """Levels of a part of the latent positions."""
    return levels if isinstance(levels, Level) else levels[box.slices]


def of_hyper(levels: Levels) -> Levels:
    """Levels of the positions of z: of each one's 4x4 latent positions the third in both
    directions, or the last one that there is."""
    if isinstance(levels, Level):
        return levels
    rows, columns = (
        np.minimum(np.arange(0, side, HYPER_STRIDE) + HYPER_STRIDE // 2, side - 1)
        for side in levels.shape
    )
    return levels[rows[:, None], columns]


def nearest_anchors(levels: Levels) -> NDArray[np.integer]:
    """Numbers of the anchors nearest to some levels, [] or [H, W]; the higher one of two."""
    return (np.asarray(levels) + UNITS // 2) // UNITS


def rows_at(table: NDArray[np.floating], levels: Levels) -> NDArray[np.floating]:
    """Rows of a table at some levels, linearly interpolated.

    Args:
        table: [anchors, C].
        levels: one, or [H, W].

    Returns:
        [C], or [H, W, C], of the table's type.
    """
    at = np.asarray(levels)
    low = np.minimum(at // UNITS, max(len(table) - 2, 0))
    share = (at / UNITS - low).astype(table.dtype)[..., None]
    below: NDArray[np.floating] = table[low]
    return below + share * (table[np.minimum(low + 1, len(table) - 1)] - below)
