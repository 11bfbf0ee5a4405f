"""Published rate-distortion curves to compare with."""

from __future__ import annotations

import json
import math
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from codec.errors import InputError
from codec.evaluation.results import Curve, Evaluation

KODAK = {f"kodim{number:02d}" for number in range(1, 25)}
"""Names of the pictures of the included curves."""


Published = list[tuple[Curve, str | None]]
"""Curves, each with the name of the peer that it replaces, if any."""


def curves_beside(evaluation: Evaluation, published: Published | None = None) -> list[Curve]:
    """Published curves to compare with, without those of measured peers.

    Args:
        evaluation: measured results.
        published: curves to choose from; by default the included ones of the 24 Kodak pictures
            if exactly these were measured, otherwise none.
    """
    if published is None:
        published = published_curves() if set(evaluation.pictures) == KODAK else []
    return [curve for curve, stands_for in published if stands_for not in evaluation.codecs]


def published_curves(file: Path | None = None) -> Published:
    """Read curves from a file, or the included ones.

    The file holds a JSON list; each entry has `name`, `source`, `bpp`, `psnr`, and may have
    `ms_ssim` and `stands_for`.

    Raises:
        InputError: the file cannot be read.
    """
    if file is None:
        kept = resources.files("codec.evaluation").joinpath("published.json").read_text("utf-8")
        return _read(kept)
    try:
        return _read(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise InputError(
            f"{file}: not a list of curves: a JSON list of objects with name, source, bpp and "
            f"psnr ({type(error).__name__}: {error})"
        ) from error


def _read(text: str) -> Published:
    return [(_curve(entry), entry.get("stands_for")) for entry in json.loads(text)]


def _curve(entry: dict[str, Any]) -> Curve:
    """Curve of a JSON object, by rising rate."""
    name = str(entry["name"])
    columns = [entry["bpp"], entry["psnr"], *filter(None, [entry.get("ms_ssim")])]
    if not all(isinstance(column, list) for column in columns):
        raise TypeError(f"{name}: bpp and the qualities must be lists")
    points = sorted(tuple(map(float, point)) for point in zip(*columns, strict=True))
    if not points or not all(math.isfinite(value) for point in points for value in point):
        raise ValueError(f"{name}: no points, or not all of them numbers")
    bpp, psnr, *similarity = zip(*points, strict=True)
    if bpp[0] <= 0 or any(low == high for low, high in pairwise(bpp)):
        raise ValueError(f"{name}: rates must be positive, and no two the same")
    if similarity and not all(0 < value <= 1 for value in similarity[0]):
        raise ValueError(f"{name}: MS-SSIM must lie in 0..1")
    return Curve(name, str(entry["source"]), bpp, psnr, similarity[0] if similarity else None)
