"""The prior over indices in exact arithmetic: the twin of `codec.model.index_prior`.

Logits are integers, log2 P up to a constant in units of 2^-10. Frequencies come from them by
integers alone: with d = max - logit and a stored table e[d] = 2^24 2^(-d/1024),

    f = 1 + floor(e (2^24 - K) / sum e),    the first of the likeliest takes what is left over
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.entropy.dyadic import (
    HIGHEST,
    LOWEST,
    UNIT,
    Block,
    Exact,
    bias_in_units,
    check_bounds,
    check_shapes,
    requantise,
)
from codec.entropy.exact_prior import LatentGrid
from codec.entropy.graph import (
    INDEX_BLOCKS,
    INDEX_PASSES,
    WEIGHT_BITS,
    Parameter,
    Parameters,
    index_parameters,
)
from codec.entropy.tables import PRECISION, TOTAL
from codec.errors import WeightsError
from codec.weights.config import ModelConfig

POWERS = PRECISION * UNIT
"""Length of the table of powers; beyond it a symbol has the least frequency, 1."""


class Part(NamedTuple):
    """The indices of one group on one class of positions, a colour of the checkerboard."""

    group: int
    squares: slice
    """Packed positions (see `LatentGrid`)."""


def parts_of_pass(grid: LatentGrid, groups: int, number: int) -> list[Part]:
    """Parts of pass 0 or 1 of a stage, in coding order.

    Pass 0 holds the first half of the groups on even squares and the second on odd ones.
    """
    return [Part(g, grid.classes[int(g >= groups // 2) ^ number]) for g in range(groups)]


def stored_parameters(config: ModelConfig) -> Parameters:
    """All tensors of the prior and the table of powers; none if it is uniform."""
    parameters = index_parameters(config)
    return parameters | {"powers": Parameter((POWERS,))} if parameters else {}


class ExactIndexPrior:
    """Frequencies of the indices of a picture, part by part.

    Args:
        tensors: integer parameters by name, without the `prior.` prefix.
        config: the shape they must have.

    Raises:
        WeightsError: a tensor is missing, has another shape, breaks the exactness bound, or
            the powers are no decreasing sequence from 2^24.
    """

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], config: ModelConfig) -> None:
        self.config = config
        self.learned = config.index_prior == "learned"
        check_shapes(tensors, stored_parameters(config))
        if not self.learned:
            return
        powers = tensors["powers"].astype(np.int64)
        if powers[0] != TOTAL or powers[-1] < 0 or np.any(np.diff(powers) > 0):
            raise WeightsError("the prior's powers do not fall from 2^24")
        self._powers = np.append(powers, 0)
        self._embedding = tensors["embedding"].astype(np.float64)
        self._pass_bias = tensors["pass_bias"].astype(np.float64)
        self._blocks = [Block(tensors, name) for name in INDEX_BLOCKS]
        self._heads = []
        for stage in range(config.anchors):
            weight, bias = tensors["head_weight"][stage], tensors["head_bias"][stage]
            check_bounds(weight, bias, f"head_weight of stage {stage}")
            self._heads.append((weight * 2.0**-WEIGHT_BITS, bias_in_units(bias)))

    def walk(self, grid: LatentGrid) -> IndexWalk:
        """Start at the first stage of a picture."""
        return IndexWalk(self, grid)

    def features(self, context: Exact, stage: int, number: int, grid: LatentGrid) -> Exact:
        """Context [width, H*W] to features of a pass, likewise; packed positions."""
        h = np.clip(context + self._pass_bias[stage, number][:, None], LOWEST, HIGHEST)
        h = grid.to_spatial(h).reshape(-1, grid.height, grid.width)
        for block in self._blocks:
            h = block(h)
        return grid.to_packed(h.reshape(len(h), -1))

    def logits(self, features: Exact, stage: int, part: Part) -> Exact:
        """log2 P(k) up to a constant, in units of 2^-10: [squares, K]."""
        weight, offset = self._heads[stage]
        centres = self.config.centres
        rows = slice(part.group * centres, (part.group + 1) * centres)
        out = weight[rows] @ features[:, part.squares] + offset[rows, None]
        return np.ascontiguousarray(requantise(out, LOWEST).T)

    def frequencies(self, logits: Exact) -> NDArray[np.int64]:
        """Integer frequencies >= 1 with sum 2^24 of integer-valued logits [n, K]."""
        below = (logits.max(1, keepdims=True) - logits).astype(np.int64)
        powers = self._powers[np.minimum(below, POWERS)]
        scale = powers.sum(1, keepdims=True)
        result = 1 + powers * (TOTAL - logits.shape[1]) // scale
        likeliest = np.argmax(powers, axis=1)
        result[np.arange(len(result)), likeliest] += TOTAL - result.sum(1)
        return result

    def equal_frequencies(self, count: int) -> NDArray[np.int64]:
        """The uniform prior's [count, K]; the first index takes what is left over."""
        centres = self.config.centres
        row = np.full(centres, TOTAL // centres, np.int64)
        row[0] += TOTAL - row.sum()
        return np.broadcast_to(row, (count, centres))

    def embed(self, indices: NDArray[np.integer], stage: int, part: Part) -> Exact:
        """Contribution of the indices [squares] of a part to the context, [width, squares]."""
        return self._embedding[stage, indices + part.group * self.config.centres].T


class IndexWalk:
    """The order in which encoder and decoder visit the indices of one picture.

    For each stage `parts` yields what its two passes hold, with the frequencies of the indices;
    the caller answers each with `tell` before it asks for the next.
    """

    def __init__(self, prior: ExactIndexPrior, grid: LatentGrid) -> None:
        self._prior, self._grid = prior, grid
        self._count = grid.height * grid.width
        self._context = np.zeros((prior.config.prior, self._count if prior.learned else 0))
        self._told: list[tuple[Part, Exact]] = []

    def parts(self, stage: int) -> Iterator[tuple[Part, NDArray[np.int64]]]:
        """(part, frequencies [squares, K]) of a stage."""
        prior, grid = self._prior, self._grid
        for number in range(INDEX_PASSES):
            if prior.learned:
                features = prior.features(self._context, stage, number, grid)
            for part in parts_of_pass(grid, prior.config.groups, number):
                if prior.learned:
                    yield part, prior.frequencies(prior.logits(features, stage, part))
                else:
                    yield part, prior.equal_frequencies(len(range(self._count)[part.squares]))
            for part, added in self._told:
                self._context[:, part.squares] += added
            self._told.clear()

    def tell(self, stage: int, part: Part, indices: NDArray[np.integer]) -> None:
        """Give the indices [squares] of the part that `parts` yielded last."""
        if self._prior.learned:
            self._told.append((part, self._prior.embed(indices, stage, part)))
