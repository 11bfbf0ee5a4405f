"""Tiles on several threads: transforms and prior leave the interpreter free while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class Mapper(Protocol):
    """`map`, on one thread or on several; results in order."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


@contextmanager
def workers(count: int) -> Iterator[Mapper]:
    """A `map` that runs on `count` threads, which share those that torch would use."""
    if count == 1:
        yield map
        return
    threads = torch.get_num_threads()
    share = max(1, threads // count)
    pool = ThreadPoolExecutor(count, "tile", torch.set_num_threads, (share,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # setting it in a worker sets it for later threads too
