"""A loaded model as the writer sees it: its symbol coder, quantisation and slopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.encoder.filter_fit import LeastSquares, filters_of
from codec.encoder.rdoq import rdoq_of
from codec.entropy.latents import LatentCoder, RoundedLatents
from codec.entropy.rounding import Rule
from codec.level import UNITS, Level
from codec.level_map import Levels
from codec.loaded import LoadedModel
from codec.picture.pixels import Picture
from codec.tiles import LATENT_STRIDE
from codec.weights.file import COLOURS

FEATURE_STRIDE = 8
"""Pixels a side for a position of the features of `lowres`."""


class EncoderModel:
    """A loaded model as the methods see it; may be used from several threads."""

    def __init__(self, model: LoadedModel) -> None:
        self.engine = model.engine
        self.coder = model.coder
        self.config = model.config
        self.id = model.id
        self._rdoq = rdoq_of(model.weights, model.coder.model)
        self.kernels = model.weights.kernels
        """Kernels of the restoration filter; 0 without one."""
        parts = model.weights.restoration
        self._filters = tuple(filters_of(*parts, grey) for grey in (False, True)) if parts else ()
        self.looks_back = self.config.compensable or self.kernels > 0
        """Whether the reconstruction of what was rounded tells how to do better."""

    @property
    def latent_bytes(self) -> int:
        """Bytes of y^ per pixel, rounded up."""
        return -(-4 * self.config.latent // LATENT_STRIDE**2)

    @property
    def feature_bytes(self) -> int:
        """Bytes of the features of a tile per pixel, rounded up."""
        if self.config.transform == "gdn":  # all of g_a
            return self.latent_bytes
        return -(-4 * self.config.channels8 // FEATURE_STRIDE**2)

    @property
    def integer_coder(self) -> LatentCoder:
        """The symbol coder of a model that rounds to integers."""
        assert isinstance(self.coder, LatentCoder)
        return self.coder

    @property
    def searches(self) -> bool:
        """Whether there is a search for better symbols than those of rounding."""
        if self.config.rounding == "vq":
            return False
        return self.config.weighs_error or self._rdoq is not None

    def rule(self, level: Levels) -> Rule | None:
        """Quantisation by rate and distortion; None, to the nearest, without curvatures."""
        return self._rdoq.rule(level) if self._rdoq else None

    def curvature(self, level: Levels) -> NDArray[np.float64] | None:
        """Half the mean second derivative of the weighted distortion along each channel of y, in
        bits, [M] or by position [M, H, W]; None if the model does not say."""
        return None if self._rdoq is None else self._rdoq.curvature(level)

    def round(
        self,
        y: NDArray[np.floating],
        z: NDArray[np.floating],
        level: Levels,
        same_z: RoundedLatents | None = None,
    ) -> RoundedLatents:
        """Round to integers by `rule`; arguments as of `LatentCoder.round`."""
        threads = self.engine.threads
        return self.integer_coder.round(y, z, level, self.rule(level), same_z, threads)

    def least_squares(self, picture: Picture, visible: int) -> LeastSquares | None:
        """Sums from which weights of the restoration filter are solved for; None without a filter.

        Args:
            picture: that is coded.
            visible: pixels of it that are not fully transparent.
        """
        return LeastSquares(self._filters[picture.grey], visible) if self._filters else None

    def lambda_of(self, level: Level) -> float:
        """Slope of the objective at a level."""
        return self.config.lambda_of(level.position)

    def error_weight(self, level: Level) -> float:
        """Bits that a unit of squared error is worth at a level.

        bits/pixel + lambda 255^2 MSE of samples in 0..1, times pixels, is
        bits + lambda / 3 times the sum of squares of samples in 0..255 of three colours.
        """
        return self.lambda_of(level) / COLOURS

    def relative_weights(self, base: Level, level: Levels) -> NDArray[np.float64] | None:
        """Weights of the error at latent positions relative to that at a level, [H, W]; None for
        one level everywhere."""
        if isinstance(level, Level):
            return None
        step = self.config.log_lambda_step / UNITS
        weights: NDArray[np.float64] = np.exp(step * (level - int(base)))
        return weights
