"""The .vqc file, version 1: header, directory, coded data. `codec/FORMAT.md` is the spec.

A plain file (one tile, no alpha, no metadata, no patches) is a header, a stream and two checksums.
Any other has a directory behind the header, which says where each part lies, so that a reader
takes only what it needs and verifies all that it takes.

Imports neither torch nor numpy nor the coder: `info` reads a file with nothing else.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from codec.errors import DamagedFileError, FileFormatError, InputError, UnsupportedFileError
from codec.format import patch_table
from codec.format.patch_table import PATCH_UNIT, Patch, covered_tiles, read_table
from codec.level import Level
from codec.limits import Limits
from codec.picture.metadata import MAX_BYTES, Metadata
from codec.tiles import MAX_TILE, MIN_TILE, TILE_UNIT, Box, Grid
from codec.weights.config import ModelConfig

MAGIC = b"\x89VQC\r\n"
"""A byte no text has, the name, and a line end that text-mode transfers destroy."""
VERSION = 1
MAX_SIDE = 65_535

GREY_FLAG = 0x01
VQ_FLAG = 0x02
DIRECTORY_FLAG = 0x04
ALPHA_FLAG = 0x08
RESTORATION_FLAG = 0x10
PATCH_FLAG = 0x20
MAP_FLAG = 0x40
KNOWN_FLAGS = 0x7F

CHUNK_TYPES = {"icc": b"icc ", "exif": b"exif", "xmp": b"xmp "}
"""A first letter in lower case tells readers that the pixels do not depend on the chunk."""
MAX_CHUNK_BYTES = MAX_BYTES + (1 << 16)
"""Largest length of a zlib stream of `MAX_BYTES`, which incompressible bytes lengthen."""

_HEADER = struct.Struct("<6sBBHHH4s")
_TRAILER = struct.Struct("<II")
_DIRECTORY = struct.Struct("<HB")
_PATCH_COUNT = struct.Struct("<H")
_MAP_LENGTH = struct.Struct("<I")
_CHUNK = struct.Struct("<4sII")
_TILE = struct.Struct("<III")
_ALPHA_TILE = struct.Struct("<IIII")
_CHECKSUM = struct.Struct("<I")

TRUNCATED = "damaged: the file is truncated"
MISMATCH = "damaged: the checksum does not match; transfer the file again"


@dataclass(frozen=True)
class Header:
    """The fields of a file that are known without decoding it."""

    width: int
    height: int
    grey: bool
    level: Level
    """Position on the model's ladder of lambdas."""
    model_id: bytes
    """First four bytes of the model's SHA-256."""
    alpha: bool = False
    vq: bool = False
    """Latents are rounded to centres, not to integers."""
    restoration: tuple[int, ...] = ()
    """Weights of the restoration filter, at most 255 in -128..127; none without one."""
    level_map: bytes = b""
    """Coded map of levels, see `codec.entropy.offsets`; none for one level everywhere."""
    version: int = VERSION
    """Version of the format."""

    @property
    def levels(self) -> int | None:
        """Number of residual levels, if latents are rounded to centres."""
        return self.level.anchor + 1 if self.vq else None

    def check_fits(self, config: ModelConfig) -> None:
        """Refuse what no file of a model of this shape says.

        Raises:
            DamagedFileError: the model rounds in another way, or has no such level.
        """
        if self.vq != (config.rounding == "vq"):
            raise DamagedFileError("damaged: the file and its model round in different ways")
        if self.level not in config.levels:
            raise DamagedFileError("damaged: the rate level is outside the model's range")

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def restoration_bytes(self) -> int:
        """Bytes of the weights of the restoration filter and of their number."""
        return len(self.restoration) + bool(self.restoration)

    @property
    def map_bytes(self) -> int:
        """Bytes of the map of levels and of their number."""
        return len(self.level_map) + _MAP_LENGTH.size * bool(self.level_map)

    @property
    def mode(self) -> str:
        """Pillow's name of the kind of picture: L, LA, RGB or RGBA."""
        return ("L" if self.grey else "RGB") + ("A" if self.alpha else "")


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


