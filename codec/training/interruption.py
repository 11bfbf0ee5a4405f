"""Interruption of a run by signals, deferred to where its state is consistent."""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any


class StopSignals(AbstractContextManager["StopSignals"]):
    """Context that records SIGINT, SIGTERM and SIGHUP instead of ending the process.

    `received` is the last of them, or None. Leaving the context ends the process as the signal
    would have.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            hangup = getattr(signal, "SIGHUP", None)  # there is none on Windows
            if hangup and signal.getsignal(hangup) != signal.SIG_IGN:  # under nohup
                numbers.append(hangup)
            for number in numbers:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received:
            raise SystemExit(128 + self.received)
