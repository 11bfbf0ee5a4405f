"""Encoder-side search: other symbols for the same decoder, by descent on the lattice.

Rounding ignores what the synthesis makes of a symbol, and but for its dead zone what the symbol
costs. The search minimises

    bits + lambda 255^2 MSE pixels

with the bits of the exact tables and the error of the picture that the decoder will show. A round
finds slope and curvature of the error at the present symbols, predicts what each symbol's step by
+-1 would change, and takes a random part of the steps that promise enough, so that errors do not
add up. What it found is judged by its true cost; the best is kept, and what rounding gives is the
first candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.latents import LatentCoder, RoundedLatents, Symbols
from codec.runtime.distortion import Distortion

SHARE = 0.7
"""Part of the promising steps that a round takes."""
PRIOR_SAMPLES = 8
"""Samples of a latent's own curvature that weigh as much as its channel and its place."""
PATIENCE = 8
"""Rounds without a better candidate before the search ends."""
WORTH = 1.0
"""Bits that a candidate must save."""
SEED = 3


@dataclass(frozen=True)
class Caution:
    """What guards a round against promises that are not kept."""

    threshold: float
    """Bits that a step must promise."""
    damping: float
    """Factor on the curvature: a step often looks good because its curvature looks too small."""
    context: float
    """Bits of curvature beyond that of the error, of the first half of the passes, since they
    predict the other."""

    @classmethod
    def of_round(cls, number: int) -> Caution:
        """Great at first, when curvatures are little known and many steps are taken at once."""
        fading = 0.8**number
        return cls(1 + 0.5 * fading, 1.15 + 0.15 * fading, 3 + 2 * fading)


@dataclass(frozen=True)
class Refined:
    """The best candidate."""

    rounded: RoundedLatents
    error: float
    """Sum of squared differences of visible 8-bit samples."""


def refine(
    coder: LatentCoder,
    latents: tuple[NDArray[np.float32], NDArray[np.float32]],
    level: int,
    distortion: Distortion,
    weight: float,
    rounds: int,
    progress: Callable[[int], None],
) -> Refined:
    """Symbols of least cost among those that the search sees.

    Args:
        coder: of the model.
        latents: (y, z) before rounding.
        level: in units of 2^-12.
        distortion: of these latents.
        weight: bits that a unit of squared error is worth.
        rounds: how many at most.
        progress: told the number of rounds done after each.
    """
    y, z = latents
    random = np.random.default_rng(SEED)
    curvature = Curvature()
    rounded = coder.round(y, z, level)
    y = kept(y, rounded)
    best, best_cost, best_round = None, math.inf, 0
    for number in range(rounds):
        error, slopes = distortion.slopes(rounded.y_hat)
        cost = rounded.bits + weight * error
        if best is None or cost < best_cost - WORTH:
            best, best_cost, best_round = Refined(rounded, error), cost, number
        elif number - best_round >= PATIENCE:
            return best
        curvature.add(slopes.curvature)
        gradients = slopes.gradient * weight, curvature.estimate() * weight
        y += steps(rounded, *gradients, Caution.of_round(number), random)
        rounded = coder.round(y, z, level, dead_zone=False)
        progress(number + 1)
    error = distortion.error(rounded.y_hat)
    if best is None or rounded.bits + weight * error < best_cost - WORTH:
        return Refined(rounded, error)
    return best


def kept(y: NDArray[np.float32], rounded: RoundedLatents) -> NDArray[np.float32]:
    """Latents [M, H, W] whose nearest integers are the symbols that a dead zone or a table chose.

    Rounds of the search have no dead zone: it would undo their steps.
    """
    return np.where(np.abs(y - rounded.y_hat) > 0.5, rounded.y_hat, y)


class Curvature:
    """Mean of noisy samples of a curvature, drawn towards its channel's and its place's."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float32] | None = None
        self._count = 0

    def add(self, sample: NDArray[np.float32]) -> None:
        """One more sample, [M, H, W]."""
        self._sum = sample if self._sum is None else self._sum + sample
        self._count += 1

    def estimate(self) -> NDArray[np.float32]:
        """[M, H, W]; rather too large than too small."""
        assert self._sum is not None
        mean = self._sum / np.float32(self._count)
        channel = np.maximum(mean.mean((1, 2), keepdims=True), np.finfo(np.float32).tiny)
        place = (mean / channel).mean(0)
        drawn = (self._sum + PRIOR_SAMPLES * channel * place) / (self._count + PRIOR_SAMPLES)
        return np.maximum(drawn, mean)


def steps(
    rounded: RoundedLatents,
    gradient: NDArray[np.float32],
    curvature: NDArray[np.float32],
    caution: Caution,
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """Steps of -1, 0 or 1 that should pay, [M, H, W].

    Args:
        rounded: present symbols.
        gradient: of the weighted error, in bits, [M, H, W].
        curvature: likewise.
        caution: of this round.
        random: chooses among the steps.
    """
    grid = rounded.grid
    gradients, curvatures = grid.pack(gradient), grid.pack(curvature)
    packed = []
    for number, (symbols, slope, bend) in enumerate(
        zip(rounded.passes, gradients, curvatures, strict=True)
    ):
        context = caution.context if number < grid.passes // 2 else 0.0
        half = (caution.damping * bend + context) / 2
        up = _bits_of_step(symbols, 1).reshape(slope.shape) + slope + half
        down = _bits_of_step(symbols, -1).reshape(slope.shape) - slope + half
        promising = np.minimum(up, down) < -caution.threshold
        taken = promising & (random.random(slope.shape) < SHARE)
        packed.append(np.where(up < down, 1.0, -1.0) * taken)
    return grid.unpack(packed).astype(np.float32)


def _bits_of_step(symbols: Symbols, step: int) -> NDArray[np.float64]:
    """What a step of each symbol adds to its bits; inf beyond the end of its table."""
    values, tables = symbols.values + np.int32(step), symbols.tables
    clamped = tables.clamp(values, symbols.table)
    added = tables.bits(clamped, symbols.table) - symbols.bits
    return np.where(clamped == values, added, np.inf)
