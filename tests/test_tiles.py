from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import InputError, LimitError
from codec.limits import Limits, tile_work
from codec.tiles import Box, Grid, latent_size, region_box

SIDE = st.integers(1, 2000)
GRIDS = st.builds(Grid, SIDE, SIDE, st.sampled_from([0, 256, 320, 1024]))


@given(GRIDS)
def test_tiles_make_up_the_picture(grid: Grid) -> None:
    boxes = [grid.box(number) for number in range(len(grid))]
    assert sum(box.area for box in boxes) == grid.whole.area
    assert all(box.area and box & grid.whole == box for box in boxes)
    if grid.side:
        assert all(box.left % 64 == box.top % 64 == 0 for box in boxes)


@given(GRIDS, st.data())
def test_touched_tiles_are_those_that_share_pixels(grid: Grid, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, grid.width - 1))
    top = data.draw(st.integers(0, grid.height - 1))
    right = data.draw(st.integers(left + 1, grid.width))
    box = Box(left, top, right, data.draw(st.integers(top + 1, grid.height)))
    touched = set(grid.touched(box))
    assert touched == {n for n in range(len(grid)) if (grid.box(n) & box).area}


def test_boxes() -> None:
    box = Box(10, 20, 50, 90)
    assert (box.width, box.height, box.area) == (40, 70, 2800)
    assert box & Box(40, 0, 100, 30) == Box(40, 20, 50, 30)
    assert (box & Box(60, 0, 100, 30)).area == 0
    assert box.grown(15, within=Box(0, 0, 60, 100)) == Box(0, 5, 60, 100)
    assert box.relative_to(Box(5, 5, 100, 100)) == Box(5, 15, 45, 85)
    assert box.shrunk(16) == Box(0, 1, 4, 6)
    assert Box(0, 1, 4, 6).enlarged(16) == Box(0, 16, 64, 96)
    assert np.zeros((100, 60))[box.slices].shape == (70, 40)


def test_latent_size_rounds_up() -> None:
    assert latent_size(1, 16) == (1, 1)
    assert latent_size(17, 512) == (2, 32)


def test_regions() -> None:
    whole = Box(0, 0, 100, 80)
    assert region_box(whole, None) == whole
    assert region_box(whole, (10, 20, 90, 60)) == Box(10, 20, 100, 80)
    for region in ((0, 0, 101, 1), (0, 80, 1, 1), (5, 5, 0, 1), (-1, 0, 5, 5)):
        with pytest.raises(InputError, match="100x80"):
            region_box(whole, region)


def test_memory_limits() -> None:
    limits, roomy = Limits(max_memory=2 << 30), Limits(max_memory=8 << 30)
    huge, small, large = Grid(10_000, 10_000, 1024), Grid(100, 100), Grid(3700, 3700)
    work = tile_work(huge, huge.whole, 128)
    assert limits.at_once(work) == 1
    assert limits.at_once(tile_work(small, small.whole, 128), 4) == 4
    many = limits.at_once(work, 100)
    assert 1 <= many < 100
    assert limits.at_once(tile_work(huge, huge.whole, 0), 100) > many
    plain = roomy.at_once(work, 100)
    extra = tile_work(huge, huge.whole, 128, extra=1 << 28)
    kept = tile_work(huge, huge.whole, 128, kept=1 << 29)
    assert all(1 < roomy.at_once(more, 100) < plain for more in (extra, kept))
    assert limits.at_once(tile_work(large, large.whole, 128)) == 1
    with pytest.raises(LimitError, match="MiB; sleep, or allow more with max_memory"):
        limits.at_once(tile_work(large, large.whole, 128, extra=1 << 30), remedy="sleep, or ")
    untiled = Grid(10_000, 10_000)
    for work in (
        tile_work(large, large.whole, 128, analyses=True),
        tile_work(untiled, untiled.whole, 128),
    ):
        assert not limits.allow(work)
        with pytest.raises(LimitError, match="MiB; allow more with max_memory"):
            limits.at_once(work)
