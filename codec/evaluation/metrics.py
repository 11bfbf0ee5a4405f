"""Metrics of decoded pictures, in bounded memory: PSNR, MS-SSIM, and those of other packages."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from codec.errors import InputError
from codec.model import perceptual
from codec.model.metrics import ms_ssim_of
from codec.picture.pixels import Samples, psnr_of, squared_error
from codec.tiles import Box, Grid
from codec.weights.config import MS_SSIM_SIDE

STRIP = 1024
"""Number of rows compared at once."""
WINDOW = 1024
"""Side of the windows that large pictures are compared in."""
WHOLE_PIXELS = 1 << 22
"""Largest picture whose MS-SSIM is computed as a whole; others are cut into windows. So it is for
the metrics of other packages."""
BLOCK = 64
"""Side in pixels of the blocks of which the worst is sought."""
BUTTERAUGLI = "butteraugli_main"
"""Program of libjxl."""


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
    boxes = _windows(original, MS_SSIM_SIDE, whole_pixels, window)
    pairs = (_visible(original, decoded, box) for box in boxes)
    values = [ms_ssim_of(other, one) for one, other in pairs]
    return fmean(values, [box.area for box in boxes])


@dataclass(frozen=True)
class Block:
    """The block of `BLOCK` x `BLOCK` pixels with the lowest PSNR."""

    left: int
    top: int
    psnr: float
    """PSNR in dB over its visible colours; inf if they are equal."""


def worst_block(original: Image.Image, decoded: Image.Image) -> Block:
    """Find the block with the lowest PSNR.

    Blocks lie on a grid of `BLOCK` pixels; the last of a row or column is moved inwards so that it
    is whole. A side that is shorter is that of the block.

    Args:
        original: picture of mode L, LA, RGB or RGBA with a visible pixel.
        decoded: picture of the same size.

    Raises:
        InputError: the sizes differ.
    """
    _check_sizes(original, decoded)
    worst: Block | None = None
    lefts = _starts(original.width)
    for top in _starts(original.height):
        row = Box(0, top, original.width, min(top + BLOCK, original.height))
        one, other = _visible(original, decoded, row)
        alpha = _alpha(original, row)
        errors = np.square(one.astype(np.float64) - other).sum((0, 2))
        counts = 3 * (np.full(row.width, row.height) if alpha is None else (alpha > 0).sum(0))
        for left in lefts:
            part = slice(left, left + BLOCK)
            if count := int(counts[part].sum()):
                found = Block(left, top, psnr_of(float(errors[part].sum()), count))
                if worst is None or found.psnr < worst.psnr:
                    worst = found
    assert worst is not None
    return worst


def _starts(side: int) -> list[int]:
    return sorted({*range(0, side - BLOCK + 1, BLOCK), max(side - BLOCK, 0)})


def ssimulacra2(original: Image.Image, decoded: Image.Image) -> float | None:
    """SSIMULACRA 2.1 by frame-analytics: 100 for equal pictures, higher is better.

    Fully transparent pixels count as equal. For large pictures it is the mean over windows, as for
    MS-SSIM.

    Returns:
        None if a side is shorter than 32 pixels.

    Raises:
        InputError: the sizes differ.
    """
    return _pooled(perceptual.ssimulacra2, original, decoded)


def lpips(original: Image.Image, decoded: Image.Image) -> float | None:
    """LPIPS with AlexNet by frame-analytics: 0 for equal pictures; see `ssimulacra2`."""
    return _pooled(perceptual.lpips, original, decoded)


def cvvdp(original: Image.Image, decoded: Image.Image) -> float | None:
    """ColorVideoVDP in JOD: 10 for equal pictures, higher is better; see `ssimulacra2`."""
    return _pooled(perceptual.cvvdp, original, decoded)


def _pooled(
    metric: Callable[[Samples, Samples], float], original: Image.Image, decoded: Image.Image
) -> float | None:
    """Mean of a metric over windows, weighted by their area."""
    _check_sizes(original, decoded)
    if min(original.size) < perceptual.LEAST_SIDE:
        return None
    boxes = _windows(original, perceptual.LEAST_SIDE)
    values = [metric(*_visible(original, decoded, box)) for box in boxes]
    return fmean(values, [box.area for box in boxes])


def butteraugli(original: Image.Image, decoded: Image.Image) -> tuple[float, float] | None:
    """Butteraugli at 80 nits by the program of libjxl: 3-norm and maximum, 0 for equal pictures.

    Fully transparent pixels count as equal. Large pictures are compared in windows, whose values
    are joined by the norms themselves.

    Returns:
        None if a side is shorter than 32 pixels.

    Raises:
        InputError: the sizes differ, or the program is missing or failed.
    """
    _check_sizes(original, decoded)
    if min(original.size) < perceptual.LEAST_SIDE:
        return None
    boxes = _windows(original, perceptual.LEAST_SIDE)
    norms, most = zip(
        *(_butteraugli_of(*_visible(original, decoded, b)) for b in boxes), strict=True
    )
    return fmean((norm**3 for norm in norms), [box.area for box in boxes]) ** (1 / 3), max(most)


def _butteraugli_of(original: Samples, decoded: Samples) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("original.png", "decoded.png")]
        for samples, file in zip((original, decoded), files, strict=True):
            Image.fromarray(samples).save(file, compress_level=1)
        try:
            done = subprocess.run(
                [BUTTERAUGLI, *files, "--pnorm", "3"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise InputError(f"{BUTTERAUGLI} failed ({error})") from error
    found = re.fullmatch(r"(\S+)\n3-norm: (\S+)\n?", done.stdout)
    if not found:
        raise InputError(f"{BUTTERAUGLI} answered what is not known: {done.stdout[:80]!r}")
    return float(found[2]), float(found[1])


def strips(
    original: Image.Image, decoded: Image.Image, rows: int
) -> Iterator[tuple[Samples, Samples, int]]:
    """Samples [height, width, 3] of both pictures from top to bottom, equal where the original is
    fully transparent, and the number of visible pixels."""
    for top in range(0, original.height, rows):
        box = Box(0, top, original.width, min(top + rows, original.height))
        alpha = _alpha(original, box)
        visible = box.area if alpha is None else int(np.count_nonzero(alpha))
        yield *_visible(original, decoded, box), visible


def _windows(
    original: Image.Image, least: int, whole_pixels: int = WHOLE_PIXELS, window: int = WINDOW
) -> list[Box]:
    """Boxes in which a picture is compared, without those that are narrower than `least`."""
    large = original.width * original.height > whole_pixels
    boxes = Grid(original.height, original.width, window if large else 0).boxes()
    return [box for box in boxes if min(box.width, box.height) >= least]


def _visible(original: Image.Image, decoded: Image.Image, box: Box) -> tuple[Samples, Samples]:
    """Samples of a box in both pictures, equal where the original is fully transparent."""
    one, other, alpha = _colours(original, box), _colours(decoded, box), _alpha(original, box)
    if alpha is not None:
        other = np.where(alpha[..., None] > 0, other, one)
    return one, other


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
