"""Random changes to training crops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from codec.training import variation
from codec.training.photos import TilePool, find_photos
from codec.training.variation import source_side, varied
from tests.conftest import CPU


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only(monkeypatch: pytest.MonkeyPatch, change: str | None) -> None:
    """Leave one kind of change, of its largest degree."""
    for degree in ("GAMMA", "BALANCE", "SATURATION", "GRAIN"):
        if degree != change:
            monkeypatch.setattr(variation, degree, 0.0)


def test_crops_have_their_size_and_eight_bits() -> None:
    square = torch.rand(3, 96, 96, generator=seeded())
    for seed in range(20):
        crop = varied(square, 64, seeded(seed))
        assert crop.shape == (3, 64, 64)
        assert 0 <= crop.min() <= crop.max() <= 1
        torch.testing.assert_close(crop * 255, (crop * 255).round(), rtol=0, atol=1e-4)
        assert torch.equal(crop, varied(square, 64, seeded(seed)))


def test_some_crops_stay_as_they_are_and_most_do_not() -> None:
    square = (torch.rand(3, 64, 64, generator=seeded()) * 255).round() / 255
    kept = [torch.equal(varied(square, 64, seeded(seed)), square) for seed in range(200)]
    assert 10 < sum(kept) < 50  # one in eight, none of three changes of chance 1/2


def test_sides_are_spread_about_the_size_and_within_the_picture() -> None:
    sides = [source_side(128, 512, seeded(seed)) for seed in range(400)]
    assert 0.4 < sum(side == 128 for side in sides) / 400 < 0.6
    assert 90 <= min(sides) < 100  # 128 times 2^-1/2
    assert 170 < max(sides) <= 181  # 128 times 2^1/2
    assert max(source_side(448, 512, seeded(seed)) for seed in range(50)) == 512


def changed(square: Tensor) -> list[Tensor]:
    """The varied crops that differ from the square."""
    crops = [varied(square, square.shape[-1], seeded(seed)) for seed in range(40)]
    return [crop for crop in crops if not torch.equal(crop, square)]


def test_coarse_colours_keep_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, None)
    square = 0.3 + 0.4 * torch.rand(3, 32, 32, generator=seeded())
    square = (square * 255).round() / 255
    crops = changed(square)
    assert crops
    for crop in crops:
        before, after = (variation._grey(x[None])[0] for x in (square, crop))
        assert (before - after).abs().max() < 1 / 255  # but for rounding to 8 bits
        assert (crop - after).var() < 0.5 * (square - before).var()


def test_development_changes_samples_by_their_value_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(variation, "GRAIN", 0.0)
    flat = torch.full((3, 32, 32), 102 / 255)
    flat[0] = 51 / 255
    crops = changed(flat)
    assert crops
    assert all(torch.equal(crop, crop[:, :1, :1].expand_as(crop)) for crop in crops)


def test_grain_is_shared_by_the_colours_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "GRAIN")
    monkeypatch.setattr(variation, "GRAIN", 0.1)
    crops = changed(torch.full((3, 64, 64), 0.5))
    noises = [(crop - crop.mean((1, 2), keepdim=True)).flatten(1) for crop in crops]
    strong = [noise for noise in noises if noise.std() > 0.02]  # rounding to 8 bits is small
    assert strong
    for noise in strong:
        assert 0.7 < torch.corrcoef(noise)[0, 1] < 0.9  # 1 in 1 + 1/4


def test_a_share_of_the_crops_is_varied(photos: Path) -> None:
    pool = TilePool(find_photos([photos]), CPU, 1 << 30)
    plain = pool.crops(32, 64, seeded())
    assert torch.equal(pool.crops(32, 64, seeded(), 0.0), plain)
    half = pool.crops(32, 64, seeded(), 0.5)
    same = sum(torch.equal(a, b) for a, b in zip(plain, half, strict=True))
    assert 8 < same < 26
    assert torch.equal(pool.crops(32, 64, seeded(), 0.5), half)
    pool.close()
