from __future__ import annotations

import dataclasses
import math

import pytest

from codec.evaluation.instruments import MS_SSIM, PSNR
from codec.evaluation.results import Curve
from codec.evaluation.summary import (
    all_curves,
    differences,
    our_codecs,
    remarks,
    theory,
    times,
)
from tests.evaluations import evaluation_of


def test_differences_to_measured_and_published_curves() -> None:
    jpeg, avif, paper = differences(evaluation_of({"a": (1600, 1200)}), "vqcodec")
    assert jpeg.psnr.rate == pytest.approx(-20.0, abs=0.01)
    assert avif.psnr.rate == pytest.approx(100 * (1 / 1.5 - 1), abs=0.01)
    assert jpeg.rate(MS_SSIM) == pytest.approx(-20.0, abs=0.01)
    assert [d.peer for d in (jpeg, avif, paper)] == [True, True, False]
    assert paper.rate(MS_SSIM) is None
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
    assert curve.points(PSNR) == [(1.0, 40.0)]
    assert [round(quality, 6) for _, quality in curve.points(MS_SSIM)] == [20]


def test_pictures_without_loss_are_left_out_of_the_means() -> None:
    evaluation = evaluation_of({"a": (200, 200), "b": (200, 200)}, published=False)
    exact = [
        dataclasses.replace(m, psnr=math.inf)
        if (m.picture, m.codec, m.setting) == ("b", "jpeg", 90)
        else m
        for m in evaluation.measurements
    ]
    found = dataclasses.replace(evaluation, measurements=exact)
    assert found.lossless == ["b"]
    alone = [m for m in evaluation.measurements if m.picture == "a"]
    assert found.points == dataclasses.replace(evaluation, measurements=alone).points
    assert remarks(found) == ["left out of all means, since a codec kept them without loss: b"]
    assert all(d.psnr.rate is not None for d in differences(found, "vqcodec"))

    infinite = [dataclasses.replace(m, psnr=math.inf) for m in evaluation.measurements]
    every = dataclasses.replace(evaluation, measurements=infinite)
    assert {point.psnr for point in every.points} == {math.inf}
    assert remarks(every) == []


def test_small_pictures_are_named_that_leave_no_similarity() -> None:
    sizes = dict.fromkeys("abcdefg", (160, 200)) | {"large": (161, 161)}
    (remark,) = remarks(evaluation_of(sizes, published=False))
    assert remark == "no MS-SSIM, which needs 161 pixels a side: a, b, c, d, e and 2 more"
