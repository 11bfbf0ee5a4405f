from __future__ import annotations

import dataclasses

import pytest

from codec.evaluation.instruments import LPIPS, PSNR, SSIMULACRA2
from codec.evaluation.metrics import Block
from codec.evaluation.results import Evaluation, Measurement
from codec.evaluation.spread import guarded, spreads, worst_pictures
from codec.evaluation.summary import differences
from codec.evaluation.tables import (
    bd_table,
    guards_table,
    points_table,
    spread_table,
    worst_table,
)

COSTS = {"a": 2.0, "b": 1.25, "c": 0.5}
"""Bytes of the peer over ours at equal quality, by picture."""


def evaluation(instruments: tuple[str, ...] = ("psnr", "ssimulacra2", "lpips")) -> Evaluation:
    """Ours and a peer on three pictures at two settings, with all metrics equal."""
    found = []
    for codec, costs in (("ours", dict.fromkeys(COSTS, 1.0)), ("peer", COSTS)):
        for number, (picture, cost) in enumerate(costs.items()):
            for step, setting in enumerate((10.0, 90.0)):
                values = {"ssimulacra2": 40.0 * step - number, "lpips": 0.2 / (1 + step + number)}
                block = Block(64 * number, 0, 20.0 + 5 * step - number)
                size = round(1000 * cost * 3**step)
                found.append(
                    Measurement(
                        picture, codec, setting, 8000, size, 30.0 + 9 * step + number, None,
                        0.1, 0.2, None, {**values}, block,
                    )
                )  # fmt: skip
    sizes = dict.fromkeys(COSTS, (100, 80))
    return Evaluation("", "", sizes, found, {}, instruments=dict.fromkeys(instruments, ""))


def test_rates_by_picture_and_their_median() -> None:
    psnr, ssimulacra2, lpips = spreads(evaluation())
    for spread, metric in ((psnr, PSNR), (ssimulacra2, SSIMULACRA2), (lpips, LPIPS)):
        assert (spread.codec, spread.against, spread.metric) == ("ours", "peer", metric)
        assert spread.rates == pytest.approx({"a": -50.0, "b": -20.0, "c": 100.0}, abs=1e-6)
        assert spread.median == pytest.approx(-20.0)
        assert spread.worst == "c"
        assert spread.pictures == 3
    first = spread_table(evaluation()).rows[0]
    assert first == ("ours", "peer", "PSNR", "-20.0 %", "+100.0 %", "c", "3 of 3")


def test_pictures_whose_curves_do_not_overlap_are_left_out() -> None:
    found = evaluation(("psnr",))
    far = [
        dataclasses.replace(m, psnr=m.psnr + 50) if (m.codec, m.picture) == ("peer", "c") else m
        for m in found.measurements
    ]
    (spread,) = spreads(dataclasses.replace(found, measurements=far))
    assert set(spread.rates) == {"a", "b"}
    assert spread.pictures == 3
    none = [m if m.codec == "ours" else dataclasses.replace(m, psnr=99.0) for m in far]
    assert spreads(dataclasses.replace(found, measurements=none)) == []


def test_mean_curves_by_all_metrics() -> None:
    (difference,) = differences(evaluation(), "ours")
    assert set(difference.gaps) == {"psnr", "ssimulacra2", "lpips"}
    expected = 100 * (3 / sum(COSTS.values()) - 1)
    for metric in (PSNR, SSIMULACRA2, LPIPS):
        assert difference.rate(metric) == pytest.approx(expected, abs=0.05)
    lines = points_table(evaluation()).splitlines()
    assert (
        lines[0] == "| codec | setting | bpp | PSNR | SSIMULACRA 2 | LPIPS | encode s | decode s |"
    )
    assert lines[2] == "| ours | 10 | 1.0000 | 31.00 | -1.00 | 0.1222 | 0.100 | 0.200 |"
    rates = bd_table(evaluation()).splitlines()
    assert rates[0].endswith("| over dB | BD-rate, SSIMULACRA 2 | BD-rate, LPIPS |")


def test_a_metric_that_a_picture_lacks_has_no_mean() -> None:
    found = evaluation()
    found.measurements[0].values["lpips"] = None
    assert found.points[0].value(LPIPS) is None
    assert found.points[1].value(LPIPS) is not None
    assert found.curve("ours").points(LPIPS) == []
    (difference,) = differences(found, "ours")
    assert difference.rate(LPIPS) is None
    assert difference.rate(SSIMULACRA2) is not None


def test_worst_pictures_and_blocks() -> None:
    first = worst_pictures(evaluation())[0]
    assert (first.codec, first.setting) == ("ours", 10)
    assert first.values == {"psnr": (30.0, "a"), "ssimulacra2": (-2.0, "c"), "lpips": (0.2, "a")}
    assert first.block == (Block(128, 0, 18.0), "c")
    row = worst_table(evaluation()).rows[0]
    assert row == ("ours", "10", "18.00 c at 128,0", "30.00 a", "-2.00 c", "0.2000 a")


def test_guards_by_setting() -> None:
    assert guarded(evaluation()) == []
    found = evaluation(("psnr", "guards"))
    shifts = {"a": (0.5, 0.0, -0.2), "b": (0.1, 0.0, -0.9), "c": (0.0, 0.3, 0.2)}
    for m in found.measurements:
        names = ("shift_r", "shift_g", "shift_b")
        m.values.update(zip(names, shifts[m.picture], strict=True))
        flat = None if m.picture == "b" else {"a": 1.0, "c": 4.0}[m.picture]
        m.values.update(dict.fromkeys(("peak_2", "peak_4", "peak_8"), flat))
    first = guarded(found)[0]
    assert first.shift == pytest.approx((0.2, 0.1, -0.3))
    assert first.most == (-0.9, "b")
    assert first.peaks == pytest.approx((2.5, 2.5, 2.5))
    row = guards_table(found).rows[0]
    assert row == ("ours", "10", "+0.20", "+0.10", "-0.30", "-0.90 b", "+2.5", "+2.5", "+2.5")
    for m in found.measurements:
        m.values.update(dict.fromkeys(("peak_2", "peak_4", "peak_8"), None))
    assert guarded(found)[0].peaks is None
    assert guards_table(found).rows[0][-3:] == ("", "", "")


def test_records_keep_everything() -> None:
    for before in evaluation().measurements:
        assert Measurement.from_dict(dataclasses.asdict(before)) == before
