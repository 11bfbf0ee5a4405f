"""What photographs reach by each model: the table behind the encoder's choice of patches.

    python -m scripts.photograph_rates FOLDER [--model NAME]

Over the photographs in FOLDER, at points evenly spread over the ladder of a model and at the
default effort: the median of the PSNR, and the greatest rate of a picture. They are kept in
codec/encoder/photograph_rates.json by the id of the model, in the place of those of an earlier
model of the same name.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import click

from codec.codec import Codec
from codec.files import open_file
from codec.limits import Limits
from codec.picture.reading import open_picture

TABLE = Path(__file__).parent.parent / "codec" / "encoder" / "photograph_rates.json"
POINTS = 5
"""Points of a ladder, its ends among them."""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "names", multiple=True, default=["photo"], show_default=True)
@click.option("--count", type=click.IntRange(min=1), help="Number of photographs; all by default.")
def main(folder: Path, names: tuple[str, ...], count: int | None) -> None:
    """Measure on the photographs in FOLDER, which a model was neither trained for nor shown."""
    kept = json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".avif"))[:count]
    for name in names:
        codec = Codec(name)
        psnrs: list[float] = []
        rates: list[float] = []
        qualities = [100 * n / (POINTS - 1) for n in range(POINTS)]
        for quality in qualities:
            done = []
            for path in paths:
                with open_file(path) as file:
                    image = open_picture(file, Limits()).image
                encoded = codec.encode(image, quality, measure=True)
                done.append((encoded.psnr, encoded.bits / encoded.header.pixels))
            psnrs.append(round(statistics.median(psnr for psnr, _ in done), 2))
            rates.append(round(max(rate for _, rate in done), 3))
            lowest, highest = min(done)[0], max(done)[0]
            print(
                f"{name} q {quality:g}: median {psnrs[-1]} dB ({lowest:.2f} to {highest:.2f}), "
                f"at most {rates[-1]} bits per pixel",
                flush=True,
            )
        row = {"name": codec.weights.name, "photographs": len(paths), "psnr": psnrs, "bpp": rates}
        kept = {key: old for key, old in kept.items() if old["name"] != codec.weights.name}
        kept[codec.model.id.hex()] = row
        lines = (f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in sorted(kept.items()))
        TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
