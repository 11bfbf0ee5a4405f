"""The reader for web pages, built for tests."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codec.web.reader_weights import write_models
from tests.web_cases import WEB, run


@contextmanager
def alone() -> Iterator[None]:
    """Keep other processes from building the reader."""
    with (WEB / "package.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_reader(folder: Path, models: Iterable[Path]) -> None:
    """Build the reader into a new folder, with some models. Skips the test without node and npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    if int(run("node", "--version").lstrip("v").split(".")[0]) < 20:
        pytest.skip("node is older than version 20")
    with alone():
        installed = WEB / "node_modules" / ".package-lock.json"
        lock = WEB / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            run("npm", "ci", "--no-audit", "--no-fund")
        run("npm", "run", "build")
        shutil.copytree(WEB / "dist", folder, ignore=shutil.ignore_patterns("models"))
    write_models(folder / "models", models)
