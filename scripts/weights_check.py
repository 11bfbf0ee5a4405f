"""Repeat the measurements of a model's card with its weights file; fail if they differ.

    python -m scripts.weights_check FOLDER [--model NAME] [--qualities 0.0,57.1]

The claims are the measurement `rates` of weights/NAME.json: its rows have the rate and the PSNR
over a number of pictures, by `quality` (whole files) or by `levels` (without the container, for
rounding to centres).

The transforms run in floats, which round differently from machine to machine: bpp must agree
within 0.1 %, PSNR within 0.01 dB.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import click
import numpy as np

from codec.codec import Codec
from codec.files import open_file
from codec.limits import Limits
from codec.picture.pixels import from_image, psnr
from codec.picture.reading import open_picture
from codec.weights.config import ModelConfig
from codec.weights.released import find_weights
from scripts.cards import CardError, Model

PSNR_TOLERANCE = 0.01
"""Maximum difference of two rounded values in dB."""
BPP_TOLERANCE = 0.001
"""Maximum relative difference of two rounded values."""
SETTINGS = {"quality": ["quality", "lambda", "bpp", "PSNR"], "levels": ["levels", "bpp", "PSNR"]}
"""Columns that are checked, by the name of the first."""


@dataclass(frozen=True)
class Claims:
    """Rates and PSNRs of a model as its card prints them."""

    short_id: str
    """First four bytes of the model's id, in hex."""
    pictures: int
    setting: str
    """Name of the first column: "quality", or "levels" of a model that rounds to centres."""
    rows: list[dict[str, str]]
    """Cells by the name of their column."""

    @classmethod
    def of(cls, model: Model) -> Claims:
        """Read the claims from a model's JSON file.

        Raises:
            CardError: it has no such measurement.
        """
        measured = model.measurement("rates")
        setting = next(iter(measured.columns))
        names = SETTINGS.get(setting, [])
        if not names or not set(names) <= measured.columns.keys():
            raise CardError(f"{model.name}.json: rates need the columns of {SETTINGS}")
        if not measured.pictures:
            raise CardError(f"{model.name}.json: rates do not say of how many pictures")
        rows = [dict(zip(measured.columns, row, strict=True)) for row in measured.texts()]
        rows = [{name: row[name] for name in names} for row in rows]
        return cls(model.short_id, measured.pictures, setting, rows)


class Point(NamedTuple):
    """Rate and distortion of a picture, or means over several, at one setting."""

    file_bpp: float
    model_bpp: float
    """-log2 P of the latents alone, per pixel."""
    psnr: float


def quality_of(row: dict[str, str], config: ModelConfig) -> float:
    """Quality of a row; the exact one of an anchor whose rounded quality it is."""
    if "levels" in row:
        return 100 * (int(row["levels"]) - 1) / (config.anchors - 1)
    text = row["quality"]
    anchors = [100 * i / max(config.anchors - 1, 1) for i in range(config.anchors)]
    return next((q for q in anchors if _like(q, text) == text), float(text))


def measure(codec: Codec, path: Path, quality: float) -> Point:
    """Compress a picture, decompress the file, and compare."""
    with open_file(path) as file:
        image = open_picture(file, Limits()).image
    encoded = codec.encode(image, quality)
    decoded = np.asarray(codec.decompress(encoded.data).convert("RGB"))
    pixels = image.width * image.height
    bpp = 8 * len(encoded.data) / pixels
    return Point(bpp, encoded.bits / pixels, psnr(from_image(image).samples, decoded))


def check_row(row: dict[str, str], point: Point, lmbda: float) -> tuple[dict[str, str], bool]:
    """Measured values in the card's format, and whether they agree with the card."""
    values = {"bpp": point.file_bpp, "lambda": lmbda, "PSNR": point.psnr}
    if "levels" in row:
        values["bpp"] = point.model_bpp
    found = {name: _like(values.get(name, float(text)), text) for name, text in row.items()}
    off = {name: abs(float(found[name]) - float(text)) for name, text in row.items()}
    agree = {name: text == row[name] for name, text in found.items()}
    agree["PSNR"] = off["PSNR"] < PSNR_TOLERANCE + 1e-9
    agree["bpp"] = off["bpp"] <= BPP_TOLERANCE * float(row["bpp"])
    return found, all(agree.values())


def _like(value: float, text: str) -> str:
    """Format a value with as many decimals as the text has."""
    return f"{value:.{len(text.partition('.')[2])}f}"


def check(weights: Path, claims: Claims, pictures: Sequence[Path], settings: set[str]) -> list[str]:
    """Measure and print row by row.

    Args:
        weights: the weights file.
        claims: what its card says.
        pictures: the pictures that the card names.
        settings: rows to check, by their first cell; all if empty.

    Returns:
        What disagrees, a line each.
    """
    codec = Codec(weights)
    config, short_id = codec.weights.config, codec.weights.short_id.hex()
    if claims.short_id != short_id:
        return [f"the card is of {claims.short_id}, the weights file is {short_id}"]
    if len(pictures) != claims.pictures:
        return [f"the card is of {claims.pictures} pictures, {len(pictures)} were given"]
    rows = [row for row in claims.rows if not settings or row[claims.setting] in settings]
    if len(rows) < len(settings):
        known = ", ".join(row[claims.setting] for row in claims.rows)
        return [f"the card has no such {claims.setting}; it has {known}"]
    names = SETTINGS[claims.setting]
    print("| " + " | ".join(names) + " | card |\n" + "|---" * (len(names) + 1) + "|")
    wrong = []
    for row in rows:
        quality = quality_of(row, config)
        points = [measure(codec, path, quality) for path in pictures]
        mean = Point(*map(fmean, zip(*points, strict=True)))
        lmbda = config.lambda_of(codec.level_of(quality).position)
        found, agrees = check_row(row, mean, lmbda)
        verdict = "agrees" if agrees else ", ".join(f"{name} {row[name]}" for name in names[1:])
        print("| " + " | ".join(found[name] for name in names) + f" | {verdict} |", flush=True)
        if not agrees:
            wrong.append(f"{claims.setting} {row[claims.setting]} differs from the card")
    return wrong


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="photo", show_default=True, help="Name of a released model.")
@click.option("--qualities", default="", help="Some rows of the table only, by their first cell.")
def main(folder: Path, model: str, qualities: str) -> None:
    """Check the card of a model on the PNG pictures in FOLDER."""
    weights = find_weights(model)
    path = weights.with_suffix(".json")
    try:
        claims = Claims.of(Model.read(path))
    except CardError as error:
        sys.exit(str(error))
    pictures = sorted(folder.glob("*.png"))
    settings = {part.strip() for part in qualities.split(",") if part.strip()}
    if wrong := check(weights, claims, pictures, settings):
        sys.exit("\n".join(f"{path.name}: {line}" for line in wrong))
    print(f"{path.name} ({claims.short_id}) agrees with {weights.name}")


if __name__ == "__main__":
    main()
