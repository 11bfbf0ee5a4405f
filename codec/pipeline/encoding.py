"""One picture's tiles, coded at any rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from codec.bitstream.container import Header, Tile, write
from codec.errors import InputError
from codec.model.config import LEVEL_BITS, ModelConfig
from codec.picture.alpha import encode_alpha
from codec.picture.pixels import Picture, psnr_of, squared_error, to_image
from codec.pipeline.decoding import windows
from codec.pipeline.options import EncoderOptions
from codec.pipeline.rate_target import Search
from codec.pipeline.tile_coder import TileCoder
from codec.pipeline.workers import Mapper
from codec.tiles import Grid

KEPT_PIXELS = 1 << 23
"""Up to this, what g_a makes of a picture before the rate enters is kept between trials of a
search: 12 bytes per pixel with the released model."""
SIZE_TOLERANCE = 0.005
"""Of the logarithm of a file's size."""
PSNR_TOLERANCE = 0.02
"""dB."""
DECADES_OF_BYTES = 1.0
SPAN_OF_PSNR = 12.0
"""What the whole ladder of the released model changes; first guesses of a search."""

Progress = Callable[[int, int], None]
"""Told how much of how much is done."""


@dataclass(frozen=True)
class Encoded:
    """A file in memory and what the encoder knows about it."""

    data: bytes
    header: Header
    bits: float
    """-log2 P of the rounded latents by the model."""
    psnr: float
    """Of what the decoder will show, in dB over all visible colours; nan if not measured."""


class PictureEncoder:
    """Codes one picture with one model, at one level after the other if need be.

    Args:
        coder: of the model.
        picture: what to code.
        grid: its tiles.
        mapper: runs the work on tiles.
        model_id: short id of the model.
        trials: whether several levels will be tried, so that work on them is shared.
        progress: told after each tile of each trial.
    """

    def __init__(
        self,
        coder: TileCoder,
        picture: Picture,
        grid: Grid,
        mapper: Mapper,
        model_id: bytes,
        trials: bool,
        progress: Progress | None = None,
    ) -> None:
        self._coder = coder
        self._picture = picture
        self._grid = grid
        self._mapper = mapper
        self._model_id = model_id
        self._keeps = trials and grid.whole.area <= KEPT_PIXELS
        self._progress = progress
        self._features: dict[int, Tensor] = {}
        self._alpha: dict[int, bytes] = {}

    def meet(self, options: EncoderOptions, config: ModelConfig, measure: bool) -> Encoded:
        """The file that the options ask for; a target takes some trials.

        Raises:
            InputError: the model cannot meet the target, or a value is out of its range.
        """
        size = options.target_size
        if options.target_bpp is not None:
            size = math.floor(options.target_bpp * self._grid.whole.area / 8)
        highest = (config.anchors - 1) << LEVEL_BITS
        step = config.level_step
        if size is not None:
            return self._meet_size(size, highest // step, step, measure)
        if options.target_psnr is not None:
            return self._meet_psnr(options.target_psnr, highest // step, step)
        return self.encode(options.level(config), measure)

    def _meet_size(self, size: int, steps: int, step: int, measure: bool) -> Encoded:
        def trial(number: int) -> tuple[Encoded, float]:
            encoded = self.encode(number * step)
            return encoded, math.log(len(encoded.data))

        slope = DECADES_OF_BYTES * math.log(10) / max(steps, 1)
        search = Search(trial, 0, steps, slope, SIZE_TOLERANCE)
        found = search.greatest_below(math.log(max(size, 1)))
        if found is None:
            least = len(self.encode(0).data)
            raise InputError(f"no file of {size} bytes: the smallest with this model has {least}")
        return self.encode(found.header.level, measure=True) if measure else found

    def _meet_psnr(self, target: float, steps: int, step: int) -> Encoded:
        def trial(number: int) -> tuple[Encoded, float]:
            encoded = self.encode(number * step, measure=True)
            return encoded, encoded.psnr

        slope = SPAN_OF_PSNR / max(steps, 1)
        found = Search(trial, 0, steps, slope, PSNR_TOLERANCE).least_above(target)
        if found is None:
            _, greatest = trial(steps)
            raise InputError(f"no file of {target} dB: the most with this model is {greatest:.2f}")
        return found

    def show(self, level: int) -> tuple[Encoded, Image.Image]:
        """Code at one level, and what the decoder will show."""
        mode = self._header(level).mode
        shown = Image.new(mode, (self._picture.width, self._picture.height))
        return self.encode(level, True, shown), shown

    def encode(
        self, level: int, measure: bool = False, shown: Image.Image | None = None
    ) -> Encoded:
        """Code at one level.

        Args:
            level: position on the ladder of lambdas in units of 2^-12.
            measure: find the PSNR, which takes the synthesis of the whole picture.
            shown: where to paste what the decoder will show, when it is measured.
        """
        tiles: dict[int, Tile] = {}
        bits: dict[int, float] = {}

        def code(number: int) -> NDArray[np.float32]:
            box = self._grid.box(number)
            latents = self._coder.latents(self._picture, box, self._features_of(number), level)
            coded = self._coder.encode(latents, level)
            tiles[number] = Tile(coded.stream, coded.checksum, self._alpha_of(number))
            bits[number] = coded.bits
            if self._progress:
                self._progress(len(tiles), len(self._grid))
            return coded.y_hat

        psnr = math.nan
        if measure:
            psnr = self._measure(level, code, shown)
        else:
            for _ in self._mapper(code, range(len(self._grid))):
                pass
        ordered = [tiles[number] for number in range(len(self._grid))]
        header = self._header(level)
        data = write(header, ordered, self._grid.side, self._picture.metadata)
        return Encoded(data, header, sum(bits.values()), psnr)

    def _measure(
        self,
        level: int,
        code: Callable[[int], NDArray[np.float32]],
        shown: Image.Image | None,
    ) -> float:
        """PSNR of what `code` makes of the tiles."""
        error, count = 0.0, 0
        for box, samples in windows(
            self._grid,
            self._grid.whole,
            self._coder.synthesis_halo,
            code,
            lambda y_hat: self._coder.synthesise(y_hat, level),
            self._mapper,
        ):
            original, alpha = self._picture.crop(box)
            decoded = to_image(samples, self._picture.grey)
            part = squared_error(original, np.asarray(decoded.convert("RGB")), alpha)
            error, count = error + part[0], count + part[1]
            if shown:
                shown.paste(to_image(samples, self._picture.grey, alpha), (box.left, box.top))
        return psnr_of(error, count)

    def _header(self, level: int) -> Header:
        picture = self._picture
        return Header(
            picture.width,
            picture.height,
            picture.grey,
            level,
            self._model_id,
            picture.alpha,
            self._coder.to_centres,
        )

    def _features_of(self, number: int) -> Tensor:
        if number in self._features:
            return self._features[number]
        features = self._coder.features(self._picture, self._grid.box(number))
        if self._keeps:
            self._features[number] = features
        return features

    def _alpha_of(self, number: int) -> bytes:
        if not self._picture.alpha:
            return b""
        if number not in self._alpha:
            _, plane = self._picture.crop(self._grid.box(number))
            self._alpha[number] = b"" if plane is None else encode_alpha(plane)
        return self._alpha[number]
