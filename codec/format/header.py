"""The header of a .vqc file: what is known of it without its directory and its coded data."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from codec.errors import DamagedFileError, FileFormatError, UnsupportedFileError
from codec.level import Level
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

HEADER_FIELDS = struct.Struct("<6sBBHHH4s")
"""Magic, version, flags, width, height, level and model: what every file begins with."""
MAP_LENGTH = struct.Struct("<I")

TRUNCATED = "damaged: the file is truncated"


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
        return len(self.level_map) + MAP_LENGTH.size * bool(self.level_map)

    @property
    def mode(self) -> str:
        """Pillow's name of the kind of picture: L, LA, RGB or RGBA."""
        return ("L" if self.grey else "RGB") + ("A" if self.alpha else "")


def pack_header(header: Header, directory: bool, patches: bool) -> bytes:
    """Bytes of a header, with the restoration filter's weights and the map of levels.

    Args:
        header: its fields.
        directory: whether a directory follows.
        patches: whether that has a table of patches.
    """
    flags = GREY_FLAG * header.grey | VQ_FLAG * header.vq
    flags |= ALPHA_FLAG * header.alpha | DIRECTORY_FLAG * directory
    flags |= RESTORATION_FLAG * bool(header.restoration) | PATCH_FLAG * patches
    flags |= MAP_FLAG * bool(header.level_map)
    packed = HEADER_FIELDS.pack(
        MAGIC, header.version, flags, header.width, header.height, header.level, header.model_id
    )
    if header.restoration:
        count = len(header.restoration)
        packed += struct.pack(f"<B{count}b", count, *header.restoration)
    if header.level_map:
        packed += MAP_LENGTH.pack(len(header.level_map)) + header.level_map
    return packed


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
    if len(data) < HEADER_FIELDS.size:
        raise DamagedFileError(TRUNCATED)
    _, version, flags, width, height, level, model_id = HEADER_FIELDS.unpack_from(data)
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
