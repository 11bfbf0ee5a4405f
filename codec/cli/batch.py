"""Runs the jobs of a command, and reports on each."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.cli.options import message_of
from codec.cli.outcome import SOME_FAILED, Outcome, Task, attempt, failed_outcome
from codec.cli.plan import Job, Plan
from codec.cli.processes import in_processes
from codec.cli.terminal import clear_line, progress, say, silence, tell
from codec.errors import CodecError, InputError, OutputError, one_line
from codec.files import STANDARD, check_folder, check_target, is_file
from codec.url import Place, Url

if TYPE_CHECKING:
    from codec.cluster.connection import Cluster


@dataclass(frozen=True)
class Settings:
    """Settings of a batch and of its report."""

    force: bool
    skip_existing: bool
    dry_run: bool
    jobs: int
    as_json: bool
    quiet: bool
    make_folders: bool
    """Whether the folders of outputs are made."""
    cluster: Cluster | None = None
    """Where to run instead of here."""
    folder: Place | None = None
    """The folder of outputs."""


def run_batch(task: Task, plan: Plan, settings: Settings) -> int:
    """Run all jobs, whatever becomes of each, and of the report on them.

    Returns:
        The exit status: that of the one job, or 1 if any of several failed.

    Raises:
        OSError: the report could not be written to standard output.
    """
    jobs = plan.jobs
    if settings.as_json and any(job.target == STANDARD for job in jobs):
        raise click.UsageError("--json needs standard output, which OUT uses already")
    report = _Report(task, settings)
    done = skipped = failed = larger = 0
    status = 0
    with progress("files", len(jobs) > 1 and not settings.quiet) as show:
        for number, outcome in enumerate(_all_outcomes(task, jobs, settings), 1):
            report.add(outcome)
            if show:
                show(number, len(jobs))
            done += outcome.status in ("done", "planned")
            skipped += outcome.status == "skipped"
            failed += outcome.status == "failed"
            larger += outcome.facts.get("larger", False)
            status = outcome.exit_code or status
    if len(jobs) > 1:
        verb = "to do" if settings.dry_run else "done"
        grown = f", {larger} larger than the input" if larger else ""
        report.sum_up(f"{done} {verb}, {skipped} skipped, {failed} failed{grown}")
    report.left_out(plan.left_out)
    if report.problem:
        raise report.problem
    if len(jobs) == 1:
        return status
    return SOME_FAILED if failed else 0


def _all_outcomes(task: Task, jobs: Sequence[Job], settings: Settings) -> Iterator[Outcome]:
    if settings.cluster is None:
        return _outcomes(task, jobs, settings)
    from codec.cli.cluster import outcomes_on_cluster

    assert settings.folder is not None
    return outcomes_on_cluster(task, jobs, settings, settings.cluster, settings.folder)


def _outcomes(task: Task, jobs: Sequence[Job], settings: Settings) -> Iterator[Outcome]:
    """Outcomes in order of the jobs; nothing heavy is loaded for what can be told before."""
    due: list[Job] = []
    early: dict[Job, Outcome] = {}
    for job in jobs:
        outcome = foresee(job, settings)
        if outcome:
            early[job] = outcome
        else:
            due.append(job)
    count = min(settings.jobs, len(due))
    late = in_processes(task, due, count) if count > 1 else _here(task, due)
    for job in jobs:
        yield early[job] if job in early else next(late)


def foresee(job: Job, settings: Settings) -> Outcome | None:
    """The outcome of a job if it is known before the input is opened."""
    source, target = job.source, job.target
    try:
        if job.problem:
            raise InputError(f"{source}: {job.problem}")
        if isinstance(source, Path) and source != STANDARD and not source.exists():
            raise InputError(f"{source}: no such file")
        if _same_file(source, target):
            raise InputError(f"{target}: input and output are the same file")
        if settings.skip_existing and target != STANDARD and is_file(target):
            return Outcome(job, "skipped")
        if settings.make_folders:
            check_folder(target.parent)
        if isinstance(target, Url) or target.parent.is_dir() or not settings.make_folders:
            check_target(target, settings.force)
    except CodecError as error:
        return failed_outcome(job, message_of(error), error.exit_code)
    except OSError as error:
        return failed_outcome(job, f"{error.filename or source}: {error.strerror}", SOME_FAILED)
    return Outcome(job, "planned") if settings.dry_run else None


def _same_file(source: Place, target: Place) -> bool:
    if isinstance(source, Url) or isinstance(target, Url):
        return source == target
    return target != STANDARD and target.exists() and source.exists() and target.samefile(source)


def _here(task: Task, jobs: Iterable[Job]) -> Iterator[Outcome]:
    for job in jobs:
        yield attempt(task, job)


class _Report:
    """Lines for people on standard error, or for programs on standard output."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self._task = task
        self._settings = settings
        self.problem: OSError | OutputError | None = None
        """Why standard output could not be written to, which no job has to wait for."""

    def add(self, outcome: Outcome) -> None:
        """Tell what became of a job."""
        job, facts = outcome.job, outcome.facts
        names = {"source": str(job.source), "file": str(job.target), "status": outcome.status}
        code = {"exit_code": outcome.exit_code} if outcome.exit_code else {}
        self._print(names | facts | code)
        if outcome.status == "failed":
            tell(f"vqcodec: {facts['error']}")
        elif facts:
            self.sum_up(f"{job.target}  {self._task.line(facts)}")
        else:
            note = " exists, skipped" if outcome.status == "skipped" else f" <- {job.source}"
            self.sum_up(f"{job.target}{note}")

    def left_out(self, files: dict[Place, Counter[str]]) -> None:
        """Tell of files in folders that were not looked at, by their suffixes."""
        suffixes: Counter[str] = Counter()
        for folder, some in files.items():
            names = {"source": str(folder), "status": "left out", "files": some.total()}
            self._print(names | {"suffixes": dict(some.most_common())})
            suffixes += some
        if suffixes:
            ordered = sorted(suffixes.items(), key=lambda item: (-item[1], item[0] or "~"))
            of = ", ".join(f"{n} {suffix or 'without one'}" for suffix, n in ordered)
            count = suffixes.total()
            self.sum_up(f"{count} other file{'s' * (count > 1)} left out, by suffix: {of}")

    def sum_up(self, line: str) -> None:
        """Tell people in one line, whatever names in it hold."""
        if not (self._settings.quiet or self._settings.as_json):
            tell(one_line(line))

    def _print(self, facts: dict[str, Any]) -> None:
        """Tell programs."""
        if not self._settings.as_json or self.problem:
            return
        clear_line()
        try:
            say(json.dumps(facts))
        except (OSError, OutputError) as error:
            if sys.stdout:
                silence(sys.stdout)
            self.problem = error
