"""Bjontegaard difference of rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MIN_POINTS = 2

Points = Sequence[tuple[float, float]]
"""(bits per pixel, quality in dB), all finite, in any order."""


@dataclass(frozen=True)
class Gap:
    """Difference in rate at equal quality."""

    rate: float | None
    """Per cent; negative for fewer bits. None if undefined."""
    low: float
    high: float
    """Lower end of the range of quality in dB that both curves cover."""
    reason: str
    """Reason why the rate is undefined; empty otherwise."""


def bd_rate(anchor: Points, test: Points) -> Gap:
    """Mean difference in rate of `test` against `anchor` at equal quality (Bjontegaard 2001).

    PCHIP over log rate, on the range of quality that both cover. The difference is undefined if a
    curve has fewer than two points or two of equal quality, or if the ranges are disjoint.
    """
    import bjontegaard

    def none(reason: str) -> Gap:
        return Gap(None, math.nan, math.nan, reason)

    if len(anchor) < MIN_POINTS or len(test) < MIN_POINTS:
        return none("a curve needs two points at least")
    (anchor_quality, anchor_rate), (quality, rate) = (
        zip(*sorted((quality, rate) for rate, quality in points), strict=True)
        for points in (anchor, test)
    )
    if any(one == other for q in (anchor_quality, quality) for one, other in pairwise(q)):
        return none("two points of a curve have the same quality")
    low, high = max(anchor_quality[0], quality[0]), min(anchor_quality[-1], quality[-1])
    if low >= high:
        return none(
            f"no quality in common: {anchor_quality[0]:.1f} to {anchor_quality[-1]:.1f} dB, "
            f"ours {quality[0]:.1f} to {quality[-1]:.1f} dB"
        )
    difference = bjontegaard.bd_rate(
        anchor_rate,
        anchor_quality,
        rate,
        quality,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    return Gap(float(difference), low, high, "")


def decibels(ms_ssim: float) -> float:
    """MS-SSIM on a scale that spreads values near 1: -10 log10(1 - MS-SSIM)."""
    return -10 * math.log10(max(1 - ms_ssim, 1e-10))
