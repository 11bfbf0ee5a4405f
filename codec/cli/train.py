"""`vqcodec train`: photographs in, weights out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.errors import OutputExistsError, TrainingError

if TYPE_CHECKING:
    from codec.model.config import ModelConfig
    from codec.training.schedule import TrainingConfig


def parse_lambdas(_: click.Context, __: click.Parameter, text: str) -> tuple[float, float]:
    """`L` for one rate, `LOW:HIGH` for a range."""
    parts = text.split(":")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low, high = 0.0, 0.0
    if len(parts) > 2 or not 0 < low <= high < 100:
        raise click.BadParameter("give one positive number, or LOW:HIGH")
    return low, high


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--lambda",
    "lambdas",
    default="0.0018:0.18",
    show_default=True,
    callback=parse_lambdas,
    metavar="L|LOW:HIGH",
    help="Slope of the objective bits/pixel + lambda 255^2 MSE: one rate, or a range.",
)
@click.option(
    "--out",
    "run",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/photo"),
    show_default=True,
    help="Folder of the run.",
)
@click.option("--name", default="photo", show_default=True, help="Name inside the weights file.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Length of the run.")
@click.option("--steps", type=click.IntRange(min=1), help="Length of the run instead of minutes.")
@click.option("--resume", is_flag=True, help="Continue the run in the folder.")
@click.option("--init", metavar="NAME|FILE", help="Start from the weights of a model.")
@click.option("--transform", type=click.Choice(["lowres", "gdn"]), default="lowres")
@click.option("--width", default=192, show_default=True, help="Channels at 1/8.")
@click.option("--latent", default=320, show_default=True, help="Channels of the trunk and of y.")
@click.option("--hyper", default=128, show_default=True, help="Channels of z.")
@click.option("--prior", default=192, show_default=True, help="Width of the prior networks.")
@click.option("--blocks", default="2,3", show_default=True, help="Blocks at 1/8 and at 1/16.")
@click.option(
    "--distortion", type=click.Choice(["mse", "ms-ssim"]), default="mse", show_default=True
)
@click.option(
    "--surrogate",
    type=click.Choice(["noise", "mixed"]),
    default="mixed",
    show_default=True,
    help="What stands for rounding in the distortion: noise, or rounding with a "
    "straight-through gradient. The rate always sees noise.",
)
@click.option("--optimiser", type=click.Choice(["adam", "muon"]), default="adam")
@click.option("--learning-rate", default=1e-3, show_default=True)
@click.option("--batch", default=8, show_default=True, help="Crops of a step at the first size.")
@click.option("--crop", default=128, show_default=True, help="Side of the first crops.")
@click.option("--holdout", default=0.05, show_default=True, help="Share kept for validation.")
@click.option("--cache-mib", default=3072, show_default=True, help="Memory for decoded tiles.")
@click.option("--seed", default=0, show_default=True)
@click.option("-f", "--force", is_flag=True, help="Replace an existing run.")
def train(**options: Any) -> None:
    """Train a model on PHOTOS (files and folders of PNG, JPEG, WebP or AVIF).

    Without --minutes and --steps a run lasts 30 minutes. Its learning rate falls to zero at
    the end whatever the length, so every budget gives a usable model: model.safetensors in
    the run folder, to be used as `vqcodec compress --model RUN/model.safetensors`.
    """
    from codec.training.checkpoint import load_checkpoint
    from codec.training.export import export_weights, initial_state
    from codec.training.loop import LAST, Trainer, resume_checkpoint
    from codec.training.loop import train as run_training

    run: Path = options["run"]
    training = _training_config(options)
    has_state = (run / LAST).is_file()
    if options["resume"] and not has_state:
        raise TrainingError(f"{run}: no run to resume; leave out --resume to start one")
    if has_state and not (options["resume"] or options["force"]):
        raise OutputExistsError(f"{run} holds a run already; continue it with --resume, or -f")
    run.mkdir(parents=True, exist_ok=True)
    resume = resume_checkpoint(run, training) if options["resume"] else None
    model, initial = _model_config(options), None
    if options["init"] and not resume:
        model, initial = initial_state(options["init"])

    trainer = Trainer(run, options["photos"], model, training, resume, initial)
    try:
        with _Progress(trainer.rank == 0) as progress:
            run_training(trainer, progress.show)
    finally:
        trainer.close()
    if trainer.rank == 0:
        target = run / "model.safetensors"
        export_weights(load_checkpoint(run / LAST), target, options["name"])
        click.echo(f"{target}: weights of {trainer.position.step} steps", err=True)


def _training_config(options: dict[str, Any]) -> TrainingConfig:
    from codec.training.schedule import TrainingConfig

    minutes, steps = options["minutes"], options["steps"]
    if minutes and steps:
        raise click.UsageError("give --minutes or --steps, not both")
    return TrainingConfig(
        steps=steps,
        minutes=minutes or (None if steps else 30.0),
        learning_rate=options["learning_rate"],
        batch_pixels=options["batch"] * options["crop"] ** 2,
        crop=options["crop"],
        surrogate=options["surrogate"],
        distortion=options["distortion"],
        optimiser=options["optimiser"],
        seed=options["seed"],
        cache_mib=options["cache_mib"],
        holdout=options["holdout"],
    )


def _model_config(options: dict[str, Any]) -> ModelConfig:
    from codec.model.config import ModelConfig

    low, high = options["lambdas"]
    try:
        blocks8, blocks16 = (int(n) for n in options["blocks"].split(","))
    except ValueError:
        raise click.UsageError("--blocks takes two numbers, such as 2,3") from None
    return ModelConfig(
        transform=options["transform"],
        channels8=options["width"],
        channels16=options["latent"],
        blocks8=blocks8,
        blocks16=blocks16,
        latent=options["latent"],
        hyper=options["hyper"],
        prior=options["prior"],
        lambda_min=low,
        lambda_max=high,
        anchors=1 if low == high else 8,
    )


class _Progress:
    """A progress bar on a terminal, and one line per validation anywhere."""

    def __init__(self, visible: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._visible = visible
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.percentage:.1f} % {task.description}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (visible and self._console.is_terminal),
        )
        self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, progress: float, entry: dict[str, Any]) -> None:
        step = entry["step"]
        if "loss" in entry:
            text = f"step {step} loss {entry['loss']:.3f} {entry['bpp']:.3f} bpp"
            self._bar.update(self._task, completed=progress, description=text)
        points = entry.get("validation") or ()
        if points and self._visible:
            shown = "  ".join(f"{p['bpp']:.3f}/{p['psnr']:.2f}" for p in points)
            self._console.print(f"step {step} ({entry['elapsed']:.0f} s), bpp/dB: {shown}")
