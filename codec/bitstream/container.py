"""The .vqc file, version 1: header, coded data, checksums. `codec/FORMAT.md` is the spec.

Imports neither torch nor the coder: `info` reads a header with nothing else.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from codec.errors import DamagedFileError, FileFormatError, InputError, UnsupportedFileError

MAGIC = b"\x89VQC\r\n"
"""A byte no text has, the name, and a line end that text-mode transfers destroy."""
VERSION = 1
MAX_SIDE = 65_535
DEFAULT_MAX_PIXELS = 1 << 25
"""Pictures above this are refused unless the caller raises the limit: some 200 bytes of
memory go into each pixel while it is coded."""

GREY_FLAG = 0x01
KNOWN_FLAGS = GREY_FLAG

_HEADER = struct.Struct("<6sBBHHH4s")
_TRAILER = struct.Struct("<II")
OVERHEAD = _HEADER.size + _TRAILER.size


@dataclass(frozen=True)
class Header:
    """The fields of a file that are known without decoding it."""

    width: int
    height: int
    grey: bool
    level: int
    """Position on the model's ladder of lambdas in units of 2^-12."""
    model_id: bytes
    """First four bytes of the model's SHA-256."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def check_pixels(self, max_pixels: int) -> None:
        """Refuse pictures above a limit before anything is allocated for them.

        Raises:
            InputError: there are more than `max_pixels` pixels.
        """
        if self.pixels > max_pixels:
            raise InputError(
                f"{self.width}x{self.height} is {self.pixels} pixels, above the limit of "
                f"{max_pixels}; raise it with --max-pixels if memory allows"
            )


@dataclass(frozen=True)
class Container:
    """A whole file, parsed."""

    header: Header
    stream: bytes
    """Range-coded latents."""
    symbol_checksum: int
    """CRC-32 of the decoded symbols."""


def write(container: Container) -> bytes:
    """Serialise."""
    header = container.header
    flags = GREY_FLAG if header.grey else 0
    head = _HEADER.pack(
        MAGIC, VERSION, flags, header.width, header.height, header.level, header.model_id
    )
    body = head + container.stream + struct.pack("<I", container.symbol_checksum)
    return body + struct.pack("<I", zlib.crc32(body))


def read_header(data: bytes) -> Header:
    """Parse and check the header alone.

    Raises:
        FileFormatError: not a vqcodec file.
        UnsupportedFileError: of a newer version, or with features this one does not know.
        DamagedFileError: truncated or impossible.
    """
    if not data:
        raise FileFormatError("the file is empty")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise FileFormatError("not a vqcodec file")
    if len(data) < OVERHEAD:
        raise DamagedFileError("damaged: the file is truncated")
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
    return Header(width, height, bool(flags & GREY_FLAG), level, model_id)


def read(data: bytes) -> Container:
    """Parse a file and verify its checksum.

    Raises:
        FileFormatError, UnsupportedFileError, DamagedFileError: as `read_header`, and
            DamagedFileError where the checksum does not match.
    """
    header = read_header(data)
    symbol_checksum, checksum = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    if zlib.crc32(memoryview(data)[:-4]) != checksum:
        raise DamagedFileError("damaged: the checksum does not match; transfer the file again")
    return Container(header, bytes(data[_HEADER.size : -_TRAILER.size]), symbol_checksum)
