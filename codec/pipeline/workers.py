"""Tiles on several threads: transforms and prior leave the interpreter free while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Protocol, TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


class Mapper(Protocol):
    """`map`, on one thread or on several; results in order."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def workers(count: int) -> Iterator[Mapper]:
    """A `map` that runs on `count` threads, which share those that torch would use.

    BLAS has one thread meanwhile. The matrices of the exact prior are so small that two are hardly
    faster, and they wait busily for the next product for some 25 ms, on the very cores that the
    transforms want: after them g_s takes twice as long.
    """
    with _libraries().limit(limits=1, user_api="blas"):
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
