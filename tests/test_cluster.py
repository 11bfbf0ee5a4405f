"""Pictures on a Ray cluster: two nodes on this machine, workers that die, broken pictures."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import fsspec
import numpy as np
import pytest

from codec import Codec, Limits, cluster
from codec.cli.batch import Settings
from codec.cli.cluster import outcomes_on_cluster
from codec.cli.coding import to_compressed
from codec.cli.plan import Job, plan
from codec.cli.tasks import CompressTask, Machine, Writing
from codec.cluster import execution
from codec.cluster.connection import Cluster, connected
from codec.cluster.manifest import FOLDER, Manifest
from codec.errors import InputError
from codec.files import is_file, open_file
from codec.url import Place, Url
from scripts.cluster_check import draw_pictures, files_of
from tests.helpers import MODEL, TINY, Run, fails
from tests.stores import s3_store

POISON = "00007"
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty small pictures, two of them broken."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_pictures(folder, 20, (40, 60), broken=2)
    return folder


@pytest.fixture
def store() -> Iterator[Url]:
    pytest.importorskip("moto")
    with s3_store() as bucket:
        yield Url(bucket)


@pytest.mark.slow
def test_a_cluster_with_an_object_store(
    store: Url, drawn: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes a cluster, in one: to start it takes longer than all the rest."""
    pytest.importorskip("ray")
    monkeypatch.setattr(execution, "TRIES", 0)
    fsspec.filesystem("s3").put(str(drawn), f"{store}/in", recursive=True)
    alone = tmp_path / "alone"
    assert run("compress", "-r", drawn, "-d", alone, *MODEL)[0] == 1
    with connected(Cluster("local", workers=2)):
        _check_poison(store, alone)
        _check_resumption(store, alone, run)
        _check_pipeline(drawn, alone)


def _check_poison(store: Url, alone: Path) -> None:
    """One picture ends its worker every time: it costs itself, and all others are done once."""
    limits = Limits()
    machine = Machine(str(TINY), "auto", "cpu", "float32", limits)
    writing = Writing(force=False, preserve=False, make_folders=True, repeats=True)
    options = {"to_8bit": False}
    compress = CompressTask(machine, writing, options, None, None, False, False, False)

    class Poisoned:  # in here, so that it is pickled as a whole: workers know no tests
        def __call__(self, job: Job) -> dict[str, Any]:
            if job.source.stem == POISON:
                os.kill(os.getpid(), signal.SIGKILL)
            return compress(job)

        def line(self, facts: dict[str, Any]) -> str:
            return ""

    out = store / "out"
    jobs = plan([store / "in"], to_compressed, {".png"}, out, recursive=True).jobs
    settings = Settings(False, False, False, 2, False, True, True)
    found = list(outcomes_on_cluster(Poisoned(), jobs, settings, Cluster("auto", 2), out))
    assert sorted(map(str, (o.job.source for o in found))) == sorted(str(j.source) for j in jobs)
    (died,) = (o for o in found if o.job.source.stem == POISON)
    assert died.status == "failed"
    assert "its worker died" in died.facts["error"]
    rows = Manifest(out).rows
    assert len(rows) == Manifest(out).count == len(jobs)
    assert Counter(row.status for row in rows.values()) == {"done": 17, "failed": 3}
    for name, row in rows.items():
        if row.status == "done":
            assert content(out / name) == content(alone / name)
            assert row.bytes_out == len(content(alone / name))
            assert (row.quality, row.psnr) == (50, None)
        else:
            assert not is_file(out / name)
            assert row.error


def _check_resumption(store: Url, alone: Path, run: Run) -> None:
    """What failed is tried again, and nothing else is touched."""
    out = store / "out"
    before = files_of(out)
    command = ("compress", "-r", store / "in", "-d", out, "--cluster", "auto", "-j", 1, *MODEL)
    status, _, err = run(*command)
    assert (status, "1 done, 17 skipped, 2 failed" in err) == (1, True)
    after = files_of(out)
    assert before.items() <= after.items()
    (picture,) = (name for name in after.keys() - before.keys() if name.endswith(".vqc"))
    assert content(out / picture) == content(alone / picture)
    rows = Manifest(out).rows
    assert Counter(row.status for row in rows.values()) == {"done": 18, "failed": 2}
    status, _, err = run(*command, "--dry-run")
    assert (status, "2 to do, 18 skipped" in err) == (0, True)
    assert files_of(out) == after


