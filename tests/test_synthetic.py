from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from codec.training.photos import TILE
from scripts.synthetic import COUNT, KINDS, extent, main
from tests.conftest import DATA


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


def test_a_folder_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.synthetic.COUNT", len(KINDS))
    arguments = [str(DATA / "city.png"), str(tmp_path / "out")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    names = {path.name.split("-")[0] for path in (tmp_path / "out").iterdir()}
    assert names == {kind.__name__ for kind in KINDS}
    assert COUNT % len(KINDS) == 0

    arguments[1] = str(tmp_path / "noise")
    assert CliRunner().invoke(main, [*arguments, "--kind", "binary_noise"]).exit_code == 0
    names = {path.name.split("-")[0] for path in (tmp_path / "noise").iterdir()}
    assert names == {"binary_noise"}

    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "not empty" in again.output
