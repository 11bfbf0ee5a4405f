"""Random changes to training crops."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from codec.errors import TrainingError
from codec.training.photos import TilePool, find_photos
from codec.training.variation import Variation, source_side, varied
from tests.helpers import DATA, crops_of_flowers

CPU = torch.device("cpu")

NONE = Variation(scale=0.0, gamma=0.0, balance=0.0, saturation=0.0, grain=0.0, jpeg=None)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_have_their_size_and_eight_bits() -> None:
    square = torch.rand(3, 96, 96, generator=seeded())
    for seed in range(20):
        crop = varied(square, 64, seeded(seed))
        assert crop.shape == (3, 64, 64)
        assert 0 <= crop.min() <= crop.max() <= 1
        torch.testing.assert_close(crop * 255, (crop * 255).round(), rtol=0, atol=1e-4)


def test_crops_depend_on_their_generator_alone() -> None:
    square = torch.rand(3, 96, 96, generator=seeded())
    for seed in range(20):
        torch.manual_seed(seed)
        crop = varied(square, 64, seeded(seed))
        after = torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(1))  # the global generator is as it was
        torch.manual_seed(seed + 1)
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


def changed(square: Tensor, variation: Variation) -> list[Tensor]:
    """The varied crops that differ from the square."""
    crops = [varied(square, square.shape[-1], seeded(seed), variation) for seed in range(40)]
    return [crop for crop in crops if not torch.equal(crop, square)]


def test_no_strength_is_no_change() -> None:
    (square,) = crops_of_flowers(1, 64)
    assert not changed(square, NONE)


def test_files_of_jpeg_lose_fine_colours_first() -> None:
    (square,) = crops_of_flowers(1, 64)
    square = square.clone()
    square[0] += 0.2 * (2 * torch.rand(64, 64, generator=seeded()) - 1)  # finer than 4:2:0 holds
    square = (square.clamp(0, 1) * 255).round() / 255
    crops = changed(square, replace(NONE, jpeg=(90, 90)))
    assert 10 < len(crops) < 30
    assert all(torch.equal(crop, crops[0]) for crop in crops)
    loss = crops[0] - square
    grey = rgb_to_grayscale(loss, 3)
    assert 0 < grey.std() < 0.5 * (loss - grey).std()


def test_qualities_of_jpeg_are_spread_over_their_range() -> None:
    (square,) = crops_of_flowers(1, 64)
    bounds = [
        (changed(square, replace(NONE, jpeg=(q, q)))[0] - square).square().mean() for q in (95, 75)
    ]
    errors = [
        (crop - square).square().mean() for crop in changed(square, replace(NONE, jpeg=(75, 95)))
    ]
    assert 0.8 * bounds[0] < min(errors) < max(errors) <= 1.2 * bounds[1]
    assert max(errors) > 1.5 * min(errors)


def test_development_changes_samples_by_their_value_alone() -> None:
    flat = torch.full((3, 32, 32), 102 / 255)
    flat[0] = 51 / 255
    crops = changed(flat, Variation(grain=0.0, jpeg=None))
    assert crops
    assert all(torch.equal(crop, crop[:, :1, :1].expand_as(crop)) for crop in crops)


def test_saturation_keeps_grey_values() -> None:
    (square,) = crops_of_flowers(1, 64)
    square = 0.25 + 0.5 * (square * 255).round() / 255  # away from where samples are clipped
    crops = changed(square, replace(NONE, saturation=0.3))
    before = rgb_to_grayscale(square, 3)
    factors = []
    for crop in crops:
        after = rgb_to_grayscale(crop, 3)
        assert (before - after).abs().max() < 1.5 / 255
        factors.append(float((crop - after).std() / (square - before).std()))
    assert 0.7 < min(factors) < 0.9 < 1.1 < max(factors) < 1.4


def test_grain_is_shared_by_the_colours_in_part() -> None:
    crops = changed(torch.full((3, 64, 64), 0.5), replace(NONE, grain=0.1))
    noises = [(crop - crop.mean((1, 2), keepdim=True)).flatten(1) for crop in crops]
    assert max(noise.std() for noise in noises) < 0.12  # 0.1 and half as much
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


@pytest.mark.slow
def test_torchvision_is_for_training_alone(tmp_path: Path) -> None:
    """Commands do without it, and training says how to get it before it leaves anything behind."""
    code = "import sys; sys.modules['torchvision'] = None\nfrom codec.cli import main\nmain()"
    command = [sys.executable, "-c", code]
    picture, run = str(DATA / "city.png"), tmp_path / "run"
    subprocess.run([*command, "compress", "-Q", picture, str(tmp_path / "a.vqc")], check=True)
    training = [*command, "train", picture, "--out", str(run), "--steps", "1"]
    done = subprocess.run(training, capture_output=True, text=True, check=False)
    assert done.returncode == TrainingError.exit_code
    assert "pip install 'vqcodec[train]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not run.exists()
