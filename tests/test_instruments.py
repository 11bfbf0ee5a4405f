from __future__ import annotations

import math
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from codec.errors import InputError
from codec.evaluation import metrics
from codec.evaluation.instruments import (
    BUTTERAUGLI_3,
    CVVDP,
    INSTRUMENTS,
    LPIPS,
    MS_SSIM,
    PSNR,
    SSIMULACRA2,
    Instrument,
    find_instruments,
    metrics_of,
)
from codec.model import perceptual
from tests.helpers import DATA

PERCEPTUAL = ("ssimulacra2", "butteraugli", "lpips", "cvvdp")
EQUAL = {
    "psnr": math.inf,
    "ms_ssim": 1.0,
    "ssimulacra2": 100.0,
    "butteraugli_3": 0.0,
    "butteraugli_max": 0.0,
    "lpips": 0.0,
    "cvvdp": 10.0,
}
LADDER = (10, 30, 60, 90)


def installed(name: str) -> Instrument:
    """An instrument; the test is skipped where what it needs is missing."""
    if missing := INSTRUMENTS[name].missing:
        pytest.skip(missing)
    return INSTRUMENTS[name]


@pytest.fixture(scope="module")
def flowers() -> Image.Image:
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("RGB").crop((0, 0, 192, 192))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return decoded.convert("RGB")


@pytest.mark.parametrize("name", [name for name in INSTRUMENTS if name != "guards"])
def test_equal_pictures_and_a_ladder_of_qualities(name: str, flowers: Image.Image) -> None:
    instrument = installed(name)
    best = instrument.measure(flowers, flowers)
    steps = [instrument.measure(flowers, jpeg(flowers, quality)) for quality in LADDER]
    assert set(best) == {metric.name for metric in instrument.metrics}
    for metric in instrument.metrics:
        assert best[metric.name] == pytest.approx(EQUAL[metric.name], abs=1e-6)
        qualities = []
        for step in steps:
            value = step[metric.name]
            assert value is not None
            qualities.append(metric.scale(value))
        assert qualities == sorted(set(qualities))
        assert math.isfinite(qualities[-1])
        assert metric.scale(EQUAL[metric.name]) == math.inf


@pytest.mark.parametrize("name", PERCEPTUAL)
def test_constructed_pairs(name: str, flowers: Image.Image) -> None:
    """Coarser noise is worse; a tint is seen by all of them."""
    instrument = installed(name)
    rng = np.random.default_rng(7)
    samples = np.asarray(flowers).astype(float)
    noise = rng.normal(size=samples.shape)
    for metric in instrument.metrics:
        values = []
        for spread in (2, 8, 24):
            noisy = (samples + spread * noise).clip(0, 255).astype(np.uint8)
            value = instrument.measure(flowers, Image.fromarray(noisy))[metric.name]
            assert value is not None
            values.append(metric.scale(value))
        assert values == sorted(values, reverse=True)
        tinted = (samples + np.array([24.0, -24.0, 0.0])).clip(0, 255).astype(np.uint8)
        found = instrument.measure(flowers, Image.fromarray(tinted))[metric.name]
        assert found is not None
        assert metric.scale(found) < metric.scale(EQUAL[metric.name])


@pytest.mark.parametrize("name", PERCEPTUAL)
def test_hidden_pixels_grey_and_small_pictures(name: str, flowers: Image.Image) -> None:
    instrument = installed(name)
    small = flowers.crop((0, 0, 64, 48))
    original, decoded = small.copy(), small.copy()
    alpha = Image.new("L", small.size, 255)
    alpha.paste(0, (8, 8, 40, 40))
    original.putalpha(alpha)
    decoded.paste((0, 255, 0), (8, 8, 40, 40))
    grey = small.convert("L")
    for pair in ((original, decoded), (grey, grey.convert("RGB"))):
        for metric, value in instrument.measure(*pair).items():
            assert value == pytest.approx(EQUAL[metric], abs=1e-6)
    tiny = small.crop((0, 0, 31, 64))
    assert set(instrument.measure(tiny, tiny).values()) == {None}
    with pytest.raises(InputError, match="decoded to"):
        instrument.measure(small, tiny)


