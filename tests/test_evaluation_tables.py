from __future__ import annotations

from dataclasses import replace

from codec.evaluation.results import Curve, Evaluation, Measurement, ModelBits
from codec.evaluation.tables import (
    NOISY,
    bd_table,
    points_table,
    table,
    theory_table,
)

CODED = 1000


def measurement(codec: str, setting: float, size: int, psnr: float, ours: bool) -> Measurement:
    bits = 8.0 * CODED
    model = ModelBits(bits * 0.1, (bits * 0.5, bits * 0.4), 8.0 * 26, 1.25 * bits) if ours else None
    return Measurement("a", codec, setting, 8000, size, psnr, 0.99, 0.25, 0.125, model)


def evaluation() -> Evaluation:
    found = [
        measurement("ours", 0, CODED + 30, 30.0, True),
        measurement("ours", 100, 4 * CODED, 40.0, True),
        measurement("jpeg", 10, 2 * (CODED + 30), 30.0, False),
        measurement("jpeg", 90, 8 * CODED, 40.0, False),
    ]
    far = Curve("far", "made up", (1.0, 2.0), (50.0, 60.0), None)
    return Evaluation("command", "machine", {"a": (80, 100)}, found, {}, [far])


def test_table() -> None:
    assert table("a|b", [("1", "2"), ("3", "4")]) == "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"


def test_points() -> None:
    lines = points_table(evaluation()).splitlines()
    assert lines[2] == "| ours | 0 | 1.0300 | 30.00 | 0.99000 | 20.00 | 0.250 | 0.125 |"
    assert len(lines) == 6


def test_rates_against_all_others() -> None:
    lines = bd_table(evaluation()).splitlines()
    assert lines[2:] == ["| ours | jpeg | -50.0 % | 30.0 to 40.0 |  |", "| ours | far |  |  |  |"]


def test_what_the_model_says() -> None:
    lines = theory_table(evaluation()).splitlines()
    row = "| ours | 0 | 1030 | 1000 | 100 | 500 | 400 | 0.0 | 0.0 | 26.0 | 4.0 | 1.2500 | 1.0000 |"
    assert lines[2] == row
    assert lines[4:] == ["", NOISY]


def test_a_model_without_noise_needs_no_word_on_it() -> None:
    found = [
        replace(m, model=replace(m.model, noisy=None)) if m.model else m
        for m in evaluation().measurements
    ]
    assert len(theory_table(replace(evaluation(), measurements=found)).splitlines()) == 4
