"""One tile of a picture, as the methods of the writer see it."""

from __future__ import annotations

from collections.abc import Callable

from codec.encoder.filter_fit import LeastSquares
from codec.encoder.model import EncoderModel
from codec.engine.base import Engine, Features, Latents, Original, Scene
from codec.level_map import LevelMap, Levels
from codec.picture.pixels import Picture, pad_to_stride
from codec.tiles import LATENT_STRIDE, TILE_UNIT, Box


def window_features(engine: Engine, picture: Picture, box: Box) -> Features:
    """Features of a tile and its halo, from which latents at any level follow."""
    samples, _ = picture.crop(_window(engine, picture, box))
    return engine.features(pad_to_stride(samples))


class SourceTile:
    """A tile to be coded.

    Args:
        model: to code with.
        picture: that the tile is of.
        box: where it lies.
        features: as `window_features` gives them.
        visible: pixels of the picture that are not fully transparent.
        progress: called with the number of rounds of a search that are done.
    """

    def __init__(
        self,
        model: EncoderModel,
        picture: Picture,
        box: Box,
        features: Features,
        visible: int,
        progress: Callable[[int], None],
    ) -> None:
        self._model = model
        self._picture = picture
        self.box = box
        self._features = features
        self._visible = visible
        self.progress = progress

    def levels(self, levels: LevelMap) -> Levels:
        """Level of the file, or those of the tile's latent positions."""
        return levels.within(self.box.shrunk(LATENT_STRIDE))

    def latents(self, levels: LevelMap) -> Latents:
        """(y, z) of the tile before rounding."""
        return self._inside(self._analysed(levels))

    def scene(self, levels: LevelMap) -> Scene:
        """The tile among latents of its surroundings that are not rounded."""
        engine = self._model.engine
        latents = self._analysed(levels)
        known = _window(engine, self._picture, self.box).shrunk(LATENT_STRIDE)
        tile = self.box.shrunk(LATENT_STRIDE)
        window = tile.grown(engine.synthesis_halo, within=known)
        rows, columns = window.relative_to(known).slices
        samples, alpha = self._picture.crop(self.box)
        original = Original(samples, None if alpha is None else alpha > 0, self._picture.grey)
        return Scene(
            original,
            *self._inside(latents),
            latents[0][:, rows, columns],
            tile.relative_to(window),
            levels.within(window),
            self._model.relative_weights(levels.base, self.levels(levels)),
        )

    def least_squares(self) -> LeastSquares | None:
        """The tile's part of what weights of the restoration filter are solved for from."""
        return self._model.least_squares(self._picture, self._visible)

    def _analysed(self, levels: LevelMap) -> Latents:
        """Latents of the tile's window before rounding."""
        known = _window(self._model.engine, self._picture, self.box).shrunk(LATENT_STRIDE)
        return self._model.engine.latents(self._features, levels.within(known))

    def _inside(self, latents: Latents) -> Latents:
        """Latents of the tile, cut from those of its window."""
        y, z = latents
        window = _window(self._model.engine, self._picture, self.box)
        rows, columns = _within(self.box, window, LATENT_STRIDE).slices
        hyper_rows, hyper_columns = _within(self.box, window, TILE_UNIT).slices
        return y[:, rows, columns], z[:, hyper_rows, hyper_columns]


def _window(engine: Engine, picture: Picture, box: Box) -> Box:
    return box.grown(engine.analysis_halo, within=picture.whole)


def _within(box: Box, window: Box, stride: int) -> Box:
    return box.shrunk(stride).relative_to(window.shrunk(stride))
