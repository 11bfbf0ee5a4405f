"""Size of an installation without extras: this package and all that it needs."""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def installed_sizes() -> dict[str, int]:
    """Bytes of the package and of what it requires, by name, largest first.

    Raises:
        PackageNotFoundError: a requirement is not installed.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {project["name"]: _own_size()}
    waiting = _names(project["dependencies"])
    while waiting:
        present = distribution(waiting.pop())
        files = [Path(str(file.locate())) for file in present.files or ()]
        found[present.name] = _size(files)
        waiting += [name for name in _names(present.requires or []) if name not in found]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _names(requirements: list[str]) -> list[str]:
    parsed = map(Requirement, requirements)
    return [r.name for r in parsed if not r.marker or r.marker.evaluate({"extra": ""})]


def _own_size() -> int:
    """Bytes of what the wheel holds, which is not all that a checkout has."""
    return _size([Path(file.path) for file in WheelBuilder(str(ROOT)).recurse_included_files()])


def _size(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())
