from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from codec.errors import InputError
from codec.evaluation.bd_rate import bd_rate, decibels, published_curves
from codec.evaluation.results import Curve

CURVE = Curve(
    "a",
    "made up",
    (0.1, 0.2, 0.4, 0.8, 1.6),
    (28.0, 30.5, 33.0, 36.0, 39.5),
    (0.9, 0.94, 0.97, 0.985, 0.993),
)


def scaled(factor: float) -> Curve:
    return dataclasses.replace(CURVE, bpp=tuple(factor * bpp for bpp in CURVE.bpp))


def cut(count: int) -> Curve:
    return Curve("b", "", CURVE.bpp[:count], CURVE.psnr[:count], None)


@pytest.mark.parametrize("metric", ["psnr", "ms_ssim"])
def test_bd_rate_of_a_scaled_curve_is_the_scale(metric: str) -> None:
    assert bd_rate(CURVE, scaled(0.9), metric) == pytest.approx(-10.0, abs=1e-6)
    assert bd_rate(scaled(0.9), CURVE, metric) == pytest.approx(100 / 9, abs=1e-6)


def test_points_may_come_in_any_order_and_number() -> None:
    turned = Curve("", "", CURVE.bpp[::-1], CURVE.psnr[::-1], None)
    assert bd_rate(turned, scaled(0.9)) == pytest.approx(-10.0, abs=1e-6)
    # Fewer points, the same curve but for the tangent at its last one.
    assert bd_rate(CURVE, cut(4)) == pytest.approx(0.0, abs=1.0)


def test_no_number_where_there_is_nothing_to_compare() -> None:
    better = dataclasses.replace(CURVE, psnr=tuple(20 + value for value in CURVE.psnr))
    assert bd_rate(CURVE, better) is None
    assert bd_rate(CURVE, cut(1)) is None
    flat = dataclasses.replace(CURVE, psnr=(30.0, 30.0, 31.0, 32.0, 33.0))
    assert bd_rate(CURVE, flat) is None
    assert bd_rate(CURVE, cut(4), "ms_ssim") is None


def test_pictures_that_are_equal_have_no_weight() -> None:
    perfect = Curve("", "", (*CURVE.bpp, 9.0), (*CURVE.psnr, math.inf), None)
    assert bd_rate(CURVE, perfect) == pytest.approx(0.0, abs=1e-9)


def test_decibels() -> None:
    assert decibels(0.99) == pytest.approx(20)
    assert decibels(1.0) == pytest.approx(100)


def test_kept_curves_rank_as_published() -> None:
    kept = published_curves()
    curves = {curve.name: curve for curve, _ in kept}
    assert {stands_for for _, stands_for in kept if stands_for} == {"jpeg", "webp", "jxl", "avif"}
    assert all(curve.source for curve in curves.values())
    # Two numbers of CompressAI's results: mbt2018-mean is 3.3 % below BPG and 21.3 % above VTM.
    mean = curves["mbt2018-mean"]
    assert bd_rate(curves["bpg444"], mean) == pytest.approx(-3.3, abs=0.5)
    assert bd_rate(curves["vtm"], mean) == pytest.approx(21.3, abs=0.5)
    rate = bd_rate(curves["avif444-s4, reference"], curves["jpeg, reference"])
    assert rate is not None
    assert rate > 100


def test_curves_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "curves.json"
    file.write_text(json.dumps([{"name": "x", "source": "y", "bpp": [1, 2], "psnr": [30, 35]}]))
    ((curve, stands_for),) = published_curves(file)
    assert curve == Curve("x", "y", (1.0, 2.0), (30.0, 35.0), None)
    assert stands_for is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}x",
        "7",
        '[{"name": "x"}]',
        '[{"name": "x", "source": "", "bpp": [1], "psnr": [30, 35]}]',
        '[{"name": "x", "source": "", "bpp": ["a"], "psnr": [30]}]',
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "curves.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"curves\.json: not a list of curves"):
        published_curves(file)
