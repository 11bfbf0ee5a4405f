"""Where a file's patches lie: rectangles whose samples are stored without loss.

Rectangles are on the lattice of latent positions, cut at the right and lower border of the
picture. Imports no numpy, like all that reads the directory of a file.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from codec.errors import DamagedFileError
from codec.tiles import LATENT_STRIDE, Box, Grid

PATCH_UNIT = LATENT_STRIDE
"""Pixels of the lattice that the corners of patches lie on."""
MAX_PATCH_SIDE = 1023
"""Largest side of a patch in units of the lattice: a lossless WebP has 16,383 pixels a side."""
MAX_PATCH_PIXELS = 1 << 24
"""Largest area of a patch, which bounds the memory that decoding one takes."""
MAX_PATCHES = 65_535

ENTRY = struct.Struct("<HHHHII")
"""Left, top, width and height in units of the lattice, length and CRC-32 of the stream."""


PatchEntry = tuple[Box, int, int]
"""Box in pixels, length and CRC-32 of the stream of a patch."""


@dataclass(frozen=True)
class Patch:
    """Rectangle of a picture that is stored without loss."""

    box: Box
    """Pixels that it shows, on the lattice and inside the picture."""
    data: bytes
    """Its samples, see `codec.picture.patch`."""

    @property
    def size(self) -> int:
        """Bytes that it takes in a file, its entry in the table included."""
        return ENTRY.size + len(self.data)


def problem_of(boxes: Iterable[Box], whole: Box) -> str | None:
    """Tell what is wrong with the rectangles of patches.

    Takes memory for one row of the lattice, whatever is given.

    Args:
        boxes: in units of the lattice.
        whole: all pixels of the picture.

    Returns:
        What no file has, such as "patches overlap"; None if nothing is wrong.
    """
    lattice = whole.shrunk(PATCH_UNIT)
    bottoms = [0] * lattice.width
    before = (-1, -1)
    for number, box in enumerate(boxes):
        if number >= MAX_PATCHES:
            return f"there are more than {MAX_PATCHES} patches"
        if not (0 < box.width <= MAX_PATCH_SIDE and 0 < box.height <= MAX_PATCH_SIDE):
            return f"the sides of a patch lie outside of 1..{MAX_PATCH_SIDE} positions"
        if box & lattice != box:
            return "a patch lies outside of the picture"
        if (box.enlarged(PATCH_UNIT) & whole).area > MAX_PATCH_PIXELS:
            return f"a patch has more than {MAX_PATCH_PIXELS} pixels"
        if (box.top, box.left) <= before:
            return "patches are out of order"
        before = box.top, box.left
        # Those before begin no lower than this one, so they overlap if they end below its top.
        if max(bottoms[box.left : box.right]) > box.top:
            return "patches overlap"
        bottoms[box.left : box.right] = [box.bottom] * box.width
    return None


def pack_entry(patch: Patch) -> bytes:
    """Entry of a patch in the table."""
    place = patch.box.shrunk(PATCH_UNIT)
    corner_and_size = place.left, place.top, place.width, place.height
    return ENTRY.pack(*corner_and_size, len(patch.data), zlib.crc32(patch.data))


def read_table(table: bytes, whole: Box) -> list[PatchEntry]:
    """Entries of a table of patches.

    Args:
        table: entries, one after the other.
        whole: all pixels of the picture.

    Raises:
        DamagedFileError: no file has such patches.
    """
    entries = list(ENTRY.iter_unpack(table))
    boxes = [Box(x, y, x + width, y + height) for x, y, width, height, _, _ in entries]
    if problem := problem_of(boxes, whole):
        raise DamagedFileError(f"damaged: {problem}")
    pixels = (box.enlarged(PATCH_UNIT) & whole for box in boxes)
    return [(box, entry[4], entry[5]) for box, entry in zip(pixels, entries, strict=True)]


def covered_tiles(boxes: Iterable[Box], grid: Grid) -> frozenset[int]:
    """Numbers of the tiles that patches, disjoint boxes of pixels, cover wholly."""
    areas: Counter[int] = Counter()
    for box in boxes:
        for number in grid.touched(box):
            areas[number] += (grid.box(number) & box).area
    return frozenset(number for number, area in areas.items() if area == grid.box(number).area)
