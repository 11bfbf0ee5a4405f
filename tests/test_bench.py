"""The benchmark: what it measures is what it says, and noise is not taken for a change."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from io import BytesIO
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from codec.codec import Codec
from codec.errors import CodecError
from codec.weights.file import load_weights
from codec.weights.released import find_weights
from scripts.bench.__main__ import (
    Numbers,
    carry_out,
    facts_of_machine,
    main,
    previous,
    psnr_of,
    rounds_of,
)
from scripts.bench.avif import BEST, quality_for
from scripts.bench.children import measured
from scripts.bench.classic import CONFIG, write_classic_weights
from scripts.bench.installation import installed_sizes
from scripts.bench.pictures import enlarged, size_of
from scripts.bench.results import AVIF, CLASSIC, OURS, TORCH, YARDSTICK, Case, Results, changes
from scripts.bench.stages import Stopwatch, timed
from scripts.bench.tables import comparison, process_table, size_table, stage_table, table
from tests.helpers import DATA, TINY

CASE = Case(0.4, 1, OURS, "compress", "range coder")


def test_sizes_are_whole_units_near_what_was_asked_for() -> None:
    assert size_of(0.4) == (768, 512)
    for megapixels in (0.004, 0.1, 4, 25, 100):
        width, height = size_of(megapixels)
        assert width % 64 == height % 64 == 0
        assert abs(width * height / 1e6 - megapixels) < 0.03 * megapixels + 0.01


def test_pictures_are_mirrored_or_cut(city: Image.Image) -> None:
    large = np.asarray(enlarged(city, 500, 300)).astype(int)
    assert large.shape == (300, 500, 3)
    small = np.asarray(city).astype(int)
    assert (large[:128, :192] == small).all()
    right, below = (np.rint(small * (1 - 0.3 * number / 48)) for number in (13, 7))
    assert (large[:128, 192:384] == right[:, ::-1]).all()
    assert (large[128:256, :192] == below[::-1]).all()
    assert (np.asarray(enlarged(city, 64, 64)) == small[:64, :64]).all()


def test_memory_is_that_of_the_command_alone() -> None:
    large = measured([sys.executable, "-c", "x = bytearray(300 << 20)"], 1)
    small = measured([sys.executable, "-c", "print('hello')"], 1)
    assert large.peak > 300
    assert small.peak < 100  # this process, with torch, holds more
    assert small.output == "hello\n"
    assert small.cpu > 0
    assert small.wall > 0


def test_commands_have_their_threads_and_may_not_fail() -> None:
    code = "import os; print(os.environ['OMP_NUM_THREADS'])"
    assert measured([sys.executable, "-c", code], 3).output == "3\n"
    with pytest.raises(subprocess.CalledProcessError):
        measured([sys.executable, "-c", "raise SystemExit(4)"], 1)


def test_stages_count_for_themselves_alone() -> None:
    stopwatch = Stopwatch()

    class Work:
        def outer(self) -> int:
            time.sleep(0.01)
            return self.inner() + 1

        def inner(self) -> int:
            time.sleep(0.02)
            return 1

    stopwatch.watch(Work, "outer", "outer")
    stopwatch.watch(Work, "inner", "inner")
    result, times = timed(stopwatch, Work().outer)
    assert result == 2
    assert times["outer"] + times["inner"] + times["rest"] == pytest.approx(times["whole"])
    assert times["outer"] >= 0.01
    assert times["inner"] >= 0.02
    assert stopwatch.take() == {}


def test_stages_of_threads_are_their_mean() -> None:
    stopwatch = Stopwatch()
    together = threading.Barrier(2)

    def work() -> None:
        with stopwatch.stage("wait"):
            together.wait()
            time.sleep(0.02)

    def both() -> None:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    _, times = timed(stopwatch, both)
    assert 0.02 <= times["wait"] <= times["whole"]
    assert times["rest"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_stages_are_those_of_the_pipeline(engine: str) -> None:
    module = [sys.executable, "-m", "scripts.bench.stages", str(DATA / "city.png"), str(TINY)]
    options = ["--repeat", "2", "--engine", engine]
    samples = json.loads(measured([*module, *options], 1).output)[str(TINY)]
    assert set(samples) == {"start", "compress", "decompress"}
    both = {"g_s", "prior", "range coder", "rounding, tables", "rest", "whole"}
    encoding = {"read PNG", "g_a, h_a", "correction", "filter"}
    assert set(samples["compress"]) == both | encoding
    assert set(samples["decompress"]) == both | {"write PNG"}
    for command, apart in (("compress", "read PNG"), ("decompress", "write PNG")):
        stages = samples[command]
        assert all(len(values) == 2 for values in stages.values())
        assert all(min(stages[name]) > 0 for name in stages if name != "rest")
        # Nothing is counted twice.
        parts = [stages[name][0] for name in stages if name not in (apart, "whole", "rest")]
        assert sum(parts) <= stages["whole"][0]


def test_avif_has_the_least_quality_that_reaches_a_psnr(city: Image.Image) -> None:
    def reached(quality: int) -> float:
        coded = BytesIO()
        city.save(coded, "AVIF", quality=quality, subsampling="4:4:4")
        with Image.open(coded) as decoded:
            return psnr_of(city, decoded.convert("RGB"))

    quality = quality_for(city, 30.0, psnr_of)
    assert reached(quality) >= 30.0 > reached(quality - 1)
    assert quality_for(city, 1000.0, psnr_of) == BEST


def test_an_installation_is_all_that_the_package_requires_without_extras() -> None:
    sizes = installed_sizes()
    assert {"vqcodec", "numpy", "onnxruntime", "pillow", "click"} <= sizes.keys()
    assert not {"torch", "pytest"} & sizes.keys()
    models = sum(find_weights(name).stat().st_size for name in ("photo", "photo-mse"))
    assert models < sizes["vqcodec"] < models + 10e6
    assert sizes["onnxruntime"] > sizes["click"] > 0


def test_classic_model_codes_pictures(city: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "gdn.safetensors"
    write_classic_weights(path)
    weights = load_weights(path)
    assert weights.config == CONFIG
    codec = Codec(weights)
    assert codec.decompress(codec.compress(city.crop((0, 0, 64, 64)))).size == (64, 64)


def test_results_are_kept(tmp_path: Path) -> None:
    results = Results({"commit": "abc", "model": "def", "picture": "0123", "complete": True})
    results.add(CASE, 1.0, 2.0)
    results.add(CASE, 4.0)
    results.save(tmp_path / "new" / "a.json")
    assert Results.load(tmp_path / "new" / "a.json") == results
    assert results.median(CASE) == 2.0
    (tmp_path / "new" / "b.json").write_text("of something else")
    assert previous(tmp_path / "new", "0123") == (tmp_path / "new" / "a.json", results)
    assert previous(tmp_path / "new", "4567") is None
    assert previous(tmp_path / "none", "0123") is None


@pytest.mark.parametrize("text", ["", "{}", '{"format": "other"}', "[]", '{"format": 1}'])
def test_other_files_are_no_results(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CodecError, match="not the results of a benchmark"):
        Results.load(path)


def test_ratios_are_taken_round_by_round() -> None:
    results = Results({})
    other = CASE._replace(model=CLASSIC)
    results.add(CASE, 1.0, 10.0, 2.0)  # the machine was busy in the second round
    results.add(other, 3.0, 30.0, 8.0)
    assert results.ratio(other, CASE) == 3.0
    results.add(other, 1.0)
    assert results.ratio(other, CASE) is None


def run_of(ours: list[float], yardstick: list[float] | None = None, case: Case = CASE) -> Results:
    results = Results({})
    results.add(case, *ours)
    if yardstick:
        results.add(Case(0.4, 1, CLASSIC, *YARDSTICK), *yardstick)
    return results


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        ([1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3], "faster"),
        ([2.0, 2.1, 2.2, 2.3], [1.0, 1.1, 1.2, 1.3], "slower"),
        ([2.0, 2.1, 2.2], [1.0, 1.1, 1.2], ""),  # too few to tell
        ([1.0, 1.1, 1.2, 2.05], [2.0, 2.1, 2.2, 2.3], ""),  # they overlap
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], ""),
    ],
)
def test_changes_beyond_the_noise(now: list[float], before: list[float], verdict: str) -> None:
    (change,) = changes(run_of(now), run_of(before))
    assert change.verdict == verdict


def test_a_slower_machine_is_no_slower_codec() -> None:
    fast, slow = [1.0, 1.1, 1.2, 1.3], [2.0, 2.2, 2.4, 2.6]
    (change,) = changes(run_of(slow, slow), run_of(fast, fast))
    assert change.at_equal_speed == pytest.approx(1.0)
    assert change.verdict == ""
    (change,) = changes(run_of(fast, slow), run_of(fast, fast))
    assert change.at_equal_speed == pytest.approx(0.5)
    assert change.verdict == ""  # only the correction says so
    memory = CASE._replace(what="peak")
    (change,) = changes(run_of(slow, slow, memory), run_of(fast, fast, memory))
    assert (change.at_equal_speed, change.verdict) == (2.0, "more")


def test_tables() -> None:
    assert table(["a", "b"], [["1", "22"]]) == "| a | b  |\n|---|----|\n| 1 | 22 |"
    results = Results({})
    for threads in (1, 2):
        results.add(CASE._replace(threads=threads), 0.002 / threads)
        for what, value in (("wall", 2.0), ("cpu", 3.0), ("peak", 400.0)):
            for model, factor in ((OURS, 1), (CLASSIC, 2)):
                results.add(Case(0.4, threads, model, "compress", what), factor * value)
    stages = stage_table(results, 0.4, [1, 2], "photo").splitlines()
    assert CLASSIC not in stages[0]
    assert stages[2].split("|")[1:-1] == [
        " compress: range coder ",
        " 2.0             ",
        " 1.0              ",
        " 2.00         ",
    ]
    processes = process_table(results, 0.4, [1, 2], "photo").splitlines()
    ours, theirs = ([cell.strip() for cell in line.split("|")[1:-1]] for line in processes[-2:])
    assert ours == ["compress", "2", "photo", "2.00", "3.00", "400", "", "", ""]
    assert theirs == ["compress", "2", "gdn", "4.00", "6.00", "800", "2.00", "2.00", "2.00"]
    assert size_table({"a": 3_000_000, "b": 500_000}).splitlines()[2:] == [
        "| a       | 3.0 |",
        "| b       | 0.5 |",
        "| all     | 3.5 |",
    ]
    assert "0 of 8 series changed" in comparison(results, results)
    assert comparison(results, Results({})) == "nothing was measured in both runs"


def test_command_line_values() -> None:
    numbers = Numbers()
    assert numbers.convert("0.4, 4 4", None, None) == [0.4, 4.0]
    for wrong in ("", "a", "0", "4,-1"):
        with pytest.raises(click.BadParameter):
            numbers.convert(wrong, None, None)
    assert [rounds_of(size) for size in (0.4, 4, 25, 100)] == [5, 4, 1, 1]


@pytest.mark.slow
def test_benchmark_from_end_to_end(tmp_path: Path) -> None:
    size = ["--sizes", "0.01", "--threads", "1", "--repeat", "1"]
    out = ["--model", str(TINY), "--no-classic", "--out", str(tmp_path / "b.json")]
    result = CliRunner().invoke(main, [str(DATA / "city.png"), *size, *out], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "tiny" in result.output
    kept = Results.load(tmp_path / "b.json")
    commands = {case.command for case in kept.samples}
    assert commands == {"start", "compress", "decompress", "--help", "info"}
    for model in (OURS, TORCH, AVIF):
        for command in ("compress", "decompress"):
            seconds = kept.median(Case(0.01, 1, model, command, "cpu"))
            assert seconds is not None
            assert seconds > 0
    assert kept.median(Case(0.01, 1, TORCH, "compress", "g_a, h_a"))
    assert "| onnxruntime  | " in result.output
    peak = kept.median(Case(0.01, 1, OURS, "compress", "peak"))
    assert peak is not None
    assert peak > 50  # MiB: the libraries alone take more
    assert kept.about["complete"]


def test_a_benchmark_that_is_cut_off_keeps_what_it_has(tmp_path: Path) -> None:
    results = Results({"picture": "0123", "complete": False})

    def measure() -> None:
        results.add(CASE, 1.0)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out([measure, stop, measure], results, tmp_path / "b.partial.json")
    assert Results.load(tmp_path / "b.partial.json").samples == {CASE: [1.0]}
    assert previous(tmp_path, "0123") is None


def test_a_benchmark_needs_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert facts_of_machine()["commit"] == "unknown"
