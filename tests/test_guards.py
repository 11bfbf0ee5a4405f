from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from codec.errors import InputError
from codec.evaluation.guards import FLAT, LEAST_BLOCKS, guards, spectral_peaks

SIDE = 160
Y, X = np.indices((SIDE, SIDE))


def grey(level: float = 128.0) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), level)


def image(samples: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(samples).clip(0, 255).astype(np.uint8))


def noise(rng: np.random.Generator, spread: float) -> np.ndarray:
    return rng.normal(scale=spread, size=(SIDE, SIDE, 3))


def test_equal_pictures_have_no_shift_and_no_peak(rng: np.random.Generator) -> None:
    picture = image(grey() + noise(rng, 2.0))
    found = guards(picture, picture)
    assert found.shift == (0, 0, 0)
    assert found.peaks
    assert max(found.peaks) <= 0
    assert guards(image(grey()), image(grey())).peaks == (0, 0, 0)


def test_shift_is_signed_and_of_each_colour() -> None:
    tinted = grey() + np.array([-2.0, 1.0, 5.0])
    assert guards(image(grey()), image(tinted)).shift == (-2, 1, 5)
    half = grey()
    half[: SIDE // 2, :, 1] += 3
    assert guards(image(grey()), image(half)).shift == (0, 1.5, 0)


def test_shift_is_of_visible_pixels() -> None:
    original, decoded = image(grey()), image(grey())
    alpha = Image.new("L", original.size, 255)
    alpha.paste(0, (0, 0, SIDE, SIDE // 2))
    original.putalpha(alpha)
    decoded.paste((255, 0, 0), (0, 0, SIDE, SIDE // 2))
    decoded.paste((129, 128, 128), (0, SIDE // 2, SIDE, SIDE))
    assert guards(original, decoded).shift == (1, 0, 0)


@pytest.mark.parametrize(("period", "place"), [(2, 0), (4, 1), (8, 2)])
@pytest.mark.parametrize("direction", ["rows", "columns", "diagonal", "other diagonal"])
def test_a_mesh_is_a_peak_at_its_period(
    rng: np.random.Generator, period: int, place: int, direction: str
) -> None:
    phase = {"rows": Y, "columns": X, "diagonal": X + Y, "other diagonal": X - Y}[direction]
    wave = np.cos(2 * np.pi * phase / period)[..., None]
    original = grey() + noise(rng, 1.0)
    decoded = original + noise(rng, 1.0) + 2 * wave
    peaks = guards(image(original), image(decoded)).peaks
    assert peaks
    assert peaks[place] > 20
    assert max(peak for n, peak in enumerate(peaks) if n != place) < 3


def test_noise_has_no_peak(rng: np.random.Generator) -> None:
    original = grey()
    peaks = guards(image(original), image(original + noise(rng, 4.0))).peaks
    assert peaks
    assert max(peaks) < 2


def test_a_pattern_that_was_smoothed_away_is_no_peak(rng: np.random.Generator) -> None:
    wave = 2 * np.cos(np.pi * (X + Y))[..., None]
    smooth = grey() + noise(rng, 1.0)
    found = guards(image(smooth + wave), image(smooth))
    assert found.peaks
    assert found.peaks[0] < 3
    kept = guards(image(smooth + wave), image(smooth + wave + noise(rng, 1.0)))
    assert kept.peaks
    assert kept.peaks[0] < 3


def test_texture_is_not_flat(rng: np.random.Generator) -> None:
    rough = image(grey() + noise(rng, 3 * FLAT))
    assert guards(rough, rough).peaks is None
    few = image(grey()).crop((0, 0, 32 * (LEAST_BLOCKS - 1), 32))
    assert guards(few, few).peaks is None


def test_rounding_counts_as_noise() -> None:
    nothing = np.zeros((32, 32))
    faint = nothing.copy()
    faint[0, 16] = 0.25  # as much as rounding three colours to 8 bits
    assert spectral_peaks(nothing, nothing) == (0, 0, 0)
    assert spectral_peaks(faint, faint)[0] == pytest.approx(3.0103, abs=1e-4)
    assert spectral_peaks(faint, nothing)[0] == spectral_peaks(nothing, faint)[0] == 0


def test_other_sizes_are_an_error() -> None:
    with pytest.raises(InputError, match="decoded to"):
        guards(image(grey()), Image.new("RGB", (9, 9)))
