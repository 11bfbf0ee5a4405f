"""Weighted mean of models of one shape, of which one was trained further from the other.

    python -m scripts.average BEFORE AFTER PHOTOS... OUT [--share 0.5] [--also AFTER] [--name NAME]

Models are names, weights files, or checkpoints of runs.

Fine-tuning on pictures of another kind costs a little of what a model was good at; the mean of its
weights before and after keeps most of both (Wortsman et al. 2022, WiSE-FT). So does the mean of
several runs from one start, which differ in their noise (Wortsman et al. 2022, model soups). The
mean of models for two distortions lies between them; it counts as a model for the first. Tables and
curvatures are fitted to the mean, on crops of PHOTOS without the 5 % held out in training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click
import torch

from codec.errors import CodecError, WeightsError
from codec.training.checkpoint import Checkpoint, Position, is_checkpoint, load_checkpoint
from codec.training.export import export_weights
from codec.training.initial import initial_state
from codec.training.loop import export_sample
from codec.training.photos import TilePool, find_photos, hold_out
from codec.training.schedule import TrainingConfig
from codec.weights.file import load_weights
from codec.weights.released import find_weights

CACHE_BYTES = 1 << 30
CROPS = TrainingConfig.export_crops


def average(before: str, after: Sequence[str], share: float, name: str) -> Checkpoint:
    """A checkpoint whose averaged weights are (1 - share) `before` + share the mean of `after`.

    Its distortion is that of `before`, its training settings are those of the first of `after`.

    Raises:
        WeightsError: a model is missing or unsound, or their shapes differ.
    """
    config, start = initial_state(before)
    ends = []
    for model in after:
        other, end = initial_state(model, {"distortion": config.distortion})
        if config != other:
            raise WeightsError("models of different shapes have no mean")
        ends.append(end)
    tensors = {
        f"average.{key}": torch.lerp(value, torch.stack([end[key] for end in ends]).mean(0), share)
        for key, value in start.items()
    }
    training, position = _record(after[0])
    return Checkpoint(config, dataclasses.replace(training, name=name), position, tensors)


def _record(model: str) -> tuple[TrainingConfig, Position]:
    """Settings of the run that a model is of, and how far it had come."""
    path = find_weights(model)
    if is_checkpoint(path):
        checkpoint = load_checkpoint(path)
        return checkpoint.training, checkpoint.position
    done = load_weights(path).training
    # Weights know the steps of every run, and the minutes of most.
    fields = {field.name for field in dataclasses.fields(TrainingConfig)} - {"minutes"}
    known = {field: done[field] for field in fields & set(done)}
    return TrainingConfig.from_dict(known), Position(done["steps"], 60 * done.get("minutes", 0.0))


@click.command()
@click.argument("before")
@click.argument("after")
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--share", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@click.option("--also", multiple=True, metavar="AFTER", help="Another, of equal weight.")
@click.option("--name", default="photo", show_default=True, help="Name inside the weights file.")
@click.option(
    "--crops", type=click.IntRange(min=1), default=CROPS, show_default=True, help="To measure on."
)
def main(
    before: str,
    after: str,
    photos: tuple[Path, ...],
    out: Path,
    share: float,
    also: tuple[str, ...],
    name: str,
    crops: int,
) -> None:
    """Write (1 - share) of the model BEFORE plus share of the model AFTER to OUT."""
    try:
        if out.exists():
            raise WeightsError(f"{out} exists; name a new file")
        checkpoint = average(before, (after, *also), share, name)
        training, _ = hold_out(find_photos(photos), checkpoint.training.holdout)
        pool = TilePool(training, torch.device("cpu"), CACHE_BYTES)
        sample = export_sample(pool, torch.Generator().manual_seed(0), crops)
        pool.close()
        weights = export_weights(checkpoint, out, sample)
    except CodecError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {weights.short_id.hex()}")


if __name__ == "__main__":
    main()
