from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from codec.codec import Codec
from codec.encoder.encoded import Estimate
from codec.encoder.options import EncoderOptions
from codec.encoder.rate_search import MAX_TRIALS, LevelSearch
from codec.encoder.targets import meet
from codec.errors import InputError
from codec.weights.config import ModelConfig
from tests.helpers import DATA

CURVES: list[Callable[[float], float]] = [
    lambda x: x,
    lambda x: 30 * x * x,
    lambda x: math.sqrt(x),
    lambda x: 5 * math.tanh(8 * x - 4),
    lambda x: math.floor(40 * x) / 40,
]


def search(
    curve: Callable[[float], float], tolerance: float, trials: list[int], high: int = 28672
) -> LevelSearch[int]:
    def trial(level: int) -> tuple[int, float]:
        trials.append(level)
        return level, curve(level / high if high else 0.0)

    return LevelSearch(trial, 0, high, 1 / 28672, tolerance)


@pytest.mark.parametrize("curve", CURVES)
@given(share=st.floats(0, 1))
def test_what_is_found_is_close_and_on_its_side(
    curve: Callable[[float], float], share: float
) -> None:
    low, high = curve(0), curve(1)
    target = low + share * (high - low)
    tolerance = 0.03 * (high - low)
    trials: list[int] = []
    below = search(curve, tolerance, trials).greatest_below(target)
    assert below is not None
    assert curve(below / 28672) <= target
    above = search(curve, tolerance, trials).least_above(target)
    assert above is not None
    assert curve(above / 28672) >= target
    assert len(trials) <= 2 * MAX_TRIALS
    if curve is not CURVES[-1]:
        assert curve(below / 28672) >= target - tolerance
        assert curve(above / 28672) <= target + tolerance


def test_targets_beyond_the_ends() -> None:
    trials: list[int] = []
    line = search(lambda x: 1 + x, 0.01, trials)
    assert line.greatest_below(0.9) is None
    assert line.greatest_below(9) == 28672
    assert line.least_above(2.1) is None
    assert line.least_above(0.1) == 0
    assert search(lambda x: 1.0, 0.01, trials, high=0).greatest_below(1.0) == 0
    assert search(lambda x: 1.0, 0.01, trials, high=0).greatest_below(0.5) is None


def test_few_trials_are_enough_on_a_smooth_curve() -> None:
    for target in (-3.0, -0.5, 0.2, 1.0):
        trials: list[int] = []
        search(lambda x: -3.5 + 4.6 * x + 0.4 * x * x, 0.02, trials).greatest_below(target)
        assert len(trials) <= 5


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(DATA / "path.png") as image:
        return image.convert("RGB").crop((0, 0, 128, 96))


@pytest.mark.slow
def test_sizes(released_codec: Codec, photo: Image.Image) -> None:
    least = len(released_codec.compress(photo, 0))
    most = len(released_codec.compress(photo, 100))
    for size in (least, 1200, 2300):
        assert 0.99 * size <= len(released_codec.compress(photo, target_size=size)) <= size
    assert len(released_codec.compress(photo, target_size=10 * most)) == most
    least = len(released_codec.compress(photo, 0, effort=0))  # the last resort
    assert len(released_codec.compress(photo, target_size=least)) == least
    with pytest.raises(InputError, match=f"the smallest has {least};"):
        released_codec.compress(photo, target_size=least - 1)
    data = released_codec.compress(photo, target_bpp=1.0)
    assert 0.99 <= 8 * len(data) / (photo.width * photo.height) <= 1.0


def test_sizes_include_everything(released_codec: Codec, photo: Image.Image) -> None:
    photo = photo.copy()
    photo.putalpha(Image.radial_gradient("L").resize(photo.size))
    photo.info["xmp"] = np.random.default_rng(0).bytes(2000)  # does not deflate
    data = released_codec.compress(photo, target_size=6_500)
    assert 0.99 * 6_500 <= len(data) <= 6_500


