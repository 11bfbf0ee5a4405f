"""Faults that metrics forgive: a shift of colours, and a periodic pattern in flat areas.

A reconstruction may score well and still be tinted as a whole, or have a mesh at the period of the
transforms' strides. Both show in averages of the error, decoded minus original.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import InputError
from codec.evaluation.metrics import strips

BLOCK = 32
"""Side in pixels of the blocks whose spectra are averaged; periods 2, 4 and 8 divide it."""
FLAT = 4.0
"""Standard deviation of luma, in grey levels, up to which a block is flat."""
LEAST_BLOCKS = 8
"""Number of flat blocks below which there is no spectrum."""
PERIODS = (2, 4, 8)
"""Periods in pixels whose power is compared with that of their neighbourhood."""
ROWS = 8 * BLOCK
"""Number of rows compared at once."""
ROUNDING = 1 / 12
"""Power of the error of rounding to 8 bits, per sample."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (Rec. 601)."""


@dataclass(frozen=True)
class Guards:
    """Averages of the error of a picture."""

    shift: tuple[float, float, float]
    """Mean of decoded minus original of red, green and blue, in grey levels."""
    peaks: tuple[float, float, float] | None
    """Peaks of the spectrum in flat areas at 1/2, 1/4 and 1/8 cycles per pixel in dB; see
    `spectral_peaks`. None with fewer than `LEAST_BLOCKS` flat blocks."""


def guards(original: Image.Image, decoded: Image.Image) -> Guards:
    """Measure the shift of colours and the peaks of the error's spectrum.

    Fully transparent pixels count as equal.

    Args:
        original: picture of mode L, LA, RGB or RGBA.
        decoded: picture of the same size.

    Raises:
        InputError: the sizes differ.
    """
    if original.size != decoded.size:
        raise InputError(f"decoded to {decoded.size}, but the picture has {original.size}")
    total, pixels = np.zeros(3), 0
    spectra, blocks = np.zeros((2, BLOCK, BLOCK)), 0
    for one, other, visible in strips(original, decoded, ROWS):
        error = other.astype(np.float64) - one
        total += error.sum((0, 1))
        pixels += visible
        part, count = flat_spectra(one, other)
        spectra, blocks = spectra + part, blocks + count
    red, green, blue = (float(value) for value in total / pixels)
    peaks = spectral_peaks(*(spectra / blocks)) if blocks >= LEAST_BLOCKS else None
    return Guards((red, green, blue), peaks)


def flat_spectra(
    original: NDArray[np.uint8], decoded: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], int]:
    """Sums over flat blocks of the power spectra of error and reconstruction, with a Hann window.

    Args:
        original: samples [H, W, 3]; blocks whose luma deviates by at most `FLAT` are flat.
        decoded: samples, likewise.

    Returns:
        Power [2, BLOCK, BLOCK] over the three colours, in units of the power per sample, by cycles
        per block in a column and in a row; and the number of flat blocks.
    """
    flat = _blocks(original @ np.array(LUMA)).std((1, 2)) <= FLAT
    ones, others = (_blocks(samples.astype(np.float64))[flat] for samples in (original, decoded))
    window = np.hanning(BLOCK + 1)[:-1]
    taper = np.outer(window, window)
    taper /= np.sqrt(np.square(taper).sum())
    found = []
    for parts in (others - ones, others):
        varying = (parts - parts.mean((1, 2), keepdims=True)) * taper[:, :, None]
        found.append(np.square(np.abs(np.fft.fft2(varying, axes=(1, 2)))).sum((0, 3)))
    return np.stack(found), int(np.count_nonzero(flat))


def _blocks(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole blocks [N, BLOCK, BLOCK, ...] of a plane [H, W, ...]."""
    rows, columns = (side // BLOCK for side in plane.shape[:2])
    rest = plane.shape[2:]
    cut = plane[: rows * BLOCK, : columns * BLOCK]
    grid = cut.reshape(rows, BLOCK, columns, BLOCK, *rest).swapaxes(1, 2)
    return grid.reshape(rows * columns, BLOCK, BLOCK, *rest)


def spectral_peaks(
    error: NDArray[np.float64], decoded: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Power at 1/2, 1/4 and 1/8 cycles per pixel over that of the frequencies nearby, in dB.

    A mesh stands out of the error's spectrum and out of the reconstruction's, so the lesser of both
    counts: a pattern of the original that was kept is in the reconstruction alone, one that was
    smoothed away in the error alone. Of vertical, horizontal and both diagonal patterns the highest
    counts. The power nearby is the median of the 16 frequencies two steps away. The power of
    rounding is added throughout, so that the result is at most 0 dB where there is no error.

    Args:
        error: mean power [BLOCK, BLOCK] over the three colours, from `flat_spectra`.
        decoded: mean power of the reconstruction, likewise.
    """

    def peak(row: int, column: int) -> float:
        return min(_prominence(spectrum, row, column) for spectrum in (error, decoded))

    half, quarter, eighth = (
        max(peak(n, 0), peak(0, n), peak(n, n), peak(n, -n))
        for n in (BLOCK // period for period in PERIODS)
    )
    return half, quarter, eighth


def _prominence(power: NDArray[np.float64], row: int, column: int) -> float:
    around = np.roll(power, (2 - row, 2 - column), (0, 1))[:5, :5] + 3 * ROUNDING
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    return float(10 * np.log10(around[2, 2] / np.median(around[ring])))
