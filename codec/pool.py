"""Threads that work on the tiles and windows of a picture, and the callback for their progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

from codec.engine.base import Engine

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

QUEUE = 2
"""Pieces of work for each thread that are in work, wait for it, or are done and not yet used."""


class Mapper(Protocol):
    """`map`, on one thread or on several; results in order."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


@contextmanager
def threaded_map(engine: Engine, count: int) -> Iterator[Mapper]:
    """Give a `map` on `count` threads, which share those that one call of the engine would use.

    Engine, prior and range coder leave the interpreter free while they run.
    """
    if count == 1:
        yield map
        return
    pool = engine.pool(count)
    try:
        yield partial(_map, pool, QUEUE * count)
    finally:
        pool.shutdown(cancel_futures=True)


def _map(pool: Executor, most: int, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map` on a pool; `items` are taken as they are needed, at most so many beyond a result."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
