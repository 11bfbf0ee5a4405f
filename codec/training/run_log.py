"""Log of a run: JSON lines, and TensorBoard events where that is installed."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from codec.training.run_folder import LOG


class RunLog(AbstractContextManager["RunLog"]):
    """`log.jsonl` in the folder of a run, and TensorBoard events where it is installed."""

    def __init__(self, run: Path) -> None:
        self._lines = (run / LOG).open("a", encoding="utf-8")
        self._events: Any = None
        with suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(run))

    def write(self, entry: dict[str, Any]) -> None:
        """Write one entry of scalars, and of rate points under `validation`."""
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

    def write_pictures(self, step: int, pictures: Tensor) -> None:
        """Write a grid of pictures as a TensorBoard image.

        Args:
            step: steps of the run so far.
            pictures: uint8 [rows, columns, 3, H, W]; in each row an original and its
                reconstructions.
        """
        if self._events is None:
            return
        from torchvision.utils import make_grid

        grid = make_grid(pictures.flatten(0, 1), nrow=pictures.shape[1])
        self._events.add_image("validation/reconstructions", grid, step)

    def __exit__(self, *exception: object) -> None:
        self._lines.close()
        if self._events is not None:
            self._events.close()
