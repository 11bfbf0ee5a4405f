"""Pictures to measure codecs on: found in folders, read once, the same samples for all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from codec.errors import InputError
from codec.files import open_file
from codec.limits import Limits
from codec.picture.formats import INPUT_SUFFIXES
from codec.picture.pixels import from_image
from codec.picture.reading import open_picture


@dataclass(frozen=True)
class Reading:
    """How pictures are read."""

    limits: Limits = field(default_factory=Limits)
    frame: int | None = None
    """Of an animation."""
    to_8bit: bool = False
    """Accept pictures of 16 bits."""


@dataclass(frozen=True)
class Subject:
    """A picture as every codec gets it: upright, 8 bits, sRGB or grey, no metadata."""

    name: str
    digest: str
    """SHA-256 over the file and over how it is read."""
    image: Image.Image
    """Of mode L, LA, RGB or RGBA; colours that nobody can see are made up."""

    @property
    def alpha(self) -> bool:
        return self.image.mode in ("LA", "RGBA")

    @property
    def pixels(self) -> int:
        return self.image.width * self.image.height


def find_pictures(sources: Sequence[Path]) -> dict[str, Path]:
    """Picture files by a name that is unique among them: files, and what folders hold.

    A picture that is named twice, or by a link, counts once. Names are paths below the folder
    that was given, without suffix where that is unambiguous.

    Raises:
        InputError: a source does not exist, or there is no picture.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            inside = (p for p in source.rglob("*") if p.suffix.lower() in INPUT_SUFFIXES)
            for path in sorted(inside):
                found.setdefault(path.resolve(), path.relative_to(source))
        elif source.exists():
            found.setdefault(source.resolve(), Path(source.name))
        else:
            raise InputError(f"{source}: no such file or folder")
    if not found:
        raise InputError(f"no pictures in {', '.join(map(str, sources))}")
    for naming in (_stem, _relative, _whole):
        names = {_printable(naming(path, relative)): path for path, relative in found.items()}
        if len(names) == len(found):
            break
    return names


def _printable(name: str) -> str:
    """Names that are not UTF-8, as far as they are."""
    return os.fsencode(name).decode("utf-8", "replace")


def _stem(_: Path, relative: Path) -> str:
    return relative.with_suffix("").as_posix()


def _relative(_: Path, relative: Path) -> str:
    return relative.as_posix()


def _whole(path: Path, _: Path) -> str:
    return path.as_posix()


def read_subject(name: str, path: Path, reading: Reading) -> Subject:
    """Read a picture.

    Raises:
        InputError: it cannot be read, or is of a kind that is not supported.
    """
    with open_file(path) as file:
        content = hashlib.sha256()
        while part := file.read(1 << 20):
            content.update(part)
        content.update(f"{reading.frame} {reading.to_8bit}".encode())
        file.seek(0)
        image = open_picture(file, reading.limits, reading.frame, reading.to_8bit)
    picture = from_image(image, keep=(), to_8bit=reading.to_8bit)
    samples, alpha = picture.crop(picture.whole)
    shown = Image.fromarray(np.ascontiguousarray(samples[..., 0]) if picture.grey else samples)
    if alpha is not None:
        shown.putalpha(Image.fromarray(alpha))
    return Subject(name, content.hexdigest(), shown)
