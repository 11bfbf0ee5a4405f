"""What the README says is there is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import DATA

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^ +make ([a-z-]+)", README, re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert str(DATA.relative_to(ROOT)) in example
    monkeypatch.chdir(tmp_path)  # it writes a file
    Path("tests").symlink_to(ROOT / "tests")
    exec(example, {})
    assert Path("flowers.vqc").is_file()


def test_named_files_exist() -> None:
    for name in re.findall(r"`((?:codec|tests|weights|scripts)/[\w/.]+)`", README):
        assert (ROOT / name).exists(), name


def test_exit_codes_match_the_errors() -> None:
    from codec import errors

    codes = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.CodecError)
    }
    section = README.split("### Exit status")[1].split("\n#")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert codes | {0, 2, 130} == documented
