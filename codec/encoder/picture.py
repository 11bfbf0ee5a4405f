"""The writer: one picture's tiles, coded by one method at any rate.

    picture -> tiles -> g_a -> method -> symbols -> range coder -> container

A candidate is what a method makes of all tiles. It keeps its latents where they are needed again,
so that nothing that was written is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.encoder.encoded import Encoded, Estimate, Trial
from codec.encoder.filter_fit import LeastSquares
from codec.encoder.levels import PictureLevels
from codec.encoder.method import ChosenSymbols, Method, Round
from codec.encoder.patched import PatchedPicture
from codec.encoder.plan import Plan
from codec.encoder.reconstruction import Latents, Measured, Reconstruction
from codec.encoder.steps import Steps
from codec.encoder.tile import SourceTile
from codec.format.directory import Tile
from codec.format.header import Header
from codec.format.patch_table import Patch
from codec.format.writing import write
from codec.level import Level
from codec.level_map import Offsets
from codec.picture.pixels import Picture
from codec.pool import Mapper, Progress
from codec.tiles import LATENT_STRIDE, Box, Grid

STREAM_BYTES = 4.0
"""Length of a stream beyond -log2 P, about."""


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
    latents: Latents
    """y^ of the tiles, if they are needed again."""
    restoration: tuple[int, ...] = ()
    """Weights of the restoration filter."""


class PictureEncoder:
    """Codes one picture with one model, at any number of levels.

    Args:
        plan: what the effort does.
        picture: to be coded.
        grid: its tiles.
        mapper: runs the work on tiles and patches.
        measure: whether to find the PSNR, which takes the synthesis of the whole picture.
        reconstruct: whether to give the reconstruction; takes that synthesis too.
        trials: whether several levels will be tried, so that work on them is shared.
        progress: called after each round of each tile.
        boxes: patches, as of `PatchedPicture`.
        offsets: map of levels, of the shape of `codec.level_map.map_shape`; None for one level
            everywhere.

    Raises:
        InputError: no file has such patches.
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
        boxes: Iterable[Box] = (),
        offsets: Offsets | None = None,
    ) -> None:
        self._plan = plan
        self._model = plan.model
        self.source = picture
        """The picture as it is."""
        self.grid = grid
        self._mapper = mapper
        self._levels = PictureLevels(plan.model, offsets)
        self._measure = measure
        self._reconstruct = reconstruct
        self._progress = progress
        keeps = plan.keeps_features(grid, trials)
        self._use(PatchedPicture(plan.model.engine, picture, grid, mapper, keeps, boxes))

    def with_patches(self, boxes: Iterable[Box]) -> PictureEncoder:
        """An encoder of the same picture with these patches at every level; work is shared.

        Raises:
            InputError: no file has such patches.
        """
        other = copy(self)
        other._use(self._patched.with_patches(boxes))
        return other

    def _use(self, patched: PatchedPicture) -> None:
        self._patched = patched
        self._reconstruction = Reconstruction(self._model, patched, self._levels, self._mapper)
        self._trials: dict[Level, Trial] = {}

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Patches, by rising (top, left)."""
        return self._patched.boxes

    @property
    def does_more(self) -> bool:
        """Whether more is done than to round."""
        return self._plan.does_more

    def estimate(self, level: Level, measure: bool = False) -> Estimate:
        """Estimate the file of a level by rounding alone.

        The symbols' costs are exact; the restoration filter counts with all weights that it may
        have, but not for what it does to the error.
        """
        done = self._code(level, Round(self._model), Steps(None, 0), measure, writes=False)
        streams = done.bits / 8 + STREAM_BYTES * len(self._patched.coded)
        streams += (1 + self._model.kernels) * self._plan.restores
        psnr = self._reconstruction.psnr(self._measured(done).error) if measure else math.nan
        return Estimate(len(self._file(done)) + streams, psnr)

    def encode(self, level: Level, rounding_only: bool = False) -> Encoded:
        """Code at one level.

        A search never ends with a greater cost of the whole picture than it started from, but
        maybe with several tiles of models for MS-SSIM or looks.

        Args:
            level: of the file.
            rounding_only: whether to leave out what the plan does beyond rounding.
        """
        measures = self._measure or self._reconstruct
        measured: Measured | None = None
        if self._plan.rounds and self._patched.coded and not rounding_only:
            done, measured = self._searched(level, measures)
        else:
            method = Round(self._model) if rounding_only else self._plan.base
            steps = Steps(self._progress, len(self._patched.coded))
            done = self._code(level, method, steps, measures)
        if self._reconstruct or (self._measure and not measured):
            measured = self._measured(done, self._reconstruct)
        header = self._header(done)
        return Encoded(
            self._file(done),
            header,
            done.bits + 8 * (header.map_bytes + sum(one.size for one in self._patched.patches)),
            self._reconstruction.psnr(measured.error) if measured and measures else math.nan,
            measured.image if measured else None,
            self._patched.patches,
        )

    def trial(self, level: Level) -> Trial:
        """Code at one level by rounding alone, without a restoration filter, and measure.

        Holds the latents of few tiles at a time, however large the picture is. Made once for each
        level.
        """
        if level not in self._trials:
            self._trials[level] = self._new_trial(level)
        return self._trials[level]

    def _new_trial(self, level: Level) -> Trial:
        lattice = self.grid.whole.shrunk(LATENT_STRIDE)
        bits = np.zeros((lattice.height, lattice.width))
        method, steps = Round(self._model), Steps(None, 0)
        tiles: dict[int, Tile] = {}

        def fetch(number: int) -> NDArray[np.float32]:
            tile, chosen = self._code_tile(number, level, method, steps)
            tiles[number] = tile
            bits[self.grid.box(number).shrunk(LATENT_STRIDE).slices] = chosen.rounded.position_bits
            return chosen.rounded.y_hat

        error = self._reconstruction.errors(level, fetch)
        coded = tuple(tiles[number] for number in self._patched.coded)
        done = _Candidate(level, coded, 0.0, {})
        weight = self._levels.error_weight(level, self.grid.whole)
        psnr = self._reconstruction.psnr(float(error.sum()))
        return Trial(len(self._file(done)), bits, error, weight, psnr)

    def _searched(self, level: Level, measures: bool) -> tuple[_Candidate, Measured | None]:
        """Code by the search, for the restoration filter of its start, and give what was measured
        to compare the two."""
        plan, count = self._plan, len(self._patched.coded)
        if not plan.starts_apart(self.grid):
            steps = Steps(self._progress, count * (plan.rounds + 1))
            return self._code(level, plan.search(()), steps, measures), None
        compares = plan.compares(self.grid)
        steps = Steps(self._progress, count * (plan.rounds + 2))
        start = self._code(level, plan.base, steps, compares)
        start_measured = self._measured(start) if compares else None
        if not self._reconstruct:
            start = replace(start, latents={})
        keeps = measures or compares or plan.restores
        found = self._code(level, plan.search(start.restoration), steps.after(count), keeps)
        if plan.restores:
            found = self._filtered(found, self._reconstruction.fit(level, found.latents))
        if start_measured is None:
            return found, None
        weight = self._model.error_weight(level)
        both = (start, start_measured), (found, self._measured(found))
        return min(both, key=lambda one: one[0].bits + weight * one[1].weighted_error)

    def _code(
        self, level: Level, method: Method, steps: Steps, keeps: bool, writes: bool = True
    ) -> _Candidate:
        """Code all tiles by one method, with the restoration filter that their fits ask for.

        Args:
            level: of the file.
            method: chooses the symbols.
            steps: progress of the method.
            keeps: whether the latents are needed again.
            writes: whether to write the streams.
        """

        def code(number: int) -> _Part:
            tile, chosen = self._code_tile(number, level, method, steps, writes)
            y_hat = chosen.rounded.y_hat if keeps else None
            return _Part(tile, chosen.rounded.bits, y_hat, chosen.fit)

        coded = self._patched.coded
        parts = list(self._mapper(code, coded))
        numbered = zip(coded, parts, strict=True)
        latents = {n: part.y_hat for n, part in numbered if part.y_hat is not None}
        bits = sum(part.bits for part in parts)
        done = _Candidate(level, tuple(part.tile for part in parts), bits, latents)
        fits = [part.fit for part in parts if part.fit]
        for fit in fits[1:]:
            fits[0].merge(fit)
        return self._filtered(done, fits[0]) if fits else done

    def _code_tile(
        self, number: int, level: Level, method: Method, steps: Steps, writes: bool = True
    ) -> tuple[Tile, ChosenSymbols]:
        """Code one tile; arguments as of `_code`."""

        def progress(done: int) -> None:
            steps.report(number, done)

        patched, box = self._patched, self.grid.box(number)
        visible, features = patched.visible_in_tiles, patched.features(number)
        source = SourceTile(self._model, patched.picture, box, features, visible, progress)
        chosen = method.code(source, self._levels.at(level))
        stream = self._model.coder.write(chosen.rounded) if writes else b""
        checksum = chosen.rounded.checksum if writes else 0
        steps.report(number, method.rounds + 1)
        return Tile(stream, checksum, patched.alpha(number)), chosen

    def _filtered(self, done: _Candidate, fit: LeastSquares) -> _Candidate:
        """Give a candidate the restoration filter that its fit asks for."""
        done = replace(done, restoration=fit.solve(self._model.error_weight(done.level)))
        return replace(done, bits=done.bits + 8 * self._header(done).restoration_bytes)

    def _measured(self, done: _Candidate, reconstruct: bool = False) -> Measured:
        """Error of a candidate's reconstruction, and that itself if it is asked for."""
        mode = self._header(done).mode if reconstruct else None
        return self._reconstruction.measure(done.level, done.latents, done.restoration, mode)

    def patches_of(self, boxes: Iterable[Box]) -> tuple[Patch, ...]:
        """Samples of boxes without loss, of which each is coded once."""
        return self._patched.patches_of(boxes)

    def _file(self, done: _Candidate) -> bytes:
        metadata, patches = self.source.metadata, self._patched.patches
        return write(self._header(done), done.tiles, self.grid.side, metadata, patches)

    def _header(self, done: _Candidate) -> Header:
        picture = self.source
        return Header(
            width=picture.width,
            height=picture.height,
            grey=picture.grey,
            level=done.level,
            model_id=self._model.id,
            alpha=picture.alpha,
            vq=self._model.config.rounding == "vq",
            restoration=done.restoration,
            level_map=self._levels.coded if self._patched.coded else b"",
        )
