"""Accuracy of the encoder's size, rate and PSNR targets over a folder of pictures.

python scripts/targets.py KODAK_FOLDER [--model NAME|FILE] [--json FILE]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import click

from codec.codec import Codec
from codec.errors import InputError
from codec.files import open_file
from codec.limits import Limits
from codec.picture.reading import open_picture

TARGETS: list[tuple[str, float]] = [
    *(("target_bpp", value) for value in (0.25, 0.5, 1.0)),
    ("target_size", 30_000),
    *(("target_psnr", value) for value in (30.0, 33.0, 36.0)),
]


def trial(codec: Codec, path: Path, name: str, target: float) -> dict[str, Any]:
    """Deviation from a target for one picture, and its cost in encodings."""
    with open_file(path) as file:
        image = open_picture(file, Limits()).image
    began = time.perf_counter()
    codec.encode(image, measure=name == "target_psnr")
    once = time.perf_counter() - began
    wanted: dict[str, Any] = {name: round(target) if name == "target_size" else target}
    began = time.perf_counter()
    try:
        encoded = codec.encode(image, **wanted)
    except InputError:
        return {"picture": path.name, name: target, "reached": False}
    seconds = time.perf_counter() - began
    bits = 8 * len(encoded.data)
    value = {"target_bpp": bits / encoded.header.pixels, "target_size": len(encoded.data)}
    miss = encoded.psnr - target if name == "target_psnr" else 100 * (1 - value[name] / target)
    level = encoded.header.level
    ends = (0, codec.level_of(100))
    return {
        "picture": path.name,
        name: target,
        "reached": level not in ends,
        "miss": miss,
        "times": seconds / once,
    }


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="photo", show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Keep all trials.")
def main(folder: Path, model: str, output: Path | None) -> None:
    """Measure on the PNG pictures in FOLDER; fails if a target is exceeded."""
    codec = Codec(model)
    kept: list[dict[str, Any]] = []
    print("| target | in reach | miss, median | miss, worst | times one encoding |")
    print("|---|---|---|---|---|")
    for name, target in TARGETS:
        trials = [trial(codec, path, name, target) for path in sorted(folder.glob("*.png"))]
        kept += trials
        reached = [t for t in trials if t["reached"]]
        misses = [t["miss"] for t in reached]
        unit = "dB above" if name == "target_psnr" else "% below"
        times = statistics.median(t["times"] for t in reached)
        print(
            f"| {name} {target:g} | {len(reached)} of {len(trials)} | "
            f"{statistics.median(misses):.3f} {unit} | {max(misses):.3f} {unit} | {times:.1f} |",
            flush=True,
        )
        if min(misses) < 0:
            sys.exit("a target was exceeded")
    if output:
        output.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
