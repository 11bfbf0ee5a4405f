"""Table of the outcome of each kind of input, made by running the commands.

python scripts/input_kinds.py [--model NAME|FILE]
"""

from __future__ import annotations

import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import click
from PIL import Image, ImageCms

from codec.cli import main as vqcodec

SIZE = (96, 64)

Write = Callable[[Path], object]
"""Function that writes a picture file."""


def photo(mode: str = "RGB") -> Image.Image:
    """Small RGB test picture."""
    image = Image.merge("RGB", [Image.linear_gradient("L").resize(SIZE)] * 3)
    image.paste((200, 40, 90), (20, 10, 60, 40))
    return image.convert(mode)


def see_through(mode: str = "RGBA") -> Image.Image:
    """Test picture with an alpha channel that varies."""
    image = photo()
    image.putalpha(Image.radial_gradient("L").resize(SIZE))
    return image.convert(mode)


def png_of_16_bits() -> bytes:
    """RGB picture of 16 bits, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress((b"\0" + bytes(24)) * 3))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def save(image: Image.Image, file_format: str = "PNG", **options: object) -> Write:
    """Function that writes an image."""
    return lambda path: image.save(path, file_format, **options)


def put(content: bytes) -> Write:
    """Function that writes bytes."""
    return lambda path: Path.write_bytes(path, content)


def turned() -> Image.Exif:
    """EXIF with an orientation of 90 degrees."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return exif


def kinds() -> list[tuple[str, Write, list[str]]]:
    """Kinds of input: name, function that writes it, options of `compress`."""
    tagged = {"exif": turned(), "xmp": b"<x/>"}
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def frames() -> dict[str, object]:
        return {"save_all": True, "append_images": [photo(), photo("L").convert("RGB")]}

    palette = photo().quantize(8)
    half = photo()
    half.putalpha(255)
    return [
        ("RGB, PNG", save(photo()), []),
        ("RGB, JPEG", save(photo(), "JPEG"), []),
        ("RGB, WebP", save(photo(), "WEBP"), []),
        ("RGB, AVIF", save(photo(), "AVIF"), []),
        ("RGB, TIFF", save(photo(), "TIFF"), []),
        ("RGB, QOI", save(photo(), "QOI"), []),
        ("grey", save(photo("L")), []),
        ("1 bit", save(photo("1")), []),
        ("palette", save(palette), []),
        ("palette, one colour transparent", save(palette, transparency=1), []),
        ("RGBA", save(see_through()), []),
        ("RGBA, all opaque", save(half), []),
        ("grey and alpha", save(see_through("LA")), []),
        ("CMYK", save(photo("CMYK"), "JPEG"), []),
        ("Lab", save(photo("LAB"), "TIFF"), []),
        ("RGB with ICC profile", save(photo(), icc_profile=srgb), []),
        ("RGB with ICC profile, --strip", save(photo(), icc_profile=srgb), ["--strip"]),
        ("EXIF orientation 6, XMP", save(photo(), "JPEG", **tagged), []),
        (
            "the same, --keep xmp",
            save(photo(), "JPEG", **tagged),
            ["--keep", "xmp"],
        ),
        ("JPEG with a second picture (MPO)", save(photo(), "MPO", **frames()), []),
        ("16-bit grey", save(Image.new("I;16", SIZE, 3000)), []),
        ("16-bit grey, --to-8bit", save(Image.new("I;16", SIZE, 3000)), ["--to-8bit"]),
        ("16-bit RGB", put(png_of_16_bits()), []),
        ("floating point", save(Image.new("F", SIZE, 0.5), "TIFF"), []),
        ("animation, GIF", save(photo(), "GIF", **frames()), []),
        ("animation, --frame 1", save(photo(), "GIF", **frames()), ["--frame", "1"]),
        ("several pages, TIFF", save(photo(), "TIFF", **frames()), []),
        ("1x1", save(photo().crop((0, 0, 1, 1))), []),
        ("above --max-pixels", save(photo()), ["--max-pixels", "1000"]),
        ("truncated", put(png_of_16_bits()[:40]), []),
        ("empty", put(b""), []),
        ("text", put(b"no picture"), []),
        ("a format not read (PCX)", save(photo(), "PCX"), []),
        ("a .vqc file", put(b"\x89VQC\r\n\1" + bytes(30)), []),
    ]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command line; returns exit status, standard output and standard error."""
    out, err = StringIO(), StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            vqcodec([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("a command line ends by leaving")


def outcome(source: Path, model: str, options: list[str]) -> str:
    """Outcome of compress, info and decompress for a file, in words."""
    coded, shown = source.with_suffix(".vqc"), source.with_suffix(".out.png")
    status, _, message = run("compress", source, coded, "-Q", "--model", model, *options)
    if status:
        return f"status {status}: {message.strip().split(f'{source}: ', 1)[-1]}"
    facts = json.loads(run("info", coded, "--json")[1])
    run("decompress", coded, shown, "-Q", "--model", model)
    with Image.open(shown) as image:
        what = f"{image.mode} {image.width}x{image.height}"
        kept = [name for name in ("icc_profile", "exif", "xmp") if name in image.info]
    return f"{facts['bytes']} bytes; decoded as {what}" + (
        f", {', '.join(kept)} kept" if kept else ""
    )


@click.command()
@click.option("--model", default="photo", show_default=True)
def main(model: str) -> None:
    """Print the table."""
    print("| input | outcome |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, write, options) in enumerate(kinds()):
            source = Path(folder, f"{number}.in")
            write(source)
            print(f"| {name} | {outcome(source, model, options)} |", flush=True)


if __name__ == "__main__":
    main()
