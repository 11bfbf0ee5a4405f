"""Which file becomes which: decided and checked for all of them before any work begins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from codec.errors import InputError
from codec.files import STANDARD, files_in, not_read, real

Rename = Callable[[str], str]
"""Name of the output that goes with the name of an input."""
FOLDER = "is a folder; name a file, or use -r"


@dataclass(frozen=True)
class Job:
    """One input and its output."""

    source: Path
    target: Path
    problem: str = ""
    """Why it cannot be done, if that is known already."""


def plan(
    inputs: Sequence[Path],
    rename: Rename,
    searched: Collection[str],
    output_dir: Path | None = None,
    recursive: bool = False,
) -> list[Job]:
    """Jobs of a command line.

    Args:
        inputs: `IN`, or `IN OUT`; with a folder to write to, or when searching folders, any
            number of `IN`.
        rename: from the name of an input to that of its output.
        searched: suffixes of what counts as an input when a folder is searched.
        output_dir: where outputs go; beside their inputs if it is None.
        recursive: whether inputs may be folders.

    Raises:
        click.UsageError: outputs would collide or leave `output_dir`, or are not told.
        InputError: the only input is a folder, and there is no folder to write to.
    """
    if output_dir is None and not recursive:
        if len(inputs) > 2:
            raise click.UsageError("several inputs need -d DIR to write to")
        source = inputs[0]
        if source.is_dir():
            raise InputError(f"{source}: {FOLDER}")
        beside = STANDARD if source == STANDARD else source.with_name(rename(source.name))
        return [Job(source, inputs[1] if len(inputs) == 2 else beside)]
    if STANDARD in inputs:
        raise click.UsageError("standard input goes with neither -d nor -r")
    jobs = [job for path in inputs for job in _jobs(path, rename, searched, output_dir, recursive)]
    possible = [job for job in jobs if not job.problem]
    _check_collisions(possible)
    if output_dir is not None:
        _check_inside(possible, output_dir)
    return jobs


def _jobs(
    path: Path,
    rename: Rename,
    searched: Collection[str],
    output_dir: Path | None,
    recursive: bool,
) -> Iterator[Job]:
    if not path.is_dir():
        yield Job(path, (output_dir or path.parent) / rename(path.name))
        return
    if not recursive:
        yield Job(path, path, FOLDER)
        return
    found = False
    unread: list[OSError] = []
    for source in files_in(path, searched, unread):
        found = True
        parent = output_dir / source.parent.relative_to(path) if output_dir else source.parent
        yield Job(source, parent / rename(source.name))
    for error in unread:
        closed = Path(error.filename)
        yield Job(closed, closed, not_read(error))
    if not (found or unread):
        suffixes = ", ".join(sorted(searched))
        yield Job(path, path, f"holds no file with a suffix of {suffixes}")


def _check_collisions(jobs: Sequence[Job]) -> None:
    sources: dict[Path, Path] = {}
    for job in jobs:
        if sources.setdefault(job.target, job.source) != job.source:
            raise click.UsageError(
                f"{sources[job.target]} and {job.source} would both become {job.target}"
            )


def _check_inside(jobs: Sequence[Job], output_dir: Path) -> None:
    """Links inside the folder must not lead out of it, nor names with dots."""
    top = real(output_dir)
    for job in jobs:
        if not real(job.target.parent).is_relative_to(top):
            raise click.UsageError(f"{job.target} lies outside {output_dir}")
