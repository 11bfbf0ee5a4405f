from __future__ import annotations

import pytest

from codec.evaluation.report.plots import NARROW, WIDE, Layout, Limits, PlottedCurve, draw, spread

OURS = [(0.1, 28.0), (0.2, 30.5), (0.4, 33.0), (0.8, 36.0)]


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


def test_plotted_range_holds_ours_and_a_point_of_every_other_curve() -> None:
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
