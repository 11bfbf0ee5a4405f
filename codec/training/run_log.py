"""The course of a run: JSON lines, and TensorBoard events where that is installed."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any


class RunLog(AbstractContextManager["RunLog"]):
    """`log.jsonl`, and TensorBoard events where it is installed."""

    def __init__(self, run: Path) -> None:
        self._lines = (run / "log.jsonl").open("a", encoding="utf-8")
        self._events: Any = None
        with suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(run))

    def write(self, entry: dict[str, Any]) -> None:
        self._lines.write(json.dumps(entry) + "\n")
        self._lines.flush()
        if self._events is None:
            return
        for key, value in entry.items():
            if isinstance(value, float):
                self._events.add_scalar(key, value, entry["step"])
        for point in entry.get("validation", ()):
            for key in ("bpp", "psnr", "objective"):
                self._events.add_scalar(
                    f"validation/{key}/{point['lmbda']:.4g}", point[key], entry["step"]
                )

    def __exit__(self, *exception: object) -> None:
        self._lines.close()
        if self._events is not None:
            self._events.close()
