"""The reader: a .vqc file to a picture.

    ContainerFile     header and directory, checked before anything is allocated
    TileDecoder       stream of a tile -> symbols <-> exact prior -> y^
    windows           y^ of tiles -> y^ of windows and their halos -> g_s, restoration filter
    to_image          samples -> 8 bits, with alpha
    decode_patch      rectangles stored without loss, shown in place of the synthesis

At 1/2, 1/4 or 1/8 of the size every pixel is the mean of a square. Symbols are all decoded, since
each pass needs those before it; the synthesis makes the means with a part of its layers
(`Engine.synthesise_reduced`), alpha and patches are decoded and averaged.

It needs no encoder, and of the engine its synthesis alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.entropy.offsets import read_offsets
from codec.errors import DamagedFileError, InputError, WeightsError
from codec.format.container import ContainerFile
from codec.format.header import Header
from codec.level import Level
from codec.level_map import LevelMap, map_shape
from codec.limits import Limits, tile_work
from codec.loaded import LoadedModel
from codec.picture.alpha import Plane, decode_alpha
from codec.picture.metadata import info_of
from codec.picture.patch import PATCH_BYTES, Cover, decode_patch
from codec.picture.reduction import reduced
from codec.picture.rendering import to_image
from codec.pool import Progress, threaded_map
from codec.tiles import LATENT_STRIDE, Box, latent_size, region_box
from codec.weights.config import ModelConfig
from codec.windows import uncoded_latents, windows


class TileDecoder:
    """Latents and alpha of a file's tiles; tiles may be decoded by several threads at once.

    Args:
        file: to read.
        model: that the file was made with.
        level_map: of the file.
        levels: residual levels to sum up of a file rounded to centres; None for all.
    """

    def __init__(
        self,
        file: ContainerFile,
        model: LoadedModel,
        level_map: LevelMap,
        levels: int | None = None,
    ) -> None:
        self._file = file
        self._map = level_map
        self._coder = model.coder
        self._engine = model.engine
        self._channels = model.config.latent
        self._levels = levels
        self._coded_alpha: dict[int, bytes] = {}
        self._plane: tuple[int, Plane] | None = None

    def latents(self, number: int) -> NDArray[np.float32]:
        """y^ [M, rows, columns] of a tile; `uncoded_latents` if patches cover it wholly.

        Raises:
            DamagedFileError: the stream is impossible, or its symbols fail their checksum.
        """
        box = self._file.grid.box(number)
        if number in self._file.covered:
            return uncoded_latents(box, self._channels)
        rows, columns = latent_size(box.height, box.width)
        tile = self._file.read_tile(number)
        self._coded_alpha[number] = tile.alpha
        y_hat, checksum = self._coder.read(
            tile.stream,
            rows,
            columns,
            self._map.within(box.shrunk(LATENT_STRIDE)),
            self._levels,
            self._engine.threads,
        )
        if checksum != tile.symbol_checksum:
            raise DamagedFileError("damaged: the decoded symbols fail their checksum")
        return y_hat

    def alpha(self, box: Box, reduction: int = 1) -> Plane | None:
        """Alpha plane [height, width] of a window whose tile has been decoded; None without alpha.

        Args:
            box: the window, which begins on the lattice of squares.
            reduction: side of the squares that become a sample each.

        Raises:
            DamagedFileError: the plane cannot be decoded.
        """
        if not self._file.header.alpha:
            return None
        (number,) = self._file.grid.touched(box)  # windows never straddle tiles
        tile = self._file.grid.box(number)
        if self._plane is None or self._plane[0] != number:
            coded = self._coded_alpha.pop(number)
            plane = decode_alpha(coded, tile.height, tile.width)
            self._plane = number, np.asarray(reduced(Image.fromarray(plane), reduction))
        rows, columns = box.relative_to(tile).shrunk(reduction).slices
        return self._plane[1][rows, columns]


def decode(
    file: ContainerFile,
    model: LoadedModel,
    limits: Limits,
    threads: int,
    region: tuple[int, int, int, int] | None = None,
    levels: int | None = None,
    progress: Progress | None = None,
    reduction: int = 1,
) -> Image.Image:
    """Reconstruct a picture, or a region of it.

    Args:
        file: to read.
        model: that the file was made with.
        limits: on pixels and memory.
        threads: tiles or windows in work at once, at most.
        region: (x, y, width, height) in pixels of the full size; None for the whole picture.
        levels: residual levels to reconstruct of a file rounded to centres; None for all.
        progress: called with (pixels done, pixels in all) after each window and patch.
        reduction: side of the squares that become a pixel each, 1, 2, 4 or 8; a region grows to
            whole squares.

    Returns:
        An image of mode L, LA, RGB or RGBA, whose `info` holds the file's metadata.

    Raises:
        FileFormatError: the file is damaged.
        WeightsError: the file was made with another model.
        InputError: the region lies outside of the picture, or there are fewer levels.
        LimitError: more pixels or memory than `limits` allow.
    """
    header, grid, engine = file.header, file.grid, model.engine
    limits.check_pixels(header.width, header.height)
    area = _squares(region_box(grid.whole, region), grid.whole, reduction)
    around = engine.synthesis_halo if reduction == 1 else engine.reduced_halo(reduction)
    halo = LATENT_STRIDE * around
    needed = set(grid.touched(area.grown(halo, within=grid.whole))) - file.covered
    most = max(1, min(threads, len(needed)))
    instead = patch_memory(file, area)
    work = tile_work(grid, area, halo, engine.footprint, instead=instead, reduction=reduction)
    count = limits.at_once(work, most)
    _check_model(header, model)
    level_map = level_map_of(header, model.config)
    shown = level_map if levels is None else replace(level_map, base=_level_of(levels, header))
    tiles, cover = TileDecoder(file, model, level_map, levels), Cover(file.patches, grid.whole)

    def synthesise(y_hat: NDArray[np.float32], place: Box, inner: Box) -> NDArray[np.float32]:
        here, weights = shown.within(place), header.restoration
        if reduction > 1:
            return engine.synthesise_reduced(y_hat, here, reduction, weights, inner)
        return engine.synthesise(y_hat, here, weights, inner)

    canvas = _Canvas(file, area, progress, reduction)
    with threaded_map(engine, count) as mapper:
        for box, samples in windows(
            grid, area, around, tiles.latents, synthesise, mapper, cover.hides, reduction
        ):
            window = to_image(samples, header.grey, tiles.alpha(box, reduction))
            canvas.paste(window, box, box.area - cover.area(box))
    return canvas.with_patches()


def level_map_of(header: Header, config: ModelConfig) -> LevelMap:
    """Levels of a file of a model.

    Raises:
        DamagedFileError: the map cannot be decoded.
    """
    offsets = None
    if header.level_map:
        offsets = read_offsets(header.level_map, map_shape(header.height, header.width))
    return LevelMap(header.level, offsets, config.highest_level)


def decode_lossless(
    file: ContainerFile,
    limits: Limits,
    region: tuple[int, int, int, int] | None = None,
    levels: int | None = None,
    progress: Progress | None = None,
    reduction: int = 1,
) -> Image.Image:
    """Decode a picture that patches cover wholly, or a region of it; takes no model.

    Args:
        file: to read, whose `lossless` is true.
        limits: as for `decode`, like all that is not named here.
        region: likewise.
        levels: likewise; has no effect on patches.
        progress: likewise.
        reduction: likewise; the means are exact.
    """
    header, whole = file.header, file.grid.whole
    limits.check_pixels(header.width, header.height)
    area = _squares(region_box(whole, region), whole, reduction)
    limits.check_patches(area, patch_memory(file, area), reduction)
    if levels is not None:
        _level_of(levels, header)
    return _Canvas(file, area, progress, reduction).with_patches()


def _squares(area: Box, whole: Box, reduction: int) -> Box:
    """What squares that an area touches cover of the picture."""
    return area.shrunk(reduction).enlarged(reduction) & whole


def patch_memory(file: ContainerFile, area: Box) -> int:
    """Bytes that the largest of the patches of an area takes while it is decoded."""
    return PATCH_BYTES * max((box.area for box in file.patches if (box & area).area), default=0)


class _Canvas:
    """An area of a picture that is put together.

    Args:
        file: that is decoded.
        area: of it that is shown.
        progress: called with (pixels done, pixels in all).
        reduction: side of the squares that become a pixel each; the area consists of such.
    """

    def __init__(
        self, file: ContainerFile, area: Box, progress: Progress | None, reduction: int
    ) -> None:
        self._file = file
        self._area = area
        self._progress = progress
        self._done = 0
        self._metadata = file.read_metadata()
        self._reduction = reduction
        shown = area.shrunk(reduction)
        self._image = Image.new(file.header.mode, (shown.width, shown.height))

    def paste(self, image: Image.Image, box: Box, pixels: int) -> None:
        """Show an image of a box, already reduced, and report as many pixels as done."""
        area, shown, inside = (
            part.shrunk(self._reduction) for part in (self._area, box, box & self._area)
        )
        if inside != shown:
            image = image.crop(inside.relative_to(shown).corners)
        self._image.paste(image, inside.relative_to(area).corners)
        self._done += pixels
        if self._progress:
            self._progress(self._done, self._area.area)

    def with_patches(self) -> Image.Image:
        """The picture with its patches and metadata.

        Raises:
            DamagedFileError: a patch cannot be decoded.
        """
        for number, box in enumerate(self._file.patches):
            if shown := (box & self._area).area:
                data, mode = self._file.read_patch(number), self._file.header.mode
                patch = decode_patch(data, box.width, box.height, mode)
                self.paste(reduced(patch, self._reduction), box, shown)
        self._image.info.update(info_of(self._metadata))
        return self._image


def _check_model(header: Header, model: LoadedModel) -> None:
    """Refuse a header that contradicts the model.

    Raises:
        WeightsError: the file was made with another model.
        DamagedFileError: no file of this model has such a header.
    """
    if header.model_id != model.id:
        raise WeightsError(
            f"made with model {header.model_id.hex()}, but {model.weights.name} "
            f"({model.id.hex()}) was given; name the right one with model",
            field="model",
        )
    header.check_fits(model.config)
    if len(header.restoration) > model.weights.kernels:
        raise DamagedFileError("damaged: more weights of a filter than its model has kernels")


def _level_of(levels: int, header: Header) -> Level:
    """Level of the first `levels` residual levels of a file."""
    if header.levels is None:
        raise InputError("only files of models that round to centres have levels to choose from")
    if not 1 <= levels <= header.levels:
        raise InputError(f"the file has {header.levels} levels; give 1 to {header.levels}")
    return Level.of_anchor(levels - 1)
