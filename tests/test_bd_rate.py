from __future__ import annotations

import pytest

from codec.evaluation.bd_rate import bd_rate, decibels

OURS = [(0.1, 28.0), (0.2, 30.5), (0.4, 33.0), (0.8, 36.0), (1.6, 39.5)]


def scaled(factor: float) -> list[tuple[float, float]]:
    return [(factor * rate, quality) for rate, quality in OURS]


@pytest.mark.slow
def test_the_rate_of_a_scaled_curve_is_the_scale() -> None:
    found = bd_rate(OURS, scaled(0.9))
    assert found.rate == pytest.approx(-10.0, abs=1e-6)
    assert (found.low, found.high) == (28.0, 39.5)
    assert bd_rate(scaled(0.9), OURS).rate == pytest.approx(100 / 9, abs=1e-6)


def test_points_may_come_in_any_order_and_number() -> None:
    assert bd_rate(OURS[::-1], scaled(0.9)).rate == pytest.approx(-10.0, abs=1e-6)
    part = bd_rate(OURS[1:], scaled(0.9))
    assert (part.low, part.high) == (30.5, 39.5)
    # Fewer points, the same curve but for the tangent at its last one.
    assert bd_rate(OURS, OURS[:4]).rate == pytest.approx(0.0, abs=1.0)


def test_no_number_where_there_is_nothing_to_compare() -> None:
    better = [(rate, quality + 20) for rate, quality in OURS]
    apart = bd_rate(better, OURS)
    assert apart.rate is None
    assert apart.reason == "no quality in common: 48.0 to 59.5 dB, ours 28.0 to 39.5 dB"
    assert "two points" in bd_rate(OURS, OURS[:1]).reason
    assert "two points" in bd_rate([], OURS).reason
    assert "same quality" in bd_rate([(0.1, 30.0), (0.2, 30.0), (0.3, 31.0)], OURS).reason


def test_decibels() -> None:
    assert decibels(0.99) == pytest.approx(20)
    assert decibels(1.0) == pytest.approx(100)
