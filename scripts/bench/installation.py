"""Size of an installation without extras: this package and all that it needs."""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from codec.weights.released import RESEARCH_MODELS, released_models

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
    models = [path for path in released_models() if path.stem not in RESEARCH_MODELS]
    package = ROOT / "codec"
    modules = [path for path in package.rglob("*") if _is_packed(path.relative_to(package).parts)]
    return _size([*models, *modules])


def _is_packed(parts: tuple[str, ...]) -> bool:
    """Whether the wheel holds a file, given its path in the package: of the sources of the web
    reader only what was built of them, modules and pages."""
    if "__pycache__" in parts:
        return False
    built = parts[:2] == ("web", "dist")
    return parts[0] != "web" or built or parts[-1].endswith((".py", ".md"))


def _size(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())
