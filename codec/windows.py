"""Windows of a picture from the latents of its tiles.

Synthesis needs a halo of latents that lies in the neighbouring tiles; tiles are kept only as
long as a window needs them, so memory does not grow with the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import call
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from codec.pool import Mapper
from codec.tiles import LATENT_STRIDE, UNTILED_PIXELS, WINDOW, Box, Grid, latent_size

Fetch = Callable[[int], NDArray[np.float32]]
"""y^ of a tile by its number."""
Synthesise = Callable[[NDArray[np.float32], Box, Box], NDArray[np.float32]]
"""y^ [M, h, w], where it lies in the picture's latent positions, and a box of h'xw' of its own, to
samples [3, 16h', 16w'] of that box, or to means of them over squares."""


def uncoded_latents(tile: Box, channels: int) -> NDArray[np.float32]:
    """y^ [M, rows, columns] of a tile that is not coded, since patches cover it: zeros.

    Args:
        tile: its pixels.
        channels: M of the model.
    """
    return np.zeros((channels, *latent_size(tile.height, tile.width)), np.float32)


class _Tile:
    """y^ of a tile, which is decoded once, by the thread that first asks for it."""

    def __init__(self, fetch: Fetch, number: int) -> None:
        self._fetch = fetch
        self._number = number
        self._lock = Lock()
        self._y_hat: NDArray[np.float32] | None = None

    def decode(self) -> None:
        """Decode it, unless that is done."""
        with self._lock:
            if self._y_hat is None:
                self._y_hat = self._fetch(self._number)

    @property
    def y_hat(self) -> NDArray[np.float32]:
        """y^, decoded if that is not done; waits for a thread that does it."""
        self.decode()
        assert self._y_hat is not None
        return self._y_hat


def windows(
    grid: Grid,
    region: Box,
    halo: int,
    fetch: Fetch,
    synthesise: Synthesise,
    mapper: Mapper,
    hidden: Callable[[Box], bool] = lambda _: False,
    reduction: int = 1,
) -> Iterator[tuple[Box, NDArray[np.float32]]]:
    """Samples of a region, window by window.

    Args:
        grid: tiles of the picture.
        region: pixels to reconstruct, inside the picture.
        halo: latents around a window that its samples depend on.
        fetch: called once for each tile that is needed.
        synthesise: samples of a window, from latents of it and its halo.
        mapper: runs `fetch` and `synthesise`.
        hidden: whether nothing of a box is seen; such windows are left out.
        reduction: side of the squares that `synthesise` gives the means of; the region begins and
            ends on their lattice or at the border of the picture.

    Yields:
        (box, samples [3, height, width]), boxes being disjoint and making up the region but for
        what is hidden. Samples are as many as squares are needed to cover the box.
    """
    lines = [[box for box in line if not hidden(box)] for line in _lines(grid, region)]
    lines = [line for line in lines if line]  # or tiles on both sides of it would be decoded twice

    def reconstruct(
        box: Box, source: Box, tiles: Mapping[int, _Tile]
    ) -> tuple[Box, NDArray[np.float32]]:
        latents = {number: tile.y_hat for number, tile in tiles.items()}
        inner = box.shrunk(LATENT_STRIDE)
        around = source.shrunk(LATENT_STRIDE)
        samples = synthesise(_gather(grid, source, latents), around, inner.relative_to(around))
        shown = box.shrunk(reduction)
        rows, columns = shown.relative_to(inner.enlarged(LATENT_STRIDE // reduction)).slices
        return box, samples[:, rows, columns]

    def work() -> Iterator[Callable[[], tuple[Box, NDArray[np.float32]] | None]]:
        """The tiles that a line of windows needs, then the windows, line by line. A thread waits
        for nothing but a tile that another one is decoding."""
        tiles: dict[int, _Tile] = {}
        for line in lines:
            sources = [_source(grid, box, halo) for box in line]
            touched = [list(grid.touched(source)) for source in sources]
            needed = sorted({n for numbers in touched for n in numbers})
            missing = [n for n in needed if n not in tiles]
            tiles = {n: tiles.get(n) or _Tile(fetch, n) for n in needed}
            yield from (tiles[n].decode for n in missing)
            for box, source, numbers in zip(line, sources, touched, strict=True):
                yield partial(reconstruct, box, source, {n: tiles[n] for n in numbers})

    yield from filter(None, mapper(call, work()))


def _lines(grid: Grid, region: Box) -> Iterator[list[Box]]:
    """Windows in lines along the shorter side of the region, so that few tiles are held."""
    cells = Grid(grid.height, grid.width, grid.side or _window_side(grid))
    numbers = list(cells.touched(region))
    upright = region.height >= region.width
    for _, line in sorted(_group(numbers, cells.columns, upright).items()):
        yield [cells.box(number) & region for number in line]


def _window_side(grid: Grid) -> int:
    """0, the whole picture, if that is no larger than a window and its surroundings."""
    return 0 if grid.whole.area <= UNTILED_PIXELS else WINDOW


def _group(numbers: list[int], columns: int, by_row: bool) -> dict[int, list[int]]:
    lines: dict[int, list[int]] = {}
    for number in numbers:
        row, column = divmod(number, columns)
        lines.setdefault(row if by_row else column, []).append(number)
    return lines


def _source(grid: Grid, box: Box, halo: int) -> Box:
    """Pixels whose latents a window depends on; its corner lies on the lattice of latents."""
    aligned = box.shrunk(LATENT_STRIDE).enlarged(LATENT_STRIDE)
    return aligned.grown(halo * LATENT_STRIDE, within=grid.whole)


def _gather(
    grid: Grid, source: Box, latents: dict[int, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """y^ of a box, put together from the tiles that it touches."""
    area = source.shrunk(LATENT_STRIDE)
    numbers = list(grid.touched(source))
    y_hat = np.empty((len(latents[numbers[0]]), area.height, area.width), np.float32)
    for number in numbers:
        tile = grid.box(number).shrunk(LATENT_STRIDE)
        shared = tile & area
        rows, columns = shared.relative_to(area).slices
        tile_rows, tile_columns = shared.relative_to(tile).slices
        y_hat[:, rows, columns] = latents[number][:, tile_rows, tile_columns]
    return y_hat
