"""The wheel holds all that a user needs, the source archive all that `make` needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from codec.weights.released import RESEARCH_MODELS, released_models
from tests.web_build import alone

ROOT = Path(__file__).parents[1]
SUFFIXES = ("safetensors", "md")


def built_pages() -> set[str]:
    """Files of the web reader, if it was built, that the commands show and publish."""
    folder = ROOT / "codec" / "web" / "dist"
    suffixes = (".css", ".html", ".js", ".svg")
    found = [path for suffix in suffixes for path in folder.glob(f"*{suffix}")]
    return {str(path.relative_to(ROOT)) for path in found}


PAGES = {
    "": "ARCHITECTURE.md",
    "encoder": "ARCHITECTURE.md",
    "engine": "ARCHITECTURE.md",
    "weights": "ARCHITECTURE.md",
    "web/src": "web/README.md",
}
"""Pages that list the modules of a folder of the package."""
LISTING = [
    "cluster",
    "entropy",
    "evaluation",
    "evaluation/report",
    "format",
    "picture",
    "picture/sources",
    "training",
]
"""Packages whose docstring lists their modules."""


def modules_of(folder: str) -> set[str]:
    names = {path.name for path in (ROOT / "codec" / folder).iterdir()}
    modules = {name for name in names if re.fullmatch(r"[\w-]+\.(py|ts)", name)}
    return modules - {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("folder", PAGES)
def test_pages_list_all_modules(folder: str) -> None:
    page = (ROOT / "codec" / PAGES[folder]).read_text()
    assert modules_of(folder) <= set(re.findall(r"[\w-]+\.(?:py|ts)\b", page))


@pytest.mark.parametrize("folder", LISTING)
def test_docstrings_list_all_modules(folder: str) -> None:
    words = re.findall(r"\w+", (ROOT / "codec" / folder / "__init__.py").read_text())
    assert modules_of(folder) <= {f"{word}.py" for word in words}


@pytest.mark.slow
def test_wheel_holds_modules_format_and_weights(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    with alone():
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        pages = built_pages()
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "codec").rglob("*.py")}
    assert modules <= names
    data = {"codec/py.typed", "codec/FORMAT.md", "codec/evaluation/published.json"}
    assert data <= names
    models = [path.stem for path in released_models() if path.stem not in RESEARCH_MODELS]
    assert models == ["photo", "photo-mse"]
    shipped = {f"codec/weights/{name}.{suffix}" for name in models for suffix in SUFFIXES}
    assert {name for name in names if not name.endswith(".py") and "/weights/" in name} == shipped
    assert not [name for name in names if name.startswith(("tests", "scripts"))]
    web = {name for name in names if name.startswith("codec/web/")}
    assert {name for name in web if not name.endswith((".py", ".md"))} == pages


@pytest.mark.slow
def test_source_archive_holds_what_make_needs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    with alone():
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        pages = built_pages()
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    needed = {"Makefile", "constraints.txt", "pyproject.toml", "README.md", "scripts/demo.py"}
    needed |= {f"weights/{path.name}" for path in released_models()}
    needed |= pages | {"tests/data/flowers.png", "codec/web/package-lock.json"}
    assert needed <= names
    assert not [name for name in names if name.startswith("runs") or "node_modules" in name]
