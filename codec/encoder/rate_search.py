"""The search for a rate level that meets a target, over any quantity that rises with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_TRIALS = 20


class LevelSearch(Generic[T]):
    """Finds the level whose value comes closest to a target on one side of it.

    Args:
        trial: what comes of a level, and its value, which rises with the level.
        low: least level.
        high: greatest level.
        slope: first guess of the value's rise per level.
        tolerance: distance to the target that is close enough.
    """

    def __init__(
        self,
        trial: Callable[[int], tuple[T, float]],
        low: int,
        high: int,
        slope: float,
        tolerance: float,
    ) -> None:
        self._trial = trial
        self._low = low
        self._high = high
        self._slope = slope
        self._tolerance = tolerance

    def greatest_below(self, target: float) -> T | None:
        """The greatest value that is not above the target; None if even the least is."""
        return self._run(target, sign=1)

    def least_above(self, target: float) -> T | None:
        """The least value that is not below the target; None if even the greatest is."""
        return self._run(target, sign=-1)

    def _run(self, target: float, sign: int) -> T | None:
        """Safeguarded secant steps; `sign` 1 looks below the target, -1 above it."""
        low, high = self._low, self._high
        aim = target - sign * self._tolerance / 2
        level = (low + high) // 2
        slope, last = self._slope, None
        best: tuple[float, T] | None = None
        for _ in range(MAX_TRIALS):
            result, value = self._trial(level)
            gap = sign * (target - value)
            if gap >= 0 and (best is None or gap < best[0]):
                best = gap, result
                if gap <= self._tolerance:
                    break
            if value > target:
                high = level - 1
            else:
                low = level + 1
            if low > high:
                break
            if last is not None and level != last[0] and (value - last[1]) * (level - last[0]) > 0:
                slope = (value - last[1]) / (level - last[0])
            last = level, value
            reach = high - low + 2  # a step beyond is no more than a step outside
            step = level + round(max(-reach, min((aim - value) / slope, reach)))
            level = step if low <= step <= high else self._inside(step, low, high)
        return best[1] if best else None

    def _inside(self, step: int, low: int, high: int) -> int:
        """A level inside the bracket where a secant step leaves it.

        At the ends of the ladder nothing lies beyond, so the end itself is tried.
        """
        if step < low:
            return self._low if low == self._low else (low + high) // 2
        return self._high if high == self._high else (low + high) // 2
