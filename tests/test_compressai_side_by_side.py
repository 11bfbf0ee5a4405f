"""The side-by-side with CompressAI, without CompressAI: our half, the sums, failing set-up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.children import Usage
from scripts.compressai_side_by_side import SetupError, interpreter, summary
from scripts.compressai_worker import run
from tests.conftest import DATA


def found(compress: float, decompress: float, start: float, peak: float) -> tuple[Any, Usage]:
    pictures = {"a.png": [compress, decompress], "b.png": [2 * compress, 2 * decompress]}
    return {"import": start, "model": 0.1, "pictures": pictures}, Usage(1.0, 1.0, peak, "")


def test_ratios_are_taken_pair_by_pair() -> None:
    ours = [found(0.1, 0.2, 1.0, 300), found(1.0, 2.0, 5.0, 300)]  # the second round is slow
    theirs = [found(0.4, 0.6, 2.0, 600), found(4.0, 6.0, 10.0, 600)]
    assert summary(ours, theirs) == [
        ["compress, one picture", "0.600 s", "2.400 s", "4.00"],
        ["decompress, one picture", "1.200 s", "3.600 s", "3.00"],
        ["import", "3.00 s", "6.00 s", "2.00"],
        ["model", "0.10 s", "0.10 s", "1.00"],
        ["peak memory of the process", "300 MiB", "600 MiB", "2.00"],
    ]


def test_our_half() -> None:
    paths = [str(DATA / "city.png"), str(DATA / "path.png")]
    times = run("ours", paths)
    assert list(times["pictures"]) == paths
    assert min(min(pair) for pair in times["pictures"].values()) > 0


def test_environment_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr("scripts.compressai_side_by_side.subprocess.run", pip)
    monkeypatch.setattr("venv.create", lambda folder, **options: folder.mkdir(exist_ok=True))
    python = interpreter(tmp_path / "env", ["one==1", "two"])
    assert interpreter(tmp_path / "env", ["one==1", "two"]) == python
    assert [command[-2:] for command in commands] == [["one==1", "two"]]
    interpreter(tmp_path / "env", ["one==2", "two"])
    assert len(commands) == 2


def test_failing_installation_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failed = subprocess.CompletedProcess([], 1, stderr="first\nERROR: no matching distribution\n")
    monkeypatch.setattr("scripts.compressai_side_by_side.subprocess.run", lambda *a, **o: failed)
    monkeypatch.setattr("venv.create", lambda folder, **options: folder.mkdir(exist_ok=True))
    with pytest.raises(SetupError, match="no matching distribution"):
        interpreter(tmp_path / "env", ["two"])
    assert (tmp_path / "env" / "install.log").read_text().startswith("first")
    with pytest.raises(SetupError):  # and tried again next time
        interpreter(tmp_path / "env", ["two"])
