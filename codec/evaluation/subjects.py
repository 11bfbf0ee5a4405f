"""Pictures to measure codecs on, read to the samples that all codecs get."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from codec.errors import InputError
from codec.files import files_in, is_folder, open_file, real, relative
from codec.limits import Limits
from codec.picture.formats import INPUT_SUFFIXES
from codec.picture.pixels import Picture, from_image
from codec.picture.reading import open_picture
from codec.tiles import Box, Grid
from codec.url import Place, Url

SIDE = 1024
"""Side of the boxes in which larger pictures are converted."""


@dataclass(frozen=True)
class Reading:
    """Options of reading pictures."""

    limits: Limits = field(default_factory=Limits)
    frame: int | None = None
    """Frame of an animation, from 0."""
    to_8bit: bool = False
    """Whether to accept pictures of 16 bits."""


@dataclass(frozen=True)
class Subject:
    """A picture as all codecs get it: upright, 8 bits, sRGB or grey, without metadata."""

    name: str
    digest: str
    """SHA-256 of mode, size and samples."""
    image: Image.Image
    """Picture of mode L, LA, RGB or RGBA; colours of fully transparent pixels are arbitrary."""

    @property
    def alpha(self) -> bool:
        return self.image.mode in ("LA", "RGBA")

    @property
    def pixels(self) -> int:
        return self.image.width * self.image.height


def find_pictures(sources: Sequence[Place]) -> dict[str, Place]:
    """Find picture files, given directly or in folders or stores, and give each a unique name.

    A file that is given twice, or by a link, counts once. Names are paths relative to the given
    folder, without suffix where that is unambiguous.

    Raises:
        InputError: a source does not exist, a folder cannot be read, or there is no picture.
    """
    found: dict[Place, PurePath] = {}
    for source in sources:
        if is_folder(source):
            for path in sorted(files_in(source, INPUT_SUFFIXES)):
                found.setdefault(real(path), relative(path, source))
        elif isinstance(source, Url) or source.exists():
            found.setdefault(real(source), Path(source.name))
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
    """Replace characters of a name or command that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _stem(_: Place, relative: PurePath) -> str:
    return relative.with_suffix("").as_posix()


def _relative(_: Place, relative: PurePath) -> str:
    return relative.as_posix()


def _whole(path: Place, _: PurePath) -> str:
    return path.as_posix() if isinstance(path, Path) else str(path)


def _numbered(path: Place, relative: PurePath) -> str:
    """Name that stays unique after `printable`."""
    number = f" ({path.stat().st_ino})" if isinstance(path, Path) else ""
    return _whole(path, relative) + number


def read_subject(name: str, path: Place, reading: Reading) -> Subject:
    """Read a picture.

    Raises:
        InputError: it cannot be read, is not supported, or is fully transparent.
    """
    with open_file(path) as file:
        opened = open_picture(file, reading.limits, reading.frame, reading.to_8bit).image
    picture = from_image(opened, keep=(), to_8bit=reading.to_8bit)
    image = _plain(picture)
    if image.mode.endswith("A") and image.getextrema()[-1] == (0, 0):
        raise InputError("nothing of it can be seen: every pixel is transparent")
    return Subject(name, _digest(image), image)


def _boxes(height: int, width: int) -> Iterator[Box]:
    return Grid(height, width, SIDE if height * width > SIDE**2 else 0).boxes()


def _plain(picture: Picture) -> Image.Image:
    """Copy of a picture without metadata, made box by box to bound the memory."""
    mode = ("L" if picture.grey else "RGB") + ("A" if picture.alpha else "")
    image = Image.new(mode, (picture.width, picture.height))
    for box in _boxes(picture.height, picture.width):
        samples, alpha = picture.crop(box)
        part = Image.fromarray(np.ascontiguousarray(samples[..., 0]) if picture.grey else samples)
        if alpha is not None:
            part.putalpha(Image.fromarray(alpha))
        image.paste(part, (box.left, box.top))
    return image


def _digest(image: Image.Image) -> str:
    content = hashlib.sha256(f"{image.mode} {image.size}".encode())
    for box in _boxes(image.height, image.width):
        content.update(image.crop(box.corners).tobytes())
    return content.hexdigest()
