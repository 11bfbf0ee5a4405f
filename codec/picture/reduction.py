"""Pictures at 1/2, 1/4 and 1/8 of their size: each pixel is the mean of a square."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

REDUCTIONS = {1: 1, 1 / 2: 2, 1 / 4: 4, 1 / 8: 8}
"""Sides of the squares that become a pixel, by the scale."""


def reduction_of(scale: float) -> int:
    """Side of the squares that become a pixel at a scale.

    Raises:
        InputError: it is none of 1, 1/2, 1/4 and 1/8.
    """
    try:
        return REDUCTIONS[scale]
    except (KeyError, TypeError):  # lists and the like are no keys
        raise InputError(f"{scale} is no scale; known: 1, 1/2, 1/4, 1/8", field="scale") from None


def reduced(image: Image.Image, reduction: int) -> Image.Image:
    """Means over squares, those at the right and lower border over what there is of them.

    Colours are weighted by alpha.
    """
    return image.reduce(reduction) if reduction > 1 else image


def scale_for(width: int, height: int, size: int) -> float:
    """The smallest scale of a picture that is not below what a square of `size` pixels holds."""
    ratio = min(1, size / max(width, height))
    return min(scale for scale in REDUCTIONS if scale >= ratio)
