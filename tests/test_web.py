"""The reader for web pages, in Node and in a browser, against the one in Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from codec.weights.released import find_weights
from tests.helpers import DATA, TINY, TINY_VQ
from tests.web_build import build_reader
from tests.web_cases import WEB, Cases, Results, in_browser, in_node, run

pytestmark = pytest.mark.slow

FILES = [*sorted(DATA.glob("golden*/*.vqc")), DATA / "conformance" / "photo-37x91.vqc"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built reader, its test page and a folder for cases."""
    folder = tmp_path_factory.mktemp("web")
    build_reader(folder / "dist", [TINY, TINY_VQ, find_weights("photo")])
    shutil.copytree(WEB / "test", folder / "test")
    return folder


@pytest.fixture(scope="module")
def cases(built: Path) -> Cases:
    cases = Cases(built / "cases")
    for path in FILES:
        cases.add(f"{path.parent.name}/{path.stem}", path.read_bytes())
    cases.add("region", (DATA / "golden" / "all-patches-q70.vqc").read_bytes(), (250, 3, 20, 40))
    cases.add_damage("damage", (DATA / "golden" / "odd-q50.vqc").read_bytes())
    cases.write()
    return cases


def check(results: Results, cases: Cases, *others: str) -> None:
    names = [*(case["name"] for case in cases.cases), *others]
    assert [(result["name"], result["wrong"]) for result in results] == [(n, "") for n in names]


def test_sources_are_tidy(built: Path) -> None:
    run("npm", "run", "lint")


def test_in_node(built: Path, cases: Cases) -> None:
    check(in_node(built), cases)


def test_without_webassembly(built: Path, cases: Cases) -> None:
    check(in_node(built, "script"), cases)


def test_in_a_browser(built: Path, cases: Cases) -> None:
    program = next(filter(shutil.which, ("chromium", "google-chrome")), None)
    if program is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    check(in_browser(built, program), cases, "behaviour")
