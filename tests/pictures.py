"""Picture files made in memory."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image

from codec.limits import Limits
from codec.picture.reading import open_picture


def file_of(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    """A picture file."""
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def read(data: bytes, limits: Limits | None = None, **options: object) -> Image.Image:
    """`open_picture` of bytes."""
    return open_picture(BytesIO(data), limits or Limits(), **options)  # type: ignore[arg-type]


def reread(image: Image.Image, file_format: str = "PNG", **options: object) -> Image.Image:
    """An image as it comes back from a file."""
    return read(file_of(image, file_format, **options))


def png_of_16_bits() -> bytes:
    """RGB, which Pillow cannot write."""
    return png(4, 16, 2, [bytes(4 * 6)] * 3)


def png(width: int, depth: int, kind: int, rows: list[bytes], transparent: bytes = b"") -> bytes:
    """Of any depth; kind 0 is grey, 2 is RGB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )
