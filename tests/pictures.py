"""Picture files made in memory."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image, ImageCms

from codec.limits import Limits
from codec.picture.metadata import Metadata
from codec.picture.reading import Opened, open_picture


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    return exif


METADATA = Metadata(
    ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    _exif().tobytes().removeprefix(b"Exif\0\0"),
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
)


def file_of(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    """A picture file."""
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def opened(data: bytes, limits: Limits | None = None, **options: object) -> Opened:
    """`open_picture` of bytes."""
    return open_picture(BytesIO(data), limits or Limits(), **options)  # type: ignore[arg-type]


def read(data: bytes, limits: Limits | None = None, **options: object) -> Image.Image:
    """The image of a file in memory."""
    return opened(data, limits, **options).image


def reread(image: Image.Image, file_format: str = "PNG", **options: object) -> Image.Image:
    """An image as it comes back from a file."""
    return read(file_of(image, file_format, **options))


def png_of_16_bits() -> bytes:
    """RGB, which Pillow cannot write."""
    return png(4, 16, 2, [bytes(4 * 6)] * 3)


def chunk(name: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes], before: bytes = b"IDAT") -> bytes:
    """A PNG file with more chunks before its first of a name."""
    at = data.index(before) - 4
    return data[:at] + b"".join(chunk(*each) for each in chunks) + data[at:]


def png(width: int, depth: int, kind: int, rows: list[bytes], transparent: bytes = b"") -> bytes:
    """Of any depth; kind 0 is grey, 2 is RGB."""

    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


def exif_of(*entries: tuple[int, int, int, bytes], order: str = "<", more: bytes = b"") -> bytes:
    """EXIF data without prefix: entries (tag, type, number of values, value field of 4 bytes) of
    the first directory, no link to a second one, and what follows at 14 + 12 * entries."""
    table = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IH", 8, len(entries)) + table + bytes(4) + more


def tiff(width: int, depth: int, photometric: int, row: bytes) -> bytes:
    """One row of grey, of depths that Pillow cannot write; photometric 0 has white as 0."""
    values = {256: width, 257: 1, 258: depth, 259: 1, 262: photometric, 277: 1, 278: 1}
    start = 8 + 2 + 12 * (len(values) + 2) + 4
    directory = dict(sorted((values | {273: start, 279: len(row)}).items()))
    entries = (struct.pack("<HHII", tag, 4, 1, value) for tag, value in directory.items())
    count = struct.pack("<H", len(directory))
    return b"II*\0" + struct.pack("<I", 8) + count + b"".join(entries) + bytes(4) + row
