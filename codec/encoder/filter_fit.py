"""Weights of a picture's restoration filter: least squares on the reconstruction.

With u the 76 numbers that a kernel reads at a pixel (5x5x3 samples and a 1), m the error of the
reconstruction there in one colour, and F_k the coefficients of kernel k for that colour, the
weights minimise the sum of |m - sum_k w_k F_k u|^2 over pixels and colours, so M w = v with

    M_jk = sum over colours of F_j A F_k,   A = sum over pixels of u u^T
    v_k  = sum over colours of F_k b,       b = sum over pixels of u m

A lattice of some ten thousand pixels of a large picture determines so few unknowns. The weights
then fit the noise of these, and on average each weight seems to save more squared error than it
does by

    2 E (pixels / sampled pixels - 1),

E being the squared error of a pixel (Mallows 1973; the three colours are assumed to err alike). So
a weight has to save that and its byte. Kernels are ordered so that the first n of them do well
alone, for every n; a file has the n that saves most.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from codec.picture.alpha import Plane
from codec.picture.pixels import Samples
from codec.weights.config import MIDDLE_GREY
from codec.weights.file import COLOURS, KERNEL_RADIUS, KERNEL_SIDE

PIXELS = 30_000
"""Least number of pixels that are sampled, if the picture has them. The stride is odd, so that
every phase of the 8x8 grid is covered."""
TURN = 0.382
"""Golden section, by which the lattice shifts from row to row."""
CHUNK = 1 << 14
"""Pixels that are processed together."""
RIDGE = 1e-7
"""Regularisation relative to the mean of M's diagonal, for kernels that hardly differ."""
MOST = 127
"""Largest weight."""
BITS = 8.0
"""Bits of a weight, and of their number."""


def filters_of(
    kernels: NDArray[np.float32], offsets: NDArray[np.float32], grey: bool
) -> NDArray[np.float64]:
    """Coefficients F of the kernels by colour, [K, 3, 76], or [K, 1, 76] of a grey picture.

    Args:
        kernels: B [K, 3, 3, 5, 5] of `codec.model.restoration`.
        offsets: b [K, 3].
        grey: whether the mean of the three colours replaces each of them.
    """
    flat = kernels.reshape(*kernels.shape[:2], -1)
    filters = np.concatenate([flat, offsets[..., None]], 2).astype(np.float64)
    return filters.mean(1, keepdims=True) if grey else filters


class LeastSquares:
    """Normal equations, summed over the windows of a picture.

    Args:
        filters: coefficients of the kernels, of `filters_of`.
        pixels: visible pixels of the picture, of which the windows may be a part.
    """

    def __init__(
        self,
        filters: NDArray[np.float64],
        pixels: int,
    ) -> None:
        self._filters = filters
        self._grey = filters.shape[1] == 1
        stride = max(1, pixels // PIXELS)
        self._stride = stride - (stride % 2 == 0)
        self._pixels = 0
        size = filters.shape[2]
        self._samples = np.zeros((size, size))
        self._missing = np.zeros((size, self._filters.shape[1]))
        self._error = 0.0
        self._sampled = 0

    def add(self, samples: NDArray[np.float32], original: Samples, alpha: Plane | None) -> None:
        """Add a window.

        Args:
            samples: reconstruction [3, H, W], about 0..1.
            original: [H, W, 3].
            alpha: of the original, [H, W]; transparent pixels do not count.
        """
        samples = samples.clip(0, 1)
        radius = (KERNEL_RADIUS, KERNEL_RADIUS)
        around = 255 * np.pad(samples - MIDDLE_GREY, ((0, 0), radius, radius), mode="edge")
        width = around.shape[2]
        flat = around.reshape(COLOURS, -1)
        steps = [
            row * width + column for row in range(KERNEL_SIDE) for column in range(KERNEL_SIDE)
        ]
        rows, columns = _lattice(samples.shape[1], samples.shape[2], self._stride)
        if alpha is not None:
            visible = alpha[rows, columns] > 0
            rows, columns = rows[visible], columns[visible]
        self._pixels += samples[0].size if alpha is None else int(np.count_nonzero(alpha))
        missing = original[rows, columns] - 255.0 * samples[:, rows, columns].T
        missing = missing.mean(1, keepdims=True) if self._grey else missing
        self._error += float(np.square(missing).sum())
        self._sampled += len(rows)
        corner = rows * width + columns
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            read = np.full((len(self._samples), len(corner[part])), 255.0)
            for number, (colour, step) in enumerate(product(range(COLOURS), steps)):
                read[number] = flat[colour, corner[part] + step]
            self._samples += read @ read.T
            self._missing += read @ missing[part]

    def merge(self, other: LeastSquares) -> None:
        """Add the sums of other windows of the same picture."""
        self._samples += other._samples
        self._missing += other._missing
        self._error += other._error
        self._sampled += other._sampled
        self._pixels += other._pixels

    def solve(self, error_weight: float) -> tuple[int, ...]:
        """Weights of least rate-distortion cost, in -127..127; none if a filter does not pay.

        Args:
            error_weight: bits that a unit of squared error of 8-bit samples is worth.
        """
        best: tuple[int, ...] = ()
        if not self._sampled:
            return best
        colours = COLOURS / self._missing.shape[1]  # that each one stands for
        scale = max(1.0, self._pixels / self._sampled)
        filters = self._filters.transpose(1, 0, 2)
        products = scale * colours * (filters @ self._samples @ filters.transpose(0, 2, 1)).sum(0)
        correlations = scale * colours * np.einsum("ckp,pc->k", filters, self._missing)
        optimism = 2 * colours * self._error / self._sampled * (scale - 1)
        price = BITS + error_weight * optimism
        saved = 0.0
        for count in range(1, len(correlations) + 1):
            matrix, vector = products[:count, :count], correlations[:count]
            ridge = RIDGE * np.trace(matrix) / count
            if not (ridge > 0 and math.isfinite(ridge)):
                break
            exact = np.linalg.solve(matrix + ridge * np.eye(count), vector)
            weights = np.clip(np.rint(exact), -MOST, MOST)
            less = 2 * vector @ weights - weights @ matrix @ weights
            gain = error_weight * less - price * count - BITS
            if gain > saved and weights[-1]:
                best, saved = tuple(int(weight) for weight in weights), gain
        return best


def _lattice(height: int, width: int, stride: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of one pixel in `stride`, spread evenly: in each row that far apart, and
    shifted from row to row by a golden section."""
    shift = round(TURN * stride)
    wider = width + (shift - width) % stride
    rows, columns = np.divmod(np.arange(0, height * wider, stride), wider)
    return rows[columns < width], columns[columns < width]
