"""Pictures unlike photographs, for the training data: `make synthetic PHOTOS=... OUT=...`.

A model that has seen nothing but photographs may fail on dithers, line art and test patterns in
ways that no photograph shows. Draws `COUNT` pictures of 512x512, of every kind as many and of
mixtures twice as many, some of them from the photographs; the same for the same photographs and the
same version of Pillow. With `--kind NAME` all are of that kind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from codec.errors import CodecError, InputError
from codec.training.photos import TILE, count_tiles, find_photos, tiles_of

COUNT = 168
WORDS = (
    *("the", "rate", "of", "a", "picture", "is", "what", "its", "code", "takes", "and"),
    *("0123456789", "(P,", "Q)", "=", "-ln", "P", "+", "x"),
)

Pixels = NDArray[np.uint8]
Generator = np.random.Generator


def colours(rng: Generator, count: int) -> Pixels:
    """[count, 3]; black and white to begin with, fully saturated ones, or any."""
    chosen = rng.integers(0, 256, (count, 3), dtype=np.uint8)
    choice = rng.random()
    if choice < 0.4:
        chosen[:2] = [[0, 0, 0], [255, 255, 255]]
    elif choice < 0.7:
        chosen = 255 * (chosen // 128)
    return chosen


def extent(rng: Generator, largest: int) -> int:
    """1 to `largest`, small ones as often as their doubles."""
    return int(2 ** rng.uniform(0, np.log2(largest + 1)))


def paint(chosen: NDArray[np.bool_], rng: Generator) -> Pixels:
    """Two colours where [H, W] says so."""
    return colours(rng, 2)[chosen.astype(int)]


def dithered(photo: Image.Image, rng: Generator) -> Pixels:
    """Error diffusion to one bit, in grey or in each channel."""
    if rng.random() < 0.7:
        return np.asarray(photo.convert("1").convert("RGB"))
    return np.stack([np.asarray(c.convert("1").convert("L")) for c in photo.split()], -1)


def ordered(photo: Image.Image, rng: Generator) -> Pixels:
    """Bayer's ordered dither of 2, 4 or 8 pixels."""
    pattern = np.zeros((1, 1))
    for _ in range(rng.integers(1, 4)):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    threshold = np.tile((pattern + 0.5) * 256 / pattern.size, [TILE // len(pattern)] * 2)
    return paint(np.asarray(photo.convert("L")) > threshold, rng)


def thresholded(photo: Image.Image, rng: Generator) -> Pixels:
    """Two levels in grey, or in each channel: saturated colours."""
    level = int(rng.integers(64, 192))
    pixels = np.asarray(photo)
    if rng.random() < 0.5:
        return paint(pixels.mean(-1) > level, rng)
    return (255 * (pixels > level)).astype(np.uint8)


def palette(photo: Image.Image, rng: Generator) -> Pixels:
    """Few colours, half of the time with error diffusion."""
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
    """One colour, or a straight gradient of two."""
    first, last = rng.integers(0, 256, (2, 3)).astype(float)
    share = np.linspace(0, rng.choice([0.0, 1.0]), TILE)[None, :, None]
    row = (first + (last - first) * share).round().astype(np.uint8)
    return np.tile(row, (TILE, 1, 1))


def mixture(photo: Image.Image, rng: Generator) -> Pixels:
    """A photograph with drawings, text and patterns in it, as on a screen."""
    pixels = np.asarray(photo).copy()
    kinds = (text, drawing, checkerboard, stripes, dithered, flat)
    for number in rng.integers(0, len(kinds), 5):
        top, left = rng.integers(0, TILE - 64, 2)
        height, width = rng.integers(32, 256, 2)
        patch = (slice(top, top + height), slice(left, left + width))
        pixels[patch] = kinds[number](photo, rng)[patch]
    return pixels


KINDS: tuple[Callable[[Image.Image, Generator], Pixels], ...] = (
    dithered,
    ordered,
    thresholded,
    palette,
    checkerboard,
    stripes,
    waves,
    binary_noise,
    noise,
    text,
    drawing,
    flat,
    mixture,
    mixture,
)


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--kind", type=click.Choice([kind.__name__ for kind in KINDS]), help="This one only.")
def main(photos: tuple[Path, ...], out: Path, kind: str | None) -> None:
    """Draw pictures, some of them from PHOTOS (files and folders), into the new folder OUT."""
    kinds = [draw for draw in KINDS if kind in (None, draw.__name__)]
    try:
        found = [photo for photo in find_photos(photos) if count_tiles(photo)]
        if not found:
            raise InputError("none of the photographs can be decoded")
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out} is not empty; name a new folder")
        out.mkdir(parents=True, exist_ok=True)
        for number in range(COUNT):
            rng = np.random.default_rng(number)
            tile = tiles_of(found[rng.integers(len(found))])[0].transpose(1, 2, 0)
            draw = kinds[number % len(kinds)]
            pixels = draw(Image.fromarray(tile), rng)
            Image.fromarray(pixels).save(out / f"{draw.__name__}-{number:03}.png")
    except (CodecError, OSError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
