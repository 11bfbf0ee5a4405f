"""What a cluster run promises, shown on two Ray nodes on this machine: `make cluster-check`.

Pictures are drawn, a few of them broken, and compressed by `vqcodec compress --cluster` while one
worker process is killed in the middle; from disk to disk, and from an S3 server on 127.0.0.1 to it.
Then must hold:

* each of the others has one file and one row that says "done", each broken one a row with an error;
* every file is that of `vqcodec compress -j 2`, byte for byte;
* the same command again touches nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from codec.cluster.manifest import Manifest
from codec.files import MAX_BYTES, open_file
from codec.url import Place, Url

VQCODEC = [sys.executable, "-m", "codec"]
BROKEN = 5
WORKER = b"ray::MapWorker"
BUCKET = "s3://photos"
S3 = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What it takes to talk to `s3_server`, but for its address."""


def draw_pictures(folder: Path, count: int, sides: tuple[int, int], broken: int = BROKEN) -> None:
    """Draw smooth random pictures, and as many files that are none, in ten folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        width, height = rng.integers(sides[0], sides[1], 2, endpoint=True).tolist()
        coarse = rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.save(place / f"{number:05}.png")
    drawn = sorted(folder.rglob("*.png"))
    for number, picture in enumerate(drawn[:: len(drawn) // broken][:broken]):
        picture.write_bytes(picture.read_bytes()[: 40 * number])


@contextmanager
def two_nodes() -> Iterator[str]:
    """Address of a Ray cluster of two nodes of one processor each, on this machine."""
    from codec.cluster.connection import import_ray

    import_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


@contextmanager
def s3_server() -> Iterator[str]:
    """Address of an empty S3 server on this machine."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def workers_of(pid: int) -> list[int]:
    """Processes below one that are workers of Ray Data."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has ended
            continue
    below = {pid}
    for _ in range(len(parents)):
        more = {child for child, parent in parents.items() if parent in below} - below
        if not more:
            break
        below |= more
    return [child for child in below if _command(child).startswith(WORKER)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@dataclass(frozen=True)
class Run:
    """A run of a command."""

    seconds: float
    status: int
    errors: str


def run(arguments: Sequence[object], meanwhile: Callable[[], bool] | None = None) -> Run:
    """Run a command line; `meanwhile` is called now and then until it says that it is done."""
    began = time.perf_counter()
    command = [*VQCODEC, *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
        while process.poll() is None:
            if meanwhile and meanwhile():
                meanwhile = None
            time.sleep(0.5)
        told.seek(0)
        return Run(time.perf_counter() - began, process.returncode, told.read())


class Killer:
    """Kills a worker once so many files are there."""

    def __init__(self, target: Place, count: int) -> None:
        self._target, self._count = target, count
        self.killed = 0

    def __call__(self) -> bool:
        workers = workers_of(os.getpid()) if len(files_of(self._target)) >= self._count else []
        if workers:
            os.kill(workers[0], signal.SIGKILL)
            self.killed += 1
        return bool(workers)


def files_of(folder: Place) -> dict[str, tuple[object, ...]]:
    """All whole files by name, with what would differ if one were written again."""
    if isinstance(folder, Path):
        found = [path for path in folder.rglob("[!.]*") if path.is_file()]
        return {
            path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_ino)
            for path in found
        }
    import fsspec

    fs, path = fsspec.core.url_to_fs(folder.text, use_listings_cache=False)
    details = fs.find(path, detail=True)
    return {
        name.removeprefix(path).lstrip("/"): (info["LastModified"], info["ETag"])
        for name, info in details.items()
        if info["type"] == "file"
    }


@dataclass(frozen=True)
class Shown:
    """What a run was seen to do."""

    first: Run
    again: Run
    files: int
    done: int
    failed: int

    def line(self, name: str, pictures: int) -> str:
        rate = pictures / self.first.seconds
        return (
            f"| {name} | {self.done} | {self.failed} | {self.first.seconds:.1f} | {rate:.1f} "
            f"| {self.again.seconds:.1f} |"
        )


def check(
    source: Place, target: Place, reference: Path, options: Sequence[object], kill_after: int
) -> Shown:
    """Run a command on a cluster, kill a worker when so many files are there, and run it again.

    Raises:
        AssertionError: it does not keep a promise.
    """
    command = ["compress", "-r", source, "-d", target, "-Q", *options]
    killer = Killer(target, kill_after)
    first = run(command, killer)
    assert killer.killed == 1, "no worker was killed"
    coded = {name: seen for name, seen in files_of(target).items() if name.endswith(".vqc")}
    expected = {path.relative_to(reference).as_posix(): path for path in reference.rglob("*.vqc")}
    assert coded.keys() == expected.keys(), f"{coded.keys() ^ expected.keys()}\n{first.errors}"
    for name, path in expected.items():
        with open_file(target / name, MAX_BYTES) as file:
            assert file.read() == path.read_bytes(), name
    before = files_of(target)
    again = run(command)
    assert files_of(target) == before, "the second run has touched something"
    manifest = Manifest(target)
    rows = Counter(row.status for row in manifest.rows.values())
    done = {name for name, row in manifest.rows.items() if row.status == "done"}
    assert done == expected.keys()
    broken = [row for row in manifest.rows.values() if row.status == "failed"]
    assert all(row.error for row in broken)
    assert first.status == again.status == (1 if broken else 0), (first, again)
    assert again.errors.count("\n") == len(broken), again.errors
    assert manifest.count == len(manifest.rows), "a file has several rows"
    return Shown(first, again, len(coded), rows["done"], rows["failed"])


@click.command()
@click.option("--pictures", default=2000, show_default=True)
@click.option("--sides", default="64,128", show_default=True, metavar="LOW,HIGH")
@click.option("--effort", default=1, show_default=True)
@click.option("--model", default="photo", show_default=True)
def main(pictures: int, sides: str, effort: int, model: str) -> None:
    """Print a table of runs; fails if a promise is broken."""
    low, high = (int(side) for side in sides.split(","))
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        draw_pictures(top / "in", pictures, (low, high))
        options = ["--effort", effort, "--model", model]
        alone = run(["compress", "-r", top / "in", "-d", top / "alone", "-Q", "-j", 2, *options])
        assert alone.status == 1, alone.errors
        print("| run | done | failed | seconds | pictures/s | seconds of a second run |")
        print("|---|---|---|---|---|---|")
        good = pictures - BROKEN
        rate = pictures / alone.seconds
        print(f"| `-j 2` | {good} | {BROKEN} | {alone.seconds:.1f} | {rate:.1f} | |", flush=True)
        with s3_server() as server:
            os.environ |= S3 | {"AWS_ENDPOINT_URL": server}
            _check_nodes(top, options, pictures)


def _check_nodes(top: Path, options: list[object], pictures: int) -> None:
    import fsspec

    store = fsspec.filesystem("s3")
    store.mkdir(BUCKET)
    store.put(f"{top}/in", f"{BUCKET}/in", recursive=True)
    places: dict[str, tuple[Place, Place]] = {
        "disk": (top / "in", top / "out"),
        "S3": (Url(f"{BUCKET}/in"), Url(f"{BUCKET}/out")),
    }
    with two_nodes() as address:
        options = [*options, "--cluster", address]
        for name, (source, target) in places.items():
            shown = check(source, target, top / "alone", options, pictures // 3)
            print(shown.line(f"two nodes, {name}", pictures), flush=True)


if __name__ == "__main__":
    main()