def test_windows_are_joined_by_their_norms(
    flowers: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = iter([(1.0, 2.0), (2.0, 9.0), (1.0, 2.0), (1.0, 2.0), (3.0, 4.0), (3.0, 4.0)])
    scores = iter([10.0, 20.0, 10.0, 10.0, 30.0, 30.0])
    monkeypatch.setattr(metrics, "_butteraugli_of", lambda original, decoded: next(norms))
    monkeypatch.setattr(perceptual, "ssimulacra2", lambda original, decoded: next(scores))
    large = Image.new("L", (2048 + 31, 2048 + 64))  # 31 columns are too few for a window
    area = 4 * 1024 + 2 * 64
    norm, most = metrics.butteraugli(large, large) or (None, None)
    assert norm == pytest.approx(((1024 * (3 * 1 + 8) + 64 * 2 * 27) / area) ** (1 / 3))
    assert most == 9
    mean = (1024 * (3 * 10 + 20) + 64 * 2 * 30) / area
    assert metrics.ssimulacra2(large, large) == pytest.approx(mean)


def test_worst_block() -> None:
    original = Image.new("RGB", (150, 130), (100, 100, 100))
    decoded = original.copy()
    decoded.paste((101, 100, 100), (0, 0, 10, 10))
    decoded.paste((110, 110, 110), (140, 120, 150, 130))
    # Blocks start at 0, 64, 86 and at 0, 64, 66; in the last one 100 of 4096 pixels are 10 off.
    worst = metrics.worst_block(original, decoded)
    assert (worst.left, worst.top) == (86, 66)
    assert worst.psnr == pytest.approx(10 * math.log10(255**2 / (100 * 100 / 4096)))
    assert metrics.worst_block(original, original).psnr == math.inf
    small = metrics.worst_block(original.crop((0, 0, 20, 10)), decoded.crop((0, 0, 20, 10)))
    assert (small.left, small.top) == (0, 0)
    assert small.psnr == pytest.approx(10 * math.log10(255**2 / (1 / 6)))


def test_hidden_blocks_are_not_the_worst() -> None:
    original = Image.new("RGBA", (128, 64), (9, 9, 9, 0))
    original.paste((9, 9, 9, 255), (64, 0, 128, 64))
    decoded = Image.new("RGB", (128, 64), (9, 9, 9))
    decoded.paste((255, 255, 255), (0, 0, 64, 64))
    assert metrics.worst_block(original, decoded) == metrics.Block(64, 0, math.inf)


def test_scales_rise_with_quality() -> None:
    assert PSNR.scale(30.0) == 30
    assert MS_SSIM.scale(0.99) == pytest.approx(20)
    assert SSIMULACRA2.scale(-5.0) == -5
    assert LPIPS.scale(0.01) == BUTTERAUGLI_3.scale(0.01) == pytest.approx(20)
    assert CVVDP.scale(9.9) == pytest.approx(10)
    assert PSNR.worst({"a": 30.0, "b": 20.0}) == LPIPS.worst({"a": 0.1, "b": 0.2}) == "b"


def test_psnr_is_always_measured_and_unknown_metrics_are_an_error() -> None:
    chosen, missing = find_instruments(("guards", "ms-ssim"))
    assert [one.name for one in chosen] == ["psnr", "ms-ssim", "guards"]
    assert not missing
    assert metrics_of(one.name for one in chosen) == [PSNR, MS_SSIM]
    with pytest.raises(InputError, match=r"unknown metric 'vmaf'; known: psnr, .*, and all"):
        find_instruments(("psnr", "vmaf"))


def test_missing_packages_are_named_and_an_error_if_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pycvvdp", None)  # as if it were not installed
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"^cvvdp cannot be measured: cvvdp not installed; pip"):
        find_instruments(("cvvdp",))
    with pytest.raises(InputError, match="butteraugli_main not installed; it comes with libjxl"):
        find_instruments(("all", "butteraugli"))
    chosen, missing = find_instruments(("all",))
    assert {"cvvdp", "butteraugli"} <= set(missing)
    assert {one.name for one in chosen} == set(INSTRUMENTS) - set(missing)


def test_a_program_that_fails_is_one_error(
    monkeypatch: pytest.MonkeyPatch, flowers: Image.Image
) -> None:
    for program, message in (("false", "failed"), ("true", "answered what is not known")):
        monkeypatch.setattr(metrics, "BUTTERAUGLI", program)
        with pytest.raises(InputError, match=f"{program} {message}"):
            metrics.butteraugli(flowers, flowers)
