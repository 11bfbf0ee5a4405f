"""Jobs in several processes, which leave nothing half written however they end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from codec.cli import interruption
from codec.cli.outcome import SOME_FAILED, Outcome, Task, attempt, failed_outcome
from codec.cli.plan import Job
from codec.engine.threads import thread_count

if TYPE_CHECKING:
    from concurrent.futures import Future
    from multiprocessing.process import BaseProcess

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
REMOVAL_SECONDS = 1.0
"""Far more than a worker takes to remove what it has half written."""


def in_processes(task: Task, jobs: Sequence[Job], count: int) -> Iterator[Outcome]:
    """Outcomes of jobs, in order, from so many processes at once.

    After a process has died, the next job without a result is tried again alone, which tells
    whether it was the cause.
    """
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import active_children, get_context

    share = str(max(1, thread_count() // count))
    for name in THREAD_VARIABLES:  # read by the libraries when the processes start
        os.environ.setdefault(name, share)

    def started(workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, get_context("spawn"), start_worker)

    def submitted(left: Iterable[Job]) -> Iterator[Future[Outcome]]:
        for job in left:
            try:
                yield pool.submit(_attempt_elsewhere, task, job)
            except BrokenProcessPool as error:
                failed: Future[Outcome] = Future()
                failed.set_exception(error)
                yield failed

    pool = started(count)
    try:
        futures = list(submitted(jobs))
        for number, job in enumerate(jobs):
            try:
                outcome = futures[number].result()
            except BrokenProcessPool:  # one of those in work has ended its process, and so all
                pool.shutdown(cancel_futures=True)
                pool = started(1)
                try:
                    outcome = pool.submit(_attempt_elsewhere, task, job).result()
                except BrokenProcessPool:
                    message = f"{job.source}: its process died; out of memory? try fewer --jobs"
                    outcome = failed_outcome(job, message, SOME_FAILED)
                pool.shutdown()
                left = [n for n in range(number + 1, len(jobs)) if _has_no_result(futures[n])]
                pool = started(count)
                for n, future in zip(left, submitted(jobs[n] for n in left), strict=True):
                    futures[n] = future
            yield outcome
    except (KeyboardInterrupt, SystemExit):
        _end_all(active_children())
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _has_no_result(future: Future[Outcome]) -> bool:
    return future.cancelled() or future.exception() is not None


def _attempt_elsewhere(task: Task, job: Job) -> Outcome:
    # Between jobs there is nothing to remove, and an exception would meet the next signal of the
    # pool in some function that runs at exit.
    signal.signal(signal.SIGTERM, interruption.receive)
    try:
        return attempt(task, job)
    except SystemExit as error:  # of a signal; the pool would take it for a result
        os._exit(error.code if isinstance(error.code, int) else SOME_FAILED)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_all(workers: Sequence[BaseProcess]) -> None:
    """End workers, which remove what they have half written; again, as `_end_with_parent` does."""
    from multiprocessing.connection import wait

    while alive := [worker for worker in workers if worker.is_alive()]:
        for worker in alive:
            worker.terminate()
        wait([worker.sentinel for worker in alive], timeout=REMOVAL_SECONDS)


def start_worker() -> None:
    """Make a process of the pool leave SIGINT to its parent, and end with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent acts
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed outright tells its workers nothing.

    Once is not enough: a signal that arrives just before the main thread begins to wait does not
    wake it, and what the handler raises is dropped where Python ignores exceptions.
    """
    from multiprocessing import parent_process

    if parent := parent_process():
        parent.join()
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(REMOVAL_SECONDS)
