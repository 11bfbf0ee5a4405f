"""The interface of the methods that choose the symbols of a tile, and the simplest of them.

Round        to the nearest symbols                        `method`
Compensate   and correct latents by the reconstruction     `compensation`
Search       and descend on the lattice of symbols         `search`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from codec.encoder.filter_fit import LeastSquares
from codec.encoder.model import EncoderModel
from codec.encoder.tile import SourceTile
from codec.entropy.rounding import Rounded
from codec.level_map import LevelMap
from codec.tiles import Grid


@dataclass(frozen=True)
class ChosenSymbols:
    """Symbols of a tile, not yet written, and what its method knows about them."""

    rounded: Rounded
    """y^ and the exact bits of the symbols."""
    fit: LeastSquares | None = None
    """The tile's part of what weights of the restoration filter are solved for from."""


class Method(Protocol):
    """A way to choose the symbols of a tile."""

    rounds: int
    """Rounds that it tells the progress of."""

    def code(self, tile: SourceTile, levels: LevelMap) -> ChosenSymbols:
        """Symbols of a tile.

        Args:
            tile: of the picture.
            levels: of the picture.
        """

    def memory(self, grid: Grid) -> int:
        """Bytes that a tile of a picture needs beyond coding and transforms, at most."""


class Round:
    """The nearest symbols, or those nearer to zero where that saves enough bits."""

    rounds = 0

    def __init__(self, model: EncoderModel) -> None:
        self._model = model

    def code(self, tile: SourceTile, levels: LevelMap) -> ChosenSymbols:
        y, z = tile.latents(levels)
        level, model = tile.levels(levels), self._model
        threads = model.engine.threads
        return ChosenSymbols(model.coder.round(y, z, level, model.rule(level), threads=threads))

    def memory(self, grid: Grid) -> int:
        return 0
