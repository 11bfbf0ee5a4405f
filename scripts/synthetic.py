"""Drawn pictures for the training data: `make synthetic PHOTOS=... OUT=...`.

A model that has seen nothing but photographs fails on dithers, line art, test patterns and text in
saturated colours. The pictures are 512x512, as many of each kind and twice as many mixtures; some
kinds start from the photographs. They are the same for the same photographs and version of Pillow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, permutations, product
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from codec.errors import CodecError, InputError
from codec.training.photos import TILE, count_tiles, find_photos, tiles_of

PER_KIND = 12
WORDS = (
    *("the", "rate", "of", "a", "picture", "is", "what", "its", "code", "takes", "and"),
    *("0123456789", "(P,", "Q)", "=", "-ln", "P", "+", "x"),
)

Pixels = NDArray[np.uint8]
Generator = np.random.Generator
Colour = tuple[int, int, int]
Box = tuple[slice, slice]

SATURATED: list[Colour] = [(r, g, b) for r, g, b in product((0, 255), repeat=3)]
PAIRS = list(permutations(SATURATED, 2))
"""All 56 ordered pairs of black, white and the six saturated colours."""
SPLITS = ((TILE, 8), (TILE, 7))
"""Height and number of rows, width and number of columns of a picture with a cell for each pair."""


def colours(rng: Generator, count: int) -> Pixels:
    """Random colours [count, 3]: black and white first, saturated, or arbitrary ones."""
    chosen = rng.integers(0, 256, (count, 3), dtype=np.uint8)
    choice = rng.random()
    if choice < 0.4:
        chosen[:2] = [[0, 0, 0], [255, 255, 255]]
    elif choice < 0.7:
        chosen = 255 * (chosen // 128)
    return chosen


def extent(rng: Generator, largest: int) -> int:
    """Random number from 1 to `largest`, log-uniform."""
    return int(2 ** rng.uniform(0, np.log2(largest + 1)))


def paint(chosen: NDArray[np.bool_], rng: Generator) -> Pixels:
    """Picture of two colours, chosen by a mask [H, W]."""
    return colours(rng, 2)[chosen.astype(int)]


def cells() -> list[Box]:
    """Cut a picture into as many parts as there are pairs of colours."""
    rows, columns = ([side * n // count for n in range(count + 1)] for side, count in SPLITS)
    return [
        (slice(top, bottom), slice(left, right))
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def dealt(rng: Generator) -> Iterator[tuple[Box, Colour, Colour]]:
    """Deal the pairs of saturated colours to the cells at random."""
    for box, number in zip(cells(), rng.permutation(len(PAIRS)), strict=True):
        first, second = PAIRS[number]
        yield box, first, second


def write_words(cell: Image.Image, rng: Generator, ink: Colour, outline: Colour | None) -> None:
    """Fill a picture with words of 8 to 24 pixels, with and without smooth edges."""
    draw = ImageDraw.Draw(cell)
    draw.fontmode = rng.choice(["1", "L"])
    size = int(rng.integers(8, 25))
    stroke = 0 if outline is None else int(rng.integers(1, 3))
    spacing = 2 if outline is None else size
    font = ImageFont.load_default(size)
    for top in range(0, cell.height, size + spacing):
        line = " ".join(rng.choice(WORDS, 12))
        left = int(rng.integers(-20, 4))
        draw.text((left, top), line, ink, font, stroke_width=stroke, stroke_fill=outline)


def dithered(photo: Image.Image, rng: Generator) -> Pixels:
    """Error diffusion to one bit, in grey or in each channel."""
    if rng.random() < 0.7:
        return np.asarray(photo.convert("1").convert("RGB"))
    return np.stack([np.asarray(c.convert("1").convert("L")) for c in photo.split()], -1)


def four_bits(photo: Image.Image, rng: Generator) -> Pixels:
    """Error diffusion to 16 greys, or to the 16 colours of old displays."""
    if rng.random() < 0.5:
        colours16 = [(17 * grey, 17 * grey, 17 * grey) for grey in range(16)]
        photo = photo.convert("L").convert("RGB")
    else:
        dark = [(r // 2, g // 2, b // 2) for r, g, b in SATURATED[1:]]
        colours16 = [*SATURATED, *dark, (192, 192, 192)]
    table = Image.new("P", (1, 1))
    table.putpalette([channel for colour in colours16 for channel in colour])
    few = photo.quantize(palette=table, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(few.convert("RGB"))


def ordered(photo: Image.Image, rng: Generator) -> Pixels:
    """Bayer's ordered dither of 2, 4 or 8 pixels."""
    pattern = np.zeros((1, 1))
    for _ in range(rng.integers(1, 4)):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    threshold = np.tile((pattern + 0.5) * 256 / pattern.size, [TILE // len(pattern)] * 2)
    return paint(np.asarray(photo.convert("L")) > threshold, rng)


def thresholded(photo: Image.Image, rng: Generator) -> Pixels:
    """Photograph with two levels, in grey or in each channel."""
    level = int(rng.integers(64, 192))
    pixels = np.asarray(photo)
    if rng.random() < 0.5:
        return paint(pixels.mean(-1) > level, rng)
    return (255 * (pixels > level)).astype(np.uint8)


def palette(photo: Image.Image, rng: Generator) -> Pixels:
    """Photograph with few colours, with error diffusion at random."""
    count = int(rng.integers(2, 17))
    few = photo.quantize(count)
    if rng.random() < 0.5:
        few = photo.quantize(count, palette=few, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(few.convert("RGB"))


def checkerboard(_: Image.Image, rng: Generator) -> Pixels:
    """Squares of 1 to 64 pixels."""
    side = extent(rng, 64)
    rows, columns = np.indices((TILE, TILE)) // side
    return paint((rows + columns) % 2 == 0, rng)


def stripes(_: Image.Image, rng: Generator) -> Pixels:
    """Stripes along a side with periods of 2 to 65 pixels, square."""
    period = 1 + extent(rng, 64)
    places = np.indices((TILE, TILE))[rng.integers(2)]
    return paint(places % period < rng.integers(1, period), rng)


def saturated_stripes(_: Image.Image, rng: Generator) -> Pixels:
    """Stripes of 1 to 8 pixels along either side, in all pairs of saturated colours."""
    pixels = np.empty((TILE, TILE, 3), np.uint8)
    coordinates = np.indices((TILE, TILE))
    widths = 1 + rng.permutation(len(PAIRS)) % 8
    for width, (box, first, second) in zip(widths, dealt(rng), strict=True):
        chosen = coordinates[rng.integers(2)][box] // width % 2
        pixels[box] = np.array([first, second])[chosen]
    return pixels


def waves(_: Image.Image, rng: Generator) -> Pixels:
    """A plane wave, or rings of growing frequency up to the finest."""
    rows, columns = np.indices((TILE, TILE)) - TILE / 2
    if rng.random() < 0.5:
        angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.05, 0.5)
        phase = 2 * np.pi * frequency * (np.cos(angle) * rows + np.sin(angle) * columns)
    else:
        phase = np.pi / TILE * (rows**2 + columns**2) * rng.uniform(0.3, 1)
    share = (0.5 + 0.5 * np.cos(phase))[..., None]
    low, high = colours(rng, 2).astype(float)
    return (low + share * (high - low)).round().astype(np.uint8)


def binary_noise(_: Image.Image, rng: Generator) -> Pixels:
    """Grains of 1 to 32 pixels in two colours, rare or frequent; as in codes to be scanned."""
    side = extent(rng, 32)
    grains = rng.random([TILE // side + 1] * 2) < rng.uniform(0.05, 0.5)
    return paint(grains.repeat(side, 0).repeat(side, 1)[:TILE, :TILE], rng)


def noise(photo: Image.Image, rng: Generator) -> Pixels:
    """Uniform noise in grey or colour, alone or over a photograph."""
    shape = (TILE, TILE, 3 if rng.random() < 0.5 else 1)
    values = rng.integers(0, 256, shape)
    share = rng.choice([0.1, 0.3, 1.0])
    mixed = share * values + (1 - share) * np.asarray(photo)
    return mixed.round().astype(np.uint8)


def text(_: Image.Image, rng: Generator) -> Pixels:
    """Lines of words of 8 to 40 pixels, with and without smooth edges."""
    ground, ink = (tuple(map(int, c)) for c in colours(rng, 2))
    image = Image.new("RGB", (TILE, TILE), ground)
    draw = ImageDraw.Draw(image)
    draw.fontmode = rng.choice(["1", "L"])
    top = 0
    while top < TILE:
        size = int(rng.integers(8, 41))
        line = " ".join(rng.choice(WORDS, TILE // (2 * size) + 8))
        draw.text((int(rng.integers(-40, 20)), top), line, ink, ImageFont.load_default(size))
        top += size + int(rng.integers(2, 8))
    return np.asarray(image)


def saturated_text(_: Image.Image, rng: Generator) -> Pixels:
    """Text over flat colour, in all pairs of saturated colours."""
    pixels = np.empty((TILE, TILE, 3), np.uint8)
    for box, ink, ground in dealt(rng):
        height, width = (side.stop - side.start for side in box)
        cell = Image.new("RGB", (width, height), ground)
        write_words(cell, rng, ink, None)
        pixels[box] = np.asarray(cell)
    return pixels


def captions(photo: Image.Image, rng: Generator) -> Pixels:
    """Text over a photograph, with an outline, in all pairs of saturated colours."""
    pixels = np.asarray(photo).copy()
    for box, ink, outline in dealt(rng):
        cell = Image.fromarray(pixels[box])
        write_words(cell, rng, ink, outline)
        pixels[box] = np.asarray(cell)
    return pixels


def drawing(photo: Image.Image, rng: Generator) -> Pixels:
    """Flat areas and thin lines, as in charts and icons."""
    shades = [tuple(map(int, c)) for c in colours(rng, 12)]
    image = Image.new("RGB", photo.size, shades[1])
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        left, right = sorted(rng.integers(0, TILE, 2).tolist())
        top, bottom = sorted(rng.integers(0, TILE, 2).tolist())
        corners = (left, top, right, bottom)
        colour = shades[rng.integers(len(shades))]
        match rng.integers(4):
            case 0:
                draw.rectangle(corners, colour if rng.random() < 0.5 else None, shades[0])
            case 1:
                draw.ellipse(corners, colour if rng.random() < 0.5 else None, colour)
            case _:
                draw.line(corners, colour, int(rng.integers(1, 5)))
    return np.asarray(image)


def flat(_: Image.Image, rng: Generator) -> Pixels:
    """Picture of one colour."""
    return np.broadcast_to(colours(rng, 3)[2], (TILE, TILE, 3)).copy()


def gradient(_: Image.Image, rng: Generator) -> Pixels:
    """Linear or radial gradient of 2 to 4 colours."""
    rows, columns = np.indices((TILE, TILE)) / TILE - rng.uniform(0, 1, (2, 1, 1))
    if rng.random() < 0.5:
        position = np.hypot(rows, columns)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        position = np.cos(angle) * rows + np.sin(angle) * columns
    position = (position - position.min()) / np.ptp(position)
    count = int(rng.integers(2, 5))
    stops = rng.integers(0, 256, (count, 3)).astype(float)
    if rng.random() < 0.5:
        stops = rng.permutation(SATURATED)[:count].astype(float)
    knots = np.linspace(0, 1, len(stops))
    channels = [np.interp(position, knots, stop) for stop in stops.T]
    return np.stack(channels, -1).round().astype(np.uint8)


def mixture(photo: Image.Image, rng: Generator) -> Pixels:
    """Photograph with drawings, text and patterns, as on a screen."""
    pixels = np.asarray(photo).copy()
    kinds = (
        *(text, saturated_text, drawing, checkerboard, stripes, saturated_stripes),
        *(dithered, four_bits, flat, gradient),
    )
    for number in rng.integers(0, len(kinds), 5):
        top, left = rng.integers(0, TILE - 64, 2)
        height, width = rng.integers(32, 256, 2)
        patch = (slice(top, top + height), slice(left, left + width))
        pixels[patch] = kinds[number](photo, rng)[patch]
    return pixels


KINDS: tuple[Callable[[Image.Image, Generator], Pixels], ...] = (
    dithered,
    four_bits,
    ordered,
    thresholded,
    palette,
    checkerboard,
    stripes,
    saturated_stripes,
    waves,
    binary_noise,
    noise,
    text,
    saturated_text,
    captions,
    drawing,
    flat,
    gradient,
    mixture,
    mixture,
)


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--kind", type=click.Choice([kind.__name__ for kind in KINDS]), help="This one only.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=PER_KIND * len(KINDS),
    show_default=True,
    help="Number of pictures.",
)
def main(photos: tuple[Path, ...], out: Path, kind: str | None, count: int) -> None:
    """Draw pictures, some of them from PHOTOS (files and folders), into the new folder OUT."""
    kinds = [draw for draw in KINDS if kind in (None, draw.__name__)]
    try:
        found = [photo for photo in find_photos(photos) if count_tiles(photo)]
        if not found:
            raise InputError("none of the photographs can be decoded")
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out} is not empty; name a new folder")
        out.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rng = np.random.default_rng(number)
            tile = tiles_of(found[rng.integers(len(found))])[0].transpose(1, 2, 0)
            draw = kinds[number % len(kinds)]
            pixels = draw(Image.fromarray(tile), rng)
            Image.fromarray(pixels).save(out / f"{draw.__name__}-{number:03}.png")
    except (CodecError, OSError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
