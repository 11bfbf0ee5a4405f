from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from codec.evaluation.report.pictures import heat_map, window_of
from codec.evaluation.report.plots import NARROW, WIDE, Layout, Limits, PlottedCurve, draw, spread
from codec.evaluation.report.tables import (
    all_curves,
    differences,
    gap,
    ms_ssim_points,
    our_codecs,
    psnr_points,
    theory,
    times,
)
from codec.evaluation.results import Curve
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


def test_windows_lie_on_blocks() -> None:
    assert window_of(768, 512).box == (0, 0, 768, 512)
    window = window_of(3001, 1000)
    assert (window.width, window.height) == (768, 768)
    assert window.left % 16 == window.top % 16 == 0
    assert abs(window.left - (3001 - 768) / 2) < 16


def test_heat_maps_keep_the_total_and_clip_the_top() -> None:
    bits = np.full((40, 40), 10.0)
    bits[0, 0] = 1000
    _, scale = heat_map(bits, window_of(640, 633))
    assert scale.top == 10
    assert scale.most == 1000
    assert scale.total == bits.sum()
    assert heat_map(np.zeros((1, 1)), window_of(3, 5))[1].top > 0


@pytest.mark.parametrize("layout", [WIDE, NARROW])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_plots_are_elements_with_the_colours_of_the_page(layout: Layout, logarithmic: bool) -> None:
    names = ["ours", "a $x_1$ & <b>", "single"]
    points = [OURS, [(0.3, 29.0), (9.0, 44.0)], [(0.5, 30.0)]]
    curves = [
        PlottedCurve(name, curve, number == 1, number)
        for number, (name, curve) in enumerate(zip(names, points, strict=True))
    ]
    svg = draw(curves, "PSNR", "dB", logarithmic, layout)
    assert svg.startswith("<svg ")
    assert svg.rstrip().endswith("</svg>")
    assert "a $x_1$ &amp; &lt;b&gt;</text>" in svg
    assert "var(--curve-0)" in svg
    assert "#5e" not in svg
    assert "<style" not in svg


def test_labels_are_spread_about_where_they_belong() -> None:
    assert spread([], 10.0, 0.0, 100.0) == []
    assert spread([5.0], 10.0, 0.0, 100.0) == [5.0]
    assert spread([10.0, 11.0, 12.0, 50.0, 51.0], 10.0, 0, 100) == [1.0, 11.0, 21.0, 45.5, 55.5]
    # Two pairs that would collide once spread.
    assert spread([20.0, 21.0, 32.0, 33.0], 10.0, 0, 100) == [11.5, 21.5, 31.5, 41.5]


def test_labels_stay_between_their_bounds() -> None:
    assert spread([-50.0, 99.0, 150.0], 10.0, 0.0, 100.0) == [0.0, 90.0, 100.0]
    assert spread([5.0] * 5, 10.0, 0.0, 20.0) == [0.0, 5.0, 10.0, 15.0, 20.0]


def test_what_is_shown_holds_ours_and_a_point_of_every_other_curve() -> None:
    others = [[(3.0, 50.0), (4.0, 60.0)], [(0.01, 5.0)], [(0.3, 33.0), (9.0, 90.0)]]
    curves = [
        PlottedCurve(str(number), points, False, number)
        for number, points in enumerate([OURS, *others])
    ]
    for logarithmic in (False, True):
        limits = Limits.of(curves, logarithmic)
        for curve in curves:
            rate, quality = limits.end(curve.points)
            assert limits.least_rate <= rate <= limits.most_rate
            assert limits.low <= quality <= limits.high
    assert limits.end(OURS) == OURS[-1]
    rate, quality = limits.end(others[2])
    assert quality == pytest.approx(33 + (rate - 0.3) / 8.7 * 57)


def test_bad_curves_do_not_squeeze_ours() -> None:
    bad = PlottedCurve("bad", [(0.1, 2.0), (0.5, 32.0)], False, 1)
    assert Limits.of([PlottedCurve("ours", OURS, False, 0), bad], False).low > 25
