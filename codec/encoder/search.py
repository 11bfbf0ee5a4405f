"""The method Search: other symbols for the same decoder, by descent on the lattice.

Rounding ignores what the synthesis makes of a symbol, and but for its dead zone what the symbol
costs. The search minimises

    bits + lambda 255^2 MSE pixels

(or what models for MS-SSIM minimise) with the bits of the exact tables and the error of the picture
that the decoder will show. A round finds slope and curvature of the error at the present symbols,
predicts from them and from the slopes of earlier rounds what each symbol's step by +-1 would
change, and takes those steps that promise most at their place: latents of one place show the same
pixels, so that steps which would mend the same error together overshoot. What it found is judged by
its true cost; the best is kept, and what rounding gives is the first candidate.

What is expected of curvatures, and caution, were chosen by what 1 to 48 rounds saved on 4 to 16
held-out tiles of 256x256 at four or five levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.encoder.compensation import TILE_BYTES, Correction
from codec.encoder.method import CodedTile, Round
from codec.encoder.model import EncoderModel
from codec.encoder.tile import SourceTile
from codec.engine.base import Distortion, Slopes
from codec.entropy.latents import LatentCoder, RoundedLatents, Symbols
from codec.level import Level
from codec.tiles import Grid
from codec.weights.config import MS_SSIM_SIDE

CORRECTIONS = 2
"""Corrections before the descent, which starts better from corrected latents."""
DERIVATIVE_BYTES = 640
"""Per pixel of a strip and its halo: derivatives need what the layers of the synthesis have
computed. A picture of 1024x1024 took 9 % more memory than is estimated, one of 1400x1400 4 % less,
and 1 and 7 % less with MS-SSIM."""
SIMILARITY_BYTES = 350
"""Per pixel of a tile while MS-SSIM is computed, which is not by strips and not at the same time as
the derivatives of strips."""
TYPICAL, CHANNEL, PLACE = 0.7, 0.53, 0.24
"""What is expected of a latent's curvature has these parts: that of its channel in photographs,
that of its channel in this picture, and the first as much greater as this place's curvatures
are."""
SLOPE = 0.1
"""Part of the size of its slope by which a latent's curvature is taken to be greater: slopes come
of errors of rounding, of half a step at most, times curvatures. Single steps of latents with great
slopes met 2 to 4 times the curvature of their channel in photographs."""
EXPECTED_SAMPLES = 8
"""Samples of a latent's own curvature that weigh as much as what is expected of it: one of them has
a deviation of 1.4 times what it stands for."""
EXCESS = 2.0
"""Where no samples are drawn, curvature that is expected, times what photographs have: steps are
single, and MS-SSIM bends more along them than on average. With 1.5, 8 rounds saved 0.4 % of the
bits less on four held-out tiles at two rates, and without regard to places 1.5 % less."""
SECANT_SAMPLES = 8
"""Samples that weigh as much as what a step of the latent did to its slope."""
SECANT_BOUND = 10.0
"""Factor by which that may differ from what the samples say: other steps change the slope too."""
SAMPLE_BOUND = 30.0
"""Factor by which a sample may exceed the curvature of its channel in photographs."""
SAMPLED = 4
"""A sample of the curvature is drawn in one round of so many, for it takes a third of a round."""
STEP = 0.6
"""Least change of a latent that counts as a step; means of later passes move by less."""
MEMORY = 0.4
"""Share of earlier rounds in the slopes that a round goes by."""
ASTRAY = 1.5
"""Cost, as a multiple of the best, at which the search goes back to the best: steps can lead to
where the synthesis amplifies without measure, and the neighbours of such a place follow."""
LEAST_PATIENCE, PATIENCE = 4, 6
"""Rounds without a better candidate, beyond the first half, before it does so too: at least so
many, or all rounds divided by so much."""
SETTLING = 12
"""Rounds after it lost patience, at most."""
WORTH = 1.0
"""Bits that a candidate must save."""


@dataclass(frozen=True)
class Caution:
    """What guards a round against promises that are not kept."""

    selection: float
    """Promise of a step that is taken, at least, as a part of the greatest at its place."""
    damping: float
    """Factor on the curvature: a step often looks good because its curvature looks too small."""
    threshold: float = 1.7
    """Bits that a step must promise."""
    context: float = 5.5
    """Bits of curvature beyond that of the error, of the first half of the passes, since they
    predict the other."""

    @classmethod
    def before(cls, left: int) -> Caution:
        """The less, the more rounds are left: they mend what this one spoils, and what is good but
        not best is left only so. The last rounds settle.

        Args:
            left: rounds after this one.
        """
        share = 1 / (1 + left / 3)
        return cls(0.2 + 0.45 * share, 0.45 + 0.5 * share)


class Search:
    """The symbols of least bits + lambda * distortion that a search sees.

    Each tile is searched by itself: latents around it are taken before rounding, and only its own
    samples count. With squared error the search starts from corrected latents
    (`codec.encoder.compensation`). With MS-SSIM, tiles of fewer than 161 pixels a side are rounded.

    Args:
        model: to code with.
        rounds: of the search, at most.
        restoration: weights of the restoration filter that the tile will be reconstructed with.
    """

    def __init__(self, model: EncoderModel, rounds: int, restoration: Sequence[int] = ()) -> None:
        self._model = model
        self.rounds = rounds
        self._restoration = restoration

    def code(self, tile: SourceTile, level: Level) -> CodedTile:
        if self._model.config.distortion == "mse":
            return self._code_by_error(tile, level)
        if min(tile.box.width, tile.box.height) < MS_SSIM_SIDE:
            return Round(self._model).code(tile, level)
        scene = tile.scene(level)
        distortion = self._model.engine.distortion(scene, level)
        weight = self._model.lambda_of(level)
        found = self._descend(scene.y, scene.z, level, distortion, weight, tile.progress)
        return CodedTile(found.rounded)

    def _code_by_error(self, tile: SourceTile, level: Level) -> CodedTile:
        model, scene, restoration = self._model, tile.scene(level), self._restoration
        weight = model.error_weight(level)
        correction = Correction(model.engine, scene, level)
        candidates = []
        for _ in range(CORRECTIONS * model.config.compensable):
            rounded = model.round(correction.y, scene.z, level)
            samples = correction.reconstruct(rounded.y_hat, None)
            candidates.append(CodedTile(rounded, correction.error(samples, restoration)))
            correction.step(rounded.y_hat, samples, restoration)
        distortion = model.engine.distortion(scene, level, restoration)
        candidates.append(
            self._descend(correction.y, scene.z, level, distortion, weight, tile.progress)
        )
        return min(candidates, key=lambda one: one.rounded.bits + weight * one.error)

    def _descend(
        self,
        y: NDArray[np.float32],
        z: NDArray[np.float32],
        level: Level,
        distortion: Distortion,
        weight: float,
        progress: Callable[[int], None],
    ) -> CodedTile:
        start = self._model.round(y, z, level)
        curvature = self._model.curvature(level)
        coder = self._model.integer_coder
        return descend(
            coder, start, y, z, level, distortion, weight, curvature, self.rounds, progress
        )

    def memory(self, grid: Grid) -> int:
        tile, halo = grid.box(0), self._model.engine.analysis_halo
        across = min(tile.height, tile.width) + 2 * halo
        strip = min(tile.area, self._model.engine.strip_pixels) + 2 * halo * across
        derivatives = min(grid.whole.area, strip) * DERIVATIVE_BYTES
        if self._model.config.distortion == "mse":
            return max(derivatives, tile.area * TILE_BYTES)
        return max(derivatives, tile.area * SIMILARITY_BYTES)


def descend(
    coder: LatentCoder,
    start: RoundedLatents,
    y: NDArray[np.float32],
    z: NDArray[np.float32],
    level: Level,
    distortion: Distortion,
    weight: float,
    typical: NDArray[np.floating] | None,
    rounds: int,
    progress: Callable[[int], None],
) -> CodedTile:
    """Symbols of least cost among those that the search sees.

    Args:
        coder: of the model.
        start: the first candidate.
        y: latents before rounding, [M, H, W].
        z: hyper-latents before rounding.
        level: in units of 2^-12.
        distortion: of these latents.
        weight: bits that a unit of distortion is worth.
        typical: half the curvature of each channel in photographs, [M], if it is known.
        rounds: how many at most.
        progress: told the number of rounds done after each.
    """
    rounded = start
    y = kept(y, rounded)
    curvature, steady = Curvature(y.shape, typical), SteadySlope()
    best: CodedTile | None = None
    best_symbols, best_y, best_cost, best_round = rounded, y, math.inf, 0
    patience = max(LEAST_PATIENCE, rounds // PATIENCE)
    number, left = 0, rounds
    while left > 0:
        error, slopes = distortion.slopes(rounded.y_hat, sampled=curvature.wants_sample)
        number, left = number + 1, left - 1
        cost = rounded.bits + weight * error
        tired = number - max(best_round, rounds // 2) > patience
        if best is None or cost < best_cost - WORTH:
            best, best_symbols = CodedTile(rounded, error), rounded
            best_y, best_cost, best_round = y, cost, number
        elif tired or cost > ASTRAY * best_cost:
            # What the steps since told of curvatures led astray: it is forgotten.
            curvature, steady = Curvature(y.shape, typical), SteadySlope()
            y, rounded, best_round = best_y, best_symbols, number
            left = min(left, SETTLING) if tired else left
            progress(number)
            continue
        slopes = slopes.times(weight)
        curvature.add(rounded.y_hat, slopes)
        estimate = curvature.estimate()
        slope = steady.add(rounded.y_hat, slopes.gradient, estimate)
        y = y + steps(rounded, slope, estimate, Caution.before(left))
        rounded = coder.round(y, z, level, same_z=rounded)
        progress(number)
    error = distortion.error(rounded.y_hat)
    if best is None or rounded.bits + weight * error < best_cost - WORTH:
        return CodedTile(rounded, error)
    return best


def kept(y: NDArray[np.float32], rounded: RoundedLatents) -> NDArray[np.float32]:
    """Latents [M, H, W] whose nearest integers are the symbols that a dead zone or a table chose.

    Rounds of the search have no dead zone: it would undo their steps.
    """
    return np.where(np.abs(y - rounded.y_hat) > 0.5, rounded.y_hat, y)


class SteadySlope:
    """Slopes where each latent is now, but the others are where they lately were on average.

    Latents step all at once, each as if the others stayed; their overshoots make slopes swing from
    round to round. Answering what the others did on average settles where answering their last
    move need not (fictitious play, Brown 1951; with one cost for all players it converges,
    Monderer and Shapley 1996).
    """

    def __init__(self) -> None:
        self._y_hat: NDArray[np.float32] | None = None
        self._slope = np.zeros(0, np.float32)

    def add(
        self,
        y_hat: NDArray[np.float32],
        gradient: NDArray[np.float32],
        curvature: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The slopes, [M, H, W].

        Args:
            y_hat: latents of this round, [M, H, W].
            gradient: of the weighted error there.
            curvature: of the weighted error along each latent.
        """
        if self._y_hat is None:
            self._slope = gradient
        else:
            expected = self._slope + curvature * (y_hat - self._y_hat)
            self._slope = (1 - MEMORY) * gradient + MEMORY * expected
        self._y_hat = y_hat
        return self._slope


