from __future__ import annotations

import pytest
from PIL import Image

from codec.evaluation.bd_rate import bd_rate, kodak_peers
from codec.evaluation.codebooks import report_levels, with_nearest_centres
from codec.evaluation.rate_distortion import Measurement, RatePoint, curve, mean_points, measure
from codec.pipeline import Codec
from codec.runtime.weights import load_weights
from tests.conftest import DATA, TINY_VQ

CURVE = [(0.1, 28.0), (0.2, 30.5), (0.4, 33.0), (0.8, 36.0), (1.6, 39.5)]


def test_bd_rate_of_a_scaled_curve_is_the_scale() -> None:
    cheaper = [(0.9 * bpp, psnr) for bpp, psnr in CURVE]
    assert bd_rate(CURVE, cheaper) == pytest.approx(-10.0, abs=1e-6)
    assert bd_rate(cheaper, CURVE) == pytest.approx(100 / 9, abs=1e-6)
    assert bd_rate(CURVE, list(reversed(cheaper))) == pytest.approx(-10.0, abs=1e-6)
    # Fewer points, the same curve but for the tangent at its last one.
    assert bd_rate(CURVE, CURVE[:4]) == pytest.approx(0.0, abs=1.0)


def test_peers_rank_as_published() -> None:
    peers = kodak_peers()
    avif = peers["avif444-s4"].points
    assert bd_rate(avif, peers["jpeg"].points) > 100
    # CompressAI's published table has mbt2018-mean 58.0 % below its JPEG curve.
    assert bd_rate(peers["webp"].points, peers["mbt2018-mean"].points) < -25
    assert all(peer.source for peer in peers.values())


def test_measurement_is_of_real_files(tiny_codec: Codec) -> None:
    picture = DATA / "city.png"
    measured = measure(tiny_codec, picture, 60)
    assert measured.pixels == 192 * 128
    assert measured.honest_size
    assert measured.container_bytes <= 32
    assert measured.difference <= 1
    assert measured.psnr > 15


def test_means_are_per_quality() -> None:
    def one(quality: float, size: int, psnr: float) -> Measurement:
        return Measurement("a", quality, 800, size, size, psnr, 0, 0.1, 0.1)

    points = mean_points([one(50, 300, 31.0), one(10, 100, 20.0), one(50, 100, 29.0)])
    assert points == [RatePoint(10, 1.0, 20.0), RatePoint(50, 2.0, 30.0)]
    assert curve(points) == [(1.0, 20.0), (2.0, 30.0)]


def test_dishonest_sizes_are_noticed() -> None:
    honest = Measurement("a", 1, 1, 10_078, 10_000, 30, 0, 0, 0)
    assert honest.honest_size
    assert not Measurement("a", 1, 1, 10_079, 10_000, 30, 0, 0, 0).honest_size


def test_levels_are_reported_as_files_would_have_them() -> None:
    weights = load_weights(TINY_VQ)
    with Image.open(DATA / "city.png") as image:
        picture = image.convert("RGB")
    reports = report_levels(weights, [picture])
    codec = Codec(weights)
    positions = 12 * 8
    for number, report in enumerate(reports):
        coded = codec.encode(picture, 50 * number)
        assert report.levels == number + 1
        assert report.learned_bpp == pytest.approx(coded.bits / (192 * 128))
        assert report.learned_psnr == pytest.approx(coded.psnr, abs=0.01)
        assert report.uniform_bpp == pytest.approx((number + 1) * positions * 4 * 4 / (192 * 128))
        assert 0 < report.saved < 1
        assert 0 < report.usage <= 1
        assert 1 <= report.perplexity <= 16
    plain = Codec(with_nearest_centres(weights)).encode(picture, 0)
    assert reports[0].uniform_psnr == pytest.approx(plain.psnr, abs=0.01)
