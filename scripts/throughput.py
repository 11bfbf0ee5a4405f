"""Throughput of batches and of training data, in ratios: `make throughput KODAK=folder`.

`batch` compares `compress --cluster local` with `compress -j`, `loader` the decoding of .vqc files
with that of JPEG and WebP files of as many bytes. Both take turns, count seconds of processors, and
print medians: other work on the machine slows all alike.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from codec.codec import Codec
from codec.dataset import VqcDataset

SIZE = (768, 512)
PR_SET_CHILD_SUBREAPER = 36
TOTAL = 2000
"""Pictures of the batch whose seconds are told."""


def pictures_of(folder: Path) -> Iterator[Image.Image]:
    """Pictures of 0.4 megapixels, the middles of photographs."""
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            photo = image.convert("RGB")
        scale = max(SIZE[0] / photo.width, SIZE[1] / photo.height, 1.0)
        photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
        left, top = (photo.width - SIZE[0]) // 2, (photo.height - SIZE[1]) // 2
        yield photo.crop((left, top, left + SIZE[0], top + SIZE[1]))


@click.group()
def main() -> None:
    """Measure throughput."""


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--counts", default="8,48", show_default=True, metavar="FEW,MANY")
@click.option("--rounds", default=3, show_default=True)
@click.option("--effort", default=0, show_default=True)
def batch(folder: Path, counts: str, rounds: int, effort: int) -> None:
    """Processor seconds of a batch here and on a cluster: a start, and so much for each picture."""
    few, many = (int(count) for count in counts.split(","))
    # What Ray starts outlives its parent; in this way it is counted when it ends.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    seconds: dict[tuple[str, int], list[float]] = {}
    walls: dict[tuple[str, int], list[float]] = {}
    ways = {"-j 2": ["-j", "2"], "--cluster local -j 2": ["-j", "2", "--cluster", "local"]}
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        photos = list(pictures_of(folder))
        for count in (few, many):
            (top / str(count)).mkdir()
            for number in range(count):
                photo = photos[number % len(photos)]
                photo.save(top / str(count) / f"{number:04}.png", compress_level=1)
        for _ in range(rounds):
            for count in (few, many):
                for way, options in ways.items():
                    out = top / "out"
                    arguments = ["-r", top / str(count), "-d", out, "-Q", "--effort", effort]
                    used, wall = _run("compress", *arguments, *options)
                    seconds.setdefault((way, count), []).append(used)
                    walls.setdefault((way, count), []).append(wall)
                    shutil.rmtree(out)
    print(f"| | start, s | each picture, s | {TOTAL} pictures, s | ratio | wall of {many}, s |")
    print("|---|---|---|---|---|---|")
    base = 0.0
    for way in ways:
        low, high = (statistics.median(seconds[way, count]) for count in (few, many))
        each = (high - low) / (many - few)
        start = low - few * each
        total = start + TOTAL * each
        base = base or total
        wall = statistics.median(walls[way, many])
        row = f"{start:.1f} | {each:.3f} | {total:.0f} | {total / base:.3f} | {wall:.1f}"
        print(f"| `{way}` | {row} |")


def _run(*arguments: object) -> tuple[float, float]:
    """Seconds of processors and of the clock that a command takes, with all that it starts."""
    _reap()
    before, began = _used(), time.perf_counter()
    command = [sys.executable, "-m", "codec", *map(str, arguments)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wall = time.perf_counter() - began
    _reap()
    return _used() - before, wall


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reap() -> None:
    with suppress(ChildProcessError):
        while True:
            os.wait()


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--pictures", default=8, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--quality", default=50.0, show_default=True)
def loader(folder: Path, pictures: int, rounds: int, quality: float) -> None:
    """Processor seconds to decode a picture, beside JPEG and WebP of as many bytes."""
    from torch.utils.data import DataLoader

    codec = Codec()
    photos = [photo for photo, _ in zip(pictures_of(folder), range(pictures), strict=False)]
    files = {"vqc": [codec.compress(photo, quality) for photo in photos]}
    for name in ("JPEG", "WEBP"):
        files[name] = [
            _of_size(photo, name, len(file))
            for photo, file in zip(photos, files["vqc"], strict=True)
        ]
    taken: dict[str, list[float]] = {name: [] for name in files}
    with tempfile.TemporaryDirectory() as place:
        for number, content in enumerate(files["vqc"]):
            Path(place, f"{number:03}.vqc").write_bytes(content)
        data: dict[str, Any] = {name: _Files(contents) for name, contents in files.items()}
        data["vqc"] = VqcDataset(place)
        for _ in range(rounds + 1):  # the first warms up
            for name, pictures_of_kind in data.items():
                began = time.process_time()
                for batch_of_pictures in DataLoader(pictures_of_kind, batch_size=4):
                    assert batch_of_pictures.shape[1:] == (3, SIZE[1], SIZE[0])
                taken[name].append((time.process_time() - began) / len(photos))
    print("| | bytes | ms of a processor | pictures/s of a processor | ratio |")
    print("|---|---|---|---|---|")
    medians = {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}
    for name, second in medians.items():
        size = statistics.mean(map(len, files[name]))
        row = f"{1000 * second:.1f} | {1 / second:.1f} | {second / medians['JPEG']:.1f}"
        print(f"| {name} | {size:.0f} | {row} |")


def _of_size(photo: Image.Image, name: str, size: int) -> bytes:
    """The file of the highest quality that has at most so many bytes; else the smallest."""
    best = b""
    low, high = 1, 100
    while low <= high:
        quality = (low + high) // 2
        buffer = BytesIO()
        photo.save(buffer, name, quality=quality)
        if buffer.tell() <= size or not best:
            best = buffer.getvalue()
        low, high = (quality + 1, high) if buffer.tell() <= size else (low, quality - 1)
    return best


class _Files:
    """A data set of picture files that Pillow decodes, with samples like those of `VqcDataset`."""

    def __init__(self, contents: list[bytes]) -> None:
        self._contents = contents

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, index: int) -> Any:
        with Image.open(BytesIO(self._contents[index])) as image:
            return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


if __name__ == "__main__":
    main()
