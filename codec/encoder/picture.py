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
from threading import Lock
from typing import NamedTuple

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
from codec.picture.pixels import Picture, Samples, psnr_of, squared_error
from codec.picture.rendering import to_image
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
    """PSNR of the reconstruction in dB, over all visible colours; nan if it was not asked for."""
    reconstruction: Image.Image | None = None
    """Picture that the decoder gives, if it was asked for."""


class _Part(NamedTuple):
    """One coded tile of a candidate."""

    tile: Tile
    bits: float
    y_hat: NDArray[np.float32] | None
    """Latents of the tile, if they are needed again."""
    fit: LeastSquares | None


@dataclass(frozen=True)
class _Candidate:
    """All tiles of a picture, coded at one level."""

    level: Level
    tiles: tuple[Tile, ...]
    bits: float
    latents: Mapping[int, NDArray[np.float32]]
    """y^ of the tiles, if they are needed again."""
    restoration: tuple[int, ...] = ()
    """Weights of the restoration filter."""
    error: float = math.nan
    """Squared error of the visible samples, once it is measured."""
    reconstruction: Image.Image | None = None


@dataclass(frozen=True)
class Estimate:
    """Size and PSNR of a file, estimated without coding it."""

    size: float
    """Bytes of the whole file, within a few for each tile and for the weights of a filter."""
    psnr: float
    """PSNR of the reconstruction in dB; nan if it was not asked for."""


class PictureEncoder:
    """Codes one picture with one model, at any number of levels.

    Args:
        plan: what the effort does.
        picture: to be coded.
        grid: its tiles.
        mapper: runs the work on tiles.
        measure: whether to find the PSNR, which takes the synthesis of the whole picture.
        reconstruct: whether to give the reconstruction; takes that synthesis too.
        trials: whether several levels will be tried, so that work on them is shared.
        progress: called after each round of each tile.
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
        again = trials or plan.starts_apart(grid)
        self._keeps_features = again and grid.whole.area <= KEPT_PIXELS
        self._progress = progress
        self._features: dict[int, Features] = {}
        self._alpha: dict[int, bytes] = {}

    @property
    def does_more(self) -> bool:
        """Whether more is done than to round."""
        return self._plan.does_more

    def estimate(self, level: Level, measure: bool = False) -> Estimate:
        """Estimate the file of a level by rounding alone.

        The symbols' costs are exact; the restoration filter counts with all weights that it may
        have, but not for what it does to the error.
        """
        done = self._code(level, Round(self._model), _Steps(None, 0), measure, writes=False)
        streams = done.bits / 8 + STREAM_BYTES * len(self.grid)
        streams += (1 + self._model.kernels) * self._plan.restores
        psnr = self._psnr(self._measured(done).error) if measure else math.nan
        return Estimate(len(self._file(done)) + streams, psnr)

    def encode(self, level: Level, effort: bool = True) -> Encoded:
        """Code at one level.

        Args:
            level: of the file.
            effort: whether to do more than to round, if the plan does at all. A search never ends
                with a greater cost of the whole picture than it started from, but with MS-SSIM
                and several tiles.
        """
        measures = self._measure or self._reconstruct
        if effort and self._plan.rounds:
            done = self._searched(level, measures)
        else:
            method = self._plan.base if effort else Round(self._model)
            done = self._code(level, method, _Steps(self._progress, len(self.grid)), measures)
        if measures:
            done = self._measured(done, self._reconstruct)
        psnr = self._psnr(done.error) if measures else math.nan
        return Encoded(self._file(done), self._header(done), done.bits, psnr, done.reconstruction)

    def _searched(self, level: Level, measures: bool) -> _Candidate:
        """Code by the search, for the restoration filter of its start."""
        plan, count = self._plan, len(self.grid)
        compares = plan.compares(self.grid)
        starts = count if plan.starts_apart(self.grid) else 0
        steps = _Steps(self._progress, starts + count * (plan.rounds + 1))
        restoration: tuple[int, ...] = ()
        if starts:
            start = self._code(level, plan.base, steps, compares)
            restoration = start.restoration
        if compares:
            start = self._measured(start)
            start = start if self._reconstruct else replace(start, latents={})
        keeps = measures or compares or plan.restores
        found = self._code(level, plan.search(restoration), steps.after(starts), keeps)
        if plan.restores:
            found = self._with_filter(found)
        if not compares:
            return found
        weight = self._model.error_weight(level)
        both = start, self._measured(found)
        return min(both, key=lambda one: one.bits + weight * one.error)

    def _code(
        self, level: Level, method: Method, steps: _Steps, keeps: bool, writes: bool = True
    ) -> _Candidate:
        """Code all tiles by one method, with the restoration filter that their fits ask for.

        Args:
            level: of the file.
            method: chooses the symbols.
            steps: progress of the method.
            keeps: whether the latents are needed again.
            writes: whether to write the streams.
        """
        visible = self._visible

        def code(number: int) -> _Part:
            box = self.grid.box(number)
            features = self._features_of(number)

            def progress(done: int) -> None:
                steps.report(number, done)

            tile = SourceTile(self._model, self._picture, box, features, visible, progress)
            chosen = method.code(tile, level)
            rounded = chosen.rounded
            stream = self._model.coder.write(rounded) if writes else b""
            checksum = rounded.checksum if writes else 0
            part = _Part(
                Tile(stream, checksum, self._alpha_of(number)),
                rounded.bits,
                rounded.y_hat if keeps else None,
                chosen.fit,
            )
            steps.report(number, method.rounds + 1)
            return part

        parts = list(self._mapper(code, range(len(self.grid))))
        latents = {n: part.y_hat for n, part in enumerate(parts) if part.y_hat is not None}
        bits = sum(part.bits for part in parts)
        done = _Candidate(level, tuple(part.tile for part in parts), bits, latents)
        fits = [part.fit for part in parts if part.fit]
        for fit in fits[1:]:
            fits[0].merge(fit)
        return self._filtered(done, fits[0]) if fits else done

    def _with_filter(self, done: _Candidate) -> _Candidate:
        """Fit the restoration filter to the reconstruction of a candidate without one."""
        fit = self._model.least_squares(self._picture, self._visible)
        assert fit is not None
        for _, samples, original, alpha in self._windows(done):
            fit.add(samples, original, alpha)
        return self._filtered(done, fit)

    def _filtered(self, done: _Candidate, fit: LeastSquares) -> _Candidate:
        """Give a candidate the restoration filter that its fit asks for."""
        done = replace(done, restoration=fit.solve(self._model.error_weight(done.level)))
        return replace(done, bits=done.bits + 8 * self._header(done).restoration_bytes)

    def _measured(self, done: _Candidate, reconstruct: bool = False) -> _Candidate:
        """Measure the error of a candidate's reconstruction, and give that if asked for."""
        if not math.isnan(done.error) and not reconstruct:
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
        """Windows of the reconstruction, each with that of the picture."""
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
        progress: called with (steps done, steps in all).
        total: steps in all.
        before: steps that were done before.
    """

    def __init__(self, progress: Progress | None, total: int, before: int = 0) -> None:
        self._progress = progress
        self._total = total
        self._before = before
        self._done: dict[int, int] = {}
        self._lock = Lock()

    def after(self, steps: int) -> _Steps:
        """Progress of the next method, once so many steps are done."""
        return _Steps(self._progress, self._total, self._before + steps)

    def report(self, number: int, done: int) -> None:
        """Report the steps of one tile done so far."""
        if self._progress:
            with self._lock:  # so that the sums never fall
                self._done[number] = done
                self._progress(self._before + sum(self._done.values()), self._total)
