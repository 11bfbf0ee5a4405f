"""One tile: the one place where pixels become a stream, and a stream pixels.

pixels of a tile and its halo -> engine -> y, z of the tile -> coder: round, write -> stream
stream -> coder.read -> y^ of the tile;  y^ of a window and its halo -> engine -> pixels

The coder is that of `codec.entropy.coder`.

A halo is as wide as the receptive field of the transforms, so that cutting a picture into
tiles or windows changes no latent and no sample (but for the order of float additions).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from codec.encoder.compensation import Compensation, Scene
from codec.encoder.dead_zone import dead_zone_of
from codec.encoder.filter_fit import LeastSquares
from codec.encoder.search import Refined, refine
from codec.engine.gradients import Original, SquaredError
from codec.engine.ms_ssim_gradients import Dissimilarity
from codec.engine.torch import Precision, TorchEngine
from codec.entropy.coder import symbol_coder
from codec.entropy.latents import LatentCoder, RoundedLatents
from codec.entropy.rounding import Rounded, Rule
from codec.errors import DamagedFileError, InputError
from codec.format.container import Tile
from codec.model.transforms import PictureFilter
from codec.picture.pixels import Picture, pad_to_stride
from codec.tiles import LATENT_STRIDE, TILE_UNIT, Box, latent_size
from codec.weights.config import LEVEL_BITS, MS_SSIM_SIDE, ModelConfig
from codec.weights.file import COLOURS, KERNEL_RADIUS, Weights

GDN_RADIUS = 32
"""Pixels: four 5x5 convolutions of stride 2 see 2 (1 + 2 + 4 + 8) of them."""
GDN_SYNTHESIS_RADIUS = 3
"""Latents: four transposed 5x5 convolutions see less than 1 + 1/2 + 1/4 + 1/8 and one more."""
HYPER_RADIUS = 3
"""Latents that h_a sees around those of its own z: one 3x3 at 1/16, one at 1/32."""

COMPENSATIONS = 2
"""Before a search, which starts better where latents have made up for rounding already."""

Latents = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(y, z) before rounding."""


