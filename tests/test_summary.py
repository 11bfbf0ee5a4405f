from __future__ import annotations

import dataclasses
import math

import pytest

from codec.evaluation.results import Curve
from codec.evaluation.summary import (
    all_curves,
    differences,
    gap,
    ms_ssim_points,
    our_codecs,
    psnr_points,
    theory,
    times,
)
from tests.test_report import evaluation_of

OURS = [(0.1, 28.0), (0.2, 30.5), (0.4, 33.0), (0.8, 36.0)]


def test_gap_is_the_scale_of_the_rates_over_the_common_range() -> None:
    anchor = [(rate * 2, quality) for rate, quality in OURS]
    found = gap(anchor, OURS)
    assert found.rate == pytest.approx(-50.0)
    assert (found.low, found.high) == (28.0, 36.0)
    part = gap(anchor[1:], OURS)
    assert (part.low, part.high) == (30.5, 36.0)


def test_why_there_is_no_gap() -> None:
    assert "two points" in gap(OURS[:1], OURS).reason
    assert "same quality" in gap([(0.1, 30.0), (0.2, 30.0)], OURS).reason
    apart = gap([(0.1, 40.0), (0.2, 45.0)], OURS)
    assert apart.rate is None
    assert apart.reason == "no quality in common: 40.0 to 45.0 dB, ours 28.0 to 36.0 dB"


def test_differences_to_measured_and_published_curves() -> None:
    jpeg, avif, paper = differences(evaluation_of({"a": (1600, 1200)}), "vqcodec")
    assert jpeg.psnr.rate == pytest.approx(-20.0, abs=0.01)
    assert avif.psnr.rate == pytest.approx(100 * (1 / 1.5 - 1), abs=0.01)
    assert jpeg.ms_ssim is not None
    assert jpeg.ms_ssim.rate == pytest.approx(-20.0, abs=0.01)
    assert [d.peer for d in (jpeg, avif, paper)] == [True, True, False]
    assert paper.ms_ssim is None
    assert (jpeg.source, avif.source) == ("libjpeg-turbo <3.1>", "measured")


def test_ours_are_those_with_a_model() -> None:
    evaluation = evaluation_of({"a": (160, 120)})
    assert our_codecs(evaluation) == ["vqcodec"]
    turned = dataclasses.replace(evaluation, measurements=evaluation.measurements[::-1])
    assert our_codecs(turned) == ["vqcodec"]
    assert all_curves(turned)[0].name == "vqcodec"
    plain = [dataclasses.replace(m, model=None) for m in evaluation.measurements]
    assert our_codecs(dataclasses.replace(evaluation, measurements=plain)) == ["vqcodec"]
    assert our_codecs(dataclasses.replace(evaluation, measurements=[])) == []


def test_another_model_of_ours_is_no_peer() -> None:
    evaluation = evaluation_of({"a": (160, 120)}, published=False)
    second = [
        dataclasses.replace(m, codec="vqcodec vq")
        for m in evaluation.measurements
        if m.codec == "vqcodec"
    ]
    both = dataclasses.replace(evaluation, measurements=[*evaluation.measurements, *second])
    found = {d.name: d.peer for d in differences(both, "vqcodec")}
    assert found == {"jpeg": True, "avif": True, "vqcodec vq": False}
    assert len(theory(both, "vqcodec vq")) == 5


def test_times_are_per_picture_and_per_megapixel() -> None:
    ours, jpeg, _ = times(evaluation_of({"a": (1000, 500), "b": (1000, 1500)}))
    assert (ours.codec, ours.files) == ("vqcodec", 10)
    assert ours.encode == pytest.approx(0.2)
    assert ours.encode_megapixel == pytest.approx(0.2)
    assert jpeg.decode == pytest.approx(0.05)


def test_theory_adds_up() -> None:
    rows = theory(evaluation_of({"a": (160, 120), "b": (80, 60)}), "vqcodec")
    assert [row.setting for row in rows] == [10, 30, 50, 70, 90]
    for row in rows:
        assert row.rounded + row.container + row.coder == pytest.approx(row.size)
        assert row.coder == pytest.approx(4)
        assert row.noise_gap == pytest.approx(2.0)
        assert row.excess == pytest.approx(100 * 30 / row.rounded)


def test_lossless_points_are_no_points_of_a_curve() -> None:
    curve = Curve("", "", (1.0, 2.0), (40.0, math.inf), (0.99, 1.0))
    assert psnr_points(curve) == [(1.0, 40.0)]
    assert [round(quality, 6) for _, quality in ms_ssim_points(curve)] == [20]
