"""`vqcodec compress`, `decompress`, `info` and `models`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.bitstream.container import DEFAULT_MAX_PIXELS, OVERHEAD, Container, read
from codec.errors import CodecError, InputError, ModelNotFoundError
from codec.files import STANDARD, check_target, read_file, write_file
from codec.model.config import LEVEL_BITS
from codec.runtime.released import (
    DEFAULT_MODEL,
    find_by_id,
    read_config,
    read_metadata,
    released_models,
    short_id_of,
)

if TYPE_CHECKING:
    from PIL import Image

SUFFIX = ".vqc"
PICTURE_SUFFIXES = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Lossless formats that `decompress` writes, by the suffix of OUT."""
PATH = click.Path(path_type=Path)

model_option = click.option("--model", metavar="NAME|FILE", help="Released model or weights file.")
common_options = [
    click.option("-f", "--force", is_flag=True, help="Overwrite existing output."),
    click.option("--device", default="cpu", show_default=True, help="Device of the transforms."),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the transforms; never affects whether a file decodes.",
    ),
    click.option(
        "--max-pixels", default=DEFAULT_MAX_PIXELS, show_default=True, help="Refuse larger ones."
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON line on standard output."),
    click.option("-Q", "--quiet", is_flag=True, help="Print nothing but errors."),
]


def with_common_options(command: Any) -> Any:
    """Add the options that `compress` and `decompress` share."""
    for option in reversed(common_options):
        command = option(command)
    return command


@click.command()
@click.argument("source", metavar="IN", type=PATH)
@click.argument("target", metavar="[OUT]", type=PATH, required=False)
@click.option("-q", "--quality", type=click.FloatRange(0, 100), help="0 to 100; default 50.")
@click.option(
    "--lambda", "lmbda", type=float, help="Slope of bits/pixel + lambda 255^2 MSE, instead of -q."
)
@model_option
@with_common_options
def compress(source: Path, target: Path | None, **options: Any) -> None:
    """Compress the picture IN to OUT (default: IN with the suffix .vqc).

    `-` stands for standard input or output.
    """
    if options["quality"] is not None and options["lmbda"] is not None:
        raise click.UsageError("give -q or --lambda, not both")
    target = target or _default_target(source, SUFFIX)
    _check(source, target, options)

    from codec.picture.pixels import read_picture
    from codec.pipeline import Codec

    began = time.perf_counter()
    data = read_file(source)
    with naming(source):
        image = read_picture(data, options["max_pixels"])
        codec = Codec(options["model"] or DEFAULT_MODEL, options["device"], options["precision"])
        result = codec.encode(image, options["quality"], options["lmbda"])
    write_file(target, result.data, options["force"])
    _report(
        options,
        target,
        result.reconstruction,
        result.data,
        psnr=result.psnr,
        seconds=time.perf_counter() - began,
    )


@click.command()
@click.argument("source", metavar="IN", type=PATH)
@click.argument("target", metavar="[OUT]", type=PATH, required=False)
@model_option
@with_common_options
def decompress(source: Path, target: Path | None, **options: Any) -> None:
    """Decompress IN to the picture OUT (default: IN with the suffix .png).

    The suffix of OUT names the format: png, webp (lossless), bmp, ppm or tiff. `-` stands
    for standard input or output; a picture goes there as PNG.
    """
    target = target or _default_target(source, ".png")
    suffix = ".png" if target == STANDARD else target.suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise click.UsageError(f"OUT must end in one of {', '.join(PICTURE_SUFFIXES)}")
    _check(source, target, options)
    data = read_file(source)
    with naming(source):
        header = read(data).header
        header.check_pixels(options["max_pixels"])
        model = options["model"] or find_by_id(header.model_id)

    from codec.picture.pixels import picture_bytes
    from codec.pipeline import Codec

    began = time.perf_counter()
    with naming(source):
        codec = Codec(model, options["device"], options["precision"])
        image = codec.decompress(data, options["max_pixels"])
    write_file(target, picture_bytes(image, PICTURE_SUFFIXES[suffix]), options["force"])
    _report(options, target, image, data, seconds=time.perf_counter() - began)


