"""The writer: one picture's tiles, coded by one method at any rate.

    picture -> tiles -> g_a -> method -> symbols -> range coder -> container

A candidate is what a method makes of all tiles. It keeps its latents where they are needed again,
so that nothing that was written is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.encoder.filter_fit import LeastSquares
from codec.encoder.method import Method, Round
from codec.encoder.plan import Plan
from codec.encoder.tile import SourceTile, window_features
from codec.engine.base import Features
from codec.format.container import Header, Tile, write
from codec.level import Level
from codec.picture.alpha import Plane, encode_alpha
from codec.picture.pixels import Picture, Samples, psnr_of, squared_error, to_image
from codec.tiles import Box, Grid
from codec.weights.file import COLOURS
from codec.windows import Mapper, Progress, windows

KEPT_PIXELS = 1 << 23
"""Up to this the features of a picture are kept where they are used again: 12 bytes per pixel with
the released models."""
STREAM_BYTES = 4.0
"""Length of a stream beyond -log2 P, about."""


@dataclass(frozen=True)
class Encoded:
    """A file in memory and what the encoder knows about it."""

    data: bytes
    header: Header
    bits: float
    """-log2 P of the symbols by the model, and 8 for each weight of the restoration filter and
    for their number."""
    psnr: float
    """Of the reconstruction, in dB over all visible colours; nan if it is not known."""
    reconstruction: Image.Image | None = None
    """What the decoder will show, if it was asked for."""


@dataclass(frozen=True)
class _Candidate:
    """All tiles of a picture at one level."""

    level: Level
    tiles: tuple[Tile, ...]
    bits: float
    latents: Mapping[int, NDArray[np.float32]]
    """y^ of the tiles, if they are kept."""
    restoration: tuple[int, ...] = ()
    """Weights of the restoration filter."""
    error: float = math.nan
    """Squared error of the visible samples, if it is known."""
    reconstruction: Image.Image | None = None


@dataclass(frozen=True)
class Estimate:
    """What a file would be, without coding it."""

    size: float
    """Bytes of the whole file, within a few for each tile and for the weights of a filter."""
    psnr: float
    """As that of `Encoded`."""


class PictureEncoder:
    """Codes one picture with one model, at any number of levels.

    Args:
        plan: what the effort does.
        picture: to be coded.
        grid: its tiles.
        mapper: runs the work on tiles.
        measure: whether to find the PSNR, which takes the synthesis of the whole picture where a
            search has not found it already.
        reconstruct: whether to give the reconstruction; takes that synthesis too.
        trials: whether several levels will be tried, so that work on them is shared.
        progress: told after each round of each tile.
    """

    def __init__(
        self,
        plan: Plan,
        picture: Picture,
        grid: Grid,
        mapper: Mapper,
        measure: bool = False,
        reconstruct: bool = False,
        trials: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._plan = plan
        self._model = plan.model
        self._picture = picture
        self.grid = grid
        self._mapper = mapper
        self._measure = measure
        self._reconstruct = reconstruct
        self._keeps_features = (trials or plan.rounds > 0) and grid.whole.area <= KEPT_PIXELS
        self._progress = progress
        self._features: dict[int, Features] = {}
        self._alpha: dict[int, bytes] = {}

    @property
    def does_more(self) -> bool:
        """Whether more is done than to round."""
        return self._plan.does_more

    def estimate(self, level: Level, measure: bool = False) -> Estimate:
        """What the file of a level would be by rounding alone.

        The symbols' costs are exact; the restoration filter counts with all weights that it may
        have, but not for what it does to the error.
        """
        done = self._code(level, Round(self._model), _Steps(None, 0), measure, writes=False)
        streams = done.bits / 8 + STREAM_BYTES * len(self.grid)
        streams += (1 + self._model.kernels) * self._plan.restores
        error = self._measured(done, reconstruct=False).error if measure else math.nan
        return Estimate(len(self._file(done)) + streams, self._psnr(error))

    def encode(self, level: Level, effort: bool = True) -> Encoded:
        """Code at one level.

        Args:
            level: position on the ladder of lambdas in units of 2^-12.
            effort: whether to do more than to round, if the plan does at all. A search never ends
                with a greater cost of the whole picture than it started from, but with MS-SSIM
                and several tiles.
        """
        if effort and self._plan.rounds:
            done = self._searched(level)
        else:
            method = self._plan.base if effort else Round(self._model)
            steps = _Steps(self._progress, len(self.grid))
            done = self._code(level, method, steps, self._measure or self._reconstruct)
        if self._measure or self._reconstruct:
            done = self._measured(done, self._reconstruct)
        return Encoded(
            self._file(done),
            self._header(done),
            done.bits,
            self._psnr(done.error),
            done.reconstruction,
        )

    def _searched(self, level: Level) -> _Candidate:
        """After a search, with the filter of the rounded latents in place."""
        plan, count = self._plan, len(self.grid)
        compares = plan.compares(self.grid)
        keeps = plan.keeps(self.grid) or self._measure or self._reconstruct
        start = None
        before = count if plan.restores or compares else 0
        steps = _Steps(self._progress, before + count * (plan.rounds + 1))
        if before:
            start = self._code(level, plan.base, steps, compares)
        restoration = start.restoration if start else ()
        found = self._code(level, plan.search(restoration), steps.after(before), keeps)
        if plan.restores:
            found = self._with_filter(found, restoration)
        if not (compares and start):
            return found
        weight = self._model.error_weight(level)
        both = (self._measured(one, self._reconstruct) for one in (start, found))
        return min(both, key=lambda one: one.bits + weight * one.error)

    def _code(
        self, level: Level, method: Method, steps: _Steps, keeps: bool, writes: bool = True
    ) -> _Candidate:
        """All tiles by one method, with the restoration filter that their fits ask for.

        Args:
            level: in units of 2^-12.
            method: chooses the symbols.
            steps: told of the progress.
            keeps: whether the latents are needed again.
            writes: whether to write the streams.
        """
        coder, visible = self._model.coder, self._visible

        def code(number: int) -> None:
            box = self.grid.box(number)
            tile = SourceTile(
                self._model,
                self._picture,
                box,
                self._features_of(number),
                visible,
                lambda done: steps.report(number, done),
            )
            coded = method.code(tile, level)
            rounded = coded.rounded
            tiles[number] = Tile(b"", 0, self._alpha_of(number))
            if writes:
                stream = coder.write(rounded)
                tiles[number] = Tile(stream, rounded.checksum, tiles[number].alpha)
            bits[number] = rounded.bits
            if coded.fit:
                fits[number] = coded.fit
            if keeps:
                latents[number] = rounded.y_hat
            errors[number] = coded.error
            steps.report(number, method.rounds + 1)

        tiles: dict[int, Tile] = {}
        bits: dict[int, float] = {}
        fits: dict[int, LeastSquares] = {}
        latents: dict[int, NDArray[np.float32]] = {}
        errors: dict[int, float] = {}
        for _ in self._mapper(code, range(len(self.grid))):
            pass
        order = range(len(self.grid))
        ordered = tuple(tiles[number] for number in order)
        total = sum(bits[number] for number in order)
        # That of a tile among others is not known: what lies around it was rounded too.
        error = errors[0] if len(order) == 1 else math.nan
        done = _Candidate(level, ordered, total, latents, error=error)
        if not fits:
            return done
        fit = self._empty_fit()
        for number in sorted(fits):
            fit.merge(fits[number])
        return self._filtered(done, fit)

    def _empty_fit(self) -> LeastSquares:
        fit = self._model.least_squares(self._picture, self._visible)
        assert fit is not None
        return fit

    def _with_filter(self, done: _Candidate, assumed: tuple[int, ...]) -> _Candidate:
        """With the restoration filter that suits its reconstruction best.

        Args:
            done: without a filter, but for one that the search assumed.
            assumed: weights of that filter, which the error is of.
        """
        fit = self._empty_fit()
        for _, samples, original, alpha in self._windows(done):
            fit.add(samples, original, alpha)
        filtered = self._filtered(done, fit)
        known = filtered.restoration == assumed
        return replace(filtered, error=done.error if known else math.nan)

    def _filtered(self, done: _Candidate, fit: LeastSquares) -> _Candidate:
        """With the restoration filter of a fit, whose error is not known."""
        restoration = fit.solve(self._model.error_weight(done.level))
        done = replace(done, restoration=restoration, error=math.nan)
        return replace(done, bits=done.bits + 8 * self._header(done).restoration_bytes)

    def _measured(self, done: _Candidate, reconstruct: bool) -> _Candidate:
        """With the error of its reconstruction, and that itself if it is asked for."""
        if not math.isnan(done.error) and (done.reconstruction or not reconstruct):
            return done
        image = None
        if reconstruct:
            image = Image.new(self._header(done).mode, self._picture.image.size)
        error = 0.0
        for box, samples, original, alpha in self._windows(done, done.restoration):
            decoded = to_image(samples, self._picture.grey)
            error += squared_error(original, np.asarray(decoded.convert("RGB")), alpha)[0]
            if image:
                image.paste(to_image(samples, self._picture.grey, alpha), (box.left, box.top))
        return replace(done, error=error, reconstruction=image)

    def _windows(
        self, done: _Candidate, restoration: tuple[int, ...] = ()
    ) -> Iterator[tuple[Box, NDArray[np.float32], Samples, Plane | None]]:
        """Windows of the reconstruction beside those of the picture."""
        engine = self._model.engine
        for box, samples in windows(
            self.grid,
            self.grid.whole,
            engine.synthesis_halo,
            done.latents.__getitem__,
            lambda y_hat: engine.synthesise(y_hat, done.level, restoration),
            self._mapper,
        ):
            yield box, samples, *self._picture.crop(box)

    @cached_property
    def _visible(self) -> int:
        """Number of visible pixels."""
        return self._picture.count_visible()

    def _psnr(self, error: float) -> float:
        return psnr_of(error, COLOURS * self._visible)

    def _file(self, done: _Candidate) -> bytes:
        return write(self._header(done), done.tiles, self.grid.side, self._picture.metadata)

    def _header(self, done: _Candidate) -> Header:
        picture = self._picture
        return Header(
            width=picture.width,
            height=picture.height,
            grey=picture.grey,
            level=done.level,
            model_id=self._model.id,
            alpha=picture.alpha,
            vq=self._model.config.rounding == "vq",
            restoration=done.restoration,
        )

    def _features_of(self, number: int) -> Features:
        if number in self._features:
            return self._features[number]
        features = window_features(self._model.engine, self._picture, self.grid.box(number))
        if self._keeps_features:
            self._features[number] = features
        return features

    def _alpha_of(self, number: int) -> bytes:
        if not self._picture.alpha:
            return b""
        if number not in self._alpha:
            _, plane = self._picture.crop(self.grid.box(number))
            self._alpha[number] = b"" if plane is None else encode_alpha(plane)
        return self._alpha[number]


class _Steps:
    """Progress of one method over the tiles of a picture.

    Args:
        progress: told (steps done, steps in all).
        total: steps in all.
        before: steps that were done before.
    """

    def __init__(self, progress: Progress | None, total: int, before: int = 0) -> None:
        self._progress = progress
        self._total = total
        self._before = before
        self._done: dict[int, int] = {}

    def after(self, steps: int) -> _Steps:
        """That of the next method, once so many steps are done."""
        return _Steps(self._progress, self._total, self._before + steps)

    def report(self, number: int, done: int) -> None:
        """Of one tile: steps done so far."""
        self._done[number] = done
        if self._progress:
            self._progress(self._before + sum(list(self._done.values())), self._total)
