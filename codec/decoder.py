"""The reader: a .vqc file to a picture.

    ContainerFile     header and directory, checked before anything is allocated
    TileDecoder       stream of a tile -> symbols <-> exact prior -> y^
    windows           y^ of tiles -> y^ of windows and their halos -> g_s, restoration filter
    to_image          samples -> 8 bits, with alpha

It needs no encoder, and of the engine its synthesis alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import DamagedFileError, InputError, WeightsError
from codec.format.container import ContainerFile, Header
from codec.level import Level
from codec.limits import Limits
from codec.loaded import LoadedModel
from codec.picture.alpha import Plane, decode_alpha
from codec.picture.metadata import info_of
from codec.picture.rendering import to_image
from codec.tiles import LATENT_STRIDE, Box, latent_size, region_box
from codec.windows import Progress, windows, workers


class TileDecoder:
    """Latents and alpha of a file's tiles; tiles may be decoded by several threads at once.

    Args:
        file: to read.
        model: that the file was made with.
        levels: residual levels to sum up of a file rounded to centres; None for all.
    """

    def __init__(self, file: ContainerFile, model: LoadedModel, levels: int | None = None) -> None:
        self._file = file
        self._coder = model.coder
        self._levels = levels
        self._coded_alpha: dict[int, bytes] = {}
        self._plane: tuple[int, Plane] | None = None

    def latents(self, number: int) -> NDArray[np.float32]:
        """y^ [M, rows, columns] of a tile.

        Raises:
            DamagedFileError: the stream is impossible, or its symbols fail their checksum.
        """
        tile = self._file.read_tile(number)
        self._coded_alpha[number] = tile.alpha
        box = self._file.grid.box(number)
        rows, columns = latent_size(box.height, box.width)
        y_hat, checksum = self._coder.read(
            tile.stream, rows, columns, self._file.header.level, self._levels
        )
        if checksum != tile.symbol_checksum:
            raise DamagedFileError("damaged: the decoded symbols fail their checksum")
        return y_hat

    def alpha(self, box: Box) -> Plane | None:
        """Alpha plane [height, width] of a window whose tile has been decoded; None without alpha.

        Raises:
            DamagedFileError: the plane cannot be decoded.
        """
        if not self._file.header.alpha:
            return None
        (number,) = self._file.grid.touched(box)  # windows never straddle tiles
        tile = self._file.grid.box(number)
        if self._plane is None or self._plane[0] != number:
            coded = self._coded_alpha.pop(number)
            self._plane = number, decode_alpha(coded, tile.height, tile.width)
        rows, columns = box.relative_to(tile).slices
        return self._plane[1][rows, columns]


def decode(
    file: ContainerFile,
    model: LoadedModel,
    limits: Limits,
    threads: int,
    region: tuple[int, int, int, int] | None = None,
    levels: int | None = None,
    progress: Progress | None = None,
) -> Image.Image:
    """Reconstruct a picture, or a region of it.

    Args:
        file: to read.
        model: that the file was made with.
        limits: on pixels and memory.
        threads: tiles or windows in work at once, at most.
        region: (x, y, width, height) in pixels; None for the whole picture.
        levels: residual levels to reconstruct of a file rounded to centres; None for all.
        progress: called with (pixels done, pixels in all) after each window.

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
    area = region_box(grid.whole, region)
    halo = LATENT_STRIDE * engine.synthesis_halo
    needed = sum(1 for _ in grid.touched(area.grown(halo, within=grid.whole)))
    count = limits.workers(grid, area, halo, min(threads, needed), footprint=engine.footprint)
    _check_model(header, model)
    level = header.level if levels is None else _level_of(levels, header)
    tiles = TileDecoder(file, model, levels)

    def synthesise(y_hat: NDArray[np.float32]) -> NDArray[np.float32]:
        return engine.synthesise(y_hat, level, header.restoration)

    metadata = file.read_metadata()
    image = Image.new(header.mode, (area.width, area.height))
    done = 0
    with workers(engine, count) as mapper:
        for box, samples in windows(
            grid, area, engine.synthesis_halo, tiles.latents, synthesise, mapper
        ):
            window = to_image(samples, header.grey, tiles.alpha(box))
            image.paste(window, (box.left - area.left, box.top - area.top))
            done += box.area
            if progress:
                progress(done, area.area)
    image.info.update(info_of(metadata))
    return image


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
