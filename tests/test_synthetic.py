from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from codec.training.photos import TILE
from scripts.synthetic import (
    KINDS,
    PAIRS,
    captions,
    dealt,
    dithered,
    extent,
    four_bits,
    gradient,
    main,
    saturated_stripes,
    saturated_text,
)
from tests.helpers import DATA


@pytest.mark.slow
@pytest.mark.parametrize("kind", dict.fromkeys(KINDS), ids=lambda kind: kind.__name__)
def test_every_kind_is_a_tile_and_repeats(kind: object, city: Image.Image) -> None:
    assert callable(kind)
    photo = city.resize((TILE, TILE))
    for seed in range(4):
        pixels = kind(photo, np.random.default_rng(seed))
        assert pixels.shape == (TILE, TILE, 3)
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, kind(photo, np.random.default_rng(seed)))


def test_extents_are_spread_over_the_octaves() -> None:
    rng = np.random.default_rng(0)
    drawn = [extent(rng, 64) for _ in range(2000)]
    assert (min(drawn), max(drawn)) == (1, 64)
    octaves = np.bincount(np.log2(drawn).astype(int)) / len(drawn)
    assert octaves[:6].min() > 0.13


@pytest.fixture
def photo(city: Image.Image) -> Image.Image:
    return city.resize((TILE, TILE))


def test_cells_have_all_pairs_of_saturated_colours() -> None:
    pairs = [(first, second) for _, first, second in dealt(np.random.default_rng(0))]
    assert len(set(pairs)) == 8 * 7
    assert all(first != second for first, second in pairs)
    assert {value for pair in pairs for colour in pair for value in colour} == {0, 255}
    covered = np.zeros((TILE, TILE), int)
    for box, _, _ in dealt(np.random.default_rng(0)):
        covered[box] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_text_is_of_the_colours_of_its_cell(photo: Image.Image, seed: int) -> None:
    pixels = saturated_text(photo, np.random.default_rng(seed)).astype(float)
    for box, ink, ground in dealt(np.random.default_rng(seed)):
        way = np.subtract(ink, ground)
        share = (pixels[box] - ground) @ way / (way @ way)
        assert np.abs(pixels[box] - ground - share[..., None] * way).max() <= 1
        assert 0.04 < (share > 0.5).mean() < 0.5
        assert (share == 0).mean() > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_captions_leave_some_of_the_photograph(photo: Image.Image, seed: int) -> None:
    original = np.asarray(photo)
    pixels = captions(photo, np.random.default_rng(seed))
    written = (pixels != original).any(-1)
    assert 0.2 < written.mean() < 0.7
    for box, ink, outline in dealt(np.random.default_rng(seed)):
        changed = pixels[box][written[box]].astype(float)
        for colour in (ink, outline):
            assert (np.abs(changed - colour).max(-1) < 80).mean() > 0.05


def test_stripes_of_all_widths_in_all_pairs_of_saturated_colours(photo: Image.Image) -> None:
    pixels = saturated_stripes(photo, np.random.default_rng(0))
    pairs, widths, upright = set(), set(), []
    for box, _, _ in dealt(np.random.default_rng(0)):
        cell = pixels[box]
        upright.append(bool((cell == cell[0]).all()))
        line = cell[0] if upright[-1] else cell[:, 0]
        assert np.array_equal(
            cell, np.broadcast_to(line if upright[-1] else line[:, None], cell.shape)
        )
        edges = np.flatnonzero((line[1:] != line[:-1]).any(-1))
        assert len(set(np.diff(edges).tolist())) == 1
        widths.add(int(edges[1] - edges[0]))
        pairs.add(frozenset(map(tuple, line.tolist())))
    assert pairs == set(map(frozenset, PAIRS))
    assert widths == set(range(1, 9))
    assert 10 < sum(upright) < 46


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "most"), [(dithered, 2), (four_bits, 16)])
def test_dithers_have_few_colours_and_keep_the_mean(
    photo: Image.Image, kind: Callable[[Image.Image, np.random.Generator], np.ndarray], most: int
) -> None:
    greys = 0
    for seed in range(6):
        pixels = kind(photo, np.random.default_rng(seed))
        colours = np.unique(pixels.reshape(-1, 3), axis=0)
        grey = bool((colours == colours[:, :1]).all())
        assert len(colours) <= (8 if most == 2 and not grey else most)
        greys += grey
        wanted = np.asarray(photo.convert("L") if grey else photo, float)
        got = pixels[..., 0] if grey else pixels
        error = [block_means(x).ravel() for x in (wanted, got.astype(float))]
        assert np.abs(error[0] - error[1]).mean() < 8
    assert 0 < greys < 6


def block_means(x: np.ndarray) -> np.ndarray:
    """Means of 32x32 squares."""
    return x.reshape(TILE // 32, 32, TILE // 32, 32, -1).mean((1, 3))


def test_gradients_are_smooth_and_go_everywhere(photo: Image.Image) -> None:
    angles = []
    for seed in range(12):
        pixels = gradient(photo, np.random.default_rng(seed)).astype(int)
        steps = [np.abs(np.diff(pixels, axis=axis)).max() for axis in (0, 1)]
        assert max(steps) <= 3
        assert np.ptp(pixels, (0, 1)).max() > 40
        down, right = (np.diff(pixels.sum(-1), axis=axis).std() for axis in (0, 1))
        angles.append(np.degrees(np.arctan2(down, right)))
    assert max(angles) > 60
    assert min(angles) < 30


@pytest.mark.slow
def test_a_folder_of_all_kinds(tmp_path: Path) -> None:
    arguments = [str(DATA / "city.png"), str(tmp_path / "out"), "--count", str(len(KINDS))]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    names = {path.name.split("-")[0] for path in (tmp_path / "out").iterdir()}
    assert names == {kind.__name__ for kind in KINDS}

    assert len(list((tmp_path / "out").iterdir())) == len(KINDS)

    arguments[1] = str(tmp_path / "noise")
    assert CliRunner().invoke(main, [*arguments, "--kind", "binary_noise"]).exit_code == 0
    names = {path.name.split("-")[0] for path in (tmp_path / "noise").iterdir()}
    assert names == {"binary_noise"}

    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "not empty" in again.output
