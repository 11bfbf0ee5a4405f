"""Signals whose exception is dropped, as while libraries are imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from codec.cli import interruption
from codec.picture import reading
from tests.helpers import DATA, MODEL, Run

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in STATUS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def raising(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    signal.sigtimedwait([], 0)  # let it be handled here


def dropping(function: Callable[..., Any], number: signal.Signals) -> Callable[..., Any]:
    """A function that is signalled first, and goes on."""

    def signalled(*given: Any, **more: Any) -> Any:
        with suppress(KeyboardInterrupt, SystemExit):
            raising(number)
        return function(*given, **more)

    return signalled


@pytest.mark.parametrize("number", STATUS)
def test_nothing_is_written_after_a_signal(
    number: signal.Signals, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "open_picture", dropping(reading.open_picture, number))
    status, _, err = run("compress", DATA / "city.png", tmp_path / "a.vqc", *MODEL)
    assert status == STATUS[number]
    assert err.strip() == ("vqcodec: interrupted" if number == signal.SIGINT else "")
    assert not list(tmp_path.iterdir())
    assert run("compress", DATA / "city.png", "-d", tmp_path / "out", *MODEL)[0] == STATUS[number]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", STATUS)
def test_errors_that_follow_a_signal_are_not_told(
    number: signal.Signals, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **more: Any) -> None:
        raise ImportError("initialization failed")

    monkeypatch.setattr(reading, "open_picture", dropping(broken, number))
    status, _, err = run("compress", DATA / "city.png", tmp_path / "a.vqc", *MODEL)
    assert status == STATUS[number]
    assert "Traceback" not in err
    assert "initialization" not in err


def test_a_signal_is_forgotten_when_a_command_line_starts() -> None:
    interruption.listen()
    with pytest.raises(SystemExit):
        raising(signal.SIGTERM)
    assert interruption.received() == signal.SIGTERM
    interruption.listen()
    assert interruption.received() is None
    interruption.check()
