"""The writer: one picture's tiles, coded by one method at any rate.

    picture -> tiles -> g_a -> method -> symbols -> range coder -> container

A candidate is what a method makes of all tiles. It keeps its latents where they are needed again,
so that nothing that was written is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.encoder.filter_fit import LeastSquares
from codec.encoder.method import ChosenSymbols, Method, Round
from codec.encoder.plan import Plan
from codec.encoder.tile import SourceTile, window_features
from codec.engine.base import Features
from codec.entropy.offsets import write_offsets
from codec.errors import InputError
from codec.format.directory import Tile
from codec.format.header import Header
from codec.format.patch_table import PATCH_UNIT, Patch, covered_tiles, problem_of
from codec.format.writing import write
from codec.level import Level
from codec.level_map import LevelMap, Offsets
from codec.picture.alpha import Plane, encode_alpha
from codec.picture.patch import Cover, decode_patch, encode_patch
from codec.picture.pixels import Picture, Samples, error_map, psnr_of, squared_error
from codec.picture.rendering import to_image
from codec.tiles import LATENT_STRIDE, Box, Grid
from codec.weights.file import COLOURS
from codec.windows import Fetch, Mapper, Progress, uncoded_latents, windows

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
    """-log2 P of the symbols by the model, and 8 for each byte of the restoration filter's weights,
    of their number, of the map of levels, and of the patches with their entries in the table."""
    psnr: float
    """PSNR of the reconstruction in dB, over all visible colours; nan if it was not asked for."""
    reconstruction: Image.Image | None = None
    """Picture that the decoder gives, if it was asked for."""
    patches: tuple[Patch, ...] = ()
    """Rectangles that are stored without loss."""
    below_promise: bool = False
    """Whether the PSNR, if it was asked for, is far below that of photographs at the same level,
    see `codec.encoder.photograph_rates`."""

    @property
    def patch_pixels(self) -> int:
        """Pixels under patches."""
        return sum(patch.box.area for patch in self.patches)

    @property
    def patch_bytes(self) -> int:
        """Bytes of the patches, without their entries in the table."""
        return sum(len(patch.data) for patch in self.patches)


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
    """Squared error of the visible samples, once it is measured,"""
    weighted_error: float = math.nan
    """and with weights relative to that at `level`, of a map of levels."""
    reconstruction: Image.Image | None = None


@dataclass(frozen=True)
class Estimate:
    """Size and PSNR of a file, estimated without coding it."""

    size: float
    """Bytes of the whole file, within a few for each tile and for the weights of a filter."""
    psnr: float
    """PSNR of the reconstruction in dB; nan if it was not asked for."""


@dataclass(frozen=True)
class Trial:
    """A file of rounded latents: what it costs and misses, and where."""

    size: int
    """Bytes of the file."""
    bits: NDArray[np.float64]
    """-log2 P of the symbols by latent position, [rows, columns]."""
    error: NDArray[np.float64]
    """Squared error of the visible samples, likewise; none under patches."""
    error_weight: float | NDArray[np.float64]
    """Bits that a unit of squared error is worth, by latent position with a map of levels."""
    psnr: float
    """PSNR of the reconstruction in dB."""

    @property
    def cost(self) -> float:
        """Rate-distortion cost in bits."""
        return 8 * self.size + float((self.error_weight * self.error).sum())


@dataclass(frozen=True)
class _Cache:
    """What encoders of one picture with other patches share; may be used by several threads."""

    patches: dict[Box, bytes]
    alpha: dict[tuple[int, tuple[Box, ...]], bytes]
    features: dict[int, tuple[tuple[Box, ...], Features]]
    """By tile, with the patches that its samples and their surroundings have; the latest alone, so
    that they do not add up."""


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
        boxes: patches, disjoint boxes of pixels whose corners are multiples of 16 or lie on the
            right and lower border of the picture.
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
        self._offsets = offsets
        self._coded_offsets = b"" if offsets is None else write_offsets(offsets)
        self._measure = measure
        self._reconstruct = reconstruct
        again = trials or plan.starts_apart(grid)
        self._keeps_features = again and grid.whole.area <= KEPT_PIXELS
        self._progress = progress
        self._cache = _Cache({}, {}, {})
        self._use(boxes)

    def with_patches(self, boxes: Iterable[Box]) -> PictureEncoder:
        """An encoder of the same picture with these patches at every level; work is shared.

        Raises:
            InputError: no file has such patches.
        """
        other = copy(self)
        other._use(boxes)
        return other

    def _use(self, boxes: Iterable[Box]) -> None:
        self.boxes = checked_boxes(boxes, self.grid.whole)
        """Patches, by rising (top, left)."""
        self._cover = Cover(self.boxes, self.grid.whole) if self.boxes else None
        self._picture = replace(self.source, cover=self._cover)
        self._covered = covered_tiles(self.boxes, self.grid)
        self._coded = [n for n in range(len(self.grid)) if n not in self._covered]
        self._trials: dict[Level, Trial] = {}
        for name in ("_visible", "_seen", "_patches"):
            vars(self).pop(name, None)

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
        streams = done.bits / 8 + STREAM_BYTES * len(self._coded)
        streams += (1 + self._model.kernels) * self._plan.restores
        psnr = self._psnr(self._measured(done).error) if measure else math.nan
        return Estimate(len(self._file(done)) + streams, psnr)

    def encode(self, level: Level, effort: bool = True) -> Encoded:
        """Code at one level.

        Args:
            level: of the file.
            effort: whether to do more than to round, if the plan does at all. A search never ends
                with a greater cost of the whole picture than it started from, but maybe with
                several tiles of models for MS-SSIM or looks.
        """
        measures = self._measure or self._reconstruct
        if effort and self._plan.rounds and self._coded:
            done = self._searched(level, measures)
        else:
            method = self._plan.base if effort else Round(self._model)
            done = self._code(level, method, _Steps(self._progress, len(self._coded)), measures)
        if measures:
            done = self._measured(done, self._reconstruct)
        psnr = self._psnr(done.error) if measures else math.nan
        header = self._header(done)
        return Encoded(
            self._file(done),
            header,
            done.bits + 8 * (header.map_bytes + sum(patch.size for patch in self._patches)),
            psnr,
            done.reconstruction,
            self._patches,
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
        bits, errors = np.zeros((2, lattice.height, lattice.width))
        method, steps = Round(self._model), _Steps(None, 0)
        tiles: dict[int, Tile] = {}

        def fetch(number: int) -> NDArray[np.float32]:
            if number in self._covered:
                return self._nothing(number)
            tile, chosen = self._code_tile(number, level, method, steps)
            tiles[number] = tile
            bits[self.grid.box(number).shrunk(LATENT_STRIDE).slices] = chosen.rounded.position_bits
            return chosen.rounded.y_hat

        for box, samples, original, alpha in self._windows(level, fetch):
            decoded = np.asarray(to_image(samples, self._picture.grey).convert("RGB"))
            errors[box.shrunk(LATENT_STRIDE).slices] = error_map(original, decoded, alpha)
        done = _Candidate(level, tuple(tiles[number] for number in self._coded), 0.0, {})
        weight = self._error_weight(level)
        psnr = self._psnr(float(errors.sum()))
        return Trial(len(self._file(done)), bits, errors, weight, psnr)

    def _searched(self, level: Level, measures: bool) -> _Candidate:
        """Code by the search, for the restoration filter of its start."""
        plan, count = self._plan, len(self._coded)
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
        return min(both, key=lambda one: one.bits + weight * one.weighted_error)

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

        def code(number: int) -> _Part:
            tile, chosen = self._code_tile(number, level, method, steps, writes)
            y_hat = chosen.rounded.y_hat if keeps else None
            return _Part(tile, chosen.rounded.bits, y_hat, chosen.fit)

        parts = list(self._mapper(code, self._coded))
        numbered = zip(self._coded, parts, strict=True)
        latents = {n: part.y_hat for n, part in numbered if part.y_hat is not None}
        bits = sum(part.bits for part in parts)
        done = _Candidate(level, tuple(part.tile for part in parts), bits, latents)
        fits = [part.fit for part in parts if part.fit]
        for fit in fits[1:]:
            fits[0].merge(fit)
        return self._filtered(done, fits[0]) if fits else done

    def _code_tile(
        self, number: int, level: Level, method: Method, steps: _Steps, writes: bool = True
    ) -> tuple[Tile, ChosenSymbols]:
        """Code one tile; arguments as of `_code`."""

        def progress(done: int) -> None:
            steps.report(number, done)

        box, features = self.grid.box(number), self._features_of(number)
        source = SourceTile(self._model, self._picture, box, features, self._visible, progress)
        chosen = method.code(source, self._levels(level))
        stream = self._model.coder.write(chosen.rounded) if writes else b""
        checksum = chosen.rounded.checksum if writes else 0
        steps.report(number, method.rounds + 1)
        return Tile(stream, checksum, self._alpha_of(number)), chosen

    def _with_filter(self, done: _Candidate) -> _Candidate:
        """Fit the restoration filter to the reconstruction of a candidate without one."""
        fit = self._model.least_squares(self._picture, self._visible)
        assert fit is not None
        for _, samples, original, alpha in self._windows_of(done):
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
        error = weighted = 0.0
        for box, samples, original, alpha in self._windows_of(done, done.restoration):
            decoded = to_image(samples, self._picture.grey)
            rgb = np.asarray(decoded.convert("RGB"))
            error += squared_error(original, rgb, alpha)[0]
            weights = self._relative_weights(done.level, box)
            if weights is not None:
                weighted += float((weights * error_map(original, rgb, alpha)).sum())
            if image:
                plane = self._picture.alpha_plane(box)
                image.paste(to_image(samples, self._picture.grey, plane), (box.left, box.top))
        if image:
            for patch in self._patches:
                place, mode = patch.box, image.mode
                shown = decode_patch(patch.data, place.width, place.height, mode)
                image.paste(shown, (place.left, place.top))
        weighted = error if self._offsets is None else weighted
        return replace(done, error=error, weighted_error=weighted, reconstruction=image)

    def _windows_of(
        self, done: _Candidate, restoration: tuple[int, ...] = ()
    ) -> Iterator[tuple[Box, NDArray[np.float32], Samples, Plane | None]]:
        """Windows of a candidate's reconstruction, each with that of the picture."""

        def fetch(number: int) -> NDArray[np.float32]:
            covered = number in self._covered
            return self._nothing(number) if covered else done.latents[number]

        return self._windows(done.level, fetch, restoration)

    def _windows(
        self, level: Level, fetch: Fetch, restoration: tuple[int, ...] = ()
    ) -> Iterator[tuple[Box, NDArray[np.float32], Samples, Plane | None]]:
        """Windows of the reconstruction of y^, each with that of the picture."""
        engine, levels = self._model.engine, self._levels(level)

        def synthesise(y_hat: NDArray[np.float32], place: Box, inner: Box) -> NDArray[np.float32]:
            return engine.synthesise(y_hat, levels.within(place), restoration, inner)

        for box, samples in windows(
            self.grid,
            self.grid.whole,
            engine.synthesis_halo,
            fetch,
            synthesise,
            self._mapper,
            self._hides,
        ):
            yield box, samples, *self._picture.crop(box)

    def _levels(self, level: Level) -> LevelMap:
        """Levels of the picture in a file of a level."""
        return LevelMap(level, self._offsets, Level(self._model.config.levels[-1]))

    def _relative_weights(self, level: Level, box: Box) -> NDArray[np.float64] | None:
        """Weights of the error by the latent position of a box of pixels relative to that at a
        level; None for the same everywhere."""
        here = self._levels(level).within(box.shrunk(LATENT_STRIDE))
        return self._model.relative_weights(level, here)

    def _error_weight(self, level: Level) -> float | NDArray[np.float64]:
        """Bits that a unit of squared error is worth, by latent position with a map of levels."""
        weight, relative = (
            self._model.error_weight(level),
            self._relative_weights(level, self.grid.whole),
        )
        return weight if relative is None else weight * relative

    def _hides(self, box: Box) -> bool:
        """Whether patches cover all pixels of a box."""
        return self._cover is not None and self._cover.hides(box)

    def _nothing(self, number: int) -> NDArray[np.float32]:
        """y^ of a tile that patches cover."""
        return uncoded_latents(self.grid.box(number), self._model.config.latent)

    @cached_property
    def _visible(self) -> int:
        """Number of visible pixels that patches do not cover."""
        return self._picture.count_visible()

    @cached_property
    def _seen(self) -> int:
        """Number of visible pixels."""
        return self.source.count_visible() if self.boxes else self._visible

    @cached_property
    def _patches(self) -> tuple[Patch, ...]:
        return self.patches_of(self.boxes)

    def patches_of(self, boxes: Iterable[Box]) -> tuple[Patch, ...]:
        """Samples of boxes without loss, of which each is coded once."""

        def patch_of(box: Box) -> Patch:
            if box not in self._cache.patches:
                self._cache.patches[box] = encode_patch(*self.source.original(box))
            return Patch(box, self._cache.patches[box])

        return tuple(self._mapper(patch_of, boxes))

    def _psnr(self, error: float) -> float:
        return psnr_of(error, COLOURS * self._seen)

    def _file(self, done: _Candidate) -> bytes:
        header, side = self._header(done), self.grid.side
        return write(header, done.tiles, side, self._picture.metadata, self._patches)

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
            level_map=self._coded_offsets if self._coded else b"",
        )

    def _features_of(self, number: int) -> Features:
        known, engine = self._cache.features, self._model.engine
        box = self.grid.box(number)
        patches = self._touching(box.grown(engine.analysis_halo, within=self.grid.whole))
        kept = known.get(number)
        if kept and kept[0] == patches:
            return kept[1]
        features = window_features(engine, self._picture, box)
        if self._keeps_features:
            known[number] = patches, features
        return features

    def _alpha_of(self, number: int) -> bytes:
        box, known = self.grid.box(number), self._cache.alpha
        key = number, self._touching(box)
        if key not in known:
            plane = self._picture.alpha_plane(box)
            known[key] = b"" if plane is None else encode_alpha(plane)
        return known[key]

    def _touching(self, box: Box) -> tuple[Box, ...]:
        """Patches that cover some of a box."""
        return tuple(patch for patch in self.boxes if (patch & box).area)


def checked_boxes(boxes: Iterable[Box], whole: Box) -> tuple[Box, ...]:
    """Boxes of patches in the order of a file.

    Args:
        boxes: of pixels, on the lattice.
        whole: all pixels of the picture.

    Raises:
        InputError: no file has such patches.
    """
    ordered = tuple(sorted(boxes, key=lambda box: (box.top, box.left)))
    lattice = [box.shrunk(PATCH_UNIT) for box in ordered]
    problem = problem_of(lattice, whole)
    for box, on_lattice in zip(ordered, lattice, strict=True):
        if on_lattice.enlarged(PATCH_UNIT) & whole != box:
            problem = "a patch does not lie on the lattice of 16 pixels"
    if problem:
        raise InputError(f"these patches cannot be written: {problem}")
    return ordered


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
