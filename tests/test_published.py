from __future__ import annotations

import json
from pathlib import Path

import pytest

from codec.errors import InputError
from codec.evaluation.bd_rate import bd_rate
from codec.evaluation.instruments import PSNR
from codec.evaluation.published import KODAK, curves_beside, published_curves
from codec.evaluation.results import Curve, Evaluation, Measurement


def rate(anchor: Curve, test: Curve) -> float:
    found = bd_rate(anchor.points(PSNR), test.points(PSNR)).rate
    assert found is not None
    return found


def evaluation_of(pictures: set[str], *codecs: str) -> Evaluation:
    found = [
        Measurement(name, codec, 1, 100, 100, 30.0, None, 0.1, 0.1)
        for codec in codecs
        for name in pictures
    ]
    return Evaluation("", "", dict.fromkeys(pictures, (10, 10)), found, {})


def test_kept_curves_are_of_the_kodak_pictures() -> None:
    names = {curve.name for curve in curves_beside(evaluation_of(KODAK, "vqcodec"))}
    assert {"vtm", "avif444-s4, reference", "jpeg, reference"} <= names
    assert not curves_beside(evaluation_of(KODAK - {"kodim01"}, "vqcodec"))


def test_a_reference_gives_way_to_what_was_measured(tmp_path: Path) -> None:
    names = {curve.name for curve in curves_beside(evaluation_of(KODAK, "vqcodec", "jpeg"))}
    assert "jpeg, reference" not in names
    assert "avif444-s4, reference" in names


def test_kept_curves_rank_as_published() -> None:
    kept = published_curves()
    curves = {curve.name: curve for curve, _ in kept}
    assert {stands_for for _, stands_for in kept if stands_for} == {"jpeg", "webp", "jxl", "avif"}
    assert all(curve.source for curve in curves.values())
    # Two numbers of CompressAI's results: mbt2018-mean is 3.3 % below BPG and 21.3 % above VTM.
    mean = curves["mbt2018-mean"]
    assert rate(curves["bpg444"], mean) == pytest.approx(-3.3, abs=0.5)
    assert rate(curves["vtm"], mean) == pytest.approx(21.3, abs=0.5)
    assert rate(curves["avif444-s4, reference"], curves["jpeg, reference"]) > 100


def test_curves_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "curves.json"
    file.write_text(json.dumps([{"name": "x", "source": "y", "bpp": [2, 1], "psnr": [35, 30]}]))
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
        '[{"name": "x", "source": "", "bpp": [], "psnr": []}]',
        '[{"name": "x", "source": "", "bpp": "12", "psnr": "34"}]',
        f'[{{"name": "x", "source": "", "bpp": [1{"0" * 400}], "psnr": [30]}}]',
        '[{"name": "x", "source": "", "bpp": [0, 1], "psnr": [30, 31]}]',
        '[{"name": "x", "source": "", "bpp": [1, 1], "psnr": [30, 31]}]',
        '[{"name": "x", "source": "", "bpp": [1, NaN], "psnr": [30, 31]}]',
        '[{"name": "x", "source": "", "bpp": [1, 2], "psnr": [30, Infinity]}]',
        '[{"name": "x", "source": "", "bpp": [1], "psnr": [30], "ms_ssim": [12.5]}]',
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "curves.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"curves\.json: not a list of curves"):
        published_curves(file)
