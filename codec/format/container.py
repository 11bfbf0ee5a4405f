"""A .vqc file open for reading: its parts, located and verified."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from dataclasses import replace
from typing import BinaryIO

from codec.errors import DamagedFileError
from codec.format.directory import (
    CHECKSUM,
    CHUNK_ENTRY,
    CHUNK_TYPES,
    DIRECTORY_FIELDS,
    PATCH_COUNT,
    Section,
    Tile,
    TileSection,
    chunk_sections,
    patch_sections,
    tile_entry,
    tile_sections,
)
from codec.format.header import (
    DIRECTORY_FLAG,
    HEADER_FIELDS,
    MAP_FLAG,
    MAP_LENGTH,
    PATCH_FLAG,
    RESTORATION_FLAG,
    TRUNCATED,
    parse_header,
)
from codec.format.patch_table import ENTRY, covered_tiles, read_table
from codec.limits import Limits
from codec.picture.metadata import MAX_BYTES, Metadata
from codec.tiles import MAX_TILE, MIN_TILE, TILE_UNIT, Box, Grid

MISMATCH = "damaged: the checksum does not match; transfer the file again"

_TRAILER = struct.Struct("<II")
"""Symbol checksum and checksum, with which a plain file ends."""


class ContainerFile:
    """A file open for reading; each part is read and verified when it is asked for.

    Header and directory are verified at once, a plain file as a whole: afterwards every section
    is known to lie inside the file. May be used from several threads.

    Args:
        file: seekable, from its first byte on.
        limits: on the number of pixels and the memory; None checks none.

    Raises:
        FileFormatError: not a vqcodec file, damaged, or of a newer version.
        LimitError: more pixels, or bytes, than `limits` allow.
    """

    def __init__(self, file: BinaryIO, limits: Limits | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.bytes_read = 0
        self.tiles_read: set[int] = set()
        self.size = file.seek(0, os.SEEK_END)
        head = self._read(0, min(HEADER_FIELDS.size, self.size))
        self.header, flags = parse_header(head)
        if limits:
            limits.check_pixels(self.header.width, self.header.height)
            limits.check_file(self.size)
        if flags & RESTORATION_FLAG:
            head += self._parse_restoration()
        if flags & MAP_FLAG:
            head += self._parse_map(len(head))
        self.plain = not flags & DIRECTORY_FLAG
        self.grid = Grid(self.header.height, self.header.width)
        self.metadata_sections: dict[str, Section] = {}
        self.patches: tuple[Box, ...] = ()
        """Rectangles that are stored without loss, disjoint."""
        self.covered: frozenset[int] = frozenset()
        """Tiles that patches cover wholly, which have no stream."""
        self._patches: list[Section] = []
        self._tiles: dict[int, TileSection] = {}
        self._plain_stream = b""
        if self.plain:
            self._parse_plain(head)
        else:
            self._parse_directory(head, bool(flags & PATCH_FLAG))

    @property
    def lossless(self) -> bool:
        """Whether patches cover the whole picture, which takes no model then."""
        return len(self.covered) == len(self.grid)

    def read_tile(self, number: int) -> Tile:
        """A tile that patches do not cover wholly, verified.

        Raises:
            DamagedFileError: its checksum does not match.
        """
        section = self._tiles[number]
        self.tiles_read.add(number)
        data = self._plain_stream if self.plain else self._read_verified(section)
        end = len(data) - section.alpha_length
        return Tile(data[:end], section.symbol_checksum, data[end:])

    def read_patch(self, number: int) -> bytes:
        """Stream of a patch by its number in `patches`, verified.

        Raises:
            DamagedFileError: its checksum does not match.
        """
        return self._read_verified(self._patches[number])

    def read_metadata(self) -> Metadata:
        """Profile, EXIF and XMP, verified.

        Raises:
            DamagedFileError: a checksum does not match, or what is stored is no zlib stream of at
                most 16 MiB.
        """
        sections = self.metadata_sections
        known = {kind: sections[kind] for kind in CHUNK_TYPES if kind in sections}
        return Metadata(**{kind: self._inflate(part) for kind, part in known.items()})

    def tile_sections(self) -> list[Section]:
        """Where the coded data of each tile that has any lies, alpha included."""
        return list(self._tiles.values())

    def patch_sections(self) -> list[Section]:
        """Where the stream of each patch lies."""
        return list(self._patches)

    @property
    def alpha_bytes(self) -> int:
        """Bytes of the coded alpha planes of all tiles."""
        return sum(section.alpha_length for section in self._tiles.values())

    def verify(self) -> None:
        """Verify every byte of the file.

        Raises:
            DamagedFileError: a checksum does not match, or metadata cannot be inflated.
        """
        metadata = self.metadata_sections.values()
        for section in (*metadata, *self._patches, *self.tile_sections()):
            self._read_verified(section)
        self.read_metadata()

    def _parse_restoration(self) -> bytes:
        count = self._read(HEADER_FIELDS.size, 1)
        if not count[0]:
            raise DamagedFileError("damaged: a restoration filter without weights")
        weights = self._read(HEADER_FIELDS.size + 1, count[0])
        self.header = replace(self.header, restoration=struct.unpack(f"{count[0]}b", weights))
        return count + weights

    def _parse_map(self, start: int) -> bytes:
        packed = self._read(start, MAP_LENGTH.size)
        (length,) = MAP_LENGTH.unpack(packed)
        if length < 2:
            raise DamagedFileError("damaged: an empty map of levels")
        level_map = self._read(start + MAP_LENGTH.size, length)
        self.header = replace(self.header, level_map=level_map)
        return packed + level_map

    def _parse_plain(self, head: bytes) -> None:
        start = len(head)
        if self.size < start + _TRAILER.size:
            raise DamagedFileError(TRUNCATED)
        stream = self._read(start, self.size - start - _TRAILER.size)
        trailer = self._read(self.size - _TRAILER.size, _TRAILER.size)
        symbol_checksum, checksum = _TRAILER.unpack(trailer)
        computed = zlib.crc32(stream, zlib.crc32(head))
        if zlib.crc32(trailer[: -CHECKSUM.size], computed) != checksum:
            raise DamagedFileError(MISMATCH)
        self._plain_stream = stream
        self._tiles[0] = TileSection(
            "tile 0", start, len(stream), zlib.crc32(stream), 0, symbol_checksum
        )

    def _parse_directory(self, head: bytes, patched: bool) -> None:
        fields = self._read(len(head), DIRECTORY_FIELDS.size + PATCH_COUNT.size * patched)
        side, chunk_count = DIRECTORY_FIELDS.unpack_from(fields)
        (patch_count,) = PATCH_COUNT.unpack_from(fields, DIRECTORY_FIELDS.size) if patched else (0,)
        if patched and not patch_count:
            raise DamagedFileError("damaged: a table of no patches")
        self.grid = self._grid_of(TILE_UNIT * side)
        directory = head + fields
        chunks = self._read(len(directory), chunk_count * CHUNK_ENTRY.size)
        directory += chunks
        patches = self._read(len(directory), patch_count * ENTRY.size)
        directory += patches
        patch_entries = read_table(patches, self.grid.whole)
        self.patches = tuple(box for box, _, _ in patch_entries)
        self.covered = covered_tiles(self.patches, self.grid)
        coded = [number for number in range(len(self.grid)) if number not in self.covered]
        alpha = self.header.alpha
        tiles = self._read(len(directory), len(coded) * tile_entry(alpha).size)
        directory += tiles
        if self._read(len(directory), CHECKSUM.size) != CHECKSUM.pack(zlib.crc32(directory)):
            raise DamagedFileError(MISMATCH)
        end = len(directory) + CHECKSUM.size
        self.metadata_sections, end = chunk_sections(chunks, end)
        self._patches, end = patch_sections(patch_entries, end)
        self._tiles, end = tile_sections(tiles, end, coded, alpha)
        if end != self.size:
            raise DamagedFileError("damaged: the file is shorter or longer than its parts")

    def _grid_of(self, side: int) -> Grid:
        """Tiles of a side in pixels, 0 for one tile."""
        height, width = self.header.height, self.header.width
        if side and not (MIN_TILE <= side <= MAX_TILE and side < max(height, width)):
            raise DamagedFileError(f"damaged: impossible tiles of {side} pixels")
        return Grid(height, width, side)

    def _inflate(self, section: Section) -> bytes:
        """Content of a zlib stream; no more than may be there is ever made of it."""
        decoder = zlib.decompressobj()
        try:
            content = decoder.decompress(self._read_verified(section), MAX_BYTES + 1)
        except zlib.error as error:
            raise DamagedFileError(
                f"damaged: {section.name} metadata cannot be inflated"
            ) from error
        if len(content) > MAX_BYTES or not decoder.eof or decoder.unused_data:
            raise DamagedFileError(f"damaged: impossible {section.name} metadata")
        return content

    def _read_verified(self, section: Section) -> bytes:
        data = self._read(section.offset, section.length)
        if zlib.crc32(data) != section.checksum:
            raise DamagedFileError(MISMATCH)
        return data

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise DamagedFileError(TRUNCATED)
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(length)
            self.bytes_read += length
        if len(data) != length:
            raise DamagedFileError("damaged: the file changed while it was read")
        return data
