"""Seconds of compress and decompress: whole process, and by stage inside one process.

    python scripts/bench.py PICTURE [--model NAME|FILE] [--threads N] [--json FILE]

Medians over repetitions in one run; compare machines and versions by ratios, not by these
numbers.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import click


def seconds(action: Callable[[], Any], repeat: int) -> float:
    """Median wall time of an action, after one run to warm up."""
    action()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def whole_process(picture: Path, model: str, repeat: int) -> dict[str, float]:
    """Wall time of the commands as a user runs them."""
    program = [sys.executable, "-m", "codec"]
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder, "a.vqc"), Path(folder, "a.png")
        compress = [*program, "compress", "-Qf", "--model", model, str(picture), str(coded)]
        decompress = [*program, "decompress", "-Qf", "--model", model, str(coded), str(decoded)]
        return {
            "compress, whole process": seconds(partial(subprocess.run, compress), repeat),
            "decompress, whole process": seconds(partial(subprocess.run, decompress), repeat),
        }


def importing() -> float:
    """Wall time of importing the pipeline in a fresh interpreter, its start left out."""
    code = "from time import perf_counter as t; a = t(); import codec.pipeline; print(t() - a)"
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        for _ in range(3)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def stages(picture: Path, model: str, repeat: int) -> dict[str, float]:
    """Wall time of each stage with everything warm."""
    from PIL import Image

    from codec.bitstream import container
    from codec.bitstream.latents import LatentCoder
    from codec.limits import Limits
    from codec.model.config import LEVEL_BITS
    from codec.picture.pixels import from_image, pad_to_stride
    from codec.picture.reading import open_picture
    from codec.picture.writing import write_picture
    from codec.runtime.dyadic import UNIT
    from codec.runtime.exact_prior import LatentGrid
    from codec.runtime.released import find_weights
    from codec.runtime.torch_engine import TorchEngine
    from codec.runtime.weights import load_weights

    path = find_weights(model)
    weights = load_weights(path)
    engine, coder = TorchEngine(weights), LatentCoder(weights)
    level = (weights.config.anchors - 1) << (LEVEL_BITS - 1)  # quality 50
    source = picture.read_bytes()

    def read() -> Image.Image:
        return open_picture(BytesIO(source), Limits())

    image = read()
    samples = pad_to_stride(from_image(image).samples)
    y, z = engine.analyse(samples, level)
    height, width = y.shape[1:]
    coded = coder.encode(y, z, level)
    grid = LatentGrid(height, width)
    first, _ = grid.pack(coded.y_hat * UNIT)
    symbols = z.round().astype("int32")
    header = container.Header(image.width, image.height, False, level, weights.short_id)
    tile = container.Tile(coded.stream, coded.checksum)

    def parse() -> None:
        container.ContainerFile(BytesIO(container.write(header, [tile]))).read_tile(0)

    def prior() -> None:
        features = weights.prior.features(symbols, level, grid)
        weights.prior.first_pass(features, level, grid)
        weights.prior.second_pass(features, first, level, grid)

    prior_alone = seconds(prior, repeat)
    encode = seconds(lambda: coder.encode(y, z, level), repeat)
    decode = seconds(lambda: coder.decode(coded.stream, height, width, level), repeat)
    return {
        "import": importing(),
        "weights": seconds(lambda: load_weights(path), repeat),
        "read picture": seconds(lambda: from_image(read()), repeat),
        "g_a, h_a": seconds(lambda: engine.analyse(samples, level), repeat),
        "prior": prior_alone,
        "coder, encoding": encode - prior_alone,
        "prior and coder, encoding": encode,
        "coder, decoding": decode - prior_alone,
        "prior and coder, decoding": decode,
        "container": seconds(parse, repeat),
        "g_s": seconds(lambda: engine.synthesise(coded.y_hat, level), repeat),
        "write picture (PNG)": seconds(lambda: write_picture(image, BytesIO(), "PNG"), repeat),
    }


@click.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="photo", show_default=True)
@click.option("--threads", default=os.cpu_count(), show_default=True)
@click.option("--repeat", default=31, show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Keep the numbers.")
def main(picture: Path, model: str, threads: int, repeat: int, target: Path | None) -> None:
    """Time the codec on PICTURE."""
    from codec.runtime.released import find_weights, read_config, read_metadata

    if read_config(read_metadata(find_weights(model))).rounding != "integer":
        raise click.UsageError("the stages are those of a model that rounds to integers")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    with Image.open(picture) as image:
        print(
            f"{picture.name}, {image.width}x{image.height}, {threads} threads, medians of {repeat}"
        )
    times = stages(picture, model, repeat) | whole_process(picture, model, 3)
    for name, value in times.items():
        print(f"{name:28s} {1000 * value:9.1f} ms")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{'peak memory of a command':28s} {peak / 1024:9.1f} MiB")
    if target:
        target.write_text(json.dumps(times, indent=1) + "\n")


if __name__ == "__main__":
    main()
