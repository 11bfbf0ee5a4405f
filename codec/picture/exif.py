"""EXIF data: a TIFF header and what follows. It is kept byte by byte, since maker notes and
whatever else counts from its beginning would be lost if it were written anew."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from codec.picture.metadata import EXIF_PREFIX

UPRIGHT = 1
"""Value of the orientation of a picture that is stored as it is to be seen."""

_ORIENTATION, _X_RESOLUTION = 0x0112, 0x011A
_ENTRY_BYTES = 12
_FIELD_BYTES = 4
_INTEGERS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i"}
"""Format of a value by the type of its entry."""


@dataclass(frozen=True)
class _Directory:
    """The entries that are there of the first directory (IFD0)."""

    data: bytes
    order: str
    """Byte order as `struct` names it."""
    start: int
    count: int

    def entries(self) -> Iterator[tuple[int, int, int, int]]:
        """Tag, type, number of values, and offset of the value field."""
        for number in range(self.count):
            at = self.start + _ENTRY_BYTES * number
            yield *struct.unpack_from(f"{self.order}HHI", self.data, at), at + 8

    def orientations(self) -> Iterator[tuple[str, int]]:
        """Format and offset of each orientation; of several values in an entry, the first."""
        for tag, kind, number, at in self.entries():
            form = self.order + _INTEGERS.get(kind, "")
            if tag == _ORIENTATION and 0 < number * struct.calcsize(form) <= _FIELD_BYTES:
                yield form, at


def usable_exif(raw: bytes) -> bytes:
    """EXIF data without the prefix, otherwise as it was; nothing if it cannot be read.

    Args:
        raw: with or without prefix.
    """
    while raw.startswith(EXIF_PREFIX):
        raw = raw[len(EXIF_PREFIX) :]
    return raw if _first_directory(raw) else b""


def orientation_of(exif: bytes) -> int:
    """Orientation 1..8 by the first directory; 1 if it has none or another value."""
    if not (directory := _first_directory(exif)):
        return UPRIGHT
    for form, at in directory.orientations():
        (value,) = struct.unpack_from(form, exif, at)
        return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def with_upright(exif: bytes) -> bytes:
    """The same data with orientation 1, for a picture that is stored as it is to be seen.

    Where it was another, the link to the second directory, which has a thumbnail that is turned
    as the picture was, is cut. Nothing else changes, and all offsets stay right.
    """
    if not (directory := _first_directory(exif)):
        return exif
    patched = bytearray(exif)
    for form, at in directory.orientations():
        struct.pack_into(form, patched, at, UPRIGHT)
    if patched != exif:
        link = directory.start + _ENTRY_BYTES * directory.count
        patched[link : link + 4] = bytes(len(patched[link : link + 4]))
    return bytes(patched)


def has_resolution(exif: bytes) -> bool:
    """Tell whether EXIF gives pixels per inch or centimetre."""
    directory = _first_directory(exif)
    return directory is not None and _X_RESOLUTION in {tag for tag, *_ in directory.entries()}


def is_readable(exif: bytes) -> bool:
    """Whether Pillow can read it, which a format wants that stores it tag by tag.

    Args:
        exif: without the prefix.
    """
    tags = Image.Exif()  # of its own: one that has failed before does not fail again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that it leaves out
        try:
            tags.load(EXIF_PREFIX + exif)
            tags.tobytes()
        except Exception:  # whatever garbage leads Pillow to
            return False
    return True


def _first_directory(exif: bytes) -> _Directory | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if not 8 <= start <= len(exif) - 2:
        return None
    (claimed,) = struct.unpack_from(f"{order}H", exif, start)
    count = min(claimed, (len(exif) - start - 2) // _ENTRY_BYTES)
    return _Directory(exif, order, start + 2, count) if count or not claimed else None
