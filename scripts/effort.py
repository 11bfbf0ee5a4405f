"""What the encoder's search gains and costs, over a folder of pictures.

python scripts/effort.py FOLDER [--efforts 0,1,5] [--qualities 10,40,70,100] [--pictures N]
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean

import click
from PIL import Image

from codec.evaluation.bd_rate import bd_rate, published_curves
from codec.evaluation.results import Curve
from codec.files import open_file
from codec.limits import Limits
from codec.picture.reading import open_picture
from codec.pipeline import Codec

PEER = "avif"
"""Its published curve is of the Kodak pictures; for others the column means nothing."""


def numbers(_context: click.Context, _parameter: click.Parameter, text: str) -> list[float]:
    """Numbers that commas separate."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter("give numbers, such as 0,3,9") from error


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="photo", show_default=True)
@click.option("--efforts", default="0,1,3,5,7,9", show_default=True, callback=numbers)
@click.option("--qualities", default="14,43,71,100", show_default=True, callback=numbers)
@click.option("--pictures", type=click.IntRange(min=1), help="The first so many only.")
@click.option("--crop", type=click.IntRange(min=16), help="The middle square of so many pixels.")
def main(
    folder: Path,
    model: str,
    efforts: list[float],
    qualities: list[float],
    pictures: int | None,
    crop: int | None,
) -> None:
    """Measure a model on the PNG and AVIF pictures in FOLDER."""
    codec = Codec(model)
    paths = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".avif"))[:pictures]
    images: list[Image.Image] = []
    for path in paths:
        with open_file(path) as file:
            image = open_picture(file, Limits())
        if crop:
            left, top = (image.width - crop) // 2, (image.height - crop) // 2
            image = image.crop((left, top, left + crop, top + crop))
        images.append(image)
    codec.encode_only(images[0], measure=True, effort=1)  # what is made once is made here
    peer = next(curve for curve, stands_for in published_curves() if stands_for == PEER)
    print(f"{codec.weights.name} ({codec.weights.short_id.hex()}), {len(images)} pictures")
    print(f"| effort | bpp | PSNR | BD-rate to the first | to {PEER} | seconds | times |")
    print("|---|---|---|---|---|---|---|")
    first: tuple[Curve, float] | None = None
    for effort in map(int, efforts):
        curve, seconds = measure(codec, images, qualities, effort)
        first = first or (curve, seconds)
        print(
            f"| {effort} | {fmean(curve.bpp):.4f} | {fmean(curve.psnr):.2f} | "
            f"{percent(bd_rate(first[0], curve))} | {percent(bd_rate(peer, curve))} | "
            f"{seconds:.2f} | {seconds / first[1]:.1f} |",
            flush=True,
        )


def measure(
    codec: Codec, images: list[Image.Image], qualities: list[float], effort: int
) -> tuple[Curve, float]:
    """Mean curve of whole files, and mean seconds of one, its PSNR included."""
    seconds, bpp, psnr = [], [], []
    for quality in qualities:
        files = []
        for image in images:
            began = time.perf_counter()
            files.append(codec.encode_only(image, quality, measure=True, effort=effort))
            seconds.append(time.perf_counter() - began)
        bpp.append(fmean(8 * len(file.data) / file.header.pixels for file in files))
        psnr.append(fmean(file.psnr for file in files))
    return Curve(f"effort {effort}", "measured", tuple(bpp), tuple(psnr), None), fmean(seconds)


def percent(value: float | None) -> str:
    """A BD-rate for people."""
    return "-" if value is None else f"{value:+.2f} %"


if __name__ == "__main__":
    main()
