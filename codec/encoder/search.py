"""The method Search: other symbols for the same decoder, by descent on the lattice.

Rounding ignores what the synthesis makes of a symbol, and but for its rule what the symbol
costs. The search minimises

    bits + lambda 255^2 MSE pixels

(or the objective of models for MS-SSIM or for looks), with the exact bits of the tables and the
error of the reconstruction. A round computes gradient and curvature of the error at the present
symbols, predicts from them and from earlier gradients what a step of each symbol by +-1 would
change, and takes the most promising steps at each position: latents of one position contribute to
the same pixels, so steps that correct the same error together overshoot. Candidates are judged by
their true cost; rounding gives the first one, and the best is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codec.encoder.compensation import TILE_BYTES, Correction
from codec.encoder.derivatives import Curvature, SteadyGradient
from codec.encoder.method import ChosenSymbols, Method
from codec.encoder.model import EncoderModel
from codec.encoder.search_tuning import TUNING
from codec.encoder.tile import SourceTile
from codec.engine.base import Distortion, Slopes
from codec.entropy.latents import RoundedLatents, Symbols
from codec.level_map import LevelMap, Levels
from codec.tiles import Grid
from codec.weights.config import MS_SSIM_SIDE

DERIVATIVE_BYTES = 640
"""Per pixel of a strip and its halo: derivatives need what the layers of the synthesis have
computed. A picture of 1024x1024 took 9 % more memory than is estimated, one of 1400x1400 4 % less,
and 1 and 7 % less with MS-SSIM."""
SIMILARITY_BYTES = 350
"""Per pixel of a tile while MS-SSIM is computed, which is not by strips and not at the same time as
the derivatives of strips."""
LOOKS_BYTES = 1350
"""The same for the objective of looks: 1324 were measured at 512x512, 1116 at 1024x1024."""


@dataclass(frozen=True)
class Caution:
    """How cautious a round is about steps whose predicted gain may be wrong."""

    selection: float
    """Least predicted gain of a step, relative to the largest at its position."""
    damping: float
    """Factor on the curvature, which steps with a large predicted gain tend to underestimate."""
    threshold: float
    """Least predicted gain of a step in bits."""
    context: float
    """Curvature in bits added in the first half of the passes."""

    @classmethod
    def before(cls, left: int) -> Caution:
        """Caution of a round that others follow, which can revert its steps: the more of them, the
        less.

        Args:
            left: rounds after this one.
        """
        share = 1 / (1 + left / TUNING.half_as_cautious)
        return cls(
            TUNING.selection + TUNING.last_selection * share,
            TUNING.damping + TUNING.last_damping * share,
            TUNING.threshold,
            TUNING.context,
        )


class Search:
    """Search for the symbols of least bits + lambda * distortion, tile by tile.

    Latents around a tile are taken before rounding, and only its own samples count. Where the model
    allows it the search starts from corrected latents (`codec.encoder.compensation`).

    Args:
        model: to code with.
        rounds: of the search, at most.
        plain: method of tiles of fewer than 161 pixels a side, in which there is no search for
            less of other distortions than squared error.
        restoration: weights of the restoration filter that the tile will be reconstructed with.
    """

    def __init__(
        self, model: EncoderModel, rounds: int, plain: Method, restoration: Sequence[int] = ()
    ) -> None:
        self._model = model
        self.rounds = rounds
        self._plain = plain
        self._restoration = restoration

    def code(self, tile: SourceTile, levels: LevelMap) -> ChosenSymbols:
        model, by_error = self._model, self._model.config.distortion == "mse"
        if not by_error and min(tile.box.width, tile.box.height) < MS_SSIM_SIDE:
            return replace(self._plain.code(tile, levels), fit=None)
        scene, level, restoration = tile.scene(levels), tile.levels(levels), self._restoration
        weight = (model.error_weight if by_error else model.lambda_of)(levels.base)
        distortion = model.engine.distortion(scene, restoration)
        correction = Correction(model.engine, scene)
        candidates = []
        for _ in range(TUNING.corrections * model.config.compensable):
            rounded = model.round(correction.y, scene.z, level)
            samples = correction.reconstruct(rounded.y_hat, None)
            if by_error:  # of the samples that are there already
                error = correction.error(samples, restoration)
            else:
                error = distortion.error(rounded.y_hat)
            candidates.append(Candidate(rounded, rounded.bits + weight * error))
            correction.step(rounded.y_hat, samples, restoration)
        descent = Descent(model, correction.y, scene.z, level, distortion, weight)
        candidates.append(descent.run(self.rounds, tile.progress))
        return ChosenSymbols(min(candidates, key=lambda one: one.cost).rounded)

    def memory(self, grid: Grid) -> int:
        tile, halo = grid.box(0), self._model.engine.analysis_halo
        across = min(tile.height, tile.width) + 2 * halo
        strip = min(tile.area, self._model.engine.strip_pixels) + 2 * halo * across
        derivatives = min(grid.whole.area, strip) * DERIVATIVE_BYTES
        of_error = {"mse": 0, "ms-ssim": SIMILARITY_BYTES, "looks": LOOKS_BYTES}
        corrects = TILE_BYTES * self._model.config.compensable
        return max(derivatives, tile.area * (of_error[self._model.config.distortion] + corrects))


@dataclass(frozen=True)
class Candidate:
    """Symbols of a tile."""

    rounded: RoundedLatents
    cost: float
    """bits + weight * distortion."""


@dataclass(frozen=True)
class _Best(Candidate):
    """The best candidate of a descent so far."""

    y: NDArray[np.float32]
    """Latents before rounding, [M, H, W]."""
    number: int
    """Number of the round that found it, or that last went back to it."""


class Descent:
    """Descent from rounded latents to symbols of less cost.

    Args:
        model: to code with; the first candidate is what it rounds.
        y: latents before rounding, [M, H, W].
        z: hyper-latents before rounding.
        level: of the file, or those of the latent positions.
        distortion: of these latents.
        weight: bits that a unit of distortion is worth.
    """

    def __init__(
        self,
        model: EncoderModel,
        y: NDArray[np.float32],
        z: NDArray[np.float32],
        level: Levels,
        distortion: Distortion,
        weight: float,
    ) -> None:
        self._model = model
        self._z = z
        self._level = level
        self._distortion = distortion
        self._weight = weight
        start = model.round(y, z, level)
        self._begin(start, kept(y, start))

    def run(self, rounds: int, progress: Callable[[int], None]) -> Candidate:
        """Descend.

        Args:
            rounds: at most.
            progress: called with the number of rounds done, after each.

        Returns:
            The best candidate.
        """
        best: _Best | None = None
        patience = max(TUNING.least_patience, rounds // TUNING.patience)
        number, left = 0, rounds
        while left > 0:
            sampled = self._curvature.wants_sample
            error, slopes = self._distortion.slopes(self._rounded.y_hat, sampled)
            number, left = number + 1, left - 1
            cost = self._cost(error)
            if best is None or cost < best.cost - TUNING.least_gain:
                best = _Best(self._rounded, cost, self._y, number)
            tired = number - max(best.number, rounds // 2) > patience
            if tired or cost > TUNING.astray * best.cost:
                self._begin(best.rounded, best.y)
                best = replace(best, number=number)
                left = min(left, TUNING.settling) if tired else left
            else:
                self._step(slopes, left)
            progress(number)
        cost = self._cost(self._distortion.error(self._rounded.y_hat))
        if best is None or cost < best.cost - TUNING.least_gain:
            return Candidate(self._rounded, cost)
        return best

    def _begin(self, rounded: RoundedLatents, y: NDArray[np.float32]) -> None:
        """Begin at these latents, without estimates from earlier steps, which led astray."""
        self._rounded, self._y = rounded, y
        self._curvature = Curvature(y.shape, self._model.curvature(self._level))
        self._steady = SteadyGradient()

    def _step(self, slopes: Slopes, left: int) -> None:
        """Take the steps that promise most.

        Args:
            slopes: of the distortion.
            left: rounds after this one.
        """
        rounded, slopes = self._rounded, slopes.times(self._weight)
        self._curvature.add(rounded.y_hat, slopes)
        curvature = self._curvature.estimate()
        gradient = self._steady.add(rounded.y_hat, slopes.gradient, curvature)
        self._y = self._y + steps(rounded, gradient, curvature, Caution.before(left))
        coder = self._model.integer_coder
        self._rounded = coder.round(self._y, self._z, self._level, same_z=rounded)

    def _cost(self, error: float) -> float:
        return self._rounded.bits + self._weight * error


def kept(y: NDArray[np.float32], rounded: RoundedLatents) -> NDArray[np.float32]:
    """Latents [M, H, W] whose nearest integers are the symbols chosen by a rule or a table.

    The search rounds to the nearest, since a rule would undo its steps.
    """
    return np.where(np.abs(y - rounded.y_hat) > 0.5, rounded.y_hat, y)


def steps(
    rounded: RoundedLatents,
    gradient: NDArray[np.float32],
    curvature: NDArray[np.float32],
    caution: Caution,
) -> NDArray[np.float32]:
    """Steps of -1, 0 or 1 with the largest predicted gains at each position, [M, H, W].

    Args:
        rounded: present symbols.
        gradient: of the weighted distortion, in bits, [M, H, W].
        curvature: of the same, [M, H, W].
        caution: of this round.
    """
    grid = rounded.grid
    gradients, curvatures = grid.pack(gradient), grid.pack(curvature)
    directions, gains = [], []
    for number, (symbols, slope, bending) in enumerate(
        zip(rounded.passes, gradients, curvatures, strict=True)
    ):
        context = caution.context if number < grid.passes // 2 else 0.0
        half = (caution.damping * bending + context) / 2
        up = _bits_of_step(symbols, 1).reshape(slope.shape) + slope + half
        down = _bits_of_step(symbols, -1).reshape(slope.shape) - slope + half
        directions.append(np.where(up < down, 1.0, -1.0))
        gains.append(-np.minimum(up, down))
    gain = grid.unpack(gains)
    taken = gain > np.maximum(caution.threshold, caution.selection * gain.max(0))
    return (grid.unpack(directions) * taken).astype(np.float32)


def _bits_of_step(symbols: Symbols, step: int) -> NDArray[np.float64]:
    """Bits that a step adds to each symbol, [n]; inf beyond the end of its table."""
    values, tables = symbols.values + np.int32(step), symbols.tables
    clamped = tables.clamp(values, symbols.table)
    added = tables.bits(clamped, symbols.table) - symbols.bits
    return np.where(clamped == values, added, np.inf)
