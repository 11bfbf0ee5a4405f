"""The benchmark's command line: rounds of measurements, then tables."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from codec.codec import Codec
from codec.errors import CodecError
from codec.picture.pixels import psnr
from codec.tiles import UNTILED_PIXELS
from codec.weights.released import find_weights, read_config, read_metadata, short_id_of
from scripts.bench.avif import quality_for
from scripts.bench.children import measured
from scripts.bench.classic import write_classic_weights
from scripts.bench.installation import installed_sizes
from scripts.bench.pictures import write_picture_of
from scripts.bench.results import AVIF, CLASSIC, OURS, TORCH, Case, Results
from scripts.bench.tables import comparison, process_table, size_table, stage_table

PROGRAM = [sys.executable, "-m", "codec"]
AVIF_PROGRAM = [sys.executable, str(Path(__file__).with_name("avif.py"))]
FOLDER = Path("runs/bench")
SHOWN = ("date", "commit", "machine", "onnxruntime", "torch")
ROUNDS_TIMES_MEGAPIXELS = 16
MOST_ROUNDS = 5
WARM_REPEATS_UP_TO = 1.0
"""Largest size in megapixels with three samples of each stage per round instead of one."""
AVIF_PART = (1024, 1024)
"""Sides of the part of a picture for which the quality of AVIF is found."""
REGION = (800, 600)
"""Size of the region that is decoded alone, if the picture has tiles."""


class Numbers(click.ParamType[list[float]]):
    """Positive numbers, separated by commas or spaces."""

    name = "N,N..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        if isinstance(value, list):
            return value
        try:
            numbers = [float(part) for part in str(value).replace(",", " ").split()]
        except ValueError:
            numbers = []
        if not numbers or min(numbers) <= 0:
            self.fail(f"{value!r} is no list of numbers above zero, such as 0.4,4")
        return list(dict.fromkeys(numbers))


class Bench:
    """Measurements of one round, added to `results`."""

    def __init__(self, results: Results, models: dict[str, str], folder: Path) -> None:
        self.results, self._models, self._folder = results, models, folder

    def process(
        self, case: Case, *arguments: str, program: Sequence[str] = PROGRAM
    ) -> dict[str, Any]:
        """Run a command and add wall and CPU time and peak memory to `case`; returns its JSON."""
        usage = measured([*program, *arguments], case.threads)
        for name in ("wall", "cpu", "peak"):
            self.results.add(case._replace(what=name), getattr(usage, name))
        facts: dict[str, Any] = json.loads(usage.output) if "--json" in arguments else {}
        return facts

    def stages(self, megapixels: float, threads: int, number: int) -> None:
        """Measure the stages of all models, those of one engine in one process."""
        module = [sys.executable, "-m", "scripts.bench.stages", str(self._picture(megapixels))]
        repeat = 3 if megapixels <= WARM_REPEATS_UP_TO else 1
        series = self._in_turn(number)
        for engine in dict.fromkeys(map(engine_of, series)):
            models = {m: path for m, path in series.items() if engine_of(m) == engine}
            options = ("--repeat", str(repeat), "--engine", engine)
            found = json.loads(measured([*module, *models.values(), *options], threads).output)
            for model, path in models.items():
                for command, stages in found[path].items():
                    for stage, samples in stages.items():
                        case = Case(megapixels, threads, model, command, stage)
                        self.results.add(case, *samples)

    def commands(self, megapixels: float, threads: int, number: int) -> None:
        """Measure `compress` and `decompress` as whole processes."""
        width, height = self.results.about["pictures"][f"{megapixels:g}"]
        left, top = int(0.4 * width), int(0.4 * height)
        region = f"{left},{top},{REGION[0]},{REGION[1]}"
        for model, path in self._in_turn(number).items():
            coded, shown = self._folder / f"{model}.vqc", self._folder / "shown.png"
            case = Case(megapixels, threads, model, "compress", "")
            shared = ("-Qf", "--model", path, "--engine", engine_of(model))
            self.process(case, "compress", *shared, str(self._picture(megapixels)), str(coded))
            decompress = ("decompress", *shared, str(coded), str(shown))
            self.process(case._replace(command="decompress"), *decompress)
            if width * height > UNTILED_PIXELS:
                case = case._replace(command=f"decompress --region {region}")
                facts = self.process(case, *decompress, "--region", region, "--json")
                if model == OURS:
                    names = ("tiles", "tiles_read", "bytes", "bytes_read")
                    read = self.results.about.setdefault("region", {})
                    read[f"{megapixels:g}"] = {name: facts[name] for name in names}

    def avif(self, megapixels: float, threads: int, number: int) -> None:
        """Measure AVIF at the PSNR of our files, as whole processes."""
        coded, shown = self._folder / "picture.avif", self._folder / "shown.png"
        quality = str(self.results.about["avif"][f"{megapixels:g}"])
        case = Case(megapixels, threads, AVIF, "compress", "")
        source = str(self._picture(megapixels))
        self.process(case, "encode", source, str(coded), quality, program=AVIF_PROGRAM)
        case = case._replace(command="decompress")
        self.process(case, "decode", str(coded), str(shown), program=AVIF_PROGRAM)

    def choose_avif_qualities(self, sizes: list[float]) -> None:
        """Find qualities of AVIF at which a part of each picture has the PSNR of ours."""
        codec = Codec(self._models[OURS])
        found = self.results.about["avif"] = {}
        for size in sizes:
            with Image.open(self._picture(size)) as picture:
                width, height = map(min, picture.size, AVIF_PART)
                part = picture.convert("RGB").crop((0, 0, width, height))
            psnr = codec.encode(part, measure=True).psnr
            found[f"{size:g}"] = quality_for(part, psnr, psnr_of)

    def small_commands(self) -> None:
        """Measure commands that need no transforms."""
        for arguments in (("--help",), ("info", str(self._folder / f"{OURS}.vqc"))):
            self.process(Case(0.0, 1, OURS, arguments[0], ""), *arguments)

    def _picture(self, megapixels: float) -> Path:
        return self._folder / f"{megapixels:g}.png"

    def _in_turn(self, number: int) -> dict[str, str]:
        """Models in an order that alternates between rounds."""
        return dict(list(self._models.items())[:: -1 if number % 2 else 1])

    def make_pictures(self, source: Path, sizes: list[float]) -> None:
        """Write a picture of each size."""
        self.results.about["pictures"] = {
            f"{size:g}": write_picture_of(source, size, self._picture(size)) for size in sizes
        }


def rounds_of(megapixels: float) -> int:
    """Number of rounds for a size, fewer for larger pictures."""
    return max(1, min(MOST_ROUNDS, round(ROUNDS_TIMES_MEGAPIXELS / megapixels)))


def engine_of(model: str) -> str:
    """Name of the engine that a series runs on."""
    return "torch" if model == TORCH else "onnx"


def psnr_of(one: Image.Image, other: Image.Image) -> float:
    """PSNR of two images."""
    return psnr(np.asarray(one), np.asarray(other))


def schedule(
    bench: Bench, sizes: list[float], threads: list[int], repeat: int | None
) -> list[Callable[[], None]]:
    """All measurements, round by round."""
    rounds = {size: repeat or rounds_of(size) for size in sizes}
    steps: list[Callable[[], None]] = []
    for number in range(max(rounds.values())):
        for size in (size for size in sizes if number < rounds[size]):
            for count in threads:
                steps.append(partial(bench.stages, size, count, number))
                steps.append(partial(bench.commands, size, count, number))
                if "avif" in bench.results.about:
                    steps.append(partial(bench.avif, size, count, number))
        steps.append(bench.small_commands)
    return steps


def carry_out(steps: list[Callable[[], None]], results: Results, partial: Path) -> None:
    """Run all steps; after each, `partial` holds what a run that is cut off has measured."""
    with click.progressbar(steps, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for step in bar:
            step()
            results.save(partial)


def facts_of_machine() -> dict[str, Any]:
    """Date, commit, machine and load of the measurements."""
    commit = ""
    if shutil.which("git"):
        git = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "commit": commit or "unknown",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "onnxruntime": version("onnxruntime"),
        "torch": version("torch"),
        "load": os.getloadavg()[0],
    }


def print_results(results: Results, sizes: list[float], threads: list[int], name: str) -> None:
    """Print all tables."""
    for size in sizes:
        width, height = results.about["pictures"][f"{size:g}"]
        print(f"\n{size:g} megapixels ({width}x{height}): stages in one process, warm\n")
        print(stage_table(results, size, threads, name))
        print(f"\n{size:g} megapixels: whole processes\n")
        print(process_table(results, size, threads, name))
        if read := results.about.get("region", {}).get(f"{size:g}"):
            print(
                f"\nthe region reads {read['tiles_read']} of {read['tiles']} tiles, "
                f"{read['bytes_read']} of {read['bytes']} bytes"
            )
    print("\nwithout a picture\n\n" + process_table(results, 0.0, [1], name))
    print("\ninstalled without extras\n\n" + size_table(results.about["installation"]))


def previous(folder: Path, picture: str) -> tuple[Path, Results] | None:
    """Newest complete results in a folder for a picture, given by its digest."""
    for path in sorted(folder.glob("*.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        with suppress(CodecError):
            results = Results.load(path)
            if results.about.get("picture") == picture and results.about.get("complete"):
                return path, results
    return None


@click.command()
@click.argument(
    "picture",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="tests/data/flowers.png",
)
@click.option("--model", default="photo", show_default=True, help="NAME or FILE.")
@click.option("--sizes", type=Numbers(), default="0.4,4", show_default=True, help="Megapixels.")
@click.option("--threads", type=Numbers(), default=None, help="Default: 1 and all.")
@click.option("--repeat", type=click.IntRange(min=1), help="Rounds; default by size, 5 to 1.")
@click.option(
    "--classic/--no-classic", default=True, show_default=True, help="Compare with 5x5 + GDN."
)
@click.option("--torch/--no-torch", default=True, show_default=True, help="Compare engines.")
@click.option("--avif/--no-avif", default=True, show_default=True, help="Compare with AVIF.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/bench/DATE.json.")
@click.option(
    "--before",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Results to compare with; default: the newest of PICTURE in the folder of --out.",
)
def main(
    picture: Path,
    model: str,
    sizes: list[float],
    threads: list[float] | None,
    repeat: int | None,
    classic: bool,
    torch: bool,
    avif: bool,
    out: Path | None,
    before: Path | None,
) -> None:
    """Measure speed and memory on pictures made of PICTURE."""
    weights = find_weights(model)
    if read_config(read_metadata(weights)).rounding != "integer":
        raise click.UsageError("the stages are those of a model that rounds to integers")
    counts = [round(n) for n in threads] if threads else sorted({1, os.cpu_count() or 1})
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    facts = {"model": short_id_of(weights).hex(), "picture": digest, "complete": False}
    facts["installation"] = installed_sizes()
    results = Results(facts_of_machine() | facts)
    out = out or FOLDER / f"{results.about['date'].replace(' ', '-').replace(':', '')}.json"
    partial = out.with_suffix(".partial.json")
    try:
        earlier = (before, Results.load(before)) if before else previous(out.parent, digest)
    except CodecError as error:
        sys.exit(str(error))

    with tempfile.TemporaryDirectory() as folder:
        models = {OURS: str(weights)} | ({TORCH: str(weights)} if torch else {})
        if classic:
            models[CLASSIC] = str(Path(folder, "gdn.safetensors"))
            write_classic_weights(Path(models[CLASSIC]))
        bench = Bench(results, models, Path(folder))
        bench.make_pictures(picture, sizes)
        if avif:
            bench.choose_avif_qualities(sizes)
        carry_out(schedule(bench, sizes, counts, repeat), results, partial)
    results.about["complete"] = True
    results.save(out)
    partial.unlink()
    about = results.about
    print(", ".join(f"{key} {about[key]}" for key in SHOWN))
    print(f"{model} ({about['model']}); load of the machine at the start {about['load']:.1f}")
    print_results(results, sizes, counts, weights.stem)
    print(f"\nkept in {out}")
    if earlier:
        path, then = earlier
        whose = f"commit {then.about['commit']}, model {then.about['model']}"
        print(f"\nagainst {path}, {whose}\n\n{comparison(results, then)}")


if __name__ == "__main__":
    main()
