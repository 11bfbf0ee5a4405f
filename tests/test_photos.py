"""Photographs to train on: found, held out, cut to tiles, drawn as crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from codec.errors import TrainingError
from codec.training.photos import (
    TILE,
    TilePool,
    centre_crops,
    count_tiles,
    find_photos,
    hold_out,
    tiles_of,
)
from tests.helpers import DATA

CPU = torch.device("cpu")


def test_photos_are_found(photos: Path) -> None:
    assert len(find_photos([photos, photos / "0.png"])) == 8
    with pytest.raises(TrainingError, match="no such"):
        find_photos([photos / "none"])
    (photos / "empty").mkdir()
    with pytest.raises(TrainingError, match="no photographs"):
        find_photos([photos / "empty"])


def test_holdout_is_stable() -> None:
    paths = [Path("a") / f"{i}.png" for i in range(1000)]
    training, held = hold_out(paths, 0.05)
    assert set(training + held) == set(paths)
    assert 25 < len(held) < 80
    assert hold_out(held[:5] + training[:5], 0.05)[1] == held[:5]


def with_places(width: int, height: int, path: Path) -> Path:
    """A picture each of whose pixels tells its column and row."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([columns % 256, rows % 256, columns // 256 + 16 * (rows // 256)], 2)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def places(tile: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Columns and rows that the pixels of a tile [3, H, W] tell, [2, H, W]."""
    low, high = tile[:2].astype(int), np.stack([tile[2] % 16, tile[2] // 16]).astype(int)
    return low + 256 * high


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(512, 512, 1), (768, 512, 2), (1000, 1000, 4), (513, 1025, 6), (1536, 1536, 9)],
)
def test_tiles_cover_large_pictures(tmp_path: Path, width: int, height: int, count: int) -> None:
    path = with_places(width, height, tmp_path / "large.png")
    tiles = tiles_of(path)
    assert [tile.shape for tile in tiles] == [(3, TILE, TILE)] * count
    seen = np.zeros((height, width), bool)
    for tile in tiles:
        columns, rows = places(tile)
        assert (np.diff(columns, axis=1) == 1).all()
        assert (np.diff(rows, axis=0) == 1).all()
        seen[rows, columns] = True
    assert seen.all()
    assert count_tiles(path) == count


def test_tiles_extend_small_pictures(tmp_path: Path) -> None:
    assert len(tiles_of(DATA / "city.png")) == count_tiles(DATA / "city.png") == 1
    path = tmp_path / "large.png"
    path.write_text("broken")
    assert count_tiles(path) == 0
    with pytest.raises(TrainingError, match=r"large\.png"):
        tiles_of(path)


def test_crops(photos: Path) -> None:
    pool = TilePool(find_photos([photos]), CPU, 1 << 30)
    crops = pool.crops(5, 64, torch.Generator().manual_seed(0))
    assert crops.shape == (5, 3, 64, 64)
    assert 0 <= crops.min() < crops.max() <= 1
    again = pool.crops(5, 64, torch.Generator().manual_seed(0))
    assert torch.equal(crops, again)


@pytest.mark.slow
def test_a_small_pool_rotates_through_every_tile(tmp_path: Path) -> None:
    photos = [tmp_path / f"{i}.png" for i in range(12)]
    for i, path in enumerate(photos):
        wide = np.zeros((TILE, 3 * TILE, 3), np.uint8)
        wide[:] = 3 * i + np.arange(3 * TILE)[None, :, None] // TILE  # a grey for each tile
        Image.fromarray(wide).save(path)
    pool, late = (TilePool(photos, CPU, 0) for _ in range(2))
    assert len(pool) == 16

    def shown(pool: TilePool) -> set[int]:
        return {int(v) for v in pool.tiles[:, 0, 0, 0]}

    seen = shown(pool)
    for step in range(0, 256 * 50, 100):
        pool.advance_to(step)
        seen |= shown(pool)
    assert seen == set(range(36))
    late.advance_to(256 * 50 - 56)  # as a resumed run does
    assert torch.equal(pool.tiles, late.tiles)


@pytest.fixture
def damaged(photos: Path) -> Path:
    """A folder with noise that cannot be decoded to its end, in two of ten files."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    for name in ("+.png", "z.png"):  # the first and the last
        path = photos / name
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:300_000])
    return photos


def test_damaged_photographs_give_way_to_the_next(damaged: Path) -> None:
    found = find_photos([damaged])
    assert (found[0].name, found[-1].name, len(found)) == ("+.png", "z.png", 10)
    good = {tiles_of(path)[0].tobytes() for path in found[1:-1]}
    pool = TilePool(found, CPU, 1 << 30)
    assert len(pool) == 10
    assert {tile.numpy().tobytes() for tile in pool.tiles} == good
    assert pool.skipped == 2
    with pytest.raises(TrainingError, match="none of 1"):
        TilePool(found[:1], CPU, 1 << 30)
    crops, unreadable = centre_crops(found, 64, 3)
    assert crops is not None
    assert (crops.shape, unreadable) == ((3, 3, 64, 64), 1)
    assert centre_crops(found[:1], 64, 3) == (None, 1)


@pytest.mark.parametrize(("width", "height"), [(768, 512), (1301, 700), (100, 80)])
def test_validation_sees_the_middles_of_pictures(tmp_path: Path, width: int, height: int) -> None:
    path = with_places(width, height, tmp_path / "large.png")
    crops, _ = centre_crops([path], 64, 3)
    assert crops is not None
    columns, rows = places(crops[0].numpy())
    left, top = (width - 64) // 2, (height - 64) // 2
    assert columns.tolist() == [[*range(left, left + 64)]] * 64
    assert rows.tolist() == [[row] * 64 for row in range(top, top + 64)]


def test_some_photographs_must_be_left_to_train_on() -> None:
    with pytest.raises(TrainingError, match="all photographs are held out"):
        TilePool([], CPU, 1 << 30)


@pytest.mark.slow
def test_damaged_photographs_in_a_rotating_pool(damaged: Path) -> None:
    for number in range(30):
        Image.new("RGB", (512, 512), (number, 0, 0)).save(damaged / f"more{number}.png")
    pool, late = (TilePool(find_photos([damaged]), CPU, 0) for _ in range(2))
    for step in range(0, 256 * 50, 256):
        pool.advance_to(step)
    assert pool.skipped == 2
    late.advance_to(256 * 49)
    assert torch.equal(pool.tiles, late.tiles)


def test_unreadable_photographs_are_left_out(photos: Path) -> None:
    (photos / "bad.png").write_text("broken")
    pool = TilePool(find_photos([photos]), CPU, 1 << 30)
    assert (pool.skipped, len(pool)) == (1, 8)
    with pytest.raises(TrainingError, match="none of 1"):
        TilePool([photos / "bad.png"], CPU, 1 << 30)
