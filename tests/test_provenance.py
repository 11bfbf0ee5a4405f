from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from codec.engine.threads import thread_count
from codec.evaluation.provenance import describe_machine, source_digest, versions


def test_the_digest_changes_with_the_source_that_codes_or_measures(tmp_path: Path) -> None:
    for folder in ("entropy/inner", "cli", "evaluation/report"):
        (tmp_path / folder).mkdir(parents=True)
    files = [tmp_path / name for name in ("one.py", "entropy/two.py", "entropy/inner/three.py")]
    others = [tmp_path / name for name in ("cli/four.py", "evaluation/report/five.py", "notes.md")]
    for file in (*files, *others):
        file.write_text("1")

    def digest() -> str:
        source_digest.cache_clear()
        return source_digest(tmp_path)

    found = [digest()]
    for file in files:
        file.write_text("2")
        found.append(digest())
    assert len(set(found)) == 4
    for file in others:
        file.write_text("2")
    assert digest() == found[-1]


def test_the_machine_is_described() -> None:
    described = describe_machine()
    assert f"{thread_count()} of {os.cpu_count()} threads" in described
    assert f"numpy {version('numpy')}" in described


def test_libraries_of_extras_that_are_not_installed_are_left_out() -> None:
    found = versions(["numpy", "no-such-library", "pillow"])
    assert found.endswith(f", numpy {version('numpy')}, pillow {version('pillow')}")
