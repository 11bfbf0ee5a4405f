"""Progress of a training run on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TrainingProgress:
    """A progress bar on a terminal, and one line per validation anywhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._visible = False
        columns = (
            BarColumn(),
            TextColumn("{task.percentage:.1f} % {task.description}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)

    @contextmanager
    def displayed(self, visible: bool) -> Iterator[None]:
        """Display the bar while the run lasts, if `visible`."""
        self._visible = visible
        if not visible:
            yield
            return
        with self._bar:
            self._task = self._bar.add_task("starting", total=1.0)
            yield

    def report(self, progress: float, entry: dict[str, Any]) -> None:
        """Display one entry of the log."""
        if not self._visible:
            return
        step = entry["step"]
        if "loss" in entry:
            text = f"step {step} loss {entry['loss']:.3f} {entry['bpp']:.3f} bpp"
            self._bar.update(self._task, completed=progress, description=text)
        points = entry.get("validation")
        if points:
            rates = "  ".join(f"{p['bpp']:.3f}/{p['psnr']:.2f}" for p in points)
            self._console.print(
                f"step {step} ({entry['elapsed']:.0f} s), bpp/dB: {rates}", soft_wrap=True
            )
