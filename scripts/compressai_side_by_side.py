"""Seconds of this codec and of CompressAI's mbt2018-mean, on the same pictures and threads.

    python -m scripts.compressai_side_by_side PICTURE... [--repeat N] [--threads N] [--pretrained]

CompressAI is installed from the package index into an environment of its own, .cache/compressai,
with the same PyTorch. Without --pretrained its weights are random: good for times alone. Rounds of
one process each alternate, so that what slows the machine slows both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from scripts.bench.children import Usage, measured
from scripts.bench.tables import table
from scripts.compressai_worker import ARCHITECTURE, QUALITY

FOLDER = Path(".cache/compressai")
WORKER = "scripts.compressai_worker"


class SetupError(Exception):
    """CompressAI cannot be installed; the message says why."""


def interpreter(folder: Path, packages: list[str]) -> Path:
    """Python of an environment that holds the packages, installed if it is not there yet.

    Raises:
        SetupError: the installation failed.
    """
    python, ready = folder / "bin" / "python", folder / ".ready"
    if ready.is_file() and ready.read_text().split() == packages:
        return python
    print(f"installing {' '.join(packages)} into {folder}", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *packages]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        log = folder / "install.log"
        log.write_text(done.stderr)
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise SetupError(f"pip failed: {lines[-1].strip()} (all of it: {log})")
    ready.write_text(" ".join(packages))
    return python


Round = tuple[dict[str, Any], Usage]
"""What a worker printed, and what its process took."""


def summary(ours: list[Round], theirs: list[Round]) -> list[list[str]]:
    """Rows (what, ours, theirs, their share of ours): medians, ratios pair by pair."""

    def row(what: str, pairs: list[tuple[float, float]], unit: str, digits: int) -> list[str]:
        mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        return [what, f"{mine:.{digits}f} {unit}", f"{other:.{digits}f} {unit}", f"{ratio:.2f}"]

    rounds = list(zip(ours, theirs, strict=True))
    rows = []
    for direction, what in enumerate(("compress", "decompress")):
        pairs = [
            (a["pictures"][path][direction], b["pictures"][path][direction])
            for (a, _), (b, _) in rounds
            for path in a["pictures"]
        ]
        rows.append(row(f"{what}, one picture", pairs, "s", 3))
    for what in ("import", "model"):
        rows.append(row(what, [(a[what], b[what]) for (a, _), (b, _) in rounds], "s", 2))
    peaks = [(a.peak, b.peak) for (_, a), (_, b) in rounds]
    return [*rows, row("peak memory of the process", peaks, "MiB", 0)]


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds.")
@click.option("--threads", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True)
@click.option("--pretrained", is_flag=True, help="Download the published weights.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Keep all times.")
def main(
    pictures: tuple[str, ...], repeat: int, threads: int, pretrained: bool, target: Path | None
) -> None:
    """Time both codecs on PICTURES."""
    torch = version("torch").partition("+")[0]
    try:
        python = interpreter(FOLDER, [f"torch=={torch}", "compressai"])
    except (SetupError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"CompressAI cannot be set up: {error}")
    name = "compressai-pretrained" if pretrained else "compressai"
    commands = {
        "ours": [sys.executable, "-m", WORKER, "ours", *pictures],
        name: [str(python), "-m", WORKER, name, *pictures],
    }
    rounds: dict[str, list[Round]] = {"ours": [], name: []}
    with click.progressbar(range(repeat), file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for number in bar:
            for which in list(commands)[:: -1 if number % 2 else 1]:
                try:
                    usage = measured(commands[which], threads)
                except subprocess.CalledProcessError as error:
                    sys.exit(f"{which} failed with status {error.returncode}; see above")
                rounds[which].append((json.loads(usage.output), usage))
    weights = "published weights" if pretrained else "random weights, for times alone"
    print(
        f"pictures: {len(pictures)}, threads: {threads}, medians of {repeat} rounds; CompressAI "
        f"{ARCHITECTURE} quality {QUALITY}, {weights}\n"
    )
    print(table(["", "ours", "CompressAI", "x"], summary(rounds["ours"], rounds[name])))
    if target:
        kept = {which: [found for found, _ in group] for which, group in rounds.items()}
        target.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
