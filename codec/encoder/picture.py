"""One picture's tiles, coded at any rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from codec.encoder.filter_fit import LeastSquares
from codec.encoder.tile_coder import TileCoder
from codec.entropy.rounding import Rounded
from codec.format.container import Header, Tile, write
from codec.picture.alpha import Plane, encode_alpha
from codec.picture.pixels import Picture, Samples, psnr_of, squared_error, to_image
from codec.tiles import Box, Grid
from codec.weights.file import COLOURS
from codec.windows import windows
from codec.workers import Mapper

KEPT_PIXELS = 1 << 23
"""Up to this, what g_a makes of a picture before the rate enters is kept between trials of a
search: 12 bytes per pixel with the released model."""
STREAM_BYTES = 4.0
"""What a stream is longer than -log2 P, about."""

Progress = Callable[[int, int], None]
"""Told how much of how much is done."""


@dataclass(frozen=True)
class Encoded:
    """A file in memory and what the encoder knows about it."""

    data: bytes
    header: Header
    bits: float
    """-log2 P of the rounded latents by the model, and 8 for each weight of the restoration filter
    and their number."""
    psnr: float
    """Of what the decoder will show, in dB over all visible colours; nan if not measured."""
    image: Image.Image | None = None
    """What the decoder will show, if that was wanted."""


@dataclass(frozen=True)
class Wanted:
    """What is to be known of a file beside its bytes."""

    psnr: bool = False
    """Takes the synthesis of the whole picture."""
    image: bool = False
    """What the decoder will show; takes that synthesis too."""


@dataclass(frozen=True)
class Estimate:
    """What a file would be, without coding it."""

    size: float
    """Bytes of the whole file, within a few of each tile and of the weights of a filter."""
    psnr: float
    """As that of `Encoded`."""


@dataclass(frozen=True)
class _Pass:
    """What comes of all tiles at one level."""

    tiles: list[Tile]
    bits: float
    error: float
    """Sum of squared differences of the visible samples; nan if not measured."""
    samples: int
    """How many there are."""
    image: Image.Image | None
    """What the decoder will show, if that was wanted."""
    y_hat: NDArray[np.float32] | None
    """Of a picture of one tile."""
    restoration: tuple[int, ...] = ()
    """Weights of the restoration filter."""
    fit: LeastSquares | None = None
    """What they can be found from."""

    @property
    def psnr(self) -> float:
        return psnr_of(self.error, self.samples)


class PictureEncoder:
    """Codes one picture with one model, at one level after the other if need be.

    Args:
        coder: of the model.
        picture: what to code.
        grid: its tiles.
        mapper: runs the work on tiles.
        model_id: short id of the model.
        rounds: of the search for better symbols, see `codec.encoder.search`; 0 for none.
        closes_loop: whether to look at what will be shown, so that latents make up for rounding and
            a restoration filter can be solved for (`codec.encoder.compensation`, `restoration`),
            of a model for which that helps.
        trials: whether several levels will be tried, so that work on them is shared.
        progress: told after each round of each tile.
    """

    def __init__(
        self,
        coder: TileCoder,
        picture: Picture,
        grid: Grid,
        mapper: Mapper,
        model_id: bytes,
        rounds: int,
        closes_loop: bool,
        trials: bool,
        progress: Progress | None = None,
    ) -> None:
        self._coder = coder
        self._picture = picture
        self.grid = grid
        self._mapper = mapper
        self._model_id = model_id
        self._rounds = rounds
        self._closes_loop = closes_loop
        self._restores = closes_loop and coder.kernels > 0
        self._keeps = (trials or self._rounds > 0) and grid.whole.area <= KEPT_PIXELS
        self._progress = progress
        self._features: dict[int, Tensor] = {}
        self._alpha: dict[int, bytes] = {}

    @property
    def tries(self) -> bool:
        """Whether more is done than to round."""
        return self._rounds > 0 or self._closes_loop

    def estimate(self, level: int, wanted: Wanted) -> Estimate:
        """What the file of a level would be by rounding alone, with all weights that a filter may
        have, but not for what it would show; the symbols' costs are exact."""
        done = self._pass(level, 0, wanted, coded=False)
        streams = done.bits / 8 + STREAM_BYTES * len(self.grid)
        streams += (1 + self._coder.kernels) * self._restores
        return Estimate(len(self._file(level, done)) + streams, done.psnr)

    def encode(self, level: int, wanted: Wanted, refined: bool = True) -> Encoded:
        """Code at one level.

        Args:
            level: position on the ladder of lambdas in units of 2^-12.
            wanted: what else to find.
            refined: whether to do more than to round, if this encoder does at all. What a search
                finds never has a greater true cost than what it started from. It compares that
                itself where a tile is the whole picture; elsewhere it does not know what becomes of
                the tiles around, and both are measured, but for models for MS-SSIM: with these a
                tile is compared as if those around were not rounded, and that of the picture is not
                known to be less.
        """
        rounds = self._rounds if refined else 0
        if rounds:
            best = self._refined(level, wanted, rounds)
        elif refined and self._closes_loop:
            best = self._restored(level, self._pass(level, 0, Wanted(), closed=True), wanted)
        else:
            best = self._pass(level, 0, wanted)
        return Encoded(
            self._file(level, best),
            self._header(level, best.restoration),
            best.bits,
            best.psnr,
            best.image,
        )

    def _refined(self, level: int, wanted: Wanted, rounds: int) -> _Pass:
        """After a search, for what the filter of the rounded latents will make of its symbols."""
        restores = self._restores
        judged = len(self.grid) == 1 or not self._coder.by_error
        compared = wanted if judged else Wanted(psnr=True, image=wanted.image)
        rounded: _Pass | None = None
        if restores or not judged:
            seen = Wanted() if judged else compared
            after = len(self.grid) * (rounds + 1)
            closed = self._closes_loop
            first = self._pass(level, 0, Wanted() if closed else seen, closed, others=(0, after))
            rounded = self._restored(level, first, seen)
        weights = rounded.restoration if rounded else ()
        before = len(self.grid) if rounded else 0
        found = self._pass(
            level, rounds, compared, restores, restoration=weights, others=(before, 0)
        )
        found = self._restored(level, found, compared)
        if judged or rounded is None:
            return found
        weight = self._coder.error_weight(level)
        return min((rounded, found), key=lambda done: done.bits + weight * done.error)

    def _restored(self, level: int, done: _Pass, wanted: Wanted) -> _Pass:
        """The same with the restoration filter that it asks for, if it does, and measured."""
        restoration = done.fit.solve(self._coder.error_weight(level)) if done.fit else ()
        measured = done.image is not None if wanted.image else math.isfinite(done.error)
        if not restoration and measured:
            return done
        bits = done.bits + 8 * self._header(level, restoration).restoration_bytes
        done = replace(done, restoration=restoration, bits=bits, error=math.nan, image=None)
        if not (wanted.psnr or wanted.image):
            return done
        image = self._blank(level) if wanted.image else None

        def latents(number: int) -> NDArray[np.float32]:
            if done.y_hat is not None:
                return done.y_hat
            return self._coder.decode(done.tiles[number], self.grid.box(number), level)

        error, samples = self._measure(level, latents, image, restoration)
        return replace(done, error=error, samples=samples, image=image)

    def _pass(
        self,
        level: int,
        rounds: int,
        wanted: Wanted,
        closed: bool = False,
        coded: bool = True,
        restoration: tuple[int, ...] = (),
        others: tuple[int, int] = (0, 0),
    ) -> _Pass:
        """All tiles at one level, after so many rounds of search.

        Args:
            level: in units of 2^-12.
            rounds: of the search, at most.
            wanted: what to find, without a restoration filter; nothing if the loop is closed and
                there is no search.
            closed: whether to look at what will be shown: for latents that make up for rounding,
                without a search, and to find what a restoration filter can be solved for from.
            coded: whether to write the streams.
            restoration: weights of the filter that the search shall reckon with.
            others: steps of progress before this pass and after it.
        """
        y_hat: NDArray[np.float32] | None = None
        tiles: dict[int, Tile] = {}
        bits: dict[int, float] = {}
        errors: dict[int, float] = {}
        fits: dict[int, LeastSquares] = {}
        finished = dict.fromkeys(range(len(self.grid)), 0)

        def report(number: int, count: int) -> None:
            finished[number] = count
            if self._progress:
                before, after = others
                total = before + len(finished) * (rounds + 1) + after
                self._progress(before + sum(finished.values()), total)

        def code(number: int) -> NDArray[np.float32]:
            features = self._features_of(number)
            box = self.grid.box(number)
            rounded: Rounded
            if rounds:
                found = self._coder.refine(
                    self._picture,
                    box,
                    features,
                    level,
                    rounds,
                    restoration,
                    lambda n: report(number, n),
                )
                rounded, errors[number] = found.rounded, found.error
            elif closed:
                rounded, part = self._coder.closed_loop(
                    self._picture, box, features, level, self._visible
                )
                if part:
                    fits[number] = part
            else:
                latents = self._coder.latents(self._picture, box, features, level)
                rounded = self._coder.round(latents, level)
            stream, checksum = self._coder.write(rounded) if coded else (b"", 0)
            tiles[number] = Tile(stream, checksum, self._alpha_of(number))
            bits[number] = rounded.bits
            report(number, rounds + 1)
            if len(self.grid) == 1:
                nonlocal y_hat
                y_hat = rounded.y_hat
            return rounded.y_hat

        image = self._blank(level) if wanted.image else None
        fit: LeastSquares | None = None
        if closed and self._coder.restoration:
            fit = LeastSquares(*self._coder.restoration, self._visible, self._picture.grey)
        error, samples = math.nan, 1
        known = rounds and len(self.grid) == 1 and self._coder.by_error
        if wanted.psnr and known and not (wanted.image or fit):
            code(0)
            error, samples = errors[0], COLOURS * self._visible
        elif wanted.psnr or wanted.image:
            error, samples = self._measure(level, code, image, fit=fit)
        elif fit and rounds:
            for _, shown, original, alpha in self._shown(level, code):
                fit.add(shown, original, alpha)
        else:
            for _ in self._mapper(code, range(len(self.grid))):
                pass
        if fit:
            for _, part in sorted(fits.items()):
                fit.merge(part)
        ordered = [tiles[number] for number in range(len(self.grid))]
        return _Pass(ordered, sum(bits.values()), error, samples, image, y_hat, fit=fit)

    def _blank(self, level: int) -> Image.Image:
        """What `_measure` may fill with what the decoder will show."""
        return Image.new(self._header(level).mode, self._picture.image.size)

    @cached_property
    def _visible(self) -> int:
        """Number of visible pixels."""
        return self._picture.count_visible()

    def _measure(
        self,
        level: int,
        latents: Callable[[int], NDArray[np.float32]],
        shown: Image.Image | None,
        restoration: tuple[int, ...] = (),
        fit: LeastSquares | None = None,
    ) -> tuple[float, int]:
        """Squared error of what the decoder will show, and over how many samples.

        Args:
            level: in units of 2^-12.
            latents: y^ of a tile by its number.
            shown: to be filled with it, if that is wanted.
            restoration: weights of the filter.
            fit: to be told of it, if that is wanted.
        """
        error, count = 0.0, 0
        for box, samples, original, alpha in self._shown(level, latents, restoration):
            if fit:
                fit.add(samples, original, alpha)
            decoded = to_image(samples, self._picture.grey)
            part = squared_error(original, np.asarray(decoded.convert("RGB")), alpha)
            error, count = error + part[0], count + part[1]
            if shown:
                shown.paste(to_image(samples, self._picture.grey, alpha), (box.left, box.top))
        return error, count

    def _shown(
        self,
        level: int,
        latents: Callable[[int], NDArray[np.float32]],
        restoration: tuple[int, ...] = (),
    ) -> Iterator[tuple[Box, NDArray[np.float32], Samples, Plane | None]]:
        """Windows of what the decoder will show, as for `_measure`, beside the picture's."""
        for box, samples in windows(
            self.grid,
            self.grid.whole,
            self._coder.synthesis_halo,
            latents,
            lambda y_hat: self._coder.synthesise(y_hat, level, restoration),
            self._mapper,
        ):
            yield box, samples, *self._picture.crop(box)

    def _file(self, level: int, done: _Pass) -> bytes:
        header = self._header(level, done.restoration)
        return write(header, done.tiles, self.grid.side, self._picture.metadata)

    def _header(self, level: int, restoration: tuple[int, ...] = ()) -> Header:
        picture = self._picture
        return Header(
            picture.width,
            picture.height,
            picture.grey,
            level,
            self._model_id,
            picture.alpha,
            self._coder.to_centres,
            restoration,
        )

    def _features_of(self, number: int) -> Tensor:
        if number in self._features:
            return self._features[number]
        features = self._coder.features(self._picture, self.grid.box(number))
        if self._keeps:
            self._features[number] = features
        return features

    def _alpha_of(self, number: int) -> bytes:
        if not self._picture.alpha:
            return b""
        if number not in self._alpha:
            _, plane = self._picture.crop(self.grid.box(number))
            self._alpha[number] = b"" if plane is None else encode_alpha(plane)
        return self._alpha[number]
