"""Progress over the tiles of a picture."""

from __future__ import annotations

from threading import Lock

from codec.pool import Progress


class Steps:
    """Progress of one method over the tiles of a picture.

    Args:
        progress: called with (steps done, steps in all).
        total: steps in all.
        before: steps that were done before.
    """

    def __init__(self, progress: Progress | None, total: int, before: int = 0) -> None:
        self._progress = progress
        self._total = total
        self._before = before
        self._done: dict[int, int] = {}
        self._lock = Lock()

    def after(self, steps: int) -> Steps:
        """Progress of the next method, once so many steps are done."""
        return Steps(self._progress, self._total, self._before + steps)

    def report(self, number: int, done: int) -> None:
        """Report the steps of one tile done so far."""
        if self._progress:
            with self._lock:  # so that the sums never fall
                self._done[number] = done
                self._progress(self._before + sum(self._done.values()), self._total)
