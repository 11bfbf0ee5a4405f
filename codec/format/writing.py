"""The parts of a .vqc file to its bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from codec.errors import InputError
from codec.format.directory import (
    CHECKSUM,
    CHUNK_ENTRY,
    CHUNK_TYPES,
    DIRECTORY_FIELDS,
    PATCH_COUNT,
    Tile,
    tile_entry,
)
from codec.format.header import Header, pack_header
from codec.format.patch_table import Patch, pack_entry
from codec.picture.metadata import MAX_BYTES, Metadata
from codec.tiles import TILE_UNIT

Chunk = tuple[str, bytes]
"""Kind of metadata, and the zlib stream of it."""


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
    chunks = _chunks(metadata)
    plain = not (chunks or header.alpha or tile_side or patches)
    head = pack_header(header, directory=not plain, patches=bool(patches))
    if plain:
        (tile,) = tiles
        return _sealed(head + tile.stream + CHECKSUM.pack(tile.symbol_checksum))
    directory = _directory(tile_side, chunks, patches, tiles, header.alpha)
    parts = [content for _, content in chunks]
    parts += [patch.data for patch in patches]
    parts += [part for tile in tiles for part in (tile.stream, tile.alpha)]
    return b"".join([_sealed(head + directory), *parts])


def _chunks(metadata: Metadata | None) -> list[Chunk]:
    chunks = []
    for kind, content in metadata or ():
        if len(content) > MAX_BYTES:
            raise InputError(
                f"{kind} metadata of {len(content)} bytes is too long; leave it out with keep",
                field="keep",
            )
        chunks.append((kind, zlib.compress(content, 9)))
    return chunks


def _directory(
    tile_side: int,
    chunks: Sequence[Chunk],
    patches: Sequence[Patch],
    tiles: Sequence[Tile],
    alpha: bool,
) -> bytes:
    """Directory without its checksum."""
    parts = [DIRECTORY_FIELDS.pack(tile_side // TILE_UNIT, len(chunks))]
    if patches:
        parts.append(PATCH_COUNT.pack(len(patches)))
    for kind, content in chunks:
        parts.append(CHUNK_ENTRY.pack(CHUNK_TYPES[kind], len(content), zlib.crc32(content)))
    parts += [pack_entry(patch) for patch in patches]
    for tile in tiles:
        lengths = [len(tile.stream)] + [len(tile.alpha)] * alpha
        checksum = zlib.crc32(tile.alpha, zlib.crc32(tile.stream))
        parts.append(tile_entry(alpha).pack(*lengths, tile.symbol_checksum, checksum))
    return b"".join(parts)


def _sealed(content: bytes) -> bytes:
    """Content and its checksum."""
    return content + CHECKSUM.pack(zlib.crc32(content))
