"""PNG: colours told by chunks, metadata in text."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile

from codec.picture.colour import is_grey
from codec.picture.exif import usable_exif
from codec.picture.profile import (
    Primaries,
    check_dynamic_range,
    profile_of_code_points,
    profile_of_colours,
)
from codec.picture.sources.extras import Extras

_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_KEY = "XML:com.adobe.xmp"
_PROFILE_KEY = "Raw profile type "
_KEYS = {"exif": ("exif", "APP1", "app1"), "xmp": ("xmp", "APP1", "app1")}
_LOST_PROFILES = {"iptc": "iptc", "8bim": "iptc", "icc": "icc", "icm": "icc"}
_PROFILE = re.compile(r"\s*\S+\s+(\d+)\s+([0-9a-fA-F\s]*)")
_COLOUR_CHUNKS = "gAMA and cHRM"
_COLOURS = ("icc", _COLOUR_CHUNKS)
"""Names of what cICP overrules."""
_CODE_POINTS = b"cICP"
_UNSPECIFIED = 2
"""Of primaries or of a transfer function."""
_FULL_RANGE_RGB = b"\0\1"
"""Matrix and range that the chunk must name: RGB samples over the full range."""
_FIRST_CHUNK = 8
_CONTENT_CREDENTIALS = b"caBX"


def check(file: BinaryIO) -> None:
    """Refuse colours of high dynamic range.

    Raises:
        InputError: they are.
    """
    if codes := _code_points(file):
        check_dynamic_range(codes[1])


def examine(image: ImageFile, file: BinaryIO, extras: Extras) -> None:
    """Add what is in a PNG file to what Pillow tells."""
    codes = _code_points(file)
    whole = _UNSPECIFIED not in codes[:2]
    if codes[2:] == _FULL_RANGE_RGB and (whole or not extras.icc):  # overrule all other chunks
        extras.icc = profile_of_code_points(codes[0], codes[1], is_grey(image))
        extras.dropped = [lost for lost in extras.dropped if lost not in _COLOURS]
    else:
        extras.drop("cICP", codes)
    extras.drop("content credentials", any(n == _CONTENT_CREDENTIALS for n, _ in _chunks(file)))
    for key in image.text:  # type: ignore[attr-defined]
        profile = key.removeprefix(_PROFILE_KEY)
        if profile == key:
            extras.drop("text", key not in (_XMP_KEY, "exif"))
        elif lost := _LOST_PROFILES.get(profile.lower()):
            extras.drop(lost, lost != "icc" or not extras.icc)


def profile_in_text(info: Mapping[str | tuple[int, int], Any], kind: str) -> bytes:
    """EXIF or XMP that some programs store in a text of hexadecimal digits.

    Args:
        info: of an image.
        kind: "exif" or "xmp".
    """
    for key in _KEYS[kind]:
        found = _PROFILE.match(str(info.get(_PROFILE_KEY + key, "")))
        if not found:
            continue
        digits = "".join(found[2].split())
        content = bytes.fromhex(digits[: len(digits) // 2 * 2])[: int(found[1])]
        xmp = content.removeprefix(_XMP_HEADER)
        if kind == "exif" and (key == "exif" or usable_exif(content)):
            return content
        if kind == "xmp" and (key == "xmp" or xmp != content):
            return xmp
    return b""


def profile_of_chunks(image: Image.Image, extras: Extras) -> bytes:
    """ICC profile for the gAMA and cHRM of an image; empty where it is sRGB.

    A chunk that makes no sense is named as dropped.
    """
    info = image.info
    gamma, colours = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info or not (gamma or colours):
        return b""
    try:
        primaries = _primaries(colours) if colours else None
        curve = (1 / gamma,) if gamma else None
        return profile_of_colours(primaries, curve and (curve,) * 3, is_grey(image))
    except (ValueError, TypeError, ArithmeticError):
        extras.drop(_COLOUR_CHUNKS)
        return b""


def _code_points(file: BinaryIO) -> bytes:
    """Code points of primaries, transfer function and matrix, and the range; empty if unknown."""
    for name, content in _chunks(file):
        if name == _CODE_POINTS and len(content) == 4 and content[:2] != bytes([_UNSPECIFIED] * 2):
            return content
    return b""


def _primaries(colours: tuple[float, ...]) -> Primaries:
    points = list(zip(colours[::2], colours[1::2], strict=True))
    return Primaries(*points)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Names of the chunks, with the content of those of at most four bytes."""
    file.seek(_FIRST_CHUNK)
    while len(header := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", header)
        content = file.read(length) if length <= 4 else b""
        file.seek(length - len(content) + 4, 1)
        yield name, content
