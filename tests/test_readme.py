"""What README and the other pages name is there."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

from scripts.cards import pages
from tests.helpers import DATA

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CLI = ROOT / "codec" / "cli" / "README.md"
PAGES = [str(page.relative_to(ROOT)) for page in pages()]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readme_starts_with_two_commands() -> None:
    assert re.findall(r"^ +make ([a-z-]+)", README, re.MULTILINE) == ["demo", "test"]


@pytest.mark.slow
def test_python_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert str(DATA.relative_to(ROOT)) in example
    monkeypatch.chdir(tmp_path)  # it writes a file
    Path("tests").symlink_to(ROOT / "tests")
    exec(example, {})
    assert Path("flowers.vqc").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_of_a_page_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / page).read_text()
    for target in re.findall(r"(?:`| {4})make ([a-z][a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_paths_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for name in re.findall(r"`((?:codec|tests|weights|scripts)/[\w/.-]+)`", text):
        made = "NAME" in name or name.startswith("codec/web/dist")  # by `make web`
        assert made or (ROOT / name).exists(), name


def test_modules_of_the_architecture_exist() -> None:
    text = (ROOT / "codec" / "ARCHITECTURE.md").read_text()
    tree = text.split("## Modules")[1].split("\n## ")[0]
    parents = [ROOT]
    named = re.findall(r"^( +)([a-z0-9_]+(?:/|\.py))(?: |$)", tree, re.MULTILINE)
    for indent, name in named:
        depth = len(indent) // 2 - 2  # the block is indented by four
        parents[depth + 1 :] = [parents[depth] / name]
        assert parents[-1].exists(), name
    assert len(named) > 20


def test_functions_of_the_architecture_exist() -> None:
    text = (ROOT / "codec" / "ARCHITECTURE.md").read_text()
    flows = text.split("## The writer")[1].split("## Exactness")[0]
    named = re.findall(r"^ {4,}([a-z_]+(?:\.\w+)+) ", flows, re.MULTILINE)
    for name in named:
        pkgutil.resolve_name(f"codec.{name}")
    assert len(named) > 10


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_path_outside_of_the_repository(page: str) -> None:
    for link in re.findall(r"(?:\.\./)+[\w./-]*", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(link).resolve().is_relative_to(ROOT), link


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", README))
    assert set(PAGES) - linked <= {"README.md", "codec/evaluation/report/README.md"}


def test_exit_codes_match_the_errors() -> None:
    from codec import errors

    codes = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.CodecError)
    }
    section = CLI.read_text().split("## Exit status")[1].split("\n#")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert codes | {0, 2, 130} == documented


def test_the_changelog_has_an_entry_for_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in headings
