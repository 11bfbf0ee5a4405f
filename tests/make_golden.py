"""Regenerate the frozen models and files of tests/data after a change of the format.

    python -m tests.make_golden model RUN/model.safetensors
    python -m tests.make_golden files

The first takes a trained model, narrows its tables to keep the file small, and gives it the
kernels below; tests/data/README.md has the command that trains it. The second writes all golden
files and conformance vectors with the models that are there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from codec.codec import Codec
from codec.decoder import level_map_of
from codec.encoder.model import EncoderModel
from codec.encoder.options import EncoderOptions
from codec.encoder.picture import PictureEncoder
from codec.encoder.plan import Plan
from codec.encoder.quality_map import offsets_of
from codec.entropy.coder import symbol_coder
from codec.entropy.model import with_self_check
from codec.entropy.tables import FrequencyTables
from codec.format.container import ContainerFile
from codec.format.header import Header
from codec.picture.pixels import from_image
from codec.tiles import LATENT_STRIDE, Box, latent_size
from codec.weights.file import COLOURS, KERNEL_SIDE, Weights, load_weights
from codec.weights.released import find_weights, released_models

DATA = Path(__file__).parent / "data"
CONFORMANCE = DATA / "conformance"
MARGIN, Z_REACH = 64, 31
"""Symbols that narrowed tables of y keep beyond what is likely, and those that tables of z keep."""

NO_PATCHES = {"patches": "never"}
Made = tuple[Image.Image, dict[str, Any]]
WITH_TILE = [Box(16, 0, 80, 16), Box(256, 0, 272, 70)]
"""Patches of pictures of 272 pixels in tiles of 256: in the first tile, and over the second."""


def photograph(left: int, top: int, width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A part of a photograph."""
    with Image.open(DATA / "flowers.png") as image:
        return image.convert(mode).crop((left, top, left + width, top + height))


def city() -> Image.Image:
    """A whole photograph of 192x128."""
    with Image.open(DATA / "city.png") as image:
        return image.convert("RGB")


def with_alpha(image: Image.Image) -> Image.Image:
    """Opaque on the left, a ramp on the right."""
    ramp = np.broadcast_to(np.arange(image.width), (image.height, image.width))
    alpha = Image.fromarray(np.clip(400 - 2 * ramp, 0, 255).astype(np.uint8))
    image.putalpha(alpha)
    return image


