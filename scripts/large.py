"""Time and peak memory of a huge picture, whole and a region, each in a process of its own.

    python scripts/large.py [--megapixels 100] [--source PHOTO] [--json FILE]

The picture is the photograph repeated, mirrored and under a slow ramp, so that no two tiles are
alike, as PNG. Peak memory is the resident set's, as the kernel counted it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageChops, ImageOps

REGION = "4000,4000,800,600"
Image.MAX_IMAGE_PIXELS = None  # the pictures are made here


def huge_picture(source: Path, megapixels: float) -> Image.Image:
    """A square picture of about this many pixels."""
    side = round((megapixels * 1e6) ** 0.5)
    with Image.open(source) as photo:
        tile = photo.convert("RGB")
    canvas = Image.new("RGB", (side, side))
    for row, top in enumerate(range(0, side, tile.height)):
        for column, left in enumerate(range(0, side, tile.width)):
            part = ImageOps.mirror(tile) if column % 2 else tile
            part = ImageOps.flip(part) if row % 2 else part
            shade = (7 * row + 13 * column) % 48
            canvas.paste(
                ImageChops.add(part, Image.new("RGB", part.size, (shade,) * 3)), (left, top)
            )
    return canvas


def measured(*arguments: str) -> dict[str, Any]:
    """Run a command; its facts, seconds and peak memory."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "codec", *arguments, "--json"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)],
    )
    os.close(writer)
    with os.fdopen(reader) as output:
        facts = json.loads(output.read() or "{}")
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{arguments[0]} failed")
    seconds = time.perf_counter() - began
    return facts | {
        "wall": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss,
    }


@click.command()
@click.option("--megapixels", default=100.0, show_default=True)
@click.option("--source", default="tests/data/flowers.png", type=click.Path(path_type=Path))
@click.option("--json", "target", type=click.Path(path_type=Path), help="Keep the numbers.")
def main(megapixels: float, source: Path, target: Path | None) -> None:
    """Compress and decompress a huge picture."""
    with tempfile.TemporaryDirectory() as folder:
        picture, coded, shown, part = (
            str(Path(folder, name)) for name in ("in.png", "a.vqc", "out.png", "part.png")
        )
        image = huge_picture(source, megapixels)
        image.save(picture, compress_level=1)
        print(f"{image.width}x{image.height}, {Path(picture).stat().st_size} bytes as PNG")
        runs = {
            "compress": measured("compress", "-Q", picture, coded),
            "decompress": measured("decompress", "-Q", coded, shown),
            f"decompress --region {REGION}": measured(
                "decompress", "-Q", coded, part, "--region", REGION
            ),
        }
        with Image.open(shown) as whole, Image.open(part) as region:
            left, top, width, height = map(int, REGION.split(","))
            crop = whole.crop((left, top, left + width, top + height))
            difference = int(np.asarray(ImageChops.difference(crop, region)).max())
    print("| command | wall s | CPU s | peak MiB | bytes | read | tiles |\n" + "|---" * 7 + "|")
    for name, facts in runs.items():
        read = f"{facts.get('bytes_read', '')} | {facts.get('tiles_read', '')}"
        print(
            f"| {name} | {facts['wall']:.1f} | {facts['cpu']:.1f} | {facts['peak'] >> 10} | "
            f"{facts['bytes']} | {read} |"
        )
    print(f"largest difference between region and whole: {difference}")
    if target:
        target.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
