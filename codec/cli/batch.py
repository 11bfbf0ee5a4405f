"""Runs jobs one after the other or in several processes, and reports on each."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children, parent_process
from typing import Any, Protocol

import click

from codec.cli.options import message_of
from codec.cli.plan import Job
from codec.errors import CodecError, InputError, one_line
from codec.files import STANDARD, check_folder, check_target

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
SOME_FAILED = 1


class Task(Protocol):
    """What is done with each job; it travels to other processes."""

    def __call__(self, job: Job) -> dict[str, Any]:
        """Do it; returns facts for the report."""

    def line(self, facts: dict[str, Any]) -> str:
        """The facts for people."""


@dataclass(frozen=True)
class Settings:
    """How a batch runs and what it prints."""

    force: bool
    skip_existing: bool
    dry_run: bool
    jobs: int
    as_json: bool
    quiet: bool
    make_folders: bool
    """Whether the folders of outputs are made."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    status: str
    """"done", "skipped", "planned" or "failed"."""
    facts: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def run_batch(task: Task, jobs: Sequence[Job], settings: Settings) -> int:
    """Run all jobs, whatever becomes of each.

    Returns:
        The exit status: that of the one job, or 1 if any of several failed.
    """
    if settings.as_json and any(job.target == STANDARD for job in jobs):
        raise click.UsageError("--json needs standard output, which OUT uses already")
    done = skipped = failed = 0
    status = 0
    with _progress(len(jobs), settings.quiet) as bar:
        for outcome in _outcomes(task, jobs, settings):
            bar.advance(lambda outcome=outcome: _report(task, outcome, settings))
            done += outcome.status in ("done", "planned")
            skipped += outcome.status == "skipped"
            failed += outcome.status == "failed"
            status = outcome.exit_code or status
    if len(jobs) == 1:
        return status
    if not settings.quiet and not settings.as_json:
        verb = "to do" if settings.dry_run else "done"
        click.echo(f"{done} {verb}, {skipped} skipped, {failed} failed", err=True)
    return SOME_FAILED if failed else 0


def _outcomes(task: Task, jobs: Sequence[Job], settings: Settings) -> Iterator[Outcome]:
    """Outcomes in order of the jobs; nothing heavy is loaded for what can be told before."""
    due: list[Job] = []
    early: dict[Job, Outcome] = {}
    for job in jobs:
        outcome = _foresee(job, settings)
        if outcome:
            early[job] = outcome
        else:
            due.append(job)
    count = min(settings.jobs, len(due))
    late = _in_processes(task, due, count) if count > 1 else _here(task, due)
    for job in jobs:
        yield early[job] if job in early else next(late)


def _foresee(job: Job, settings: Settings) -> Outcome | None:
    """What can be told without opening the input."""
    source, target = job.source, job.target
    try:
        if job.problem:
            raise InputError(f"{source}: {job.problem}")
        if source != STANDARD and not source.exists():
            raise InputError(f"{source}: no such file")
        if target != STANDARD and target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{target}: input and output are the same file")
        if settings.skip_existing and target != STANDARD and target.is_file():
            return Outcome(job, "skipped")
        if settings.make_folders:
            check_folder(target.parent)
        if target.parent.is_dir() or not settings.make_folders:
            check_target(target, settings.force)
    except CodecError as error:
        return _failed(job, message_of(error), error.exit_code)
    except OSError as error:
        return _failed(job, f"{error.filename or source}: {error.strerror}", SOME_FAILED)
    return Outcome(job, "planned") if settings.dry_run else None


def attempt(task: Task, job: Job) -> Outcome:
    """Run one job; errors become outcomes."""
    try:
        return Outcome(job, "done", task(job))
    except CodecError as error:
        return _failed(job, message_of(error), error.exit_code)
    except MemoryError:
        return _failed(job, f"{job.source}: out of memory; try a smaller picture", SOME_FAILED)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(job, f"{error.filename or job.source}: {error.strerror}", SOME_FAILED)


def _failed(job: Job, message: str, exit_code: int) -> Outcome:
    return Outcome(job, "failed", {"error": one_line(message)}, exit_code)


def _here(task: Task, jobs: Iterable[Job]) -> Iterator[Outcome]:
    for job in jobs:
        yield attempt(task, job)


def _in_processes(task: Task, jobs: Sequence[Job], count: int) -> Iterator[Outcome]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    share = str(max(1, (os.cpu_count() or 1) // count))
    for name in THREAD_VARIABLES:  # read by the libraries when the processes start
        os.environ.setdefault(name, share)
    pool = ProcessPoolExecutor(count, get_context("spawn"), _start_worker)
    try:
        futures = [pool.submit(_attempt_elsewhere, task, job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                message = f"{job.source}: its process died; out of memory? try fewer --jobs"
                yield _failed(job, message, SOME_FAILED)
    except (KeyboardInterrupt, SystemExit):
        for process in active_children():
            process.terminate()  # they remove what they have half written
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt_elsewhere(task: Task, job: Job) -> Outcome:
    try:
        return attempt(task, job)
    except SystemExit as error:  # of `terminate`; the pool would take it for a result
        os._exit(error.code if isinstance(error.code, int) else SOME_FAILED)


def _start_worker() -> None:
    from codec.cli.main import terminate

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent acts
    signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed outright tells its workers nothing.

    Once is not enough: a signal that arrives just before the main thread begins to wait does not
    wake it, and what the handler raises is dropped where Python ignores exceptions.
    """
    if parent := parent_process():
        parent.join()
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)  # far more than removing what is half written takes


def _report(task: Task, outcome: Outcome, settings: Settings) -> None:
    job = outcome.job
    if settings.as_json:
        names = {"source": str(job.source), "file": str(job.target), "status": outcome.status}
        code = {"exit_code": outcome.exit_code} if outcome.exit_code else {}
        click.echo(json.dumps(names | outcome.facts | code))
    if outcome.status == "failed":
        click.echo(f"vqcodec: {outcome.facts['error']}", err=True)
    elif settings.quiet or settings.as_json:
        return
    elif outcome.status == "done":
        click.echo(f"{job.target}  {task.line(outcome.facts)}", err=True)
    else:
        note = " exists, skipped" if outcome.status == "skipped" else f" <- {job.source}"
        click.echo(f"{job.target}{note}", err=True)


class _Bar:
    """A progress bar on a terminal, with the lines of the report above it."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, report: Any) -> None:
        if self._bar is None:
            report()
            return
        click.echo("\r\033[K", nl=False, err=True)
        report()
        self._bar.update(1)
        self._bar.render_progress()


@contextmanager
def _progress(length: int, quiet: bool) -> Iterator[_Bar]:
    if length < 2 or quiet or not sys.stderr.isatty():
        yield _Bar(None)
        return
    with click.progressbar(length=length, file=sys.stderr, label="files") as bar:
        yield _Bar(bar)
