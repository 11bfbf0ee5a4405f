"""One tile: the one place where pixels become a stream, and a stream pixels.

pixels of a tile and its halo -> engine -> y, z of the tile -> coder.encode -> stream
stream -> coder.decode -> y^ of the tile;  y^ of a window and its halo -> engine -> pixels

The coder is a `LatentCoder`, or an `IndexCoder` if the model rounds to centres.

A halo is as wide as the receptive field of the transforms, so that cutting a picture into
tiles or windows changes no latent and no sample (but for the order of float additions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from codec.bitstream.container import Tile
from codec.bitstream.indices import CodedIndices, IndexCoder
from codec.bitstream.latents import CodedLatents, LatentCoder
from codec.errors import DamagedFileError
from codec.model.config import LEVEL_BITS, ModelConfig
from codec.picture.pixels import Picture, pad_to_stride
from codec.runtime.torch_engine import Precision, TorchEngine
from codec.runtime.weights import Weights
from codec.tiles import LATENT_STRIDE, TILE_UNIT, Box, latent_size

GDN_RADIUS = 32
"""Pixels: four 5x5 convolutions of stride 2 see 2 (1 + 2 + 4 + 8) of them."""
GDN_SYNTHESIS_RADIUS = 3
"""Latents: four transposed 5x5 convolutions see less than 1 + 1/2 + 1/4 + 1/8 and one more."""
HYPER_RADIUS = 3
"""Latents that h_a sees around those of its own z: one 3x3 at 1/16, one at 1/32."""

Latents = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(y, z) before rounding."""


def analysis_halo(config: ModelConfig) -> int:
    """Pixels around a tile that its y and z depend on; a multiple of 64."""
    radius = GDN_RADIUS
    if config.transform == "lowres":  # each block has one 3x3, at 1/8 or at 1/16
        radius = 8 * config.blocks8 + 16 * config.blocks16
    radius = -(-radius // LATENT_STRIDE) + HYPER_RADIUS
    return -(-radius * LATENT_STRIDE // TILE_UNIT) * TILE_UNIT


def synthesis_halo(config: ModelConfig) -> int:
    """Latents around a window that its samples depend on."""
    if config.transform == "lowres":
        return config.blocks16 + -(-config.blocks8 // 2)
    return GDN_SYNTHESIS_RADIUS


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
        self._coder: LatentCoder | IndexCoder
        self._coder = IndexCoder(weights) if self.to_centres else LatentCoder(weights)
        self._config = weights.config
        self._analysis_halo = analysis_halo(weights.config)
        self.synthesis_halo = synthesis_halo(weights.config)

    def features(self, picture: Picture, box: Box) -> Tensor:
        """What g_a makes of a tile and its halo before the rate enters."""
        samples, _ = picture.crop(self._window(picture, box))
        return self._engine.features(pad_to_stride(samples))

    def latents(self, picture: Picture, box: Box, features: Tensor, level: int) -> Latents:
        """(y, z) of a tile from `features`."""
        y, z = self._engine.latents(features, level)
        window = self._window(picture, box)
        rows, columns = _within(box, window, LATENT_STRIDE).slices
        hyper_rows, hyper_columns = _within(box, window, TILE_UNIT).slices
        return y[:, rows, columns], z[:, hyper_rows, hyper_columns]

    def encode(self, latents: Latents, level: int) -> CodedLatents | CodedIndices:
        """Round and code."""
        return self._coder.encode(*latents, level)

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
        if level > (self._config.anchors - 1) << LEVEL_BITS or level % self._config.level_step:
            raise DamagedFileError("damaged: the rate level is outside the model's range")
        rows, columns = latent_size(box.height, box.width)
        if isinstance(self._coder, IndexCoder):
            levels = None if shown is None else (shown >> LEVEL_BITS) + 1
            y_hat, checksum = self._coder.decode(tile.stream, rows, columns, level, levels)
        else:
            y_hat, checksum = self._coder.decode(tile.stream, rows, columns, level)
        if checksum != tile.symbol_checksum:
            raise DamagedFileError("damaged: the decoded symbols fail their checksum")
        return y_hat

    def synthesise(self, y_hat: NDArray[np.float32], level: int) -> NDArray[np.float32]:
        """y^ of a window to samples [3, 16 rows, 16 columns], about 0..1."""
        return self._engine.synthesise(y_hat, level)

    def _window(self, picture: Picture, box: Box) -> Box:
        return box.grown(self._analysis_halo, within=picture.whole)


def _within(box: Box, window: Box, stride: int) -> Box:
    return box.shrunk(stride).relative_to(window.shrunk(stride))
