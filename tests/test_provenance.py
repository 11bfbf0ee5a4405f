from __future__ import annotations

from pathlib import Path

import pytest

from codec.evaluation.measuring import MEASURING
from codec.evaluation.ours import CODING
from codec.evaluation.provenance import describe_machine, source_digest


def test_the_digest_changes_with_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package" / "inner").mkdir(parents=True)
    files = [tmp_path / name for name in ("one.py", "package/two.py", "package/inner/three.py")]
    for file in files:
        file.write_text("1")
    (tmp_path / "other.py").write_text("1")
    monkeypatch.setattr("codec.evaluation.provenance.resources.files", lambda _: tmp_path)

    def digest() -> str:
        source_digest.cache_clear()
        return source_digest(("one.py", "package"))

    found = [digest()]
    for file in files:
        file.write_text("2")
        found.append(digest())
    assert len(set(found)) == 4
    (tmp_path / "other.py").write_text("2")
    assert digest() == found[-1]
    source_digest.cache_clear()


def test_what_is_named_exists() -> None:
    for parts in (MEASURING, CODING):
        assert len(source_digest(parts)) == 8


def test_the_machine_is_described() -> None:
    assert "threads" in describe_machine()
    assert "numpy" in describe_machine()
