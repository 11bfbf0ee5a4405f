"""AVIF: the boxes of an ISO base media file that tell of depth, colours and other pictures."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from PIL.ImageFile import ImageFile

from codec.picture.colour import is_grey
from codec.picture.exif import usable_exif
from codec.picture.profile import check_dynamic_range, profile_of_code_points
from codec.picture.refusals import check_depth
from codec.picture.sources import av1
from codec.picture.sources.extras import Extras
from codec.picture.xmp import tells_of_gain_map

Box = tuple[bytes, bytes]
"""Type and content."""
_TRACK = (b"mdia", b"minf", b"stbl", b"stsd")
"""Nested boxes that lead from a track to its samples."""
STREAM_HEAD = 4096
"""Bytes of a stream within which its header lies."""
_SAMPLE_ENTRY = 78
"""Bytes of a visual sample entry before its boxes."""


@dataclass
class _Meta:
    """Items of a file by its meta box."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    properties: dict[int, list[Box]] = field(default_factory=dict)
    references: list[tuple[bytes, int, list[int]]] = field(default_factory=list)
    """Type, from, to."""
    extents: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    """Construction method, offset and length."""
    data: bytes = b""
    """Content of the box idat."""

    @property
    def coded(self) -> int:
        """The item that has a stream: the primary one, or the first of its tiles."""
        for kind, source, targets in self.references:
            if kind == b"dimg" and source == self.primary and targets:
                return targets[0]
        return self.primary

    def shown(self) -> list[Box]:
        """Properties of the primary item and of the tiles that it is put together from."""
        items = [self.primary]
        for kind, source, targets in self.references:
            if kind == b"dimg" and source == self.primary:
                items += targets
        return [box for item in items for box in self.properties.get(item, [])]


def check(file: BinaryIO, to_8bit: bool) -> None:
    """Refuse a file whose samples would be cut.

    Raises:
        InputError: they have more than 8 bits, or are of high dynamic range.
    """
    meta, properties = _parsed(file)
    if codes := _code_points(file, meta, properties):
        check_dynamic_range(codes[1])
    check_depth(max((_depth(*box) for box in properties), default=8), to_8bit)


def examine(image: ImageFile, file: BinaryIO, extras: Extras) -> None:
    """Add what is in an AVIF file to what Pillow tells."""
    meta, properties = _parsed(file)
    codes = _code_points(file, meta, properties)
    if codes and not extras.icc:
        extras.icc = profile_of_code_points(*codes, is_grey(image))
    extras.drop("gain map", b"tmap" in meta.kinds.values() or tells_of_gain_map(extras.xmp))
    for kind, item, targets in meta.references:
        if kind == b"auxl" and meta.primary in targets:
            purpose = b"".join(c for k, c in meta.properties.get(item, []) if k == b"auxC")
            extras.drop("gain map", b"gainmap" in purpose)
            extras.drop("depth map", b"depth" in purpose)
    kinds = meta.kinds.items()
    exif = _content(file, meta, next((item for item, kind in kinds if kind == b"Exif"), None))
    if len(exif) > 4:  # as it is stored, which Pillow does not give where the picture is turned
        (header,) = struct.unpack_from(">I", exif)
        extras.exif = usable_exif(exif[4 + header :]) or extras.exif


def _code_points(file: BinaryIO, meta: _Meta, properties: list[Box]) -> tuple[int, int] | None:
    """Code points of primaries and transfer function, where no profile overrules them; those of
    the stream where the file has none."""
    colours = [content for kind, content in properties if kind == b"colr"]
    if any(content[:4] in (b"prof", b"rICC") for content in colours):
        return None
    found = [content for content in colours if content[:4] == b"nclx" and len(content) >= 8]
    if not colours:
        try:
            return av1.code_points(_content(file, meta, meta.coded, STREAM_HEAD))
        except ValueError:
            return None  # libavif tells what is wrong
    return struct.unpack(">HH", found[0][4:8]) if found else None


def _parsed(file: BinaryIO) -> tuple[_Meta, list[Box]]:
    """The items of a file, and the properties of its primary picture."""
    file.seek(0)
    content = file.read()
    meta, properties = _Meta(), []
    try:
        top = dict(_boxes(content))
        if b"meta" in top:
            meta = _meta_of(top[b"meta"])
            properties = meta.shown()
        if b"moov" in top and (b"meta" not in top or top.get(b"ftyp", b"")[:4] == b"avis"):
            properties = _of_track(top)
    except (struct.error, IndexError, ValueError):
        pass  # libavif decodes it, or tells what is wrong
    return meta, properties


