"""Pictures to measure codecs on: found in folders, read once, the same samples for all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from codec.errors import InputError
from codec.files import files_in, open_file
from codec.limits import Limits
from codec.picture.formats import INPUT_SUFFIXES
from codec.picture.pixels import Picture, from_image
from codec.picture.reading import open_picture
from codec.tiles import Box, Grid

SIDE = 1024
"""Of the boxes that a picture is converted in; a picture no larger than one is converted whole."""


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
    """SHA-256 over mode, size and samples."""
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
        InputError: a source does not exist, a folder cannot be read, or there is no picture.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        if source.is_dir():
            for path in sorted(files_in(source, INPUT_SUFFIXES)):
                found.setdefault(path.resolve(), path.relative_to(source))
        elif source.exists():
            found.setdefault(source.resolve(), Path(source.name))
        else:
            raise InputError(f"{source}: no such file or folder")
    if not found:
        raise InputError(f"no pictures in {', '.join(map(str, sources))}")
    for naming in (_stem, _relative, _whole, _numbered):
        names = {printable(naming(path, relative)): path for path, relative in found.items()}
        if len(names) == len(found):
            break
    return names


def printable(name: str) -> str:
    """Names and commands that are not UTF-8, as far as they are."""
    return os.fsencode(name).decode("utf-8", "replace")


def _stem(_: Path, relative: Path) -> str:
    return relative.with_suffix("").as_posix()


def _relative(_: Path, relative: Path) -> str:
    return relative.as_posix()


def _whole(path: Path, _: Path) -> str:
    return path.as_posix()


def _numbered(path: Path, _: Path) -> str:
    """Unique whatever `printable` makes of it."""
    return f"{path.as_posix()} ({path.stat().st_ino})"


def read_subject(name: str, path: Path, reading: Reading) -> Subject:
    """Read a picture.

    Raises:
        InputError: it cannot be read, or is of a kind that is not supported.
    """
    with open_file(path) as file:
        image = open_picture(file, reading.limits, reading.frame, reading.to_8bit).image
    picture = from_image(image, keep=(), to_8bit=reading.to_8bit)
    shown = _shown(picture)
    if shown.mode.endswith("A") and shown.getextrema()[-1] == (0, 0):
        raise InputError("nothing of it can be seen: every pixel is transparent")
    return Subject(name, _digest(shown), shown)


def _boxes(height: int, width: int) -> Iterator[Box]:
    return Grid(height, width, SIDE if height * width > SIDE**2 else 0).boxes()


def _shown(picture: Picture) -> Image.Image:
    """A picture without metadata, made box by box to bound the memory."""
    mode = ("L" if picture.grey else "RGB") + ("A" if picture.alpha else "")
    shown = Image.new(mode, (picture.width, picture.height))
    for box in _boxes(picture.height, picture.width):
        samples, alpha = picture.crop(box)
        part = Image.fromarray(np.ascontiguousarray(samples[..., 0]) if picture.grey else samples)
        if alpha is not None:
            part.putalpha(Image.fromarray(alpha))
        shown.paste(part, (box.left, box.top))
    return shown


def _digest(image: Image.Image) -> str:
    content = hashlib.sha256(f"{image.mode} {image.size}".encode())
    for box in _boxes(image.height, image.width):
        content.update(image.crop(box.corners).tobytes())
    return content.hexdigest()
