"""Decoded samples in 8 bits, as Pillow images and as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.picture.alpha import Plane


def to_image(
    samples: NDArray[np.float32], grey: bool = False, alpha: Plane | None = None
) -> Image.Image:
    """Picture of decoded samples [3, H, W], about 0..1, and an alpha plane [H, W]."""
    if grey:
        samples = samples.mean(axis=0, keepdims=True)
    planes = np.rint(np.clip(samples, 0, 1) * 255).astype(np.uint8)
    if alpha is not None:
        planes = np.concatenate([planes, alpha[None]])
    if len(planes) == 1:
        return Image.fromarray(planes[0])
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))


def to_rgb(samples: NDArray[np.float32], grey: bool) -> NDArray[np.uint8]:
    """The samples of `to_image` in three colours without alpha, [H, W, 3]."""
    return np.asarray(to_image(samples, grey).convert("RGB"))
