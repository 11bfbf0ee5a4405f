from __future__ import annotations

import pytest
from PIL import Image

from codec.codec import Codec
from codec.weights.file import load_weights
from scripts.vq.levels import report_levels, with_nearest_centres
from tests.helpers import DATA, TINY_VQ


def test_levels_are_reported_as_files_would_have_them() -> None:
    weights = load_weights(TINY_VQ)
    with Image.open(DATA / "city.png") as image:
        picture = image.convert("RGB")
    reports = report_levels(weights, [picture])
    codec = Codec(weights)
    positions = 12 * 8
    for number, report in enumerate(reports):
        coded = codec.encode(picture, 50 * number, reconstruct=True)
        assert report.levels == number + 1
        assert report.learned_bpp == pytest.approx(coded.bits / (192 * 128))
        assert report.learned_psnr == pytest.approx(coded.psnr, abs=0.01)
        assert report.uniform_bpp == pytest.approx((number + 1) * positions * 4 * 4 / (192 * 128))
        assert 0 < report.saved < 1
        assert 0 < report.usage <= 1
        assert 1 <= report.perplexity <= 16
    plain = Codec(with_nearest_centres(weights)).encode(picture, 0, reconstruct=True)
    assert reports[0].uniform_psnr == pytest.approx(plain.psnr, abs=0.01)
