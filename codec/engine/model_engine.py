"""The part of an engine that follows from the weights of its model, whatever library runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codec.engine.base import Distortion, Scene
from codec.engine.receptive_field import analysis_halo, synthesis_halo
from codec.engine.reduced import ReducedStem, ReducedStems, means
from codec.engine.tensors import transform_tensors
from codec.errors import InputError
from codec.level_map import Levels
from codec.tiles import Box
from codec.weights.file import Weights

Array = NDArray[np.float32]


class ModelEngine(ABC):
    """Base of the engines: halos, levels and reduced sizes of one model; no derivatives.

    Args:
        weights: a verified model.
        strip_pixels: that go through the synthesis at once where a tile may be cut into strips.

    Raises:
        WeightsError: tensors do not fit the configuration.
    """

    differentiable = False

    def __init__(self, weights: Weights, strip_pixels: int) -> None:
        self.strip_pixels = strip_pixels
        self.model_id = weights.short_id
        self.analysis_halo = analysis_halo(weights.config)
        self.synthesis_halo = synthesis_halo(weights.config, weights.kernels > 0)
        self._config = weights.config
        self._tensors = transform_tensors(weights)
        self._to_centres = weights.config.rounding == "vq"
        self._stems = ReducedStems(weights)

    @abstractmethod
    def synthesise(
        self,
        y_hat: Array,
        level: Levels,
        restoration: Sequence[int] = (),
        inner: Box | None = None,
    ) -> Array:
        """See `codec.engine.base.Engine`."""

    def synthesise_reduced(
        self,
        y_hat: Array,
        level: Levels,
        reduction: int,
        restoration: Sequence[int] = (),
        inner: Box | None = None,
    ) -> Array:
        stem = self._stems.get(reduction)
        if stem is None:
            return means(self.synthesise(y_hat, level, restoration, inner), reduction)
        return self._synthesise_with(stem, y_hat, level, inner or whole_of(y_hat))

    @abstractmethod
    def _synthesise_with(self, stem: ReducedStem, y_hat: Array, level: Levels, inner: Box) -> Array:
        """`synthesise_reduced` with a stem in place of that of g_s, which is of `lowres`.

        Args:
            stem: of the reduction.
            y_hat: rounded latents, [M, H/16, W/16].
            level: that they were coded at, or those of their positions.
            inner: latent positions whose samples are asked for.
        """

    def reduced_halo(self, reduction: int) -> int:
        return self._stems.halo(reduction, self.synthesis_halo)

    def distortion(self, scene: Scene, restoration: Sequence[int] = ()) -> Distortion:
        raise InputError("this engine has no derivatives")

    def _analysis_level(self, level: Levels) -> Levels:
        """Level that g_a runs at: the latents', or with rounding to centres always the highest."""
        return self._config.highest_level if self._to_centres else level


def whole_of(y_hat: Array) -> Box:
    """The box of all positions of latents [M, H, W]."""
    return Box(0, 0, y_hat.shape[2], y_hat.shape[1])
