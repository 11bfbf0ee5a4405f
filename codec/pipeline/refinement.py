"""Encoder-side search: other symbols for the same decoder, by descent on the lattice.

Rounding ignores what the synthesis makes of a symbol, and but for its dead zone what the symbol
costs. The search minimises

    bits + lambda 255^2 MSE pixels

with the bits of the exact tables and the error of the picture that the decoder will show. A round
finds slope and curvature of the error at the present symbols, predicts what each symbol's step by
+-1 would change, and takes those steps that promise most at their place: latents of one place show
the same pixels, so that steps which would mend the same error together overshoot. What it found is
judged by its true cost; the best is kept, and what rounding gives is the first candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.latents import LatentCoder, RoundedLatents, Symbols
from codec.runtime.distortion import Distortion, Slopes

SELECTION = 0.7
"""Promise of a step that is taken, at least, as a part of the greatest at its place."""
PRIOR_SAMPLES = 12
"""Samples of a latent's own curvature that weigh as much as its channel and its place, which leave
a deviation of a third; a sample's own is 1.4."""
SECANT_SAMPLES = 8
"""Samples that weigh as much as what a step of the latent did to its slope."""
SECANT_BOUND = 10.0
"""Factor by which that may differ from what the samples say: other steps change the slope too."""
STEP = 0.6
"""Least change of a latent that counts as a step; means of later passes move by less."""
PATIENCE = 8
"""Rounds without a better candidate before the search ends, once it is to settle."""
WORTH = 1.0
"""Bits that a candidate must save."""


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
    def of_round(cls, number: int, rounds: int) -> Caution:
        """Great at first, when curvatures are little known; then little, so that the search leaves
        what is good but not best; from the middle on more and more, so that it settles.

        Args:
            number: of the round, from 0.
            rounds: how many there will be.
        """
        settling = 2 * number / max(rounds - 1, 1) - 1
        share = max(0.5**number, settling)
        return cls(1 + 0.5 * share, 0.95 + 0.35 * share, 3 + 2 * share)


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
    rounded = coder.round(y, z, level)
    curvature = Curvature(rounded.y_hat.shape)
    y = kept(y, rounded)
    best, best_cost, best_round = None, math.inf, 0
    for number in range(rounds):
        error, slopes = distortion.slopes(rounded.y_hat)
        cost = rounded.bits + weight * error
        if best is None or cost < best_cost - WORTH:
            best, best_cost, best_round = Refined(rounded, error), cost, number
        elif number - max(best_round, rounds // 2) >= PATIENCE:
            return best
        curvature.add(rounded.y_hat, slopes)
        derivatives = slopes.gradient * weight, curvature.estimate() * weight
        y += steps(rounded, *derivatives, Caution.of_round(number, rounds))
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
    """Of the error along each latent, from noisy samples and from what its steps did to the slope.

    A mean of samples is drawn towards that of the channel and the place. A step is taken where the
    curvature looks small, more often than not because it looks too small: the change of the slope
    that comes of it (a secant) tells, before the next round takes the step back.

    Args:
        shape: of the latents, [M, H, W].
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._samples = np.zeros(shape, np.float32)
        self._count = 0
        self._drawn = np.zeros(shape, np.float32)
        self._secants = np.zeros(shape, np.float32)
        self._steps = np.zeros(shape, np.float32)
        self._last: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def add(self, y_hat: NDArray[np.float32], slopes: Slopes) -> None:
        """What is known at latents [M, H, W]."""
        self._samples += slopes.curvature
        self._count += 1
        self._draw()
        if self._last:
            change = y_hat - self._last[0]
            stepped = np.abs(change) > STEP
            secant = (slopes.gradient - self._last[1]) / np.where(stepped, change, 1)
            secant = np.clip(secant, self._drawn / SECANT_BOUND, self._drawn * SECANT_BOUND)
            self._secants += np.where(stepped, secant, 0)
            self._steps += stepped
        self._last = y_hat, slopes.gradient

    def estimate(self) -> NDArray[np.float32]:
        """[M, H, W], positive."""
        weight = self._count + PRIOR_SAMPLES
        secants = SECANT_SAMPLES * self._secants
        return (weight * self._drawn + secants) / (weight + SECANT_SAMPLES * self._steps)

    def _draw(self) -> None:
        """The mean of the samples towards that of the channel and the place."""
        mean = self._samples / np.float32(self._count)
        channel = np.maximum(mean.mean((1, 2), keepdims=True), np.finfo(np.float32).tiny)
        place = (mean / channel).mean(0)
        drawn = self._samples + PRIOR_SAMPLES * channel * place
        self._drawn = drawn / np.float32(self._count + PRIOR_SAMPLES)


def steps(
    rounded: RoundedLatents,
    gradient: NDArray[np.float32],
    curvature: NDArray[np.float32],
    caution: Caution,
) -> NDArray[np.float32]:
    """Steps of -1, 0 or 1 that should pay, the best of each place, [M, H, W].

    Args:
        rounded: present symbols.
        gradient: of the weighted error, in bits, [M, H, W].
        curvature: likewise.
        caution: of this round.
    """
    grid = rounded.grid
    gradients, curvatures = grid.pack(gradient), grid.pack(curvature)
    directions, promises = [], []
    for number, (symbols, slope, bend) in enumerate(
        zip(rounded.passes, gradients, curvatures, strict=True)
    ):
        context = caution.context if number < grid.passes // 2 else 0.0
        half = (caution.damping * bend + context) / 2
        up = _bits_of_step(symbols, 1).reshape(slope.shape) + slope + half
        down = _bits_of_step(symbols, -1).reshape(slope.shape) - slope + half
        directions.append(np.where(up < down, 1.0, -1.0))
        promises.append(-np.minimum(up, down))
    promise = grid.unpack(promises)
    taken = promise > np.maximum(caution.threshold, SELECTION * promise.max(0))
    return (grid.unpack(directions) * taken).astype(np.float32)


def _bits_of_step(symbols: Symbols, step: int) -> NDArray[np.float64]:
    """What a step of each symbol adds to its bits; inf beyond the end of its table."""
    values, tables = symbols.values + np.int32(step), symbols.tables
    clamped = tables.clamp(values, symbols.table)
    added = tables.bits(clamped, symbols.table) - symbols.bits
    return np.where(clamped == values, added, np.inf)