def analysis_halo(config: ModelConfig) -> int:
    """Pixels around a tile that its y and z depend on; a multiple of 64."""
    radius = GDN_RADIUS
    if config.transform == "lowres":  # each block has one 3x3, at 1/8 or at 1/16
        radius = 8 * config.blocks8 + 16 * config.blocks16
    radius = -(-radius // LATENT_STRIDE) + HYPER_RADIUS
    return -(-radius * LATENT_STRIDE // TILE_UNIT) * TILE_UNIT


def synthesis_halo(config: ModelConfig, restores: bool = False) -> int:
    """Latents around a window that its samples depend on.

    Args:
        config: of the model.
        restores: whether there is a restoration filter.
    """
    radius = KERNEL_RADIUS if restores else 0
    if config.transform == "lowres":
        radius += 8 * config.blocks8 + (2 * PictureFilter.SIDE if config.filter4 else 0)
        return config.blocks16 + -(-radius // LATENT_STRIDE)
    return GDN_SYNTHESIS_RADIUS + -(-radius // LATENT_STRIDE)


class TileCoder:
    """Codes tiles of pictures with one model; may be used from several threads.

    Args:
        weights: of the model.
        device: where the transforms run.
        precision: of the transforms.
    """

    def __init__(self, weights: Weights, device: str, precision: Precision) -> None:
        self._engine = TorchEngine(weights, device, precision)
        self.to_centres = weights.config.rounding == "vq"
        self.by_error = weights.config.distortion == "mse"
        """Whether the model minimises the squared error."""
        self._coder = symbol_coder(weights)
        self._dead_zone = dead_zone_of(weights, self._coder.model)
        self.searches = not self.to_centres and (self.by_error or self._dead_zone is not None)
        """Whether it can look for better symbols than those of rounding."""
        self._config = weights.config
        self.closes_loop = weights.config.compensable or weights.kernels > 0
        """Whether looking at what will be shown helps."""
        self._analysis_halo = analysis_halo(weights.config)
        self.restoration = weights.restoration
        """Kernels and offsets of the restoration filter, if the model has one."""
        self.kernels = weights.kernels
        self.synthesis_halo = synthesis_halo(weights.config, self.kernels > 0)

    def features(self, picture: Picture, box: Box) -> Tensor:
        """What g_a makes of a tile and its halo before the rate enters."""
        samples, _ = picture.crop(self._window(picture, box))
        return self._engine.features(pad_to_stride(samples))

    def latents(self, picture: Picture, box: Box, features: Tensor, level: int) -> Latents:
        """(y, z) of a tile from `features`."""
        return self._of_tile(picture, box, self._engine.latents(features, level))

    def _of_tile(self, picture: Picture, box: Box, latents: Latents) -> Latents:
        """What belongs to a tile of the latents of its window."""
        y, z = latents
        window = self._window(picture, box)
        rows, columns = _within(box, window, LATENT_STRIDE).slices
        hyper_rows, hyper_columns = _within(box, window, TILE_UNIT).slices
        return y[:, rows, columns], z[:, hyper_rows, hyper_columns]

    def round(self, latents: Latents, level: int) -> Rounded:
        """To integers, with the dead zone; or to centres."""
        return self._coder.round(*latents, level, self._rule(level))

    def _rule(self, level: int) -> Rule | None:
        return self._dead_zone.rule(level) if self._dead_zone else None

    def closed_loop(
        self, picture: Picture, box: Box, features: Tensor, level: int, pixels: int
    ) -> tuple[RoundedLatents, LeastSquares | None]:
        """Rounded latents that make up for what rounding did to the picture, and what weights of a
        restoration filter can be found from; see `codec.encoder.compensation`.

        That filter is of what is shown before latents make up for anything, which would want it
        anew: this saved 0.3 % of the bits of held-out tiles, for a third as much time again.

        Args:
            picture: of the tile.
            box: where it lies.
            features: as `features` gives them.
            level: in units of 2^-12.
            pixels: of the picture that are visible.
        """
        assert isinstance(self._coder, LatentCoder)
        scene = self._scene(picture, box, features, level)
        rule = self._rule(level)
        rounded = self._coder.round(scene.y, scene.z, level, rule)
        loop = Compensation(self._engine, level, scene, self.synthesis_halo)
        fit = LeastSquares(*self.restoration, pixels, picture.grey) if self.restoration else None
        shown = loop.show(rounded.y_hat, fit)
        if self._config.compensable:
            restoration = fit.solve(self.error_weight(level)) if fit else ()
            loop.step(rounded.y_hat, shown, restoration)
            rounded = self._coder.round(loop.y, scene.z, level, rule, same_z=rounded)
        return rounded, fit

    def refine(
        self,
        picture: Picture,
        box: Box,
        features: Tensor,
        level: int,
        rounds: int,
        restoration: Sequence[int],
        progress: Callable[[int], None],
    ) -> Refined:
        """Better symbols than those of `round` for a tile, see `codec.encoder.search`.

        Latents around the tile are taken as they are before rounding, and only its own pixels
        count.

        Args:
            picture: of the tile.
            box: where it lies.
            features: as `features` gives them.
            level: in units of 2^-12.
            rounds: of the search, at most.
            restoration: weights of the restoration filter that the tile will be shown with.
            progress: told the number of rounds done after each.

        Raises:
            InputError: the model does not search.
        """
        if not (isinstance(self._coder, LatentCoder) and self.searches):
            raise InputError("symbols of this model are not refined")
        scene = self._scene(picture, box, features, level)
        view = self._engine, level, scene.original, scene.surroundings, scene.inner
        if not self.by_error:
            latents = scene.y, scene.z
            if min(box.width, box.height) < MS_SSIM_SIDE:
                return Refined(self._coder.round(*latents, level, self._rule(level)), math.nan)
            weight = self._lambda_of(level)
            distortion = Dissimilarity(*view, self.synthesis_halo)
            return refine(
                self._coder, self._dead_zone, latents, level, distortion, weight, rounds, progress
            )
        weight = self.error_weight(level)
        loop = Compensation(self._engine, level, scene, self.synthesis_halo)
        seen = []
        for _ in range(COMPENSATIONS * self._config.compensable):
            rounded = self._coder.round(loop.y, scene.z, level, self._rule(level))
            shown = loop.show(rounded.y_hat, None)
            seen.append(Refined(rounded, loop.error(shown, restoration)))
            loop.step(rounded.y_hat, shown, restoration)
        error = SquaredError(*view, self.synthesis_halo, restoration)
        latents = loop.y, scene.z
        seen.append(
            refine(self._coder, self._dead_zone, latents, level, error, weight, rounds, progress)
        )
        return min(seen, key=lambda one: one.rounded.bits + weight * one.error)

    def _scene(self, picture: Picture, box: Box, features: Tensor, level: int) -> Scene:
        """A tile among latents of its surroundings that are not rounded."""
        latents = self._engine.latents(features, level)
        known = self._window(picture, box).shrunk(LATENT_STRIDE)
        tile = box.shrunk(LATENT_STRIDE)
        window = tile.grown(self.synthesis_halo, within=known)
        rows, columns = window.relative_to(known).slices
        samples, alpha = picture.crop(box)
        original = Original(samples, None if alpha is None else alpha > 0, picture.grey)
        return Scene(
            original,
            *self._of_tile(picture, box, latents),
            latents[0][:, rows, columns],
            tile.relative_to(window),
        )

    def error_weight(self, level: int) -> float:
        """Bits that a unit of squared error is worth at a level.

        bits/pixel + lambda 255^2 MSE of samples in 0..1, times pixels, is
        bits + lambda / 3 times the sum of squares of samples in 0..255 of three colours.
        """
        return self._lambda_of(level) / COLOURS

    def _lambda_of(self, level: int) -> float:
        return self._config.lambda_of(level / (1 << LEVEL_BITS))

    def write(self, rounded: Rounded) -> tuple[bytes, int]:
        """Stream of what was rounded, and CRC-32 of its symbols."""
        return self._coder.write(rounded), rounded.checksum

    def decode(
        self, tile: Tile, box: Box, level: int, shown: int | None = None
    ) -> NDArray[np.float32]:
        """y^ [M, rows, columns] of a tile.

        Args:
            tile: as the file holds it.
            box: where it lies.
            level: of the file, in units of 2^-12.
            shown: the level to show, not above `level`, of a model that rounds to centres.

        Raises:
            DamagedFileError: the stream is impossible, or its symbols fail their checksum.
        """
        rows, columns = latent_size(box.height, box.width)
        levels = None if shown is None else (shown >> LEVEL_BITS) + 1
        y_hat, checksum = self._coder.read(tile.stream, rows, columns, level, levels)
        if checksum != tile.symbol_checksum:
            raise DamagedFileError("damaged: the decoded symbols fail their checksum")
        return y_hat

    def synthesise(
        self, y_hat: NDArray[np.float32], level: int, restoration: Sequence[int] = ()
    ) -> NDArray[np.float32]:
        """y^ of a window to samples [3, 16 rows, 16 columns], about 0..1.

        Args:
            y_hat: of the window.
            level: in units of 2^-12.
            restoration: weights of the restoration filter.
        """
        return self._engine.synthesise(y_hat, level, restoration)

    def _window(self, picture: Picture, box: Box) -> Box:
        return box.grown(self._analysis_halo, within=picture.whole)


def _within(box: Box, window: Box, stride: int) -> Box:
    return box.shrunk(stride).relative_to(window.shrunk(stride))
