"""Threads of torch: pools of them, and what must be done about them at a fork."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

LEAVING_SECONDS = 1.0
"""Far more than a thread takes to leave."""

_STARTING = threading.Lock()
"""Held while the threads of a pool start: torch's number of threads differs meanwhile."""
_POOLED: set[int] = set()
"""Native ids of the threads of pools, some of which may have ended."""


def threads() -> int:
    """Threads that a call of this thread may use."""
    with _STARTING:
        return torch.get_num_threads()


def pool(count: int) -> ThreadPoolExecutor:
    """Threads to run torch from, which together use as many as one call of this thread would."""
    # torch has one number of threads for each thread that has used it and one that new threads
    # inherit, and setting the first sets the second: it is put back once all have started.
    with _STARTING:
        _forget_gone()
        available = torch.get_num_threads()
        started = threading.Barrier(count + 1)

        def begin() -> None:
            _POOLED.add(threading.get_native_id())
            torch.get_num_threads()  # or the first use would set what new threads inherit
            torch.set_num_threads(max(1, available // count))
            started.wait()

        executor = ThreadPoolExecutor(count, "tile", begin)
        try:
            for _ in range(count):  # each starts a thread, since none is idle yet
                executor.submit(int)
            started.wait()
        except BaseException:  # no thread more, or a signal: those that wait for it must end
            started.abort()
            executor.shutdown(wait=False)
            raise
        finally:
            torch.set_num_threads(available)
    return executor


def _before_fork() -> None:
    """Wait until threads of pools that have ended have left the process: Python counts them as
    ended a moment before, while they still hold MKL's allocator, in which the forked process would
    then wait forever."""
    latest = time.monotonic() + LEAVING_SECONDS
    while _forget_gone() and time.monotonic() < latest:
        time.sleep(0.0002)


def _forget_gone() -> bool:
    """Take threads that have left out of `_POOLED`; tells whether one has ended and not left."""
    running = {thread.native_id for thread in threading.enumerate()}
    ended = _POOLED - running
    leaving = {number for number in ended if Path(f"/proc/self/task/{number}").exists()}
    _POOLED.difference_update(ended - leaving)
    return bool(leaving)


def _after_fork() -> None:
    """Run on one thread: a forked process has none of its parent's OpenMP threads, but OpenMP goes
    on counting on them, and the first parallel loop would wait for them forever."""
    global _STARTING
    _STARTING = threading.Lock()  # another thread of the parent may have held it
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
