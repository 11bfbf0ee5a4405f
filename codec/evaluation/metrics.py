"""PSNR and MS-SSIM of decoded pictures, in bounded memory."""

from __future__ import annotations

from statistics import fmean

import numpy as np
from PIL import Image

from codec.errors import InputError
from codec.model.metrics import ms_ssim_of
from codec.picture.pixels import Samples, psnr_of, squared_error
from codec.tiles import Box, Grid
from codec.weights.config import MS_SSIM_SIDE

STRIP = 1024
"""Number of rows compared at once."""
WINDOW = 1024
"""Side of the windows that large pictures are compared in."""
WHOLE_PIXELS = 1 << 22
"""Largest picture whose MS-SSIM is computed as a whole; others are cut into windows."""


def psnr(original: Image.Image, decoded: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB over all visible colours; inf if they are equal.

    Args:
        original: picture of mode L, LA, RGB or RGBA.
        decoded: picture of the same size.

    Raises:
        InputError: the sizes differ.
    """
    _check_sizes(original, decoded)
    error, count = 0.0, 0
    for top in range(0, original.height, STRIP):
        bottom = min(top + STRIP, original.height)
        box = Box(0, top, original.width, bottom)
        alpha = _alpha(original, box)
        part = squared_error(_colours(original, box), _colours(decoded, box), alpha)
        error, count = error + part[0], count + part[1]
    return psnr_of(error, count)


def ms_ssim(
    original: Image.Image,
    decoded: Image.Image,
    whole_pixels: int = WHOLE_PIXELS,
    window: int = WINDOW,
) -> float | None:
    """MS-SSIM (Wang et al. 2003) of 8-bit samples, mean over three colours, 0..1.

    Fully transparent pixels count as equal. For large pictures it is the mean over windows,
    weighted by their area, without those at the right and the bottom that are narrower than 161
    pixels.

    Args:
        original: picture of mode L, LA, RGB or RGBA.
        decoded: picture of the same size.
        whole_pixels: number of pixels above which a picture is cut into windows.
        window: side of the windows.

    Returns:
        None if a side is shorter than 161 pixels.

    Raises:
        InputError: the sizes differ, or pytorch-msssim is not installed.
    """
    _check_sizes(original, decoded)
    if min(original.size) < MS_SSIM_SIDE:
        return None
    large = original.width * original.height > whole_pixels
    windows = Grid(original.height, original.width, window if large else 0).boxes()
    boxes = [box for box in windows if min(box.width, box.height) >= MS_SSIM_SIDE]
    values = [_ms_ssim_of(original, decoded, box) for box in boxes]
    return fmean(values, [box.area for box in boxes])


def _ms_ssim_of(original: Image.Image, decoded: Image.Image, box: Box) -> float:
    one, other, alpha = _colours(original, box), _colours(decoded, box), _alpha(original, box)
    if alpha is not None:
        other = np.where(alpha[..., None] > 0, other, one)
    return ms_ssim_of(other, one)


def _check_sizes(original: Image.Image, decoded: Image.Image) -> None:
    if original.size != decoded.size:
        raise InputError(f"decoded to {decoded.size}, but the picture has {original.size}")


def _colours(image: Image.Image, box: Box) -> Samples:
    """Samples [height, width, 3] of a box."""
    part = image.crop(box.corners)
    return np.asarray(part.convert("RGB"))


def _alpha(image: Image.Image, box: Box) -> Samples | None:
    if "A" not in image.mode:
        return None
    part = image.crop(box.corners)
    return np.asarray(part.getchannel("A"))
