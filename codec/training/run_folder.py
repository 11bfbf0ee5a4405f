"""What the folder of a run holds, and where a run continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codec.training.checkpoint import Checkpoint, load_checkpoint
from codec.training.schedule import TrainingConfig

LAST = "last.safetensors"
TRUNK = "trunk.safetensors"
MODEL = "model.safetensors"
RUN_FILES = (LAST, TRUNK, "log.jsonl", MODEL, "events.out.tfevents.*")


def left_in(run: Path) -> list[Path]:
    """What an earlier run left in its folder, and a new one would remove."""
    return [path for pattern in RUN_FILES for path in run.glob(pattern)]


def clear_run(run: Path) -> None:
    """Remove what an earlier run left in its folder."""
    for path in left_in(run):
        path.unlink(missing_ok=True)  # another process may be faster


def resume_run(run: Path, changes: dict[str, Any]) -> tuple[Checkpoint, TrainingConfig]:
    """Where a run continues, and with which settings.

    A run that had let its learning rate fall continues from its trunk if the new settings
    would raise the rate again.

    Args:
        changes: settings that differ from the checkpoint's, as `TrainingConfig.changed` has them.

    Raises:
        TrainingError: there is no checkpoint, or the settings make no sense.
    """
    last = load_checkpoint(run / LAST)
    training = last.training.changed(changes)

    def rate(config: TrainingConfig) -> float:
        step, elapsed = last.position.step, last.position.elapsed
        return config.learning_rate_at(step, config.progress(step, elapsed))

    if rate(training) > 2 * rate(last.training) and (run / TRUNK).is_file():
        return load_checkpoint(run / TRUNK), training
    return last, training
