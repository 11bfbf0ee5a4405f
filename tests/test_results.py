from __future__ import annotations

import dataclasses
import json
import math

import pytest

from codec.evaluation.results import (
    Evaluation,
    Measurement,
    ModelBits,
    curve_of,
    mean_points,
)


def measurement(codec: str, setting: float, size: int, psnr: float) -> Measurement:
    return Measurement("a", codec, setting, 800, size, psnr, 0.9, 0.1, 0.2)


def test_means_are_per_codec_and_setting_by_rising_rate() -> None:
    found = [
        measurement("x", 50, 300, 31.0),
        measurement("y", 2, 500, 20.0),
        measurement("x", 10, 100, 20.0),
        measurement("x", 50, 100, 29.0),
        measurement("y", 9, 400, 20.0),
    ]
    points = mean_points(found)
    assert [(p.codec, p.setting, p.bpp, p.psnr) for p in points] == [
        ("x", 10, 1.0, 20.0),
        ("x", 50, 2.0, 30.0),
        ("y", 9, 4.0, 20.0),
        ("y", 2, 5.0, 20.0),
    ]
    curve = curve_of("x", points)
    assert (curve.bpp, curve.psnr) == ((1.0, 2.0), (20.0, 30.0))
    assert curve.ms_ssim == pytest.approx((0.9, 0.9))


def test_no_mean_similarity_if_a_picture_has_none() -> None:
    small = dataclasses.replace(measurement("x", 1, 100, 30), ms_ssim=None)
    (point,) = mean_points([small, measurement("x", 1, 100, 30)])
    assert point.ms_ssim is None
    assert curve_of("x", mean_points([small])).ms_ssim is None


def ours(coded: int, bits: float) -> Measurement:
    model = ModelBits(bits / 10, (bits / 2, bits * 4 / 10), container=8 * 26, noisy=None)
    return dataclasses.replace(measurement("vqcodec", 1, coded + 26, 30), model=model)


def test_dishonest_sizes_are_noticed() -> None:
    assert ours(10_046, 80_000).excess == pytest.approx(72)
    assert ours(10_046, 80_000).honest_size
    assert not ours(10_047, 80_000).honest_size
    assert not ours(9_953, 80_000).honest_size
    assert measurement("jpeg", 1, 7, 30).honest_size


def test_every_stream_has_its_slack() -> None:
    tiled = ours(10_078, 80_000)
    assert tiled.coding_excess == pytest.approx(78)
    assert not tiled.honest_size
    assert tiled.model
    model = dataclasses.replace(tiled.model, streams=3)
    assert dataclasses.replace(tiled, model=model).honest_size


def test_records_survive_json() -> None:
    for before in (ours(100, 800), measurement("jpeg", 1, 7, 30)):
        after = Measurement.from_dict(json.loads(json.dumps(dataclasses.asdict(before))))
        assert after == before


def test_codecs_of_an_evaluation_keep_their_order() -> None:
    found = [measurement(name, 1, 100, 30) for name in ("vqcodec photo", "jpeg", "avif", "jpeg")]
    evaluation = Evaluation("", "", {"a": (40, 20)}, found, {})
    assert evaluation.codecs == ["vqcodec photo", "jpeg", "avif"]
    assert evaluation.curve("jpeg").bpp == (1.0,)


def test_lossless_anchors_leave_no_picture_out() -> None:
    one, two = measurement("ours", 0, 100, 30.0), measurement("ours", 1, 200, math.inf)
    anchor = measurement("png", 9, 900, math.inf)

    def lossless(*found: Measurement) -> list[str]:
        return Evaluation("", "", {"a": (40, 20)}, list(found), {}).lossless

    assert lossless(one, anchor) == []
    assert lossless(one, two, anchor) == ["a"]
