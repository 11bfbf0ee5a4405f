"""Messages and progress on standard error.

It may be closed, full, or a pipe that nobody reads any more: no work depends on it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import click

from codec.errors import OutputError

Progress = Callable[[int, int], None]
"""Told how much of how much is done."""
PATIENCE = 1.0
"""Seconds before a bar is shown."""


def open_closed_streams() -> None:
    """Give the null device to standard streams that are closed.

    Otherwise files that are opened later would get their descriptors, and what libraries write to
    standard error would end up in the output. `sys.stdin` and `sys.stdout` stay None, which says
    that there are none.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # is the lowest that is free
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def silence(stream: IO[Any]) -> None:
    """Let the null device take what a stream cannot write: Python tries again when it exits."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # it has none
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


@contextmanager
def telling() -> Iterator[None]:
    """Standard error is written to in here; if that fails, no more is told, and no error raised."""
    try:
        yield
    except OSError:
        silence(sys.stderr)


def tell(line: str) -> None:
    """Print a line on standard error, in place of a bar."""
    clear_line()
    with telling():
        click.echo(line, err=True)


def say(text: str) -> None:
    """Print on standard output; characters that it has no code for are escaped.

    Raises:
        OutputError: it is closed.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def clear_line() -> None:
    """Make room where a bar is shown."""
    with telling():
        if sys.stderr.isatty():
            click.echo("\r\033[K", nl=False, err=True)


@contextmanager
def progress(
    label: str, wanted: bool = True, patience: float = PATIENCE
) -> Iterator[Progress | None]:
    """A bar on a terminal for what takes more than `patience` seconds; none is given elsewhere."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    began = time.perf_counter()
    with ExitStack() as stack:
        bar: Any = None

        def show(done: int, total: int) -> None:
            nonlocal bar
            if time.perf_counter() - began < patience:
                return
            with telling():
                if bar is None:
                    bar = click.progressbar(
                        length=total, label=label, file=sys.stderr, show_pos=True
                    )
                    stack.callback(_finish, bar)
                    bar.__enter__()
                bar.length = total
                bar.finished = False  # a search begins anew
                bar.make_step(done - bar.pos)
                bar.render_progress()

        yield show


def _finish(bar: Any) -> None:
    with telling():
        bar.__exit__(None, None, None)
