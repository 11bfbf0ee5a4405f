"""BMP: the colour spaces of headers of version 4 and 5."""

from __future__ import annotations

import struct
from typing import BinaryIO

from PIL.ImageFile import ImageFile

from codec.picture.colour import is_grey, usable_profile
from codec.picture.profile import Curve, Primaries, profile_of_colours
from codec.picture.sources.extras import Extras

_HEADER = 14
"""Offset of the second header, from which offsets count."""
_V4, _V5 = 108, 124
"""Sizes of that header."""
_SPACE = "<56xI9i3I"
_CALIBRATED, _EMBEDDED, _LINKED = 0, 0x4D424544, 0x4C494E4B


def examine(image: ImageFile, file: BinaryIO, extras: Extras) -> None:
    """Add what is in a BMP file to what Pillow tells."""
    file.seek(_HEADER)
    header = file.read(_V5)
    (size,) = struct.unpack_from("<I", header)
    if size < _V4 or len(header) < _V4:
        return
    space, *numbers = struct.unpack_from(_SPACE, header)
    if space == _CALIBRATED and any(numbers[:9]):
        _calibrate(image, numbers, extras)
    elif size >= _V5 and space == _LINKED:
        extras.drop("icc")
    elif size >= _V5 and space == _EMBEDDED:
        at, length = struct.unpack_from("<II", header, 112)
        file.seek(_HEADER + at)
        extras.icc = usable_profile(file.read(length), image.mode)
        extras.drop("icc", not extras.icc)


def _calibrate(image: ImageFile, numbers: list[int], extras: Extras) -> None:
    """Profile of primaries, in units of 2^-30, and exponents, in units of 2^-16."""
    colours = [tuple(value / (1 << 30) for value in numbers[i : i + 3]) for i in (0, 3, 6)]
    white = tuple(map(sum, zip(*colours, strict=True)))
    curves: list[Curve] = [(value / (1 << 16),) for value in numbers[9:]]
    try:
        points = [(x / (x + y + z), y / (x + y + z)) for x, y, z in (white, *colours)]
        exponents = (curves[0], curves[1], curves[2]) if all(numbers[9:]) else None
        extras.icc = profile_of_colours(Primaries(*points), exponents, is_grey(image))
    except (ValueError, ArithmeticError):
        extras.drop("calibrated colours")
