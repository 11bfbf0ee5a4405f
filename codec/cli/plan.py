"""Inputs and outputs of a command line, decided and checked before any work begins."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from codec.errors import InputError
from codec.files import STANDARD, files_in, is_folder, not_read, real, relative
from codec.url import Place, Url

Rename = Callable[[str], str]
"""Name of the output that goes with the name of an input."""
FOLDER = "is a folder; name a file, or use -r"
MAX_TOLD = 5
"""Collisions that are listed."""


@dataclass(frozen=True)
class Job:
    """One input and its output."""

    source: Place
    target: Place
    problem: str = ""
    """Why it cannot be done, if that is known already."""


@dataclass(frozen=True)
class Plan:
    """Jobs of a command line."""

    jobs: list[Job]
    left_out: dict[Place, Counter[str]] = field(default_factory=dict)
    """How many files of folders are no input, and no output either: by folder and suffix."""


def plan(
    inputs: Sequence[Place],
    rename: Rename,
    searched: Collection[str],
    output_dir: Place | None = None,
    recursive: bool = False,
    written: Collection[str] = (),
    apart: str = "",
) -> Plan:
    """Jobs of a command line.

    Args:
        inputs: `IN`, or `IN OUT`; with a folder to write to, or when searching folders, any
            number of `IN`.
        rename: from the name of an input to that of its output.
        searched: suffixes of what counts as an input when a folder is searched.
        output_dir: where outputs go; beside their inputs if it is None.
        recursive: whether inputs may be folders.
        written: suffixes of outputs.
        apart: option that gives inputs of different names outputs of different names, if any does.

    Raises:
        click.UsageError: outputs would collide, overwrite inputs or leave `output_dir`, or are not
            told.
        InputError: the only input is a folder, and there is no folder to write to.
    """
    if output_dir is None and not recursive:
        if len(inputs) > 2:
            raise click.UsageError("several inputs need -d DIR to write to")
        source = inputs[0]
        if is_folder(source):
            raise InputError(f"{source}: {FOLDER}")
        beside = STANDARD if source == STANDARD else source.with_name(rename(source.name))
        return Plan([Job(source, inputs[1] if len(inputs) == 2 else beside)])
    if STANDARD in inputs:
        raise click.UsageError("standard input goes with neither -d nor -r")
    if len(inputs) == 2 and inputs[1].suffix.lower() in set(written) - set(searched):
        raise click.UsageError(
            f"{inputs[1]} looks like OUT, which goes with neither -d nor -r; leave it out"
        )
    others: dict[Place, list[Place]] = {path: [] for path in inputs}
    found_jobs = [
        job
        for path in inputs
        for job in _jobs(path, rename, searched, output_dir, recursive, others[path])
    ]
    # The same input named twice, or found in a folder that is named twice, is done once.
    found_at = {(real(job.source), real(job.target)): job for job in found_jobs}
    jobs = list(found_at.values())
    possible = [job for job in jobs if not job.problem]
    _check_collisions(possible, apart)
    _check_inputs({where: job for where, job in found_at.items() if not job.problem})
    if output_dir is not None:
        _check_inside(possible, output_dir)
    counted = {target for _, target in found_at}
    left_out: dict[Place, Counter[str]] = {}
    for folder, paths in others.items():  # which may lie inside one another
        found = {real(path): path for path in sorted(paths)}
        new = [path for real, path in found.items() if real not in counted]
        counted |= found.keys()
        if new:
            left_out[folder] = Counter(path.suffix.lower() for path in new)
    return Plan(jobs, left_out)


def _jobs(
    path: Place,
    rename: Rename,
    searched: Collection[str],
    output_dir: Place | None,
    recursive: bool,
    others: list[Place],
) -> Iterator[Job]:
    try:
        if not is_folder(path):
            yield Job(path, (output_dir or path.parent) / rename(path.name))
            return
        if not recursive:
            yield Job(path, path, FOLDER)
            return
        found = False
        unread: list[OSError] = []
        for source in files_in(path, searched, unread, others):
            found = True
            parent = output_dir / relative(source, path).parent if output_dir else source.parent
            yield Job(source, parent / rename(source.name))
    except InputError as error:  # of a store
        yield Job(path, path, str(error).removeprefix(f"{path}: "))
        return
    for failure in unread:
        closed = Path(failure.filename)
        yield Job(closed, closed, not_read(failure))
    if not (found or unread):
        suffixes = ", ".join(sorted(searched))
        yield Job(path, path, f"holds no file with a suffix of {suffixes}")


def _check_collisions(jobs: Sequence[Job], apart: str) -> None:
    sources: dict[Place, list[Place]] = {}
    spelt: dict[str, Place] = {}
    for job in jobs:
        target = spelt.setdefault(_spelling(job.target), job.target)
        same = sources.setdefault(target, [])
        if job.source not in same:
            same.append(job.source)
    clashes = {target: paths for target, paths in sources.items() if len(paths) > 1}
    if not clashes:
        return
    told = [
        f"{' and '.join(map(str, paths))} would {'both' if len(paths) == 2 else 'all'} become "
        f"{target}"
        for target, paths in list(clashes.items())[:MAX_TOLD]
    ]
    if len(clashes) > MAX_TOLD:
        told.append(f"and so would those of {len(clashes) - MAX_TOLD} other outputs")
    helps = all(len({path.name for path in paths}) == len(paths) for paths in clashes.values())
    if apart and helps:
        told.append(f"give {apart}")
    raise click.UsageError("; ".join(told))


def _check_inputs(jobs: Mapping[tuple[Place, Place], Job]) -> None:
    """No output may be the input of another job, which may come later.

    Args:
        jobs: by where their input and output lead through all links.
    """
    sources = {source: job.source for (source, _), job in jobs.items()}
    for (_, target), job in jobs.items():
        other = sources.get(target)
        if other is not None and other != job.source:
            raise click.UsageError(f"the output of {job.source} would overwrite the input {other}")


def _spelling(target: Place) -> str:
    """What tells targets apart: disks of Windows and macOS ignore case."""
    ignored = isinstance(target, Path) and sys.platform in ("win32", "darwin")
    return str(target).casefold() if ignored else str(target)


def _check_inside(jobs: Sequence[Job], output_dir: Place) -> None:
    """Links inside the folder must not lead out of it, nor names with dots."""
    if isinstance(output_dir, Url):
        outside = [job for job in jobs if ".." in str(job.target).split("/")]
    else:
        top = real(output_dir)
        outside = [job for job in jobs if not _is_below(job.target, top)]
    for job in outside:
        raise click.UsageError(f"{job.target} lies outside {output_dir}")


def _is_below(target: Place, top: Path) -> bool:
    return isinstance(target, Path) and real(target.parent).is_relative_to(top)
