"""The encoder's part of the restoration filter: least squares, from what the decoder will see.

With r the difference of original and decoded samples and R_k what kernel k adds to them with a
weight of 1, the weights minimise |r - sum_k w_k R_k|^2, so M w = v with M_jk = <R_j, R_k> and
v_k = <R_k, r>. Both are summed window by window, in all but small windows over two lattices of
places: some thirty unknowns do not need more, and what pays on both of them does so in between,
also in a picture with a pattern that one of them is in step with.

Kernels are ordered so that the first n of them do well alone, for every n. A file has as many as
pay for their bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codec.picture.alpha import Plane
from codec.picture.pixels import Samples

STRIDES = (5, 7)
"""Of the lattices; prime to 8, so that all places of the squares are seen that the synthesis puts
together."""
SMALL = 1 << 16
"""Pixels of a window of which all are used."""
RIDGE = 1e-7
"""Part of the mean of M's diagonal that is added to it, where kernels hardly differ."""
MOST = 127
"""Largest weight."""
BITS = 8.0
"""Of a weight, and of their number."""

Responses = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""(samples [3, H, W], stride) to what each kernel adds, [K, 3, rows, columns]."""


class LeastSquares:
    """The sums, over the windows of a picture.

    Args:
        kernels: K.
        responses: of the kernels.
        grey: whether the mean of the three colours is shown in place of each.
    """

    def __init__(self, kernels: int, responses: Responses, grey: bool) -> None:
        self._responses = responses
        self._grey = grey
        self._products = np.zeros((len(STRIDES), kernels, kernels))
        self._correlations = np.zeros((len(STRIDES), kernels))

    def add(self, shown: NDArray[np.float32], original: Samples, alpha: Plane | None) -> None:
        """One more window.

        Args:
            shown: decoded samples [3, H, W], about 0..1.
            original: [H, W, 3].
            alpha: of the original, [H, W]; what is invisible does not count.
        """
        shown = shown.clip(0, 1)
        if shown[0].size <= SMALL:
            products, correlations = self._sums(shown, original, alpha, 1)
            self._products += products
            self._correlations += correlations
            return
        for number, stride in enumerate(STRIDES):
            products, correlations = self._sums(shown, original, alpha, stride)
            self._products[number] += products
            self._correlations[number] += correlations

    def _sums(
        self, shown: NDArray[np.float32], original: Samples, alpha: Plane | None, stride: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """M and v of a window, from one lattice."""
        added = self._responses(shown, stride) * np.float32(255)
        places = slice(None, None, stride)
        seen = shown[:, places, places] * np.float32(255)
        missing = original.transpose(2, 0, 1)[:, places, places] - seen
        weight = float(shown[0].size / seen[0].size)
        if self._grey:
            added, missing = added.mean(1, keepdims=True), missing.mean(0, keepdims=True)
            weight *= 3
        if alpha is not None:
            visible = alpha[places, places] > 0
            added, missing = added[:, :, visible], missing[:, visible]
        added, missing = added.reshape(len(added), -1), missing.reshape(-1)
        products, correlations = added @ added.T, added @ missing
        return weight * products.astype(np.float64), weight * correlations.astype(np.float64)

    def solve(self, error_weight: float) -> tuple[int, ...]:
        """Weights of least cost, in -127..127; none where no filter pays.

        Args:
            error_weight: bits that a unit of squared error of 8-bit samples is worth.
        """
        best: tuple[int, ...] = ()
        saved = 0.0
        for count in range(1, self._correlations.shape[1] + 1):
            products = self._products[:, :count, :count]
            correlations = self._correlations[:, :count]
            mean = products.mean(0)
            ridge = RIDGE * np.trace(mean) / count
            if not ridge > 0:  # nothing is visible
                break
            exact = np.linalg.solve(mean + ridge * np.eye(count), correlations.mean(0))
            weights = np.clip(np.rint(exact), -MOST, MOST)
            less = 2 * correlations @ weights - (products @ weights) @ weights
            gain = error_weight * less.min() - BITS * (count + 1)
            if gain > saved and weights[-1]:
                best, saved = tuple(int(weight) for weight in weights), gain
        return best