def write(
    header: Header,
    tiles: Sequence[Tile],
    tile_side: int = 0,
    metadata: Metadata | None = None,
    patches: Sequence[Patch] = (),
) -> bytes:
    """Serialise.

    Args:
        header: what the file is.
        tiles: row by row, those of a grid of `tile_side` that patches do not cover wholly.
        tile_side: a multiple of 64, or 0 for one tile.
        metadata: what else to keep.
        patches: disjoint, by rising (top, left).

    Raises:
        InputError: metadata of more than 16 MiB.
    """
    chunks = []
    for kind, content in metadata or ():
        if len(content) > MAX_BYTES:
            raise InputError(
                f"{kind} metadata of {len(content)} bytes is too long; leave it out with keep",
                field="keep",
            )
        chunks.append((kind, zlib.compress(content, 9)))
    plain = not (chunks or header.alpha or tile_side or patches)
    flags = GREY_FLAG * header.grey | VQ_FLAG * header.vq
    flags |= ALPHA_FLAG * header.alpha | DIRECTORY_FLAG * (not plain)
    flags |= RESTORATION_FLAG * bool(header.restoration) | PATCH_FLAG * bool(patches)
    flags |= MAP_FLAG * bool(header.level_map)
    head = _HEADER.pack(
        MAGIC, header.version, flags, header.width, header.height, header.level, header.model_id
    )
    if header.restoration:
        count = len(header.restoration)
        head += struct.pack(f"<B{count}b", count, *header.restoration)
    if header.level_map:
        head += _MAP_LENGTH.pack(len(header.level_map)) + header.level_map
    if plain:
        (tile,) = tiles
        body = head + tile.stream + _CHECKSUM.pack(tile.symbol_checksum)
        return body + _CHECKSUM.pack(zlib.crc32(body))
    parts = [head, _DIRECTORY.pack(tile_side // TILE_UNIT, len(chunks))]
    if patches:
        parts.append(_PATCH_COUNT.pack(len(patches)))
    for kind, content in chunks:
        parts.append(_CHUNK.pack(CHUNK_TYPES[kind], len(content), zlib.crc32(content)))
    for patch in patches:
        at, checksum = patch.box.shrunk(PATCH_UNIT), zlib.crc32(patch.data)
        place = at.left, at.top, at.width, at.height
        parts.append(patch_table.ENTRY.pack(*place, len(patch.data), checksum))
    for tile in tiles:
        lengths = [len(tile.stream)] + [len(tile.alpha)] * header.alpha
        checksum = zlib.crc32(tile.alpha, zlib.crc32(tile.stream))
        parts.append(struct.pack(f"<{len(lengths)}I", *lengths))
        parts.append(_TRAILER.pack(tile.symbol_checksum, checksum))
    directory = b"".join(parts)
    payload = [content for _, content in chunks]
    payload += [patch.data for patch in patches]
    payload += [part for tile in tiles for part in (tile.stream, tile.alpha)]
    return b"".join([directory, _CHECKSUM.pack(zlib.crc32(directory)), *payload])


def parse_header(data: bytes) -> tuple[Header, int]:
    """Header, without the restoration filter's weights and the map of levels, and flags of the
    first bytes of a file.

    Raises:
        FileFormatError: not a vqcodec file.
        UnsupportedFileError: of a newer version, or with features this one does not know.
        DamagedFileError: truncated or impossible.
    """
    if not data:
        raise FileFormatError("the file is empty")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise FileFormatError("not a vqcodec file")
    if len(data) < _HEADER.size:
        raise DamagedFileError(TRUNCATED)
    _, version, flags, width, height, level, model_id = _HEADER.unpack_from(data)
    if version != VERSION:
        raise UnsupportedFileError(
            f"version {version} of the format; this program reads version {VERSION}"
        )
    if flags & ~KNOWN_FLAGS:
        raise UnsupportedFileError(
            f"uses features of a newer program (flags 0x{flags & ~KNOWN_FLAGS:02x})"
        )
    if not (width and height):
        raise DamagedFileError(f"damaged: impossible size {width}x{height}")
    if flags & ALPHA_FLAG and not flags & DIRECTORY_FLAG:
        raise DamagedFileError("damaged: alpha without a directory")
    if flags & PATCH_FLAG and not flags & DIRECTORY_FLAG:
        raise DamagedFileError("damaged: patches without a directory")
    if flags & MAP_FLAG and flags & VQ_FLAG:
        raise DamagedFileError("damaged: a map of residual levels")
    grey, alpha, vq = (bool(flags & flag) for flag in (GREY_FLAG, ALPHA_FLAG, VQ_FLAG))
    return Header(width, height, grey, Level(level), model_id, alpha, vq, version=version), flags


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
        head = self._read(0, min(_HEADER.size, self.size))
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
        # Section, alpha length and symbol checksum of each tile that is coded.
        self._tiles: dict[int, tuple[Section, int, int]] = {}
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
        section, alpha_length, symbol_checksum = self._tiles[number]
        self.tiles_read.add(number)
        data = self._plain_stream if self.plain else self._read_verified(section)
        end = len(data) - alpha_length
        return Tile(data[:end], symbol_checksum, data[end:])

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
        return [section for section, _, _ in self._tiles.values()]

    def patch_sections(self) -> list[Section]:
        """Where the stream of each patch lies."""
        return list(self._patches)

    @property
    def alpha_bytes(self) -> int:
        """Bytes of the coded alpha planes of all tiles."""
        return sum(alpha for _, alpha, _ in self._tiles.values())

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
        count = self._read(_HEADER.size, 1)
        if not count[0]:
            raise DamagedFileError("damaged: a restoration filter without weights")
        weights = self._read(_HEADER.size + 1, count[0])
        self.header = replace(self.header, restoration=struct.unpack(f"{count[0]}b", weights))
        return count + weights

    def _parse_map(self, start: int) -> bytes:
        packed = self._read(start, _MAP_LENGTH.size)
        (length,) = _MAP_LENGTH.unpack(packed)
        if length < 2:
            raise DamagedFileError("damaged: an empty map of levels")
        level_map = self._read(start + _MAP_LENGTH.size, length)
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
        if zlib.crc32(trailer[: -_CHECKSUM.size], computed) != checksum:
            raise DamagedFileError(MISMATCH)
        self._plain_stream = stream
        section = Section("tile 0", start, len(stream), zlib.crc32(stream))
        self._tiles[0] = section, 0, symbol_checksum

    def _parse_directory(self, head: bytes, patched: bool) -> None:
        fixed = self._read(len(head), _DIRECTORY.size + _PATCH_COUNT.size * patched)
        side, chunk_count = _DIRECTORY.unpack_from(fixed)
        (patch_count,) = _PATCH_COUNT.unpack_from(fixed, _DIRECTORY.size) if patched else (0,)
        if patched and not patch_count:
            raise DamagedFileError("damaged: a table of no patches")
        side *= TILE_UNIT
        if side and not (
            MIN_TILE <= side <= MAX_TILE and side < max(self.header.height, self.header.width)
        ):
            raise DamagedFileError(f"damaged: impossible tiles of {side} pixels")
        self.grid = Grid(self.header.height, self.header.width, side)
        at = len(head) + len(fixed)
        chunks = self._read(at, chunk_count * _CHUNK.size)
        at += len(chunks)
        table = self._read(at, patch_count * patch_table.ENTRY.size)
        at += len(table)
        patches = read_table(table, self.grid.whole)
        self.patches = tuple(box for box, _, _ in patches)
        self.covered = covered_tiles(self.patches, self.grid)
        entry = _ALPHA_TILE if self.header.alpha else _TILE
        tiles = self._read(at, (len(self.grid) - len(self.covered)) * entry.size)
        at += len(tiles)
        directory = head + fixed + chunks + table + tiles
        if self._read(at, _CHECKSUM.size) != _CHECKSUM.pack(zlib.crc32(directory)):
            raise DamagedFileError(MISMATCH)
        offset = at + _CHECKSUM.size
        kinds = {chunk_type: kind for kind, chunk_type in CHUNK_TYPES.items()}
        for chunk_type, size, checksum in _CHUNK.iter_unpack(chunks):
            if not chunk_type[:1].islower():
                raise UnsupportedFileError(f"uses a chunk of a newer program ({chunk_type!r})")
            kind = kinds.get(chunk_type)
            if kind is None:  # of a newer program, as often and as long as that wants it
                kind = f"{chunk_type!r} at {offset}"
            elif kind in self.metadata_sections or size > MAX_CHUNK_BYTES:
                raise DamagedFileError(f"damaged: impossible {kind} metadata")
            self.metadata_sections[kind] = Section(kind, offset, size, checksum)
            offset += size
        for number, (_, size, checksum) in enumerate(patches):
            self._patches.append(Section(f"patch {number}", offset, size, checksum))
            offset += size
        coded = (number for number in range(len(self.grid)) if number not in self.covered)
        for number, fields in zip(coded, entry.iter_unpack(tiles), strict=True):
            size, *alpha, symbol_checksum, checksum = fields
            size += sum(alpha)
            section = Section(f"tile {number}", offset, size, checksum)
            self._tiles[number] = section, sum(alpha), symbol_checksum
            offset += size
        if offset != self.size:
            raise DamagedFileError("damaged: the file is shorter or longer than its parts")

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
