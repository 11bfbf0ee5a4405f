"""The centres of a model: choosing among them (encoder), looking them up (decoder).

Not exact, and free not to be: an index that was chosen is coded exactly, and L^ reaches
nothing but g_s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.errors import WeightsError
from codec.weights.config import ModelConfig

MAX_DISTANCES = 1 << 21
"""Entries of the largest array of distances."""


class Codebook:
    """Product and residual codebooks.

    Args:
        centres: [levels, G, K, D].
        config: the shape they must have.

    Raises:
        WeightsError: the shape is another, or a value is not finite.
    """

    def __init__(self, centres: NDArray[np.floating], config: ModelConfig) -> None:
        shape = (config.anchors, config.groups, config.centres, config.dimensions)
        if centres.shape != shape or not np.issubdtype(centres.dtype, np.floating):
            raise WeightsError(f"the centres are not floats of shape {shape}")
        self._centres = np.asarray(centres, np.float32)
        if not np.all(np.isfinite(self._centres)):
            raise WeightsError("a centre is not finite")
        self._norms = np.square(self._centres).sum(-1)

    def choose(
        self,
        remainder: NDArray[np.float32],
        stage: int,
        group: int,
        cost: NDArray[np.floating] | None = None,
    ) -> NDArray[np.int32]:
        """argmin_k |L - C_k|^2 + cost.

        Args:
            remainder: what lower levels left over of a group, [n, D].
            cost: of each index, [n, K].

        Returns:
            Indices [n].
        """
        centres, norms = self._centres[stage, group], self._norms[stage, group]
        chosen = np.empty(len(remainder), np.int32)
        rows = max(1, MAX_DISTANCES // len(centres))
        for start in range(0, len(remainder), rows):
            part = slice(start, start + rows)
            with np.errstate(over="ignore", invalid="ignore"):  # of unsound weights
                distance = norms - 2 * remainder[part] @ centres.T
            chosen[part] = np.argmin(distance if cost is None else distance + cost[part], axis=1)
        return chosen

    def look_up(self, indices: NDArray[np.integer], stage: int, group: int) -> NDArray[np.float32]:
        """Centres [n, D] of indices [n]."""
        return self._centres[stage, group][indices]
