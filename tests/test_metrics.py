from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_msssim import ms_ssim as reference

from codec.errors import InputError
from codec.evaluation import metrics
from codec.picture import pixels
from tests.helpers import DATA


@pytest.fixture
def flowers() -> Image.Image:
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("RGB")


def noisy(image: Image.Image, rng: np.random.Generator, spread: float = 9.0) -> Image.Image:
    samples = np.asarray(image).astype(float)
    noise = rng.normal(scale=spread, size=samples.shape)
    return Image.fromarray((samples + noise).clip(0, 255).astype(np.uint8))


def test_psnr_is_the_same_in_strips(flowers: Image.Image, rng: np.random.Generator) -> None:
    tall = flowers.resize((40, 2 * metrics.STRIP + 100))
    decoded = noisy(tall, rng)
    whole = pixels.psnr(np.asarray(tall), np.asarray(decoded))
    assert metrics.psnr(tall, decoded) == pytest.approx(whole, abs=1e-9)
    assert metrics.psnr(flowers, flowers) == math.inf


def test_ms_ssim_is_the_library_s(flowers: Image.Image, rng: np.random.Generator) -> None:
    decoded = noisy(flowers, rng)
    x, y = (
        torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float()
        for image in (flowers, decoded)
    )
    assert metrics.ms_ssim(flowers, decoded) == pytest.approx(float(reference(x, y)), abs=1e-6)
    assert metrics.ms_ssim(flowers, flowers) == pytest.approx(1.0)


def test_windows_of_a_large_picture(flowers: Image.Image, rng: np.random.Generator) -> None:
    decoded = noisy(flowers, rng)
    whole = metrics.ms_ssim(flowers, decoded)
    # The narrow rest at the right and the bottom has no MS-SSIM.
    assert min(flowers.width % 256, flowers.height % 256) < 161
    windows = metrics.ms_ssim(flowers, decoded, whole_pixels=1000, window=256)
    assert windows != whole
    assert windows == pytest.approx(whole, abs=0.01)


def test_small_pictures_have_no_ms_ssim(flowers: Image.Image) -> None:
    small = flowers.crop((0, 0, 161, 160))
    assert metrics.ms_ssim(small, small) is None
    least = flowers.crop((0, 0, 161, 161))
    assert metrics.ms_ssim(least, least) == pytest.approx(1.0)


def test_what_nobody_sees_does_not_count(flowers: Image.Image) -> None:
    original, decoded = flowers.copy(), flowers.copy()
    hidden = Image.new("L", flowers.size, 255)
    hidden.paste(0, (50, 50, 150, 150))
    original.putalpha(hidden)
    decoded.paste((0, 255, 0), (50, 50, 150, 150))
    assert metrics.psnr(original, decoded) == math.inf
    assert metrics.ms_ssim(original, decoded) == pytest.approx(1.0)


def test_grey_counts_as_three_equal_colours(flowers: Image.Image, rng: np.random.Generator) -> None:
    grey = flowers.convert("L")
    decoded = noisy(grey, rng)
    expected = metrics.psnr(grey.convert("RGB"), decoded.convert("RGB"))
    assert metrics.psnr(grey, decoded) == pytest.approx(expected)
    assert metrics.ms_ssim(grey, decoded.convert("RGB")) == metrics.ms_ssim(grey, decoded)


def test_other_sizes_are_an_error(flowers: Image.Image) -> None:
    for metric in (metrics.psnr, metrics.ms_ssim):
        with pytest.raises(InputError, match="decoded to"):
            metric(flowers, flowers.resize((99, 99)))
