"""Print rate and quality of a vector-quantised model by level, and real files of two models."""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image

from codec.codec import Codec
from codec.evaluation.bd_rate import bd_rate
from codec.evaluation.instruments import PSNR
from codec.evaluation.measuring import measure
from codec.evaluation.ours import ModelCoder
from codec.evaluation.results import Curve, Measurement, curve_of, mean_points
from codec.evaluation.subjects import Reading, read_subject
from codec.evaluation.tables import per_cent
from codec.weights.file import load_weights
from codec.weights.released import find_weights
from scripts.vq.levels import report_levels


def curve_of_model(model: str, pictures: list[Path]) -> Curve:
    """Mean bpp and PSNR of real files at qualities spread over the model's range."""
    coder = ModelCoder(Codec(model))
    found: list[Measurement] = []
    for path in pictures:
        subject = read_subject(path.stem, path, Reading())
        found += [measure(coder, subject, quality) for quality in coder.settings]
    return curve_of(coder.name, mean_points(found))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="vq", show_default=True)
@click.option("--against", default="photo", show_default=True, help="Model to compare with.")
def main(folder: Path, model: str, against: str) -> None:
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

    print(f"| {model}: bpp | PSNR | {against}: bpp | PSNR |\n|---|---|---|---|")
    ours, theirs = curve_of_model(model, paths), curve_of_model(against, paths)
    for row in zip(ours.bpp, ours.psnr, theirs.bpp, theirs.psnr, strict=True):
        print("| {:.4f} | {:.2f} | {:.4f} | {:.2f} |".format(*row))
    gap = bd_rate(theirs.points(PSNR), ours.points(PSNR))
    print(f"\nBD-rate of {model} against {against}: {per_cent(gap)}")


if __name__ == "__main__":
    main()
