"""Rate-distortion of a model on a folder of pictures, with real files.

    python scripts/kodak.py KODAK_FOLDER [--model NAME|FILE] [--json FILE]

Prints bpp and PSNR at eight qualities, BD-rates against peers (meaningful for the 24 Kodak
pictures only), and fails if any file is longer than -log2 P by more than 0.3 % + 48 bytes or
decodes to anything else than the encoder's reconstruction within one grey level.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from codec.evaluation.bd_rate import bd_rate, kodak_peers
from codec.evaluation.rate_distortion import curve, mean_points, measure
from codec.model.config import LEVEL_BITS
from codec.pipeline import Codec

QUALITIES = tuple(100 * step / 7 for step in range(8))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="photo", show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Keep all measurements.")
def main(folder: Path, model: str, target: Path | None) -> None:
    """Measure a model on the PNG pictures in FOLDER."""
    codec = Codec(model)
    pictures = sorted(folder.glob("*.png"))
    jobs = [(picture, quality) for picture in pictures for quality in QUALITIES]
    with click.progressbar(jobs, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        measured = [measure(codec, picture, quality) for picture, quality in bar]
    points = mean_points(measured)

    print(f"{codec.weights.name} ({codec.weights.short_id.hex()}), {len(pictures)} pictures")
    print("| quality | lambda | bpp | PSNR |\n|---|---|---|---|")
    for point in points:
        lmbda = codec.weights.config.lambda_of(codec.level_of(point.quality) / (1 << LEVEL_BITS))
        print(f"| {point.quality:.1f} | {lmbda:.4f} | {point.bpp:.4f} | {point.psnr:.2f} |")
    print("\n| peer | BD-rate |\n|---|---|")
    for name, peer in kodak_peers().items():
        print(f"| {name} | {bd_rate(peer.points, curve(points)):+.1f} % |")

    excess = [m.size - m.model_bytes for m in measured]
    relative = max((m.size - m.model_bytes) / m.model_bytes for m in measured)
    print(
        f"\n{len(measured)} files: {min(excess):.1f} to {max(excess):.1f} bytes above -log2 P "
        f"(at most {100 * relative:.2f} %), container {measured[0].container_bytes} bytes, "
        f"decoded pictures differ from the encoder's by at most "
        f"{max(m.difference for m in measured)} grey levels"
    )
    if target:
        target.write_text(json.dumps([dataclasses.asdict(m) for m in measured], indent=1) + "\n")
    if not all(m.honest_size and m.difference <= 1 for m in measured):
        sys.exit("a file misses its size or its picture")


if __name__ == "__main__":
    main()
