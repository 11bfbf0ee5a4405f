"""The rate level: where between a model's anchors a file lies."""

from __future__ import annotations

UNITS = 1 << 12
"""Levels between two anchors; what depends on the rate is interpolated in these steps."""


class Level(int):
    """Position on a model's ladder of lambdas, an integer in units of 1/4096 of an anchor.

    Files hold it in 16 bits. With rounding to centres the anchors are the residual levels, and a
    level is that of the last of them.

    >>> Level.at(2.5), Level.at(2.5).position, Level.at(2.5).anchor
    (10240, 2.5, 2)
    """

    @classmethod
    def at(cls, position: float) -> Level:
        """The level nearest to a position in units of anchors."""
        return cls(round(position * UNITS))

    @classmethod
    def of_anchor(cls, anchor: int) -> Level:
        """The level of an anchor, counted from 0."""
        return cls(anchor * UNITS)

    @property
    def position(self) -> float:
        """Level in units of anchors."""
        return self / UNITS

    @property
    def anchor(self) -> int:
        """Number of the anchor at or below the level."""
        return self // UNITS


LOWEST = Level.of_anchor(0)
"""The lowest level of every model."""
