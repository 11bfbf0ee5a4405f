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

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    rows = (b"\0" + bytes(4 * 6)) * 3
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
