"""`--cluster`: the jobs of a command on Ray, with a manifest, so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from codec.cli.batch import Settings, foresee
from codec.cli.outcome import SOME_FAILED, Outcome, Task, attempt, failed_outcome
from codec.cli.plan import Job
from codec.cluster.connection import Cluster
from codec.cluster.execution import Lost, run
from codec.cluster.manifest import Manifest
from codec.files import files_in, relative
from codec.url import Place

COLUMNS = ("width", "height", "quality", "bpp", "psnr", "seconds", "error")
"""Columns of the manifest that have the names of the facts that fill them."""


class Attempt:
    """One job in a worker; pickled with its task."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self, job: Job) -> Outcome:
        return attempt(self._task, job)


def outcomes_on_cluster(
    task: Task, jobs: Sequence[Job], settings: Settings, cluster: Cluster, folder: Place
) -> Iterator[Outcome]:
    """Outcomes of jobs, in the order in which they are known.

    An output that exists is left out unless `-f` is given: it is whole. What failed before is tried
    again.

    Args:
        task: what is done.
        jobs: with outputs in `folder`.
        settings: of the batch.
        cluster: where it is done.
        folder: of the outputs and the manifest.

    Raises:
        ClusterError: there is no such cluster, or it gave up.
        InputError: the folder or its manifest cannot be read.
        OutputError: the manifest cannot be written.
    """
    unlisted = replace(settings, force=True)  # one listing tells what exists
    suffixes = {job.target.suffix.lower() for job in jobs}
    there = set() if settings.force else set(files_in(folder, suffixes, unread=[]))
    with Manifest(folder) as manifest:
        due: list[Job] = []
        for job in jobs:
            name = relative(job.target, folder).as_posix()
            if job.target in there and not job.problem:
                if name not in manifest.rows and not settings.dry_run:
                    manifest.add(name=name, source=str(job.source), status="found")
                yield Outcome(job, "skipped")
            elif early := foresee(job, unlisted):
                yield early
            else:
                due.append(job)
        if not due:
            return
        for job, outcome in run(Attempt(task), due, cluster):
            if isinstance(outcome, Lost):
                outcome = failed_outcome(job, f"{job.source}: {outcome.reason}", SOME_FAILED)
            name = relative(job.target, folder).as_posix()
            row = _row(outcome.facts)
            manifest.add(name=name, source=str(job.source), status=outcome.status, **row)
            yield outcome


def _row(facts: dict[str, Any]) -> dict[str, Any]:
    """Columns of the manifest by the facts about a job."""
    row = {column: facts.get(column) for column in COLUMNS}
    size = facts.get("bytes")  # of the .vqc file
    row["bytes_in"] = facts.get("source_bytes", size)
    row["bytes_out"] = facts.get("picture_bytes", size)
    return row
