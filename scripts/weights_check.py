"""Measure again what a model's card claims, from the weights file beside it; fail if it differs.

    python scripts/weights_check.py KODAK_FOLDER [--model NAME] [--qualities 0.0,57.1]

A card, weights/NAME.md, gives the model's id in a row `| id | ... |` and its rates and PSNRs over
N pictures, under a heading `## ..., N pictures ...`, in a table that begins with

    | quality | lambda | bpp | PSNR |      whole files
    | levels | bpp | PSNR |                without the container, for rounding to centres

The transforms run in floats, which round differently from machine to machine: bpp must agree
within 0.1 %, PSNR within 0.01 dB.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import click
import numpy as np

from codec.files import open_file
from codec.limits import Limits
from codec.model.config import LEVEL_BITS, ModelConfig
from codec.picture.pixels import from_image, psnr
from codec.picture.reading import open_picture
from codec.pipeline import Codec
from codec.runtime.released import find_weights

PSNR_TOLERANCE = 0.01
"""dB, between two rounded values."""
BPP_TOLERANCE = 0.001
"""Relative, likewise."""
TABLES = {"quality": ["quality", "lambda", "bpp", "PSNR"], "levels": ["levels", "bpp", "PSNR"]}
"""First columns of the table, by the name of the first."""


class CardError(ValueError):
    """A card lacks what is to be checked, or has it twice."""


@dataclass(frozen=True)
class Card:
    """What a card claims; numbers as written there, for their digits."""

    short_id: str
    """First four bytes of the model's id, in hex."""
    pictures: int
    setting: str
    """What the rows are numbered by: "quality", or "levels" of a model that rounds to centres."""
    rows: list[dict[str, str]]

    @classmethod
    def parse(cls, text: str) -> Card:
        """Read a card.

        Raises:
            CardError: it has no id, no such table, or more than one of either.
        """
        ids = re.findall(r"^\| id \| `([0-9a-f]{8})`", text, re.MULTILINE)
        if len(ids) != 1:
            raise CardError(f"has {len(ids)} rows `| id | ...` with 8 hexadecimal digits, not one")
        tables = list(_tables(text.splitlines()))
        if len(tables) != 1:
            raise CardError(f"has {len(tables)} tables of rates and PSNRs, not one")
        pictures, rows = tables[0]
        setting = next(iter(rows[0])) if rows else ""
        if not rows or not all(re.fullmatch(r"\d+(\.\d+)?", v) for r in rows for v in r.values()):
            raise CardError("has a table of rates and PSNRs with something else than numbers")
        return cls(ids[0], pictures, setting, rows)


def _tables(lines: Sequence[str]) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """(number of pictures, rows) of each table that is to be checked."""
    pictures = 0
    for number, line in enumerate(lines):
        if line.startswith("#"):
            named = re.search(r"(\d+) pictures", line)
            pictures = int(named[1]) if named else 0
        names = _cells(line)
        columns = TABLES.get(names[0], []) if names else []
        if not columns or names[: len(columns)] != columns:
            continue
        if not pictures:
            raise CardError("has a table of rates and PSNRs under a heading without `N pictures`")
        rows = []
        for row in lines[number + 2 :]:
            cells = _cells(row)
            if not cells:
                break
            if len(cells) != len(names):
                raise CardError(f"has a row of {len(cells)} cells under {len(names)} names: {row}")
            rows.append(dict(zip(columns, cells, strict=False)))
        yield pictures, rows


def _cells(line: str) -> list[str]:
    """Cells of a row of a table; none if it is another line."""
    inside = re.fullmatch(r"\|(.*)\|", line.strip())
    return [cell.strip() for cell in inside[1].split("|")] if inside else []


class Point(NamedTuple):
    """One picture, or the mean of several, at one setting."""

    file_bpp: float
    model_bpp: float
    """By -log2 P of the latents alone."""
    psnr: float


def quality_of(row: dict[str, str], config: ModelConfig) -> float:
    """The quality that a row stands for; of the anchors, whose qualities are cut, the exact one."""
    if "levels" in row:
        return 100 * (int(row["levels"]) - 1) / (config.anchors - 1)
    text = row["quality"]
    anchors = [100 * i / max(config.anchors - 1, 1) for i in range(config.anchors)]
    return next((q for q in anchors if _like(q, text) == text), float(text))


def measure(codec: Codec, path: Path, quality: float) -> Point:
    """Compress a picture, decompress the file, and compare."""
    with open_file(path) as file:
        image = open_picture(file, Limits()).image
    encoded = codec.encode_only(image, quality)
    shown = np.asarray(codec.decompress(encoded.data).convert("RGB"))
    pixels = image.width * image.height
    bpp = 8 * len(encoded.data) / pixels
    return Point(bpp, encoded.bits / pixels, psnr(from_image(image).samples, shown))


def check_row(row: dict[str, str], point: Point, lmbda: float) -> tuple[dict[str, str], bool]:
    """Measured values as the card would write them, and whether they agree with the card."""
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
    """A value with as many decimals as the text has."""
    return f"{value:.{len(text.partition('.')[2])}f}"


def check(weights: Path, card: Card, pictures: Sequence[Path], wanted: set[str]) -> list[str]:
    """Measure and print row by row.

    Args:
        weights: the weights file.
        card: what is claimed of it.
        pictures: that the card was made with.
        wanted: settings, as the card writes them; all if empty.

    Returns:
        What disagrees, a line each.
    """
    codec = Codec(weights)
    config, short_id = codec.weights.config, codec.weights.short_id.hex()
    if card.short_id != short_id:
        return [f"the card is of {card.short_id}, the weights file is {short_id}"]
    if len(pictures) != card.pictures:
        return [f"the card is of {card.pictures} pictures, {len(pictures)} were given"]
    rows = [row for row in card.rows if not wanted or row[card.setting] in wanted]
    if len(rows) < len(wanted):
        known = ", ".join(row[card.setting] for row in card.rows)
        return [f"the card has no such {card.setting}; it has {known}"]
    names = TABLES[card.setting]
    print("| " + " | ".join(names) + " | the card |\n" + "|---" * (len(names) + 1) + "|")
    wrong = []
    for row in rows:
        quality = quality_of(row, config)
        points = [measure(codec, path, quality) for path in pictures]
        mean = Point(*map(fmean, zip(*points, strict=True)))
        lmbda = config.lambda_of(codec.level_of(quality) / (1 << LEVEL_BITS))
        found, agrees = check_row(row, mean, lmbda)
        verdict = "agrees" if agrees else ", ".join(f"{name} {row[name]}" for name in names[1:])
        print("| " + " | ".join(found[name] for name in names) + f" | {verdict} |", flush=True)
        if not agrees:
            wrong.append(f"{card.setting} {row[card.setting]} differs from the card")
    return wrong


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="photo", show_default=True, help="Name of a released model.")
@click.option("--qualities", default="", help="Some rows of the table only, by their first cell.")
def main(folder: Path, model: str, qualities: str) -> None:
    """Check the card of a model on the PNG pictures in FOLDER."""
    weights = find_weights(model)
    path = weights.with_suffix(".md")
    try:
        card = Card.parse(path.read_text())
    except (CardError, OSError) as error:
        sys.exit(f"{path.name}: {error}")
    pictures = sorted(folder.glob("*.png"))
    wanted = {part.strip() for part in qualities.split(",") if part.strip()}
    if wrong := check(weights, card, pictures, wanted):
        sys.exit("\n".join(f"{path.name}: {line}" for line in wrong))
    print(f"{path.name} ({card.short_id}) agrees with {weights.name}")


if __name__ == "__main__":
    main()
