"""Threads that share one walk of an exact prior: sums are exact, so any division gives the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

POSITIONS_EACH = 256
"""Latent positions below which a thread takes longer to be told of its work than to do it."""


class Crew:
    """The calling thread and others beside it.

    Args:
        others: run work for it; None for no others.
        count: number of all.
    """

    def __init__(self, others: Executor | None = None, count: int = 1) -> None:
        self._others = others
        self._count = count

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Results in the order of the items; the calling thread takes every `count`-th of them."""
        if self._others is None:
            return [function(item) for item in items]
        work = list(items)
        waiting = {
            number: self._others.submit(function, item)
            for number, item in enumerate(work)
            if number % self._count
        }
        own = {number: function(work[number]) for number in range(0, len(work), self._count)}
        return [
            own[number] if number in own else waiting[number].result()
            for number in range(len(work))
        ]

    def rows(self, height: int) -> list[slice]:
        """Strips of rows of about equal height, one for each of the crew."""
        count = min(self._count, max(height, 1))
        ends = [height * number // count for number in range(count + 1)]
        return [slice(*strip) for strip in itertools.pairwise(ends)]


ALONE = Crew()


@contextmanager
def crew_for(threads: int, positions: int) -> Iterator[Crew]:
    """Give a crew for a number of latent positions, `threads` of them at most."""
    count = min(threads, positions // POSITIONS_EACH)
    if count < 2:
        yield ALONE
        return
    with ThreadPoolExecutor(count - 1, "prior") as pool:
        yield Crew(pool, count)