def _meta_of(content: bytes) -> _Meta:
    boxes = dict(_boxes(content[4:]))
    meta = _Meta(data=boxes.get(b"idat", b""))
    if b"pitm" in boxes:
        numbers = _Numbers(boxes[b"pitm"])
        meta.primary = numbers.take(4 if numbers.version else 2)
    if b"iinf" in boxes:
        numbers = _Numbers(boxes[b"iinf"])
        numbers.take(4 if numbers.version else 2)
        for _, entry in _boxes(numbers.rest):
            item = _Numbers(entry)
            number = item.take(4 if item.version > 2 else 2)
            meta.kinds[number] = item.rest[2:6]
    for kind, reference in _boxes(boxes.get(b"iref", b"")[4:]):
        size = 4 if boxes[b"iref"][0] else 2
        numbers = _Numbers(b"\0\0\0\0" + reference)
        source = numbers.take(size)
        targets = [numbers.take(size) for _ in range(numbers.take(2))]
        meta.references.append((kind, source, targets))
    tables = dict(_boxes(boxes.get(b"iprp", b"")))
    known = list(_boxes(tables.get(b"ipco", b"")))
    if b"ipma" in tables:
        numbers = _Numbers(tables[b"ipma"])
        wide = numbers.flags & 1
        for _ in range(numbers.take(4)):
            item_number = numbers.take(4 if numbers.version else 2)
            places = [
                numbers.take(2) & 0x7FFF if wide else numbers.take(1) & 0x7F
                for _ in range(numbers.take(1))
            ]
            meta.properties[item_number] = [known[i - 1] for i in places if 0 < i <= len(known)]
    if b"iloc" in boxes:
        meta.extents = _extents(_Numbers(boxes[b"iloc"]))
    return meta


def _extents(numbers: _Numbers) -> dict[int, list[tuple[int, int, int]]]:
    """Construction method, offset and length of what each item is made of."""
    sizes, more = numbers.take(1), numbers.take(1)
    extents: dict[int, list[tuple[int, int, int]]] = {}
    for _ in range(numbers.take(4 if numbers.version > 1 else 2)):
        item = numbers.take(4 if numbers.version > 1 else 2)
        method = numbers.take(2) & 15 if numbers.version else 0
        numbers.take(2)
        base = numbers.take(more >> 4)
        parts = []
        for _ in range(numbers.take(2)):
            numbers.take(more & 15 if numbers.version else 0)
            offset, length = numbers.take(sizes >> 4), numbers.take(sizes & 15)
            parts.append((method, base + offset, length))
        extents[item] = parts
    return extents


def _content(file: BinaryIO, meta: _Meta, item: int | None, most: int | None = None) -> bytes:
    """Content of an item, or its first bytes; none of None."""
    content, end = b"", file.seek(0, os.SEEK_END)
    most = end if most is None else most
    for method, offset, length in meta.extents.get(item, []) if item is not None else []:
        if len(content) >= most:  # extents may be many, and the same
            break
        if method == 1:
            content += meta.data[offset : offset + length]
        elif method == 0:
            file.seek(min(offset, end))
            content += file.read(min(length, most))
    return content[:most]


def _of_track(top: dict[bytes, bytes]) -> list[Box]:
    """Properties of the first track of pictures in a sequence."""
    for kind, content in _boxes(top[b"moov"]):
        for name in _TRACK:
            content = dict(_boxes(content)).get(name, b"") if kind == b"trak" else b""
        for entry, sample in _boxes(content[8:]):
            if entry == b"av01":
                return list(_boxes(sample[_SAMPLE_ENTRY:]))
    return []


def _depth(kind: bytes, content: bytes) -> int:
    """Bits per sample by a property; 0 if it does not say."""
    if kind == b"pixi":
        return max(content[5 : 5 + content[4]], default=0)
    if kind == b"av1C":
        return (12 if content[2] & 0x20 else 10) if content[2] & 0x40 else 8
    return 0


class _Numbers:
    """Big-endian integers of a box, one after the other, behind its version and flags."""

    def __init__(self, content: bytes) -> None:
        self.version = content[0]
        self.flags = int.from_bytes(content[1:4], "big")
        self._content, self._at = content, 4

    @property
    def rest(self) -> bytes:
        return self._content[self._at :]

    def take(self, size: int) -> int:
        """An integer of some bytes.

        Raises:
            ValueError: the box has ended.
        """
        end = self._at + size
        if end > len(self._content):
            raise ValueError("a box ends early")
        value = int.from_bytes(self._content[self._at : end], "big")
        self._at = end
        return value


def _boxes(content: bytes) -> Iterator[Box]:
    at = 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        start = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, at + 8)
            start = 16
        end = at + size if size else len(content)
        if size and size < start:
            return
        yield kind, content[at + start : end]
        at = end
