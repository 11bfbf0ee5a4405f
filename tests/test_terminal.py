"""Progress on terminals, and none elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from codec.cli import terminal


class Screen(io.StringIO):
    """A terminal that keeps all that was written to it."""

    def isatty(self) -> bool:
        return True


def on_screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Standard error of the present test, which is captured again after fixtures have been made."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_a_bar_shows_how_much_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_screen(monkeypatch)
    with terminal.progress("files", patience=0) as show:
        assert show
        show(1, 4)
        assert "files" in screen.getvalue()
        assert "1/4" in screen.getvalue()
        terminal.tell("a line")
        assert screen.getvalue().endswith("\r\033[Ka line\n")
        show(2, 4)
        assert "2/4" in screen.getvalue()
        show(1, 8)  # a search begins anew
        assert "1/8" in screen.getvalue()
    assert screen.getvalue().endswith("\n")


def test_what_is_done_soon_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_screen(monkeypatch)
    with terminal.progress("files", patience=1e9) as show:
        assert show
        show(1, 4)
    assert screen.getvalue() == ""


def test_no_bar_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    with terminal.progress("files") as show:
        assert show is None
    terminal.tell("a line")
    assert plain.getvalue() == "a line\n"


def test_no_bar_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    on_screen(monkeypatch)
    with terminal.progress("files", wanted=False) as show:
        assert show is None


def test_a_terminal_that_is_gone_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_screen(monkeypatch)

    def fail(text: str) -> int:
        raise OSError(5, "Input/output error")

    with terminal.progress("files", patience=0) as show:
        assert show
        show(1, 4)
        monkeypatch.setattr(screen, "write", fail)
        show(2, 4)
        terminal.tell("a line")
