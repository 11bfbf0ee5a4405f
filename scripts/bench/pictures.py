"""Pictures of any size, made of one photograph."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

SIDE_UNIT = 64
"""Sides are multiples of this, so that sizes compare without padding."""
ASPECT = 1.5
EXPOSURES = 48
LOSS = 0.3
"""Largest part of the light that a copy loses."""


def size_of(megapixels: float) -> tuple[int, int]:
    """Width and height of 3:2 pictures of about so many pixels; 0.4 gives 768x512."""
    height = max(1, round((megapixels * 1e6 / ASPECT) ** 0.5 / SIDE_UNIT)) * SIDE_UNIT
    width = max(1, round(megapixels * 1e6 / height / SIDE_UNIT)) * SIDE_UNIT
    return width, height


def enlarged(photo: Image.Image, width: int, height: int) -> Image.Image:
    """A photograph repeated, mirrored and each time at another exposure, or cut, to a size.

    Mirroring leaves no edges between the copies; factors, which round differently, no samples that
    repeat: lossless WebP found those of copies that differ by a constant.
    """
    canvas = Image.new("RGB", (width, height))
    for row, top in enumerate(range(0, height, photo.height)):
        for column, left in enumerate(range(0, width, photo.width)):
            part = ImageOps.mirror(photo) if column % 2 else photo
            part = ImageOps.flip(part) if row % 2 else part
            factor = 1 - LOSS * ((7 * row + 13 * column) % EXPOSURES) / EXPOSURES
            exposed = part.point([round(factor * sample) for sample in range(256)] * 3)
            canvas.paste(exposed, (left, top))
    return canvas


def write_picture_of(source: Path, megapixels: float, target: Path) -> tuple[int, int]:
    """Write a PNG of about so many megapixels; returns its width and height."""
    with Image.open(source) as photo:
        image = enlarged(photo.convert("RGB"), *size_of(megapixels))
    image.save(target, "PNG", compress_level=1)
    return image.size
