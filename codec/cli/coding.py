"""`vqcodec compress` and `vqcodec decompress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from codec.cli.batch import Settings, run_batch
from codec.cli.options import (
    PATH,
    POSITIVE,
    QUALITY,
    Bytes,
    Kinds,
    Region,
    TileSize,
    with_shared_options,
)
from codec.cli.plan import Rename, plan
from codec.cli.tasks import SUFFIX, CompressTask, DecompressTask, Machine, Writing
from codec.files import STANDARD
from codec.limits import Limits
from codec.picture.formats import INPUT_SUFFIXES, OUTPUT_NAMES, OUTPUT_SUFFIXES
from codec.picture.metadata import KINDS

RATES = {
    "quality": "-q",
    "lmbda": "--lambda",
    "target_bpp": "--target-bpp",
    "target_size": "--target-size",
    "target_psnr": "--target-psnr",
}


@click.command()
@click.argument("inputs", metavar="IN... [OUT]", type=PATH, nargs=-1, required=True)
@click.option("-q", "--quality", type=QUALITY, help="0 to 100; default 50.")
@click.option(
    "--lambda", "lmbda", type=float, help="Slope of the model's objective, instead of -q."
)
@click.option("--target-bpp", type=POSITIVE, help="Bits per pixel of the file, never exceeded.")
@click.option("--target-size", type=Bytes(minimum=1), help="Bytes of the file, never exceeded.")
@click.option("--target-psnr", type=POSITIVE, help="dB, reached or exceeded.")
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    help="0 to 9: how long to look for a better file of the same quality; default 1.",
)
@click.option("--strip", is_flag=True, help="Leave out profile, EXIF and XMP.")
@click.option("--keep", type=Kinds(), help="Keep only these; all are kept by default.")
@click.option("--to-8bit", is_flag=True, help="Accept pictures of 16 bits, cut to 8.")
@click.option("--frame", type=click.IntRange(min=0), help="Of an animation, counted from 0.")
@click.option(
    "--tile-size",
    type=TileSize(),
    help="Side of tiles, a multiple of 64; 0 for none; default 1024 above 2 megapixels.",
)
@with_shared_options
def compress(inputs: tuple[Path, ...], **options: Any) -> int:
    """Compress the picture IN to OUT (default: IN with the suffix .vqc).

    With -d, any number of pictures; with -r, folders of them. `-` stands for standard input
    or output. Without transparency and metadata nothing but the pixels is stored; EXIF
    orientation is always applied to them.
    """
    given = [flag for name, flag in RATES.items() if options[name] is not None]
    if len(given) > 1:
        raise click.UsageError(f"give {' or '.join(given)}, not both")
    if options["strip"] and options["keep"] is not None:
        raise click.UsageError("give --strip or --keep, not both")
    jobs = plan(inputs, to_compressed, INPUT_SUFFIXES, options["output_dir"], options["recursive"])
    for job in jobs:
        if job.target.suffix.lower() in INPUT_SUFFIXES:
            raise click.UsageError(
                f"{job.target} looks like a picture; OUT must not, and several IN need -d DIR"
            )
    task = CompressTask(
        machine=_machine(options),
        writing=_writing(options),
        options={name: options[name] for name in (*RATES, "tile_size", "to_8bit")}
        | {"keep": () if options["strip"] else options["keep"] or KINDS}
        | ({} if options["effort"] is None else {"effort": options["effort"]}),
        frame=options["frame"],
        measure=options["as_json"] or not options["quiet"],
        bar=len(jobs) == 1 and not options["quiet"],
    )
    return run_batch(task, jobs, _settings(options))


@click.command()
@click.argument("inputs", metavar="IN... [OUT]", type=PATH, nargs=-1, required=True)
@click.option(
    "--region",
    type=Region(),
    help="Show only these pixels; tiles that they do not need are not read.",
)
@click.option(
    "--levels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the first N residual levels of a vector-quantised file.",
)
@click.option(
    "--format", "format_name", type=click.Choice(list(OUTPUT_NAMES)), help="Of the pictures."
)
@with_shared_options
def decompress(inputs: tuple[Path, ...], **options: Any) -> int:
    """Decompress IN to the picture OUT (default: IN with the suffix .png).

    The suffix of OUT names the format, or --format does: png, webp (lossless), tiff, bmp, ppm,
    or jpeg (quality 95). With -d, any number of files; with -r, folders of them. `-` stands
    for standard input or output.
    """
    name = options["format_name"]
    suffix = OUTPUT_NAMES[name or "png"]
    jobs = plan(inputs, to_picture(suffix), {SUFFIX}, options["output_dir"], options["recursive"])
    if name is None:
        for job in jobs:
            if job.target != STANDARD and job.target.suffix.lower() not in OUTPUT_SUFFIXES:
                known = ", ".join(OUTPUT_SUFFIXES)
                raise click.UsageError(f"OUT must end in one of {known}; or give --format")
    only_standard = all(job.target == STANDARD for job in jobs)
    task = DecompressTask(
        machine=_machine(options),
        writing=_writing(options),
        region=options["region"],
        levels=options["levels"],
        file_format=OUTPUT_SUFFIXES[suffix] if name or only_standard else None,
        bar=len(jobs) == 1 and not options["quiet"],
    )
    return run_batch(task, jobs, _settings(options))


def to_compressed(name: str) -> str:
    """`photo.png` to `photo.vqc`; only the suffix of a picture is replaced."""
    path = Path(name)
    return (path.stem if path.suffix.lower() in INPUT_SUFFIXES else name) + SUFFIX


def to_picture(suffix: str) -> Rename:
    """`photo.vqc` to `photo` with a suffix."""

    def rename(name: str) -> str:
        path = Path(name)
        return (path.stem if path.suffix.lower() == SUFFIX else name) + suffix

    return rename


def _machine(options: dict[str, Any]) -> Machine:
    limits = Limits(options["max_pixels"], options["max_memory"])
    return Machine(options["model"], options["device"], options["precision"], limits)


def _writing(options: dict[str, Any]) -> Writing:
    folders = options["output_dir"] is not None
    return Writing(options["force"], options["preserve"], folders)


def _settings(options: dict[str, Any]) -> Settings:
    if options["force"] and options["skip_existing"]:
        raise click.UsageError("give -f or --skip-existing, not both")
    names = ("force", "skip_existing", "dry_run", "jobs", "as_json", "quiet")
    return Settings(
        **{name: options[name] for name in names}, make_folders=options["output_dir"] is not None
    )
