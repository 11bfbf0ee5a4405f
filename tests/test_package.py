"""The wheel holds all that a user needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_wheel_holds_modules_format_and_weights(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "codec").rglob("*.py")}
    assert modules <= names
    data = {"codec/py.typed", "codec/FORMAT.md", "codec/evaluation/published.json"}
    assert data <= names
    assert {"codec/weights/photo.safetensors", "codec/weights/photo.md"} <= names
    assert not [name for name in names if name.startswith(("tests", "scripts"))]
