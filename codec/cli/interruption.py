"""Signals that end a command, by an exception, so that what is half written is removed.

Some libraries drop an exception that is raised while they are imported, or turn it into one of
theirs. So it is remembered that a signal has come, and looked at again before anything is written.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_received: int | None = None


def listen() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end this process by an exception, unless they are ignored, as
    nohup wants it."""
    global _received
    _received = None
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # there is no SIGHUP on Windows
        if number and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, receive)


def receive(number: int, frame: FrameType | None) -> None:
    """Handle a signal."""
    global _received
    _received = number
    _leave(number)


def check() -> None:
    """Leave after all if a signal has come whose exception was dropped.

    Raises:
        KeyboardInterrupt: SIGINT has come.
        SystemExit: another has, with 128 and its number as status.
    """
    if _received is not None:
        _leave(_received)


def received() -> int | None:
    """Number of the last signal, if one has come."""
    return _received


def _leave(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
