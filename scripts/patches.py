"""What patches do for pictures that no model was trained for: `python -m scripts.patches`.

Codes the corpus at five qualities with and without patches, and as AVIF 4:4:4 of the same quality
and as lossless WebP. Keeps all numbers in codec/encoder/patches.json and writes their tables into
codec/encoder/PATCHES.md. `--tables` writes the tables alone. `--photographs FOLDER` instead tells
whether the files of photographs are the same with and without patches, and the time that it takes.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from codec.codec import Codec
from codec.encoder.options import Patches
from codec.encoder.patch_choice import SLENDER
from codec.evaluation.provenance import describe_machine
from codec.picture.pixels import from_image, psnr_of, squared_error
from scripts.bench.tables import table
from scripts.corpus import Drawn, corpus

FOLDER = Path(__file__).parent.parent / "codec" / "encoder"
NUMBERS, PAGE = FOLDER / "patches.json", FOLDER / "PATCHES.md"
BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
QUALITIES = (0, 30, 50, 80, 100)
SHOWN = 50
"""Quality whose numbers the page has picture by picture."""
BOTH: tuple[Patches, ...] = ("auto", "never")
EXACT = 99.99
"""dB that stand for infinitely many in the means of a table."""


def webp_bytes(image: Image.Image) -> int:
    """Size of a lossless WebP as Pillow writes it.

    Raises:
        OSError, ValueError: it cannot hold the picture.
    """
    target = BytesIO()
    plain = image.convert("L") if image.mode == "1" else image
    plain.save(target, "WEBP", lossless=True)
    return len(target.getvalue())


def avif_point(image: Image.Image, quality: int) -> tuple[int, float] | None:
    """Size and PSNR of an AVIF 4:4:4; None if it cannot hold the picture."""
    target = BytesIO()
    try:
        plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
        plain.save(target, "AVIF", quality=quality, subsampling="4:4:4")
        decoded = np.asarray(Image.open(BytesIO(target.getvalue())).convert("RGB"))
    except (OSError, ValueError):
        return None
    picture = from_image(plain)
    samples, alpha = picture.original(picture.whole)
    return len(target.getvalue()), _finite(psnr_of(*squared_error(samples, decoded, alpha)))


def measure(codec: Codec, drawn: Drawn) -> Iterator[dict[str, Any]]:
    """Measure a picture at all qualities."""
    image = drawn.image
    lossless: int | None = None
    with suppress(OSError, ValueError):
        lossless = webp_bytes(image)
    for quality in QUALITIES:
        encoded = codec.encode(image, quality, measure=True)
        pixels = encoded.header.pixels
        row = {
            "kind": drawn.kind,
            "picture": drawn.name,
            "quality": quality,
            "webp": lossless,
            "with": (len(encoded.data), _finite(encoded.psnr)),
            "patches": len(encoded.patches),
            "share": encoded.patch_pixels / pixels,
            "avif": avif_point(image, quality),
        }
        if encoded.patches and min(image.size) < SLENDER:
            row["without"] = None  # takes a quarter of a minute
        elif encoded.patches:
            encoded = codec.encode(image, quality, measure=True, patches="never")
            row["without"] = len(encoded.data), _finite(encoded.psnr)
        else:
            row["without"] = row["with"]
        yield row


def _finite(psnr: float) -> float:
    return round(min(psnr, EXACT), 2)


def _point(point: list[float] | None) -> list[str]:
    if point is None:
        return ["", ""]
    size, psnr = point
    return [f"{size:.0f}", "exact" if psnr >= EXACT else f"{psnr:.1f}"]


def _by_picture(rows: list[dict[str, Any]]) -> str:
    """Table of all pictures at one quality."""
    lines = []
    for row in rows:
        if row["quality"] == SHOWN:
            shares = f"{100 * row['share']:.0f} %" if row["patches"] else ""
            points = (*_point(row["without"]), *_point(row["with"]), shares, *_point(row["avif"]))
            lines.append([row["picture"], *points, str(row["webp"] or "")])
    head = ["picture", "without: bytes", "dB", "with: bytes", "dB", "in patches"]
    return table([*head, "AVIF: bytes", "dB", "lossless WebP"], lines)


def _by_kind(rows: list[dict[str, Any]]) -> str:
    """Table of sums of bytes and least PSNR of each kind, by quality."""
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for quality in QUALITIES:
            some = [r for r in rows if (r["kind"], r["quality"]) == (kind, quality)]
            some = [r for r in some if r["without"] and r["avif"] and r["webp"]]
            if not some:
                continue
            cells = [kind if quality == QUALITIES[0] else "", str(quality)]
            for name in ("without", "with", "avif"):
                least = min(r[name][1] for r in some)
                cells += _point([sum(r[name][0] for r in some), least])
            lines.append([*cells, str(sum(r["webp"] for r in some))])
    head = ["kind", "quality", "without: bytes", "least dB", "with: bytes", "least dB"]
    return table([*head, "AVIF: bytes", "least dB", "lossless WebP"], lines)


def write_page() -> None:
    """Write the tables of the kept numbers into the page."""
    kept = json.loads(NUMBERS.read_text("utf-8"))
    source = "Model `{model}`, commit `{commit}`, {date}, {machine}.".format_map(kept)
    blocks = {
        "kinds": _by_kind(kept["rows"]),
        "pictures": _by_picture(kept["rows"]),
        "source": textwrap.fill(source, 100),
    }

    def filled(found: re.Match[str]) -> str:
        return f"{found[1]}\n{blocks[found[2]].rstrip()}\n\n{found[3]}"

    PAGE.write_text(BLOCK.sub(filled, PAGE.read_text("utf-8")), "utf-8")


def compare_photographs(codec: Codec, folder: Path) -> bool:
    """Code photographs with and without patches in turn, and print what differs."""
    same = True
    paths = sorted(folder.glob("*.png"))
    for effort in (0, 1):
        ratios, differ = [], 0
        for quality in (0, 50, 100):
            for number, path in enumerate(paths):
                image = Image.open(path).convert("RGB")
                files, seconds = {}, {}
                for patches in BOTH[:: 1 if number % 2 else -1]:
                    began = time.process_time()
                    files[patches] = codec.compress(image, quality, effort=effort, patches=patches)
                    seconds[patches] = time.process_time() - began
                ratios.append(seconds["auto"] / seconds["never"])
                differ += files["auto"] != files["never"]
        same &= not differ
        print(
            f"effort {effort}: {differ} of {len(ratios)} files differ; time with the choice of "
            f"patches relative to that without: median {statistics.median(ratios):.4f}",
            flush=True,
        )
    return same


@click.command()
@click.option("--model", default="photo", show_default=True)
@click.option("--tables", is_flag=True, help="Write the tables of the kept numbers alone.")
@click.option("--photographs", type=click.Path(exists=True, path_type=Path), metavar="FOLDER")
def main(model: str, tables: bool, photographs: Path | None) -> None:
    """Measure, which takes some ten minutes, and write the tables."""
    if photographs:
        sys.exit(
            0 if compare_photographs(Codec(model), photographs) else "photographs have changed"
        )
    if not tables:
        codec = Codec(model)
        command = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        about = {
            "model": codec.model.id.hex(),
            "commit": commit,
            "date": date.today().isoformat(),
            "machine": describe_machine(),
        }
        rows: list[dict[str, Any]] = []
        for drawn in corpus():
            rows += measure(codec, drawn)
            print(drawn.name, *(row["with"] for row in rows[-len(QUALITIES) :]), flush=True)
        lines = ",\n".join(json.dumps(row) for row in rows)
        head = json.dumps(about)[:-1]
        NUMBERS.write_text(f'{head}, "rows": [\n{lines}\n]}}\n', "utf-8")
    write_page()


if __name__ == "__main__":
    main()