def _check_pipeline(drawn: Path, alone: Path) -> None:
    import ray

    pictures = ray.data.read_binary_files(str(drawn), include_paths=True)
    coded = cluster.compress(pictures, model=str(TINY), workers=1).materialize()

    def name_of(row: dict[str, Any]) -> PurePath:
        return Path(row["path"]).relative_to(drawn).with_suffix(".vqc")

    rows = {name_of(row): row for row in coded.take_all()}
    assert len(rows) == 20
    assert sum(row["error"] is not None for row in rows.values()) == 2
    for name, row in rows.items():
        if row["error"] is None:
            assert row["vqc"] == content(alone / name)
            assert row["bytes_out"] == len(row["vqc"])
            assert row["bytes_in"] == Path(row["path"]).stat().st_size
        else:
            assert row["vqc"] is None
    back = cluster.decompress(coded.select_columns(["path", "vqc"]), model=str(TINY), workers=1)
    codec = Codec(TINY)
    for row in back.take_all():
        coded_row = rows[name_of(row)]
        if coded_row["error"] is None:
            assert row["error"] is None
            assert np.array_equal(row["image"], codec.decompress_array(coded_row["vqc"]))
        else:
            assert row["image"].size == 0
            assert row["error"] is not None


def content(path: Place) -> bytes:
    with open_file(path) as file:
        return file.read()


@pytest.mark.slow
def test_evaluation_by_workers(
    drawn: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Measurements from elsewhere are those made here; a cluster is only pretended."""
    pytest.importorskip("torch")

    def elsewhere(work: Any, items: Sequence[Any], cluster: Cluster) -> Iterator[tuple[Any, Any]]:
        assert (cluster.address, cluster.workers) == ("auto", 3)
        worker = pickle.loads(pickle.dumps(work))
        for item in reversed(items):
            yield item, worker(item)

    options = ("-q", 50, "--against", "jpeg", "--metrics", "psnr", "--fresh", "--json", *MODEL)
    command = ("evaluate", drawn / "3", drawn / "0", "--cache", tmp_path, *options)
    here = json.loads(run(*command)[1])
    monkeypatch.setattr(execution, "run", elsewhere)
    there = json.loads(run(*command, "--cluster", "auto", "-j", 3)[1])
    keys = ("picture", "codec", "size", "psnr")
    assert [[m[k] for k in keys] for m in here["measurements"]] == [
        [m[k] for k in keys] for m in there["measurements"]
    ]
    assert len(here["failed"]) == 1
    assert here["failed"] == there["failed"]
    assert here["pictures"] == there["pictures"]


def test_rows_of_a_manifest(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with Manifest(tmp_path) as manifest:
        manifest.add(name="a.vqc", source="a.png", status="failed", error="truncated")
        manifest.add(name="b.vqc", source="b.png", status="done", bytes_in=9, bpp=0.5)
    with Manifest(tmp_path) as manifest:
        assert manifest.rows["b.vqc"].bytes_in == 9
        assert manifest.rows["b.vqc"].psnr is None
        manifest.add(name="a.vqc", source="a.png", status="failed", error="truncated")
    assert len(list((tmp_path / FOLDER).iterdir())) == 1  # it says nothing new
    with Manifest(tmp_path) as manifest:
        manifest.add(name="a.vqc", source="a.png", status="done")
    last = Manifest(tmp_path)
    assert (last.rows["a.vqc"].status, last.count) == ("done", 3)
    (tmp_path / FOLDER / "z.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"z\.parquet: not a part of a manifest"):
        Manifest(tmp_path)


def test_what_exists_needs_no_cluster(drawn: Path, tmp_path: Path, run: Run) -> None:
    """Outputs of another run are left out and listed; Ray is not started."""
    pytest.importorskip("pyarrow")
    command = ("compress", "-r", drawn / "3", "-d", tmp_path, *MODEL)
    assert run(*command)[0] == 0
    assert "2 done" in run(*command, "-f")[2]
    for _ in range(2):
        status, _, err = run(*command, "--cluster", "local")
        assert (status, "0 done, 2 skipped, 0 failed" in err) == (0, True)
        assert {row.status for row in Manifest(tmp_path).rows.values()} == {"found"}
    assert Manifest(tmp_path).count == 2
    status, _, err = run(*command, "--cluster", "local", "-f", "--dry-run")
    assert (status, "2 to do" in err) == (0, True)


def test_a_cluster_that_is_not_there(
    drawn: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = run("compress", "-r", drawn, "--cluster", "local")
    assert (status, "--cluster needs -d DIR" in err) == (2, True)
    pytest.importorskip("pyarrow")
    command = ("compress", drawn / "3" / "00003.png", "-d", tmp_path, "--cluster")
    if find_spec("ray"):
        fails(run(*command, "127.0.0.1:1"), 1, "no Ray cluster at 127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    fails(run(*command, "local"), 1, "Ray is not installed; pip install 'vqcodec[cluster]'")
