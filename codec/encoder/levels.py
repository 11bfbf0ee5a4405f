"""The levels of one picture at any level of its file, and what errors weigh there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.encoder.model import EncoderModel
from codec.entropy.offsets import write_offsets
from codec.level import Level
from codec.level_map import LevelMap, Offsets
from codec.tiles import LATENT_STRIDE, Box


class PictureLevels:
    """Levels of a picture with a map of levels or without.

    Args:
        model: to code with.
        offsets: map of levels, of the shape of `codec.level_map.map_shape`; None for one level
            everywhere.
    """

    def __init__(self, model: EncoderModel, offsets: Offsets | None) -> None:
        self._model = model
        self._offsets = offsets
        self.coded = b"" if offsets is None else write_offsets(offsets)
        """The map as a file has it; empty without one."""

    def at(self, level: Level) -> LevelMap:
        """Levels of the picture in a file of a level."""
        return LevelMap(level, self._offsets, self._model.config.highest_level)

    def relative_weights(self, level: Level, box: Box) -> NDArray[np.float64] | None:
        """Weights of the squared error in a file of a level, relative to that without a map.

        Args:
            level: of the file.
            box: of pixels.

        Returns:
            Weights by latent position of the box, [rows, columns]; None for 1 everywhere.
        """
        return self._model.relative_weights(level, self.at(level).within(box.shrunk(LATENT_STRIDE)))

    def error_weight(self, level: Level, box: Box) -> float | NDArray[np.float64]:
        """Bits that a unit of squared error is worth, by latent position with a map of levels;
        arguments as of `relative_weights`."""
        weight, relative = self._model.error_weight(level), self.relative_weights(level, box)
        return weight if relative is None else weight * relative
