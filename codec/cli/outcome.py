"""One job of a command, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from codec.cli import interruption
from codec.cli.options import message_of
from codec.cli.plan import Job
from codec.errors import CodecError, one_line

SOME_FAILED = 1
"""Exit status where an input or output failed, or some of several."""


class Task(Protocol):
    """The work of one job; it is pickled for other processes."""

    def __call__(self, job: Job) -> dict[str, Any]:
        """Run a job; returns facts for the report, `skipped` among them if nothing was written."""

    def line(self, facts: dict[str, Any]) -> str:
        """The facts for people."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job."""

    job: Job
    status: str
    """"done", "skipped", "planned" or "failed"."""
    facts: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def attempt(task: Task, job: Job) -> Outcome:
    """Run one job; errors become outcomes."""
    interruption.check()
    try:
        facts = task(job)
        return Outcome(job, "skipped" if facts.get("skipped") else "done", facts)
    except CodecError as error:
        return failed_outcome(job, message_of(error), error.exit_code)
    except MemoryError:
        return failed_outcome(
            job, f"{job.source}: out of memory; try a smaller picture", SOME_FAILED
        )
    except BrokenPipeError:
        raise
    except OSError as error:
        return failed_outcome(job, f"{error.filename or job.source}: {error.strerror}", SOME_FAILED)


def failed_outcome(job: Job, message: str, exit_code: int) -> Outcome:
    """The outcome of a job that failed, with the reason."""
    return Outcome(job, "failed", {"error": one_line(message)}, exit_code)
