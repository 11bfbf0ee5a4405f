"""Files of a run:

last.safetensors    exact state
trunk.safetensors   state before the learning rate began to fall, where a longer run continues
*.shards-*.json     where each process was in its stream of shards, by checkpoint
log.jsonl           scalars and rate points; TensorBoard events have them too, and pictures
model.safetensors   exported weights, which compress pictures
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codec.training.checkpoint import Checkpoint, load_checkpoint
from codec.training.schedule import TrainingConfig

LAST = "last.safetensors"
TRUNK = "trunk.safetensors"
MODEL = "model.safetensors"
RUN_FILES = (LAST, TRUNK, "log.jsonl", MODEL, "events.out.tfevents.*", "*.shards-*.json")


def left_in(run: Path) -> list[Path]:
    """List the files that an earlier run left in its folder."""
    return [path for pattern in RUN_FILES for path in run.glob(pattern)]


def clear_run(run: Path) -> None:
    """Remove the files that an earlier run left in its folder."""
    for path in left_in(run):
        path.unlink(missing_ok=True)  # another process may be faster


def resume_run(run: Path, changes: dict[str, Any]) -> tuple[Checkpoint, TrainingConfig]:
    """Find the checkpoint where a run continues, and its settings.

    That is the trunk if the learning rate had fallen and the new settings would raise it to more
    than twice what it is.

    Args:
        run: folder of the run.
        changes: settings that differ from the checkpoint's, see `TrainingConfig.changed`.

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
