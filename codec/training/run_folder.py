"""Files of a run:

last.safetensors    exact state
trunk.safetensors   state before the learning rate began to fall, where a longer run continues
*.shards-*.json     where each process was in its stream of shards, by checkpoint
log.jsonl           scalars and rate points; TensorBoard events have them too, and pictures
model.safetensors   exported weights, which compress pictures, at the end
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codec.errors import OutputExistsError, TrainingError
from codec.training.checkpoint import Checkpoint, load_checkpoint
from codec.training.schedule import TrainingConfig

LAST = "last.safetensors"
TRUNK = "trunk.safetensors"
MODEL = "model.safetensors"
LOG = "log.jsonl"
RUN_FILES = (LAST, TRUNK, LOG, MODEL, "events.out.tfevents.*", "*.shards-*.json")
TEMPORARIES = (".vqcodec.*", f"{MODEL}.partial")
"""What remains of a file in whose writing a run was killed."""


def left_in(run: Path) -> list[Path]:
    """List the files that an earlier run left in its folder."""
    return [path for pattern in (*RUN_FILES, *TEMPORARIES) for path in run.glob(pattern)]


def check_vacant(run: Path) -> None:
    """Check that a new run in a folder replaces nothing of worth.

    A run that was killed before its first checkpoint and its first line of the log left nothing.

    Raises:
        OutputExistsError: an earlier run left a checkpoint, a model or a log.
    """
    if (run / LAST).is_file() or (run / TRUNK).is_file():
        raise OutputExistsError(
            f"{run} holds a run already; continue it with --resume, or replace it with -f"
        )
    if (run / MODEL).is_file():
        raise OutputExistsError(
            f"{run} holds a model of an earlier run; replace it with -f, or name another --out"
        )
    if (run / LOG).is_file() and (run / LOG).stat().st_size:
        raise OutputExistsError(
            f"{run} holds the log of a run that left no checkpoint; replace it with -f"
        )


def clear_run(run: Path) -> None:
    """Remove the files that an earlier run left in its folder."""
    for path in left_in(run):
        path.unlink(missing_ok=True)  # another process may be faster


def clear_temporaries(run: Path) -> None:
    """Remove what remains of files in whose writing a run was killed."""
    for path in (path for pattern in TEMPORARIES for path in run.glob(pattern)):
        path.unlink(missing_ok=True)


def resume_run(run: Path, changes: dict[str, Any]) -> tuple[Checkpoint, TrainingConfig]:
    """Find the checkpoint where a run continues, and its settings.

    That is the last one; or the trunk if there is no other, or if the learning rate had fallen and
    the new settings would raise it to more than twice what it is.

    Args:
        run: folder of the run.
        changes: settings that differ from the checkpoint's, see `TrainingConfig.changed`.

    Raises:
        TrainingError: there is no checkpoint, or it is damaged, or the settings make no sense.
    """
    if not (run / LAST).is_file():
        if not (run / TRUNK).is_file():
            again = "start one with -f" if left_in(run) else "leave out --resume to start one"
            raise TrainingError(f"{run}: no checkpoint of a run to resume; {again}")
        trunk = load_checkpoint(run / TRUNK)
        return trunk, trunk.training.changed(changes)
    try:
        last = load_checkpoint(run / LAST)
    except TrainingError as error:
        if not (run / TRUNK).is_file():
            raise
        raise TrainingError(f"{error}, or remove it to go on from {TRUNK}") from error
    training = last.training.changed(changes)

    def rate(config: TrainingConfig) -> float:
        step, elapsed = last.position.step, last.position.elapsed
        return config.learning_rate_at(step, config.progress(step, elapsed))

    if rate(training) > 2 * rate(last.training) and (run / TRUNK).is_file():
        return load_checkpoint(run / TRUNK), training
    return last, training
