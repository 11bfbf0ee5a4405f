"""A grey picture that says where quality matters, to a map of levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import InputError
from codec.level_map import CELL, RANGE, STEP, Offsets, map_shape
from codec.weights.config import ModelConfig

NEUTRAL = 128
"""Grey level that leaves the quality as it is."""
POINTS = 50
"""Points of quality that white adds; black takes away as many, and levels between in proportion."""

MODES = "1", "L", "P", "RGB"

Mask = Image.Image | NDArray[Any]
"""A picture, whose colours count as grey, or uint8 samples [H, W]."""


def offsets_of(mask: Mask, height: int, width: int, config: ModelConfig) -> Offsets | None:
    """Map of levels of a picture; None if the mask leaves everything as it is.

    Args:
        mask: of any size, stretched over the picture.
        height: of the picture in pixels.
        width: likewise.
        config: of the model.

    Raises:
        InputError: the mask is no grey picture of 8 bits, or the model has no levels between.
    """
    if config.rounding == "vq" or config.anchors == 1:
        raise InputError("this model has one quality for a whole picture; leave out the map")
    grey = _grey(mask).resize((width, height), Image.Resampling.BOX)
    rows, columns = map_shape(height, width)
    means = np.array([_means(grey, CELL * row, columns) for row in range(rows)])
    whole = config.highest_level * POINTS / 100 / STEP
    offsets = np.rint((means - NEUTRAL) / (255 - NEUTRAL) * whole)
    offsets = offsets.clip(RANGE[0], RANGE[-1]).astype(np.int8)
    return offsets if offsets.any() else None


def _means(grey: Image.Image, top: int, columns: int) -> NDArray[np.float64]:
    """Means of the cells of a row; beyond the border the last pixel counts."""
    strip = np.asarray(grey.crop((0, top, grey.width, min(top + CELL, grey.height))))
    beyond = (0, CELL - strip.shape[0]), (0, columns * CELL - strip.shape[1])
    means: NDArray[np.float64]
    means = np.pad(strip, beyond, mode="edge").reshape(CELL, columns, CELL).mean((0, 2))
    return means


def _grey(mask: Mask) -> Image.Image:
    if isinstance(mask, Image.Image):
        if mask.mode not in MODES or mask.has_transparency_data:
            raise InputError(
                f"the map is of mode {mask.mode}; give a grey picture of 8 bits without alpha",
                field="level_map",
            )
        grey = mask.convert("L")
    elif isinstance(mask, np.ndarray) and mask.dtype == np.uint8 and mask.ndim == 2:
        grey = Image.fromarray(mask)
    else:
        raise InputError("a map is a grey picture, or uint8 samples [H, W]", field="level_map")
    if not (grey.width and grey.height):
        raise InputError("the map has no pixels", field="level_map")
    return grey