class Curvature:
    """Of the weighted error along each latent, in bits.

    Few noisy samples are at hand, so they are drawn towards what is expected of channel and place.
    A step is taken where the curvature looks small, more often than not because it looks too small:
    the change of the slope that comes of it (a secant) tells, before the next round takes the step
    back.

    Args:
        shape: of the latents, [M, H, W].
        half: the mean of each channel's in photographs, halved, [M]; None if it is not known.
    """

    def __init__(self, shape: tuple[int, ...], half: NDArray[np.floating] | None) -> None:
        self._typical = None if half is None else (2 * half[:, None, None]).astype(np.float32)
        self._added = 0
        self._samples = np.zeros(shape, np.float32)
        self._count = 0
        self._drawn = np.zeros(shape, np.float32)
        self._secants = np.zeros(shape, np.float32)
        self._steps = np.zeros(shape, np.float32)
        self._y_hat: NDArray[np.float32] | None = None
        self._gradient = np.zeros(shape, np.float32)

    @property
    def wants_sample(self) -> bool:
        """Whether the next latents have to come with a sample: the first ones have."""
        return self._added % SAMPLED == 0

    def add(self, y_hat: NDArray[np.float32], slopes: Slopes) -> None:
        """What is known at latents [M, H, W]."""
        self._added += 1
        if slopes.places is not None and self._typical is not None:
            self._drawn = EXCESS * self._typical * slopes.places
        if slopes.curvature is not None:
            sample = slopes.curvature
            if self._typical is not None:
                sample = np.minimum(sample, SAMPLE_BOUND * self._typical)
            self._samples += sample
            self._count += 1
            self._draw()
        if self._y_hat is not None:
            change = y_hat - self._y_hat
            stepped = np.abs(change) > STEP
            secant = (slopes.gradient - self._gradient) / np.where(stepped, change, 1)
            secant = np.clip(secant, self._drawn / SECANT_BOUND, self._drawn * SECANT_BOUND)
            self._secants += np.where(stepped, secant, 0)
            self._steps += stepped
        self._y_hat, self._gradient = y_hat, slopes.gradient

    def estimate(self) -> NDArray[np.float32]:
        """At the latents that were last added, [M, H, W], positive."""
        weight = self._count + EXPECTED_SAMPLES
        known = weight * self._drawn + SECANT_SAMPLES * self._secants
        known /= weight + SECANT_SAMPLES * self._steps
        known += SLOPE * np.abs(self._gradient)
        return known

    def _draw(self) -> None:
        """The mean of the samples towards what is expected of the channel and the place."""
        mean = self._samples / np.float32(self._count)
        channel = np.maximum(mean.mean((1, 2), keepdims=True), np.finfo(np.float32).tiny)
        typical = channel if self._typical is None else self._typical
        place = (mean / typical).mean(0)
        expected = typical * (TYPICAL + PLACE * place) + CHANNEL * channel
        drawn = self._samples + EXPECTED_SAMPLES * expected
        self._drawn = drawn / np.float32(self._count + EXPECTED_SAMPLES)


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
    taken = promise > np.maximum(caution.threshold, caution.selection * promise.max(0))
    return (grid.unpack(directions) * taken).astype(np.float32)


def _bits_of_step(symbols: Symbols, step: int) -> NDArray[np.float64]:
    """What a step of each symbol adds to its bits; inf beyond the end of its table."""
    values, tables = symbols.values + np.int32(step), symbols.tables
    clamped = tables.clamp(values, symbols.table)
    added = tables.bits(clamped, symbols.table) - symbols.bits
    return np.where(clamped == values, added, np.inf)
