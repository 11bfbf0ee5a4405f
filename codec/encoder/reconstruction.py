"""What a decoder makes of a picture's latents, beside the picture itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.encoder.filter_fit import LeastSquares
from codec.encoder.levels import PictureLevels
from codec.encoder.model import EncoderModel
from codec.encoder.patched import PatchedPicture
from codec.level import Level
from codec.picture.alpha import Plane
from codec.picture.patch import decode_patch
from codec.picture.pixels import Samples, error_map, psnr_of, squared_error
from codec.picture.rendering import to_image, to_rgb
from codec.pool import Mapper
from codec.tiles import LATENT_STRIDE, Box
from codec.weights.file import COLOURS
from codec.windows import Fetch, uncoded_latents, windows

Latents = Mapping[int, NDArray[np.float32]]
"""y^ by number of the tile."""


class Measured(NamedTuple):
    """A reconstruction beside the picture."""

    error: float
    """Squared error of the visible samples,"""
    weighted_error: float
    """and with weights relative to that of the file's level, of a map of levels."""
    image: Image.Image | None
    """What the decoder shows, if it was asked for."""


class Reconstruction:
    """Reconstructions of one picture with patches.

    Args:
        model: that codes it.
        patched: the picture and its patches.
        levels: of the picture.
        mapper: runs the work on windows.
    """

    def __init__(
        self,
        model: EncoderModel,
        patched: PatchedPicture,
        levels: PictureLevels,
        mapper: Mapper,
    ) -> None:
        self._model = model
        self._patched = patched
        self._levels = levels
        self._mapper = mapper

    def windows(
        self, level: Level, fetch: Fetch, restoration: tuple[int, ...] = ()
    ) -> Iterator[tuple[Box, NDArray[np.float32], Samples, Plane | None]]:
        """Windows of the reconstruction, each with that of the picture.

        Args:
            level: of the file.
            fetch: gives y^ of a tile that has a stream, once.
            restoration: weights of the restoration filter.

        Yields:
            (box, samples [3, height, width] about 0..1, the picture's samples
            [height, width, 3], its alpha plane as of `Picture.crop`); what patches hide is left
            out.
        """
        engine, levels, patched = self._model.engine, self._levels.at(level), self._patched

        def latents(number: int) -> NDArray[np.float32]:
            if number in patched.covered:
                return uncoded_latents(patched.grid.box(number), self._model.config.latent)
            return fetch(number)

        def synthesise(y_hat: NDArray[np.float32], place: Box, inner: Box) -> NDArray[np.float32]:
            return engine.synthesise(y_hat, levels.within(place), restoration, inner)

        grid, halo = patched.grid, engine.synthesis_halo
        for box, samples in windows(
            grid, grid.whole, halo, latents, synthesise, self._mapper, patched.hides
        ):
            yield box, samples, *patched.picture.crop(box)

    def errors(self, level: Level, fetch: Fetch) -> NDArray[np.float64]:
        """Squared error of the visible samples by latent position, [rows, columns]; none under
        patches. Arguments as of `windows`."""
        lattice = self._patched.grid.whole.shrunk(LATENT_STRIDE)
        errors = np.zeros((lattice.height, lattice.width))
        for box, samples, original, alpha in self.windows(level, fetch):
            decoded = to_rgb(samples, self._patched.source.grey)
            errors[box.shrunk(LATENT_STRIDE).slices] = error_map(original, decoded, alpha)
        return errors

    def measure(
        self,
        level: Level,
        latents: Latents,
        restoration: tuple[int, ...],
        mode: str | None = None,
    ) -> Measured:
        """Measure the squared error.

        Args:
            level: of the file.
            latents: of its tiles.
            restoration: weights of the restoration filter.
            mode: of the image that the decoder shows, to give it; None not to.
        """
        patched, grey = self._patched, self._patched.source.grey
        image = Image.new(mode, patched.source.image.size) if mode else None
        error, weighted = 0.0, 0.0
        for box, samples, original, alpha in self.windows(level, latents.__getitem__, restoration):
            decoded = to_rgb(samples, grey)
            missed = squared_error(original, decoded, alpha)[0]
            weights = self._levels.relative_weights(level, box)
            error += missed
            if weights is None:
                weighted += missed
            else:
                weighted += float((weights * error_map(original, decoded, alpha)).sum())
            if image:
                shown = to_image(samples, grey, patched.picture.alpha_plane(box))
                image.paste(shown, (box.left, box.top))
        if image:
            for patch in patched.patches:
                box = patch.box
                shown = decode_patch(patch.data, box.width, box.height, image.mode)
                image.paste(shown, (box.left, box.top))
        return Measured(error, weighted, image)

    def fit(self, level: Level, latents: Latents) -> LeastSquares:
        """Sums from which weights of the restoration filter are solved for; arguments as of
        `measure`, of a model that has one."""
        patched = self._patched
        fit = self._model.least_squares(patched.picture, patched.visible_in_tiles)
        assert fit is not None
        for _, samples, original, alpha in self.windows(level, latents.__getitem__):
            fit.add(samples, original, alpha)
        return fit

    def psnr(self, error: float) -> float:
        """PSNR of the picture in dB for a squared error of its visible samples."""
        return psnr_of(error, COLOURS * self._patched.visible)
