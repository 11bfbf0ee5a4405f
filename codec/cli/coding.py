"""`vqcodec compress` and `vqcodec decompress`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from codec.cli.batch import Settings, run_batch
from codec.cli.options import (
    PATH,
    POSITIVE,
    QUALITY,
    SUFFIX,
    Bytes,
    Kinds,
    Region,
    TileSize,
    cluster_of,
    only_one,
    with_shared_options,
)
from codec.cli.plan import Job, Rename, plan
from codec.cli.tasks import CompressTask, DecompressTask, Machine, Writing
from codec.files import STANDARD
from codec.limits import Limits
from codec.picture.formats import INPUT_SUFFIXES, OUTPUT_NAMES, OUTPUT_SUFFIXES
from codec.picture.metadata import KINDS
from codec.url import Place, Url

TARGETS = {
    "target_bpp": "--target-bpp",
    "target_size": "--target-size",
    "target_psnr": "--target-psnr",
}
RATES = {"quality": "-q", "lambda": "--lambda"} | TARGETS
LOSSLESS = {"lossless": "--lossless"}
MASK = {"map": "--map"}
PASSED = ("quality", "tile_size", "to_8bit", "effort", "lossless")
METADATA = {"strip": "--strip", "keep": "--keep"}
SCALES = {"1": 1.0, "1/2": 1 / 2, "1/4": 1 / 4, "1/8": 1 / 8}
SIZES = {"scale": "--scale", "size": "--size"}
EXISTING = {"force": "-f", "skip_existing": "--skip-existing"}


@click.command()
@click.argument("inputs", metavar="IN... [OUT]", type=PATH, nargs=-1, required=True)
@click.option("-q", "--quality", type=QUALITY, help="0 to 100; default 50.")
@click.option("--lambda", type=POSITIVE, help="Slope of the model's objective, instead of -q.")
@click.option("--target-bpp", type=POSITIVE, help="Bits per pixel of the file, never exceeded.")
@click.option("--target-size", type=Bytes(minimum=1), help="Bytes of the file, never exceeded.")
@click.option("--target-psnr", type=POSITIVE, help="dB, reached or exceeded.")
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    help="0 to 9: how long to look for a better file of the same quality; default 1.",
)
@click.option("--lossless", is_flag=True, help="Keep every sample as it is.")
@click.option(
    "--patches",
    type=click.Choice(["auto", "never"]),
    help="Rectangles that the model does badly on are kept without loss; default auto.",
)
@click.option(
    "--map",
    type=PATH,
    metavar="MASK",
    help="Grey picture of where quality matters: white adds 50 to -q, black takes away 50.",
)
@click.option("--strip", is_flag=True, help="Leave out profile, EXIF and XMP.")
@click.option("--keep", type=Kinds(), help="Keep only these; all are kept by default.")
@click.option("--measure", is_flag=True, help="Tell the PSNR, which takes about as long again.")
@click.option("--skip-larger", is_flag=True, help="Write no file that is larger than its input.")
@click.option("--keep-suffix", is_flag=True, help="Name outputs like photo.jpg.vqc.")
@click.option("--to-8bit", is_flag=True, help="Accept pictures of 16 bits, cut to 8.")
@click.option("--frame", type=click.IntRange(min=0), help="Of an animation, counted from 0.")
@click.option(
    "--tile-size",
    type=TileSize(),
    help="Side of tiles, a multiple of 64; 0 for none; default 1024 above 2 megapixels.",
)
@with_shared_options
def compress(inputs: tuple[Place, ...], **options: Any) -> int:
    """Compress the picture IN to OUT (default: IN with the suffix .vqc).

    With -d, any number of pictures; with -r, folders of them. `-` stands for standard input
    or output. Without transparency and metadata nothing but the pixels is stored; EXIF
    orientation is always applied to them.
    """
    apart = ({name: f"--{name}"} | LOSSLESS for name in ("effort", "patches"))
    for flags in (RATES | LOSSLESS, *apart, MASK | LOSSLESS, METADATA, EXISTING):
        options = only_one(options, flags)
    kept = options["keep_suffix"]
    planned = plan(
        inputs,
        append_suffix if kept else to_compressed,
        INPUT_SUFFIXES,
        options["output_dir"],
        options["recursive"],
        {SUFFIX},
        "" if kept else "--keep-suffix",
    )
    _check_times(planned.jobs, options)
    for job in planned.jobs:
        if options["skip_larger"] and job.target == STANDARD:
            raise click.UsageError("--skip-larger leaves out files; OUT is standard output")
        _check_output(job, INPUT_SUFFIXES, "a picture")
    if options["map"] and len(planned.jobs) > 1:
        raise click.UsageError("--map is of one picture; compress the others without it")
    if options["map"] == STANDARD and STANDARD in inputs[:1]:
        raise click.UsageError("IN and --map cannot both be standard input")
    task = CompressTask(
        machine=_machine(options),
        writing=_writing(options),
        options={name: options[name] for name in (*TARGETS, *PASSED)}
        | {"lmbda": options["lambda"]}
        | {"keep": _kept(options)}
        | {"patches": options["patches"] or "auto"},
        mask=options["map"],
        frame=options["frame"],
        measure=options["measure"],
        skip_larger=options["skip_larger"],
        bar=len(planned.jobs) == 1 and not options["quiet"],
    )
    return run_batch(task, planned, _settings(options))


@click.command()
@click.argument("inputs", metavar="IN... [OUT]", type=PATH, nargs=-1, required=True)
@click.option(
    "--region",
    type=Region(),
    help="Show only these pixels; tiles that they do not need are not read.",
)
@click.option(
    "--scale",
    type=click.Choice(list(SCALES)),
    help="Of the picture's size; 1/8 takes a fraction of the time.",
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Greatest side of the picture, which is reduced to it, never enlarged.",
)
@click.option(
    "--levels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show the first N residual levels of a vector-quantised file.",
)
@click.option("--format", type=click.Choice(list(OUTPUT_NAMES)), help="Of the pictures.")
@with_shared_options
def decompress(inputs: tuple[Place, ...], **options: Any) -> int:
    """Decompress IN to the picture OUT (default: IN with the suffix .png).

    The suffix of OUT names the format, or --format does: png, webp (lossless), tiff, bmp, ppm,
    or jpeg (quality 95). With -d, any number of files; with -r, folders of them. `-` stands
    for standard input or output.
    """
    for flags in (SIZES, EXISTING):
        options = only_one(options, flags)
    name = _format(inputs, options)
    suffix = OUTPUT_NAMES[name or "png"]
    planned = plan(
        inputs,
        to_picture(suffix),
        {SUFFIX},
        options["output_dir"],
        options["recursive"],
        OUTPUT_SUFFIXES,
    )
    _check_times(planned.jobs, options)
    for job in planned.jobs:
        _check_output(job, {SUFFIX}, "a compressed file")
        named = job.target != STANDARD and not job.problem
        if name is None and named and job.target.suffix.lower() not in OUTPUT_SUFFIXES:
            known = ", ".join(OUTPUT_SUFFIXES)
            raise click.UsageError(f"OUT must end in one of {known}; or give --format")
    only_standard = all(job.target == STANDARD for job in planned.jobs)
    task = DecompressTask(
        machine=_machine(options),
        writing=_writing(options),
        region=options["region"],
        levels=options["levels"],
        scale=SCALES[options["scale"] or "1"],
        size=options["size"],
        file_format=OUTPUT_SUFFIXES[suffix] if name or only_standard else None,
        bar=len(planned.jobs) == 1 and not options["quiet"],
    )
    return run_batch(task, planned, _settings(options))


def _check_output(job: Job, inputs: Collection[str], kind: str) -> None:
    """Refuse an output that is named like an input: `*.png` may be two of those."""
    if not job.problem and job.target.suffix.lower() in inputs:
        raise click.UsageError(
            f"{job.target} looks like {kind}; OUT must not, and several IN need -d DIR"
        )


def _format(inputs: Sequence[Place], options: dict[str, Any]) -> str | None:
    """Name of the format that pictures are written in; None to go by the suffix of OUT."""
    name: str | None = options["format"]
    if name is None or len(inputs) != 2 or options["recursive"] or options["output_dir"]:
        return name
    named = OUTPUT_SUFFIXES.get(inputs[1].suffix.lower())
    if named is None or named == OUTPUT_SUFFIXES[OUTPUT_NAMES[name]]:
        return name
    source = click.get_current_context().get_parameter_source("format")
    if source is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"--format {name} contradicts the suffix of {inputs[1]}")
    return None


def to_compressed(name: str) -> str:
    """`photo.png` to `photo.vqc`; only the suffix of a picture is replaced."""
    path = Path(name)
    return (path.stem if path.suffix.lower() in INPUT_SUFFIXES else name) + SUFFIX


def append_suffix(name: str) -> str:
    """`photo.png` to `photo.png.vqc`."""
    return name + SUFFIX


def to_picture(suffix: str) -> Rename:
    """`photo.vqc` to `photo` with a suffix."""

    def rename(name: str) -> str:
        path = Path(name)
        return (path.stem if path.suffix.lower() == SUFFIX else name) + suffix

    return rename


def _kept(options: dict[str, Any]) -> tuple[str, ...]:
    """Kinds of metadata to keep."""
    if options["strip"]:
        return ()
    return KINDS if options["keep"] is None else options["keep"]


def _machine(options: dict[str, Any]) -> Machine:
    limits = Limits(options["max_pixels"], options["max_memory"])
    return Machine(
        options["model"], options["engine"], options["device"], options["precision"], limits
    )


def _writing(options: dict[str, Any]) -> Writing:
    folders = options["output_dir"] is not None
    repeats = options["cluster"] is not None
    return Writing(options["force"], options["preserve"], folders, repeats)


def _check_times(jobs: Sequence[Job], options: dict[str, Any]) -> None:
    """Stores know when a file was uploaded, and take no other time."""
    places = (place for job in jobs for place in (job.source, job.target))
    if options["preserve"] and any(isinstance(place, Url) for place in places):
        raise click.UsageError("--preserve is for files on disks; a URL names none")


def _settings(options: dict[str, Any]) -> Settings:
    return Settings(
        **{name: options[name] for name in ("force", "skip_existing", "dry_run", "jobs", "quiet")},
        as_json=options["json"],
        make_folders=options["output_dir"] is not None,
        cluster=cluster_of(options),
        folder=options["output_dir"],
    )
