"""`vqcodec train`: photographs in, weights out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from codec.cli import interruption
from codec.cli.options import EXISTING_PATH, POSITIVE, FiniteRange, only_one
from codec.cli.terminal import tell
from codec.cli.train_config import (
    SHAPE_OPTIONS,
    TRAINING_OPTIONS,
    VQ_OPTIONS,
    VQ_TRAINING_OPTIONS,
    check_kept,
    model_of,
    training_of,
)
from codec.cli.train_progress import TrainingProgress
from codec.files import check_folder, make_folder
from codec.weights.config import Distortion

if TYPE_CHECKING:
    from codec.training.loop import Trainer


def parse_lambdas(
    _: click.Context, __: click.Parameter, text: str | None
) -> tuple[float, float] | None:
    """Parse `L` for one rate, `LOW:HIGH` for a range."""
    if text is None:
        return None
    parts = text.split(":")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low, high = 0.0, 0.0
    if len(parts) > 2 or not 0 < low <= high < 100:
        raise click.BadParameter("give one positive number, or LOW:HIGH")
    return low, high


SECTIONS = {
    "Run": ("out", "name", "steps", "minutes", "resume", "init", "seed", "export_crops", "force"),
    "Pictures": ("holdout", "validation", "variety", "maps", "cache_mib"),
    "Objective and steps": (
        *("lambda", "distortion", "surrogate"),
        *("learning_rate", "batch", "crop"),
    ),
    "Model": ("rounding", *SHAPE_OPTIONS, "prior"),
    "For --rounding vq only": (*VQ_OPTIONS, *VQ_TRAINING_OPTIONS),
}
"""Headings of the help, and the options below each."""


class SectionedCommand(click.Command):
    """Command whose help lists its options under the headings of `SECTIONS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of no heading at the end."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        records = {p.name: record for p in options if (record := p.get_help_record(ctx))}
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Other"):
            formatter.write_dl(list(records.values()))


@click.command(cls=SectionedCommand)
@click.argument("photos", nargs=-1, required=True, type=EXISTING_PATH)
@click.option(
    "--lambda",
    callback=parse_lambdas,
    metavar="L|LOW:HIGH",
    help="Weight of the distortion in bits/pixel + lambda D: one rate, or a range of rates.  "
    "[default: 0.0018:0.18; for vq 0.0004:0.03]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/photo"),
    show_default=True,
    help="Folder of the run.",
)
@click.option("--name", default="photo", show_default=True, help="Name inside the weights file.")
@click.option("--minutes", type=POSITIVE, help="Length of the run in time.  [default: 30]")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Length of the run, instead of --minutes."
)
@click.option("--resume", is_flag=True, help="Continue the run in the folder.")
@click.option(
    "--init", metavar="NAME|FILE", help="Start from the weights of a model or checkpoint."
)
@click.option("--transform", type=click.Choice(["lowres", "gdn"]), default="lowres")
@click.option("--width", default=192, show_default=True, help="Channels at 1/8.")
@click.option("--latent", default=320, show_default=True, help="Channels at 1/16 and of y.")
@click.option("--hyper", default=128, show_default=True, help="Channels of z.")
@click.option("--prior", default=192, show_default=True, help="Width of the prior networks.")
@click.option("--blocks", default="2,3", show_default=True, help="Blocks at 1/8 and at 1/16.")
@click.option(
    "--gates16/--no-gates16", default=False, show_default=True, help="Gated branches at 1/16."
)
@click.option(
    "--hidden16",
    default=160,
    show_default=True,
    help="Hidden units of blocks at 1/16; 0: as many as channels.",
)
@click.option(
    "--filter4", default=0, show_default=True, help="Width of the last filter, at 1/4; 0: none."
)
@click.option(
    "--rounding",
    type=click.Choice(["integer", "vq"]),
    default="integer",
    show_default=True,
    help="To integers (Balle et al.), or to the nearest of K centres (VQ-VAE).",
)
@click.option("--centres", default=64, show_default=True, help="K of each codebook.")
@click.option("--groups", default=8, show_default=True, help="Parts of a latent vector.")
@click.option("--levels", default=8, show_default=True, help="Residual levels, the rates.")
@click.option(
    "--vq-update",
    type=click.Choice(["end-to-end", "published", "joint"]),
    default="published",
    show_default=True,
    help="Gradients of latents and centres.",
)
@click.option("--beta", default=1.0, show_default=True, help="Weight of the commitment.")
@click.option("--eta", default=1.0, show_default=True, help="Learning rate of centres, relative.")
@click.option(
    "--index-prior",
    type=click.Choice(["learned", "uniform"]),
    default="learned",
    show_default=True,
    help="Probabilities of the indices.",
)
@click.option(
    "--assignment",
    type=click.Choice(["nearest", "rate-weighted"]),
    default="nearest",
    show_default=True,
    help="Nearest centre, or argmin |L - C_k|^2 - ln P(k) / lambda'.",
)
@click.option(
    "--distortion",
    type=click.Choice(get_args(Distortion)),
    default="mse",
    show_default=True,
    help="D = 255^2 MSE; 1200 (1 - MS-SSIM) + 0.05 * 255^2 MSE; or a mix of both and SSIMULACRA 2. "
    "All but mse need --crop 192 or 256.",
)
@click.option(
    "--surrogate",
    type=click.Choice(["noise", "mixed"]),
    default="mixed",
    show_default=True,
    help="Rounding in the distortion: additive uniform noise, or rounding with a "
    "straight-through gradient. The rate always sees noise.",
)
@click.option("--learning-rate", type=POSITIVE, default=1e-3, show_default=True)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Crops per step at the first size.",
)
@click.option("--crop", default=128, show_default=True, help="Side of the first crops.")
@click.option(
    "--variety",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of varied crops: resized, developed, with grain, as JPEG.",
)
@click.option(
    "--maps",
    type=FiniteRange(0, 1),
    default=0.15,
    show_default=True,
    help="Share of crops with a map of levels, as files of compress --map have.",
)
@click.option(
    "--holdout",
    type=FiniteRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="Share kept for validation.",
)
@click.option(
    "--validation",
    type=EXISTING_PATH,
    multiple=True,
    help="Folder to validate on, instead of a share of PHOTOS.",
)
@click.option(
    "--cache-mib",
    type=click.IntRange(min=1),
    default=3072,
    show_default=True,
    help="Memory for decoded tiles.",
)
@click.option(
    "--export-crops",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    help="Crops of 256x256 on which the export fits tables and kernels.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("-f", "--force", is_flag=True, help="Replace an existing run.")
@click.pass_context
def train(ctx: click.Context, /, **options: Any) -> None:
    """Train a model on PHOTOS (files and folders of PNG, JPEG, WebP or AVIF, or tar files of them).

    The learning rate falls to zero at the end whatever the length, so every budget gives a usable
    model: RUN/model.safetensors, for `vqcodec compress --model RUN/model.safetensors`. A resumed
    run keeps its settings except for those given again; PHOTOS and --validation always have to be
    given again.
    """
    from codec.training.extra import check_extra

    check_extra()
    progress = TrainingProgress()

    from codec.training.checkpoint import load_checkpoint
    from codec.training.export import export_weights
    from codec.training.loop import Trainer
    from codec.training.loop import train as run_training
    from codec.training.run_folder import (
        LAST,
        MODEL,
        check_vacant,
        clear_run,
        clear_temporaries,
        resume_run,
    )

    run: Path = options["out"]
    given = {
        name for name in options if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    options = only_one(options, {"minutes": "--minutes", "steps": "--steps"})
    resume = initial = None
    if options["resume"]:
        if "init" in given:
            raise click.UsageError("a resumed run goes on from its own weights; leave out --init")
        resume, training = resume_run(
            run, {name: options[name] for name in TRAINING_OPTIONS & given}
        )
        model = resume.model
        check_kept(model, options, given)
    else:
        if not options["force"]:
            check_vacant(run)
        training = training_of(options)
        model, initial = model_of(options, given)
    foreign = given & {*VQ_OPTIONS, *VQ_TRAINING_OPTIONS}
    if foreign and model.rounding != "vq":
        raise click.UsageError(f"{', '.join(sorted(foreign))}: for --rounding vq only")
    training.check_fits(model)
    check_folder(run)
    trainer = Trainer(
        run, options["photos"], model, training, resume, initial, options["validation"]
    )
    make_folder(run)  # last, when nothing can be refused any more
    if trainer.rank == 0:
        (clear_temporaries if resume else clear_run)(run)
        if training.holdout and trainer.held_out is None:
            tell("no picture is held out, so nothing is validated; give --validation for that")
    unreadable = _tell_unreadable(trainer)
    interruption.check()
    try:
        with progress.displayed(trainer.rank == 0):
            run_training(trainer, progress.report)
    except (KeyboardInterrupt, SystemExit):  # stopped in order, see `StopSignals`
        if trainer.rank == 0:
            step = trainer.position.step
            tell(
                f"{run / LAST}: --resume goes on, --resume --steps {step} exports the model so far"
            )
        raise
    finally:
        trainer.close()
    _tell_unreadable(trainer, unreadable)  # a pool that rotates finds some later
    if trainer.rank == 0:
        target = run / MODEL
        photographs = trainer.sample_for_export()
        export_weights(load_checkpoint(run / LAST), target, photographs)
        click.echo(f"{target}: weights of {trainer.position.step} steps", err=True)


def _tell_unreadable(trainer: Trainer, told: int = 0) -> int:
    """Tell how many pictures are left out, if more than so many; returns their number."""
    if trainer.unreadable > told:
        tell(f"{trainer.unreadable} unreadable photographs are left out")
    return trainer.unreadable