@click.command()
@click.argument("source", metavar="FILE", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON line.")
def info(source: Path, as_json: bool) -> None:
    """Tell what the compressed FILE holds, without decoding it. Checksums are verified."""
    data = read_file(source)
    with naming(source):
        facts = _facts(read(data), len(data))
    if as_json:
        click.echo(json.dumps({"file": str(source)} | facts))
        return
    click.echo(f"{source}: vqcodec version 1, {facts['width']}x{facts['height']} {facts['mode']}")
    click.echo(
        f"  {facts['bytes']} bytes ({facts['container_bytes']} of them container), "
        f"{facts['bpp']:.4f} bpp"
    )
    click.echo(f"  model {facts['model']} ({facts['model_id']}), {facts['rounding']} rounding")
    if facts["lambda"] is not None:
        quality = "" if facts["quality"] is None else f"quality {facts['quality']:.4g}, "
        click.echo(f"  {quality}lambda {facts['lambda']:.5g}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON line per model.")
def models(as_json: bool) -> None:
    """List the models that ship with this program."""
    for path in released_models():
        metadata = read_metadata(path)
        config = read_config(metadata)
        facts = {
            "model": path.stem,
            "model_id": short_id_of(path).hex(),
            "lambda_min": config.lambda_min,
            "lambda_max": config.lambda_max,
            "bytes": path.stat().st_size,
            "file": str(path),
        }
        if as_json:
            click.echo(json.dumps(facts))
        else:
            click.echo(
                f"{path.stem} ({facts['model_id']}): lambda {config.lambda_min:g} to "
                f"{config.lambda_max:g}, {facts['bytes']} bytes"
            )


def _facts(parsed: Container, size: int) -> dict[str, Any]:
    header = parsed.header
    facts: dict[str, Any] = {
        "width": header.width,
        "height": header.height,
        "mode": "grey" if header.grey else "RGB",
        "bytes": size,
        "container_bytes": OVERHEAD,
        "bpp": 8 * size / header.pixels,
        "model": "not installed",
        "model_id": header.model_id.hex(),
        "rounding": "integer",
        "level": header.level,
        "quality": None,
        "lambda": None,
    }
    try:
        path = find_by_id(header.model_id)
    except ModelNotFoundError:
        return facts
    config = read_config(read_metadata(path))
    position = header.level / (1 << LEVEL_BITS)
    return facts | {
        "model": path.stem,
        "quality": config.quality_of(position),
        "lambda": config.lambda_of(position),
    }


def _default_target(source: Path, suffix: str) -> Path:
    if source == STANDARD:
        return STANDARD
    if source.is_dir():
        raise InputError(f"{source}: is a folder; name a file")
    return source.with_suffix(suffix)


def _check(source: Path, target: Path, options: dict[str, Any]) -> None:
    """Refuse hopeless targets before the slow imports."""
    if target == STANDARD and options["as_json"]:
        raise click.UsageError("--json needs standard output, which OUT uses already")
    if target != STANDARD and target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: input and output are the same file")
    check_target(target, options["force"])


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Put the file's name in front of an error's message."""
    try:
        yield
    except CodecError as error:
        raise type(error)(f"{source}: {error}") from error


def _report(
    options: dict[str, Any], target: Path, image: Image.Image, data: bytes, **facts: float
) -> None:
    """One line on standard error, or one of JSON on standard output."""
    bpp = 8 * len(data) / (image.width * image.height)
    if options["as_json"]:
        size = {"width": image.width, "height": image.height, "bytes": len(data), "bpp": bpp}
        click.echo(json.dumps({"file": str(target)} | size | facts))
    elif not options["quiet"]:
        psnr = f"  {facts['psnr']:.2f} dB" if "psnr" in facts else ""
        click.echo(
            f"{target}  {image.width}x{image.height}  {len(data)} B  {bpp:.4f} bpp{psnr}  "
            f"{facts['seconds']:.2f} s",
            err=True,
        )
