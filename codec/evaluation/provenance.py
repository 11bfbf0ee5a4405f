"""Source code, libraries and machine, which a measurement depends on."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.resources.abc import Traversable
from pathlib import Path

LIBRARIES = ("onnxruntime", "torch", "numpy", "pillow", "constriction", "pytorch-msssim")
"""Libraries whose versions affect results."""


def versions(libraries: Iterable[str] = LIBRARIES) -> str:
    """Versions of Python and of those libraries that are installed, in words."""
    found = [f"Python {platform.python_version()}"]
    for name in libraries:
        with suppress(PackageNotFoundError):  # some are of extras
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


WITHOUT = ("cli", "report")
"""Packages whose source affects no number: command line and presentation."""


@cache
def source_digest(package: Traversable | None = None) -> str:
    """Hash of the source that codes or measures, eight hexadecimal digits.

    Args:
        package: folder of the source; `codec` by default.
    """
    content = hashlib.sha256()
    for file in _modules(package or resources.files("codec")):
        content.update(file.read_bytes())
    return content.hexdigest()[:8]


def _modules(part: Traversable) -> Iterator[Traversable]:
    if part.is_file():
        yield part
        return
    for inner in sorted(part.iterdir(), key=lambda file: file.name):
        if (inner.is_dir() and inner.name not in WITHOUT) or inner.name.endswith(".py"):
            yield from _modules(inner)


@cache
def describe_machine() -> str:
    """Processor, threads and versions of libraries, in words."""
    from codec.engine.threads import thread_count

    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        pass
    threads = f"{thread_count()} of {os.cpu_count()} threads"
    return f"{processor}, {threads}, {versions()}"
