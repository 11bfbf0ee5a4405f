"""Bjontegaard difference of rates, and published curves to compare with."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

from codec.errors import InputError
from codec.evaluation.results import Curve

MIN_POINTS = 2
KODAK = {f"kodim{number:02d}" for number in range(1, 25)}
"""Names of the pictures that the kept curves were measured on."""


def read_curves(text: str) -> list[tuple[Curve, str | None]]:
    """Curves of a JSON list, each with the name of the peer that it stands for, if it does.

    Each entry has `name`, `source`, `bpp`, `psnr`, and may have `ms_ssim` and `stands_for`.

    Raises:
        InputError: the text is of another form.
    """
    try:
        return [(_curve(entry), entry.get("stands_for")) for entry in json.loads(text)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "not a list of curves: a JSON list of objects with name, source, bpp and psnr "
            f"({type(error).__name__}: {error})"
        ) from error


def _curve(entry: dict[str, Any]) -> Curve:
    bpp, psnr = (tuple(map(float, entry[key])) for key in ("bpp", "psnr"))
    similarity = entry.get("ms_ssim")
    if len(bpp) != len(psnr) or (similarity and len(similarity) != len(bpp)):
        raise ValueError(f"{entry['name']}: lists of different length")
    ms_ssim = tuple(map(float, similarity)) if similarity else None
    return Curve(str(entry["name"]), str(entry["source"]), bpp, psnr, ms_ssim)


def published_curves(file: Path | None = None) -> list[tuple[Curve, str | None]]:
    """Curves of a file, or those that this package keeps of the 24 Kodak pictures.

    Raises:
        InputError: the file cannot be read.
    """
    if file is None:
        return read_curves(
            resources.files("codec.evaluation").joinpath("published.json").read_text("utf-8")
        )
    try:
        return read_curves(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def decibels(ms_ssim: float) -> float:
    """MS-SSIM on a scale that spreads values near 1: -10 log10(1 - MS-SSIM)."""
    return -10 * math.log10(max(1 - ms_ssim, 1e-10))


def bd_rate(anchor: Curve, test: Curve, metric: str = "psnr") -> float | None:
    """Mean difference in rate of `test` against `anchor` at equal quality, in per cent.

    Negative means that `test` needs fewer bits. PCHIP over log rate, on the range of quality
    that both cover.

    Args:
        metric: "psnr", or "ms_ssim", which is taken in decibels.

    Returns:
        None if a curve has fewer than two points of finite quality, two of the same quality, or
        if the ranges do not meet.
    """
    import bjontegaard

    (anchor_rate, anchor_quality), (rate, quality) = (
        _finite_points(curve, metric) for curve in (anchor, test)
    )
    if min(len(rate), len(anchor_rate)) < MIN_POINTS:
        return None
    if any(len(set(values)) < len(values) for values in (anchor_quality, quality)):
        return None
    low = max(min(anchor_quality), min(quality))
    if low >= min(max(anchor_quality), max(quality)):
        return None
    return float(
        bjontegaard.bd_rate(
            anchor_rate,
            anchor_quality,
            rate,
            quality,
            method="pchip",
            require_matching_points=False,
            min_overlap=0,
        )
    )


def _finite_points(curve: Curve, metric: str) -> tuple[list[float], list[float]]:
    """Rates and qualities by rising quality."""
    if metric == "psnr":
        values: tuple[float, ...] = curve.psnr
    else:
        values = tuple(map(decibels, curve.ms_ssim or ()))
    pairs = sorted(
        (quality, rate)
        for rate, quality in zip(curve.bpp, values, strict=False)
        if math.isfinite(quality)
    )
    return [rate for _, rate in pairs], [quality for quality, _ in pairs]
