"""The model that rounds to centres on a folder of pictures, level by level and beside another.

    python scripts/vq.py FOLDER [--model NAME|FILE] [--beside NAME|FILE]

The first table has what the learned prior saves against log2 K bits for each index, and how
much of the codebooks is in use; the second has real files of both models.
"""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image

from codec.evaluation.bd_rate import bd_rate
from codec.evaluation.codebooks import report_levels
from codec.evaluation.rate_distortion import RatePoint, curve, mean_points, measure
from codec.pipeline import Codec
from codec.runtime.released import find_weights
from codec.runtime.weights import load_weights

SETTINGS = 8


def points_of(model: str, pictures: list[Path]) -> list[RatePoint]:
    """Mean bpp and PSNR of real files at qualities spread over the model's range."""
    codec = Codec(model)
    qualities = [100 * step / (SETTINGS - 1) for step in range(SETTINGS)]
    return mean_points(measure(codec, p, quality) for p in pictures for quality in qualities)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="vq", show_default=True)
@click.option("--beside", default="photo", show_default=True, help="Model to compare with.")
def main(folder: Path, model: str, beside: str) -> None:
    """Measure a model on the PNG pictures in FOLDER."""
    paths = sorted(folder.glob("*.png"))
    weights = load_weights(find_weights(model))
    config = weights.config
    print(
        f"{weights.name} ({weights.short_id.hex()}), {len(paths)} pictures: {config.anchors} "
        f"levels of {config.groups} groups of {config.centres} centres\n"
    )
    print("| levels | bpp | PSNR | uniform bpp | nearest PSNR | saved | usage | perplexity |")
    print("|---|---|---|---|---|---|---|---|")
    reports = report_levels(weights, (Image.open(path).convert("RGB") for path in paths))
    for r in reports:
        print(
            f"| {r.levels} | {r.learned_bpp:.4f} | {r.learned_psnr:.2f} | {r.uniform_bpp:.4f} | "
            f"{r.uniform_psnr:.2f} | {100 * r.saved:.1f} % | {100 * r.usage:.1f} % | "
            f"{r.perplexity:.1f} |"
        )
    usage = sum(r.usage for r in reports) / len(reports)
    print(f"\nCentres in use, all levels: {100 * usage:.1f} %\n")

    print(f"| {model}: bpp | PSNR | {beside}: bpp | PSNR |\n|---|---|---|---|")
    ours, theirs = points_of(model, paths), points_of(beside, paths)
    for one, other in zip(ours, theirs, strict=True):
        print(f"| {one.bpp:.4f} | {one.psnr:.2f} | {other.bpp:.4f} | {other.psnr:.2f} |")
    print(f"\nBD-rate of {model} against {beside}: {bd_rate(curve(theirs), curve(ours)):+.1f} %")


if __name__ == "__main__":
    main()