@pytest.mark.slow
def test_psnrs(released_codec: Codec, photo: Image.Image) -> None:
    for target in (30.0, 34.0):
        coded = released_codec.encode(photo, target_psnr=target)
        assert target <= coded.psnr < target + 0.1
    most = released_codec.encode(photo, 100, measure=True).psnr
    with pytest.raises(InputError, match=f"the best has {most:.2f};"):
        released_codec.compress(photo, target_psnr=80)


def test_the_largest_rate(released_codec: Codec) -> None:
    flat = Image.new("RGB", (24, 24), (200, 200, 200))
    assert released_codec.compress(flat, target_bpp=1e308, effort=0)


def test_psnr_of_what_nobody_can_see(released_codec: Codec) -> None:
    hidden = Image.new("RGBA", (64, 64), (1, 2, 3, 0))
    assert released_codec.encode(hidden, target_psnr=40).psnr == math.inf


@pytest.mark.slow
def test_psnr_of_a_flat_picture_is_not_most_at_the_end() -> None:
    codec = Codec("photo-mse")
    flat = Image.new("RGB", (24, 24), (200, 200, 200))
    anchors = [100 * anchor / 7 for anchor in range(8)]
    found = [codec.encode(flat, q, measure=True, effort=0, patches="never").psnr for q in anchors]
    most = max(found)
    assert most > found[-1] + 0.1
    coded = codec.encode(flat, target_psnr=most - 0.001, effort=0, patches="never")
    assert coded.psnr >= most - 0.001


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"target_size": 0},
        {"target_bpp": -1.0},
        {"target_psnr": float("nan")},
        {"target_psnr": float("inf")},
        {"target_psnr": 1e308},
        {"target_bpp": float("inf")},
        {"target_size": 100, "target_bpp": 1.0},
        {"target_size": "50k"},
        {"quality": "50"},
        {"lmbda": "0.01"},
        {"tile_size": 100},
        {"tile_size": "512"},
        {"effort": "5"},
        {"keep": ["gps"]},
    ],
)
def test_impossible_requests(
    released_codec: Codec, photo: Image.Image, options: dict[str, object]
) -> None:
    with pytest.raises(InputError):
        released_codec.compress(photo, **options)  # type: ignore[arg-type]


class _Drifting:
    """An encoder whose files exceed their estimates more, the higher the level."""

    does_more = True

    def __init__(self) -> None:
        self.made: list[tuple[int, bool]] = []

    def estimate(self, level: int, measure: bool = False) -> Estimate:
        return Estimate(1000 * 10 ** (level / 28672), 30 + level / 2867.2)

    def encode(self, level: int, rounding_only: bool = False) -> SimpleNamespace:
        assert (level, rounding_only) not in self.made
        self.made.append((level, rounding_only))
        drift = 0.0 if rounding_only else 0.15 * (level / 28672) ** 8
        size = round(self.estimate(level).size * (1 + drift))
        return SimpleNamespace(data=bytes(size), psnr=30 + level / 2867.2 - 10 * drift)


@pytest.mark.parametrize("size", [5000, 9000, 9990, 10100, 11000])
def test_files_that_drift_from_their_estimates(size: int) -> None:
    options = EncoderOptions(target_size=size)
    encoded = meet(_Drifting(), options, ModelConfig(), None)  # type: ignore[arg-type]
    assert 0.98 * size <= len(encoded.data) <= size


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        (EncoderOptions(target_size=900), "the smallest has 1000"),
        (EncoderOptions(target_psnr=60.0), r"the best has 40\.00"),
    ],
)
def test_out_of_reach_the_end_of_the_ladder_is_coded_once(
    options: EncoderOptions, nearest: str
) -> None:
    encoder = _Drifting()
    with pytest.raises(InputError, match=nearest):
        meet(encoder, options, ModelConfig(), None)  # type: ignore[arg-type]
    assert len(encoder.made) == 2  # with what the effort does, and without


@pytest.mark.parametrize("psnr", [34.0, 38.0, 38.5])
def test_qualities_that_drift_from_their_estimates(psnr: float) -> None:
    options = EncoderOptions(target_psnr=psnr)
    encoded = meet(_Drifting(), options, ModelConfig(), None)  # type: ignore[arg-type]
    assert psnr <= encoded.psnr <= psnr + 0.2
