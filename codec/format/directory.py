"""The directory of a .vqc file: lengths and checksums of chunks, patches and tiles.

The geometry of patches, which is checked, is in `codec.format.patch_table`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from codec.errors import DamagedFileError, UnsupportedFileError
from codec.format.patch_table import PatchEntry
from codec.picture.metadata import MAX_BYTES

CHUNK_TYPES = {"icc": b"icc ", "exif": b"exif", "xmp": b"xmp "}
"""A first letter in lower case tells readers that the pixels do not depend on the chunk."""
MAX_CHUNK_BYTES = MAX_BYTES + (1 << 16)
"""Largest length of a zlib stream of `MAX_BYTES`, which incompressible bytes lengthen."""

DIRECTORY_FIELDS = struct.Struct("<HB")
"""Side of the tiles in units of 64 pixels, number of chunks."""
PATCH_COUNT = struct.Struct("<H")
CHUNK_ENTRY = struct.Struct("<4sII")
"""Type, length and CRC-32 of a chunk."""
CHECKSUM = struct.Struct("<I")

_TILE = struct.Struct("<III")
_ALPHA_TILE = struct.Struct("<IIII")


def tile_entry(alpha: bool) -> struct.Struct:
    """Length of a tile's stream, with alpha that of its alpha, symbol checksum, CRC-32 of both."""
    return _ALPHA_TILE if alpha else _TILE


@dataclass(frozen=True)
class Tile:
    """One tile, coded independently of all others."""

    stream: bytes
    """Range-coded latents."""
    symbol_checksum: int
    """CRC-32 of the decoded symbols."""
    alpha: bytes = b""
    """Coded alpha plane of the tile, see `codec.picture.alpha`."""


@dataclass(frozen=True)
class Section:
    """Where a part of a file lies."""

    name: str
    offset: int
    length: int
    checksum: int
    """CRC-32 of its bytes."""


@dataclass(frozen=True)
class TileSection(Section):
    """Where a tile lies: its stream, then its alpha."""

    alpha_length: int
    symbol_checksum: int
    """CRC-32 of the decoded symbols."""


def chunk_sections(table: bytes, start: int) -> tuple[dict[str, Section], int]:
    """Sections of chunks by kind, and where the last one ends.

    Args:
        table: entries, one after the other.
        start: offset of the first chunk.

    Raises:
        UnsupportedFileError: the pixels depend on a chunk of an unknown type.
        DamagedFileError: there are two of a known kind, or one is too long.
    """
    kinds = {chunk_type: kind for kind, chunk_type in CHUNK_TYPES.items()}
    sections: dict[str, Section] = {}
    for chunk_type, length, checksum in CHUNK_ENTRY.iter_unpack(table):
        if not chunk_type[:1].islower():
            raise UnsupportedFileError(f"uses a chunk of a newer program ({chunk_type!r})")
        kind = kinds.get(chunk_type)
        if kind is None:  # of a newer program, as often and as long as that wants it
            kind = f"{chunk_type!r} at {start}"
        elif kind in sections or length > MAX_CHUNK_BYTES:
            raise DamagedFileError(f"damaged: impossible {kind} metadata")
        sections[kind] = Section(kind, start, length, checksum)
        start += length
    return sections, start


def patch_sections(entries: Iterable[PatchEntry], start: int) -> tuple[list[Section], int]:
    """Sections of patches, the first of which begins at `start`, and where the last one ends."""
    sections = []
    for number, (_, length, checksum) in enumerate(entries):
        sections.append(Section(f"patch {number}", start, length, checksum))
        start += length
    return sections, start


def tile_sections(
    table: bytes, start: int, numbers: Iterable[int], alpha: bool
) -> tuple[dict[int, TileSection], int]:
    """Sections of tiles by number, and where the last one ends.

    Args:
        table: entries, one after the other.
        start: offset of the first coded tile.
        numbers: of the tiles that are coded, in order.
        alpha: whether the picture has alpha.
    """
    sections = {}
    for number, fields in zip(numbers, tile_entry(alpha).iter_unpack(table), strict=True):
        stream, *coded_alpha, symbol_checksum, checksum = fields
        length, alpha_length = stream + sum(coded_alpha), sum(coded_alpha)
        sections[number] = TileSection(
            f"tile {number}", start, length, checksum, alpha_length, symbol_checksum
        )
        start += length
    return sections, start
