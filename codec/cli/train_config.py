"""Options of `vqcodec train` as configurations of a model and of its training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from codec.errors import TrainingError, WeightsError

if TYPE_CHECKING:
    from codec.training.initial import Parameters
    from codec.training.schedule import TrainingConfig
    from codec.weights.config import ModelConfig

DEFAULT_MINUTES = 30.0
LAMBDAS = {"integer": (0.0018, 0.18), "vq": (0.0004, 0.03)}
"""Default ranges of lambda of the two roundings."""

SHAPE_OPTIONS = (
    "transform",
    "width",
    "latent",
    "hyper",
    "blocks",
    "gates16",
    "hidden16",
    "filter4",
)
VQ_OPTIONS = ("centres", "groups", "levels", "index_prior", "assignment")
VQ_TRAINING_OPTIONS = ("vq_update", "beta", "eta")
MODEL_OPTIONS = {"lambda", "prior", "rounding", "distortion", *SHAPE_OPTIONS, *VQ_OPTIONS}
CHANGEABLE_OPTIONS = {"lambda", "blocks", "gates16", "hidden16", "filter4", "distortion"}
"""Options that may differ from the model of --init."""
TRAINING_OPTIONS = {
    "batch",
    "name",
    "steps",
    "minutes",
    "learning_rate",
    "crop",
    "surrogate",
    "vq_update",
    "beta",
    "eta",
    "seed",
    "variety",
    "maps",
    "cache_mib",
    "export_crops",
    "holdout",
}
"""Options that are settings of training under the same name, see `TrainingConfig.changed`."""


def check_kept(model: ModelConfig, options: dict[str, Any], given: set[str]) -> None:
    """Refuse options that would change the model of a resumed run.

    Raises:
        click.UsageError: one that was given differs from what the run has.
    """
    kept: dict[str, Any] = {
        "lambda": (model.lambda_min, model.lambda_max),
        "width": model.channels8,
        "blocks": (model.blocks8, model.blocks16),
        "levels": model.anchors,
    }
    asked = options | {"blocks": _depths(options)}
    for name in sorted(given & MODEL_OPTIONS):
        value = kept[name] if name in kept else getattr(model, name)
        if asked[name] != value:
            shown = ":".join(map(str, value)) if name == "lambda" else value
            shown = ",".join(map(str, value)) if name == "blocks" else shown
            raise click.UsageError(f"a resumed run keeps its {name}, which is {shown}")


def model_of(options: dict[str, Any], given: set[str]) -> tuple[ModelConfig, Parameters | None]:
    """Make the configuration of a new model and, with --init, the state it starts from.

    Args:
        options: of the command.
        given: names of those that the user gave.

    Raises:
        click.UsageError: options contradict each other, or the model of --init.
    """
    if not options["init"]:
        return _new_model(options, given), None

    from codec.training.initial import initial_state, with_transforms_of

    changes: dict[str, Any] = {}
    if "blocks" in given:
        changes["blocks8"], changes["blocks16"] = _depths(options)
    if "lambda" in given and options["rounding"] == "integer":
        low, high = options["lambda"]
        changes |= {"lambda_min": low, "lambda_max": high} | ({"anchors": 1} if low == high else {})
    for name in given & CHANGEABLE_OPTIONS - {"blocks", "lambda"}:
        changes[name] = options[name]
    model, initial = initial_state(options["init"], changes)
    if model.rounding == "vq" and "lambda" in given:
        raise click.UsageError("--init brings the lambdas of a model that rounds to centres")
    if options["rounding"] == "vq" and model.rounding == "integer":
        if given & {*SHAPE_OPTIONS}:
            raise click.UsageError("--init brings the shape of its model's transforms")
        config = _new_model(options, given)
        if "distortion" not in given:
            config = dataclasses.replace(config, distortion=model.distortion)
        return with_transforms_of(model, initial, config)
    same = "rounding" not in given or options["rounding"] == model.rounding
    if given & (MODEL_OPTIONS - CHANGEABLE_OPTIONS - {"rounding"}) or not same:
        raise click.UsageError(
            "--init brings the shape, the lambdas and the rounding of its model; only --lambda, "
            "--blocks, --no-gates16, --hidden16, --filter4 and --distortion may change it"
        )
    return model, initial


def training_of(options: dict[str, Any]) -> TrainingConfig:
    """Make the settings of a new run.

    Raises:
        click.UsageError: they contradict each other.
    """
    from codec.training.schedule import TrainingConfig

    chosen = {name: options[name] for name in TRAINING_OPTIONS if options[name] is not None}
    try:
        return TrainingConfig(minutes=DEFAULT_MINUTES).changed(chosen)
    except TrainingError as error:
        raise click.UsageError(str(error)) from error


def _depths(options: dict[str, Any]) -> tuple[int, int]:
    """Parse the numbers of blocks at 1/8 and at 1/16."""
    try:
        blocks8, blocks16 = (int(n) for n in options["blocks"].split(","))
    except ValueError:
        raise click.UsageError("--blocks takes two numbers, such as 2,3") from None
    return blocks8, blocks16


def _new_model(options: dict[str, Any], given: set[str]) -> ModelConfig:
    from codec.weights.config import ModelConfig

    low, high = options["lambda"] or LAMBDAS[options["rounding"]]
    if low == high and "levels" in given:
        raise click.UsageError("one lambda makes one residual level; give LOW:HIGH for --levels")
    blocks8, blocks16 = _depths(options)
    rates = options["levels"] if options["rounding"] == "vq" else 8
    if low < high and rates < 2:
        raise click.UsageError("--levels 1 has one rate; give one --lambda with it")
    kept = ("rounding", "distortion", *{*VQ_OPTIONS} - {"levels"})
    try:
        return ModelConfig(
            transform=options["transform"],
            channels8=options["width"],
            channels16=options["latent"],
            blocks8=blocks8,
            blocks16=blocks16,
            gates16=options["gates16"],
            hidden16=options["hidden16"],
            filter4=options["filter4"],
            latent=options["latent"],
            hyper=options["hyper"],
            prior=options["prior"],
            lambda_min=low,
            lambda_max=high,
            anchors=1 if low == high else rates,
            **{name: options[name] for name in kept},
        )
    except WeightsError as error:
        raise click.UsageError(str(error)) from error
