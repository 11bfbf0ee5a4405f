"""ICC profiles for colours that a file names by other means: primaries and a transfer function.

A profile is of version 4 with a matrix and parametric curves (ICC.1:2010); code points are those
of ITU-T H.273.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.errors import InputError

Point = tuple[float, float]
"""Chromaticity x, y."""
Curve = tuple[float, ...]
"""Transfer function from samples in 0..1 to light: an exponent, or exponent and a, b, c, d of
(a s + b)^exponent where s >= d, and else c s."""

SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_LIKE_SRGB = (2.2 / 1.05, 2.2 * 1.05)
"""Exponents that stand for sRGB; viewers let such files be, and so do we."""
_EXPONENTS = (0.1, 10.0)
"""Range of exponents that are taken for sound."""
_TOLERANCE = 0.002
"""Largest difference of chromaticities that count as equal."""


class Primaries(NamedTuple):
    """Chromaticities of white and of the three primaries."""

    white: Point
    red: Point
    green: Point
    blue: Point


_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
SRGB = Primaries(_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_PRIMARIES = {
    1: SRGB,
    4: Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: Primaries(_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: Primaries(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: Primaries((1 / 3, 1 / 3), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: Primaries((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Primaries(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
"""Primaries by their code point."""
_CURVES: dict[int, Curve] = {4: (2.2,), 5: (2.8,), 8: (1.0,), 17: (2.6,)}
"""Transfer functions by their code point. Others of video are shown as sRGB, which viewers do,
since what a screen makes of their samples is close to it."""
_HIGH_DYNAMIC_RANGE = {9: "logarithmic", 10: "logarithmic", 16: "PQ", 18: "HLG"}

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_DATE = (2026, 1, 1, 0, 0, 0)


def check_dynamic_range(transfer: int) -> None:
    """Refuse a transfer function, a code point of H.273, of high dynamic range.

    Raises:
        InputError: it is one.
    """
    if kind := _HIGH_DYNAMIC_RANGE.get(transfer):
        raise InputError(
            f"pictures of high dynamic range (here {kind}) are not supported; "
            "convert to sRGB with tone mapping"
        )


def profile_of_code_points(primaries: int, transfer: int, grey: bool) -> bytes:
    """ICC profile for code points of H.273; empty for sRGB and for what is unspecified.

    Raises:
        InputError: the transfer function is of high dynamic range.
    """
    check_dynamic_range(transfer)
    curve = _CURVES.get(transfer, SRGB_CURVE)
    return profile_of_colours(_PRIMARIES.get(primaries, SRGB), (curve,) * 3, grey)


def profile_of_colours(
    primaries: Primaries | None, curves: tuple[Curve, Curve, Curve] | None, grey: bool
) -> bytes:
    """ICC profile for primaries and transfer functions; empty if they are about those of sRGB.

    Args:
        primaries: None for those of sRGB. Grey samples have their white.
        curves: of red, green and blue; None for that of sRGB. Grey samples have the second.
        grey: whether it is for grey samples.

    Raises:
        ValueError: no light has such primaries, or no device such exponents.
    """
    primaries, curves = primaries or SRGB, curves or (SRGB_CURVE,) * 3
    if any(not _EXPONENTS[0] <= curve[0] <= _EXPONENTS[1] for curve in curves):
        raise ValueError("exponents of transfer functions out of range")
    matrix, adaptation = _to_d50(primaries)
    plain = all(
        curve == SRGB_CURVE or (len(curve) == 1 and _LIKE_SRGB[0] <= curve[0] <= _LIKE_SRGB[1])
        for curve in curves
    )
    if plain and (grey or np.abs(np.subtract(primaries, SRGB)).max() <= _TOLERANCE):
        return b""
    tags = [
        (b"desc", _text("colours of the source file")),
        (b"cprt", _text("no copyright, use freely")),
        (b"wtpt", _xyz(_D50)),
        (b"chad", b"sf32" + bytes(4) + _fixed(*adaptation.ravel())),
    ]
    if grey:
        tags.append((b"kTRC", _parametric(curves[1])))
    else:
        for channel, column, curve in zip((b"r", b"g", b"b"), matrix.T, curves, strict=True):
            tags.append((channel + b"XYZ", _xyz(column)))
            tags.append((channel + b"TRC", _parametric(curve)))
    return _assembled(b"GRAY" if grey else b"RGB ", tags)


def _to_d50(primaries: Primaries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix from linear RGB to XYZ under D50, and the adaptation that is part of it."""
    if not (min(primaries.white) > 0 and np.isfinite(primaries).all()):
        raise ValueError("no light has such a white")
    white, *columns = (np.array([x, y, 1 - x - y]) for x, y in primaries)
    white = white / white[1]
    primary = np.stack(columns, axis=1)
    if abs(np.linalg.det(primary)) < 1e-3:
        raise ValueError("primaries that span no colours")
    scales = np.linalg.solve(primary, white)
    if min(scales) <= 0:
        raise ValueError("a white that no mixture of the primaries has")
    matrix = primary * scales
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adaptation = np.linalg.solve(_BRADFORD, cones[:, None] * _BRADFORD)
    return adaptation @ matrix, adaptation


def _assembled(space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """A profile of tags; equal ones are stored once."""
    start = 128 + 4 + 12 * len(tags)
    content, offsets = b"", {}
    for _, element in tags:
        if element not in offsets:
            offsets[element] = start + len(content)
            content += element + bytes(-len(element) % 4)
    table = b"".join(
        struct.pack(">4sII", name, offsets[element], len(element)) for name, element in tags
    )
    header = struct.pack(
        ">I4xI4s4s4s6H4s28x12s48x",
        start + len(content),
        0x04300000,  # version 4.3
        b"mntr",
        space,
        b"XYZ ",
        *_DATE,
        b"acsp",
        _fixed(*_D50),
    )
    return header + struct.pack(">I", len(tags)) + table + content


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(encoded), 28) + encoded


def _xyz(values: tuple[float, ...] | NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _parametric(curve: Curve) -> bytes:
    kind = 0 if len(curve) == 1 else 3
    return struct.pack(">4s4xH2x", b"para", kind) + _fixed(*curve)


def _fixed(*values: float) -> bytes:
    """s15Fixed16Number."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