def uneven(width: int, height: int) -> NDArray[np.uint8]:
    """A mask that rises from left to right, with a bright middle and a black corner."""
    mask = np.broadcast_to(np.linspace(60, 190, width), (height, width)).copy()
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    mask[-height // 4 :, : width // 8] = 0
    return mask.astype(np.uint8)


def with_metadata(image: Image.Image) -> Image.Image:
    """A profile, EXIF of one tag and XMP."""
    exif = Image.Exif()
    exif[0x010E] = "flowers"
    image.info["exif"] = exif.tobytes()
    image.info["xmp"] = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the date
    image.info["icc_profile"] = bytes(profile)
    return image


INTEGER: dict[str, Callable[[], Made]] = {
    "city-q20": lambda: (city(), {"quality": 20, "effort": 0}),
    "city-q90": lambda: (city(), {"quality": 90, "effort": 0}),
    "grey-q60": lambda: (photograph(40, 40, 64, 48, "L"), {"quality": 60, "effort": 0}),
    "odd-q50": lambda: (photograph(150, 150, 19, 35), {"quality": 50, "effort": 0}),
    "pixel-q0": lambda: (photograph(9, 9, 1, 1), {"quality": 0, "effort": 0}),
    "level-q33.3": lambda: (photograph(80, 60, 64, 48), {"quality": 33.3, "effort": 0}),
    "filter-q60": lambda: (photograph(150, 150, 120, 90), {"quality": 60, "effort": 1}),
    "grey-filter-q90": lambda: (photograph(90, 90, 100, 60, "L"), {"quality": 90, "effort": 1}),
    "tiles-q50": lambda: (
        photograph(20, 200, 272, 20),
        {"quality": 50, "effort": 0, "tile_size": 256},
    ),
    "alpha-q50": lambda: (with_alpha(photograph(60, 60, 272, 20)), {"quality": 50, "effort": 0}),
    "chunks-q50": lambda: (
        with_metadata(photograph(70, 70, 33, 20)),
        {"quality": 50, "effort": 0},
    ),
    "all-q70": lambda: (
        with_metadata(with_alpha(photograph(100, 90, 272, 70))),
        {"quality": 70, "effort": 1, "tile_size": 256},
    ),
    "patches-q60": lambda: (
        photograph(40, 120, 150, 110),
        {"quality": 60, "effort": 1, "boxes": [Box(16, 0, 64, 48), Box(96, 96, 150, 110)]},
    ),
    "grey-patches-q40": lambda: (
        photograph(40, 120, 90, 70, "L"),
        {"quality": 40, "effort": 0, "boxes": [Box(0, 0, 32, 70), Box(48, 16, 64, 32)]},
    ),
    "all-patches-q70": lambda: (
        with_metadata(with_alpha(photograph(60, 90, 272, 70))),
        {"quality": 70, "effort": 1, "tile_size": 256, "boxes": WITH_TILE},
    ),
    "map-q50": lambda: (
        photograph(40, 120, 150, 110),
        {"quality": 50, "effort": 1, "level_map": uneven(150, 110)},
    ),
    "grey-map-q90": lambda: (
        photograph(40, 120, 70, 40, "L"),
        {"quality": 90, "effort": 0, "level_map": uneven(70, 40)},
    ),
    "all-map-q30": lambda: (
        with_metadata(with_alpha(photograph(60, 90, 400, 70))),
        {
            "quality": 30,
            "effort": 1,
            "tile_size": 256,
            "boxes": [Box(16, 0, 80, 16)],
            "level_map": uneven(400, 70),
        },
    ),
    "lossless": lambda: (photograph(90, 30, 50, 41), {"lossless": True}),
    "grey-lossless": lambda: (photograph(90, 30, 40, 24, "L"), {"lossless": True}),
    "all-lossless": lambda: (
        with_metadata(with_alpha(photograph(60, 60, 272, 20))),
        {"lossless": True, "tile_size": 256},
    ),
}
CENTRES: dict[str, Callable[[], Made]] = {
    "city-1": lambda: (city(), {"quality": 0}),
    "city-3": lambda: (city(), {"quality": 100}),
    "grey-2": lambda: (photograph(40, 40, 64, 48, "L"), {"quality": 50}),
    "odd-2": lambda: (photograph(150, 150, 19, 35), {"quality": 50}),
    "pixel-1": lambda: (photograph(9, 9, 1, 1), {"quality": 0}),
    "all-3": lambda: (
        with_metadata(with_alpha(photograph(100, 90, 272, 20))),
        {"quality": 100, "tile_size": 256},
    ),
    "patches-2": lambda: (
        with_alpha(photograph(60, 60, 272, 20)),
        {"quality": 50, "tile_size": 256, "boxes": WITH_TILE},
    ),
}
FOLDERS = {"golden": ("tiny", INTEGER), "golden_vq": ("tiny_vq", CENTRES)}


def facts_of(data: bytes, weights: Weights) -> dict[str, Any]:
    """What a reader of a file must find.

    `offsets` are those of the map of levels; `symbols` are the CRC-32 that FORMAT.md defines;
    `latents` are SHA-256 of y^ as little-endian
    float32 [M, rows, columns], coded tile by coded tile; `metadata` are SHA-256 of what the chunks
    hold; `patches` are left, top, width, height and SHA-256 of the stream of each.
    """
    file = ContainerFile(BytesIO(data))
    coder, header = symbol_coder(weights), file.header
    levels = level_map_of(header, weights.config)
    symbols, latents = [], []
    for number in sorted(set(range(len(file.grid))) - file.covered):
        box, tile = file.grid.box(number), file.read_tile(number)
        size = latent_size(box.height, box.width)
        here = levels.within(box.shrunk(LATENT_STRIDE))
        y_hat, checksum = coder.read(tile.stream, *size, here)
        symbols.append(f"{checksum:08x}")
        latents.append(hashlib.sha256(y_hat.astype("<f4").tobytes()).hexdigest())
    patches = [
        [box.left, box.top, box.width, box.height, hashlib.sha256(file.read_patch(n)).hexdigest()]
        for n, box in enumerate(file.patches)
    ]
    return {
        "model": weights.short_id.hex(),
        "size": [header.width, header.height],
        "level": header.level,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "symbols": symbols,
        "latents": latents,
        "metadata": {
            kind: hashlib.sha256(content).hexdigest() for kind, content in file.read_metadata()
        },
    } | _further(patches, header, weights)


def _further(patches: list[list[Any]], header: Header, weights: Weights) -> dict[str, Any]:
    """Facts that few files have."""
    facts: dict[str, Any] = {"patches": patches} if patches else {}
    offsets = level_map_of(header, weights.config).offsets
    return facts if offsets is None else facts | {"offsets": offsets.tolist()}


def coded(
    codec: Codec, image: Image.Image, boxes: list[Box] | None = None, **options: Any
) -> bytes:
    """A file, with the patches that are given."""
    if boxes is None:
        return codec.compress(image, **options if "lossless" in options else options | NO_PATCHES)
    given, picture = EncoderOptions(**options), from_image(image)
    boxes = [box & picture.whole for box in boxes]
    plan = Plan.of(EncoderModel(codec.model), given)
    grid = given.grid(picture.height, picture.width)
    config, offsets = codec.weights.config, None
    if given.level_map is not None:
        offsets = offsets_of(given.level_map, picture.height, picture.width, config)
    encoder = PictureEncoder(plan, picture, grid, map, boxes=boxes, offsets=offsets)
    return encoder.encode(given.level(config)).data


def narrowed(tables: FrequencyTables, reaches: list[int]) -> FrequencyTables:
    """The middle of each table; the likeliest symbol takes what the rest had."""
    rows = []
    for number, reach in enumerate(reaches):
        middle = -int(tables.low[number])
        row = tables[number][middle - reach : middle + reach + 1].copy()
        row[np.argmax(row)] += tables[number].sum() - row.sum()
        rows.append(row)
    return FrequencyTables.build([-reach for reach in reaches], rows)


def kernels() -> dict[str, NDArray[np.float32]]:
    """Six, of the first a filter sharpens, of the second it changes contrast, of the third
    brightness; the others are noise."""
    made = np.random.default_rng(1).normal(0, 1e-4, (6, COLOURS, COLOURS, KERNEL_SIDE, KERNEL_SIDE))
    made[:3] = 0
    colours, middle = np.arange(COLOURS), KERNEL_SIDE // 2
    made[0, colours, colours] = -4e-4
    made[0, colours, colours, middle, middle] += KERNEL_SIDE**2 * 4e-4
    made[1, colours, colours, middle, middle] = 2.5e-3
    offsets = np.zeros((6, COLOURS))
    offsets[2] = 5e-4
    return {
        "restoration.kernels": made.astype(np.float32),
        "restoration.offsets": offsets.astype(np.float32),
    }


@click.group()
def main() -> None:
    """Regenerate frozen models and files."""


@main.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
def model(source: Path) -> None:
    """Make tests/data/tiny.safetensors of a trained model."""
    weights = load_weights(source)
    y, z = (FrequencyTables.from_tensors(weights.tensors, f"tables.{name}") for name in "yz")
    spread = y.high - int(y.high.min())
    tensors = dict(weights.tensors) | kernels()
    tensors |= narrowed(y, [MARGIN + int(reach) for reach in spread]).to_tensors("tables.y")
    tensors |= narrowed(z, [Z_REACH] * len(z)).to_tensors("tables.z")
    made = dataclasses.replace(weights, name="tiny", tensors=tensors)
    (DATA / "tiny.safetensors").write_bytes(with_self_check(made).to_bytes())


@main.command()
def files() -> None:
    """Write all golden files, what they show, and the conformance vectors."""
    for folder, (name, pictures) in FOLDERS.items():
        weights = load_weights(DATA / f"{name}.safetensors")
        codec, facts = Codec(weights), {}
        (DATA / folder).mkdir(exist_ok=True)
        for file, make in pictures.items():
            image, options = make()
            data = coded(codec, image, **options)
            (DATA / folder / f"{file}.vqc").write_bytes(data)
            shown = codec.decompress(data)
            shown.info.clear()
            shown.save(DATA / folder / f"{file}.png", optimize=True)
            facts[file] = facts_of(data, weights)
        write_facts(DATA / folder / "facts.json", facts)
    CONFORMANCE.mkdir(exist_ok=True)
    vectors = {}
    for path in released_models():
        weights = load_weights(find_weights(path.stem))
        for size in ((64, 48), (37, 91)):
            name = f"{path.stem}-{size[0]}x{size[1]}"
            quality = 100 * size[0] / 128
            picture = photograph(120, 80, *size)
            data = Codec(weights).compress(picture, quality, effort=0, patches="never")
            (CONFORMANCE / f"{name}.vqc").write_bytes(data)
            vectors[name] = facts_of(data, weights)
    write_facts(CONFORMANCE / "vectors.json", vectors)


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(f"{json.dumps(facts, indent=1)}\n")


if __name__ == "__main__":
    main()
