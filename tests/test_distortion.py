from __future__ import annotations

import numpy as np
import pytest

from codec.engine.base import Original
from codec.engine.gradients import SquaredError
from codec.engine.torch import TorchEngine
from codec.tiles import Box
from codec.weights.file import Weights, load_weights
from tests.helpers import TINY, crops_of_flowers
from tests.scenes import LEVEL, latents_of, reconstruction, scene_of, whole


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """[90, 70, 3], sides that are no multiples of 16."""
    crop = crops_of_flowers(1, 96)[0].permute(1, 2, 0).numpy()
    return (crop[:90, :70] * 255).round().astype(np.uint8)


def test_error_is_that_of_the_8_bit_reconstruction(
    engine: TorchEngine, samples: np.ndarray
) -> None:
    y = latents_of(engine, samples)
    distortion = SquaredError(engine, scene_of(Original(samples, None, False), y, whole(y)))
    expected = np.square(reconstruction(engine, y, samples) - samples).sum()
    assert distortion.error(y) == pytest.approx(expected, rel=1e-3)
    assert distortion.slopes(y)[0] == pytest.approx(expected, rel=1e-3)


def test_a_restoration_filter_counts(samples: np.ndarray) -> None:
    restoring = TorchEngine(load_weights(TINY))
    y, weights = latents_of(restoring, samples), (60, -50, 40)
    original = Original(samples, None, False)
    distortion = SquaredError(restoring, scene_of(original, y, whole(y)), weights)
    planes = restoring.synthesise(y, LEVEL, weights)[:, : samples.shape[0], : samples.shape[1]]
    filtered = np.rint(planes.clip(0, 1) * 255).transpose(1, 2, 0)
    expected = np.square(filtered - samples).sum()
    assert distortion.error(y) == pytest.approx(expected, rel=1e-3)
    plain = SquaredError(restoring, scene_of(original, y, whole(y)))
    assert plain.error(y) != pytest.approx(expected, rel=1e-2)
    assert not np.allclose(plain.slopes(y)[1].gradient, distortion.slopes(y)[1].gradient, rtol=0.1)


def test_hidden_pixels_do_not_count(engine: TorchEngine, samples: np.ndarray) -> None:
    y = latents_of(engine, samples)
    visible = np.ones(samples.shape[:2], bool)
    visible[:48] = False
    distortion = SquaredError(engine, scene_of(Original(samples, visible, False), y, whole(y)))
    difference = reconstruction(engine, y, samples) - samples
    assert distortion.error(y) == pytest.approx(np.square(difference[48:]).sum(), rel=1e-3)
    gradient = distortion.slopes(y)[1].gradient
    assert not gradient[:, 0, :].any()
    assert gradient[:, 4].any()


def test_grey_is_reconstructed_as_the_mean_of_colours(
    engine: TorchEngine, samples: np.ndarray
) -> None:
    grey = np.repeat(samples[:, :, 1:2], 3, axis=2)
    y = latents_of(engine, grey)
    distortion = SquaredError(engine, scene_of(Original(grey, None, True), y, whole(y)))
    planes = engine.synthesise(y, LEVEL)[:, :90, :70]
    mean = np.rint(planes.mean(0).clip(0, 1) * 255)
    assert distortion.error(y) == pytest.approx(3 * np.square(mean - grey[..., 0]).sum(), rel=1e-3)


def test_the_gradient_is_the_slope(engine: TorchEngine, samples: np.ndarray) -> None:
    y = latents_of(engine, samples)
    distortion = SquaredError(engine, scene_of(Original(samples, None, False), y, whole(y)))
    _, slopes = distortion.slopes(y)
    # A step along the gradient is large beside the rounding to 8 bits, which it leaves out.
    direction = slopes.gradient / np.linalg.norm(slopes.gradient)
    rise = distortion.error(y + direction) - distortion.error(y - direction)
    assert rise == pytest.approx(2 * np.linalg.norm(slopes.gradient), rel=0.1)


def test_slopes_without_a_sample_are_the_same(engine: TorchEngine, samples: np.ndarray) -> None:
    y = latents_of(engine, samples)
    distortion = SquaredError(engine, scene_of(Original(samples, None, False), y, whole(y)))
    error, slopes = distortion.slopes(y)
    error_alone, alone = distortion.slopes(y, sampled=False)
    assert (error_alone, alone.curvature) == (error, None)
    assert np.array_equal(alone.gradient, slopes.gradient)
    assert slopes.curvature is not None
    twice = slopes.times(2.0)
    assert np.array_equal(twice.gradient, 2 * slopes.gradient)
    assert twice.curvature is not None
    assert np.array_equal(twice.curvature, 2 * slopes.curvature)


@pytest.mark.slow
def test_the_curvature_is_that_of_the_error(engine: TorchEngine, samples: np.ndarray) -> None:
    y = latents_of(engine, samples)
    distortion = SquaredError(engine, scene_of(Original(samples, None, False), y, whole(y)))
    samples_drawn = [distortion.slopes(y)[1].curvature for _ in range(60)]
    estimate = np.mean([sample for sample in samples_drawn if sample is not None], axis=0)
    channel = int(estimate.mean((1, 2)).argmax())
    step = np.zeros_like(y)
    step[channel, 2, 2] = 2.0
    errors = [distortion.error(y + part * step) for part in (-1, 0, 1)]
    measured = (errors[0] - 2 * errors[1] + errors[2]) / 4
    # 60 samples of a square have a relative deviation of (2 / 60)^(1/2) = 0.18.
    assert estimate[channel, 2, 2] == pytest.approx(measured, rel=0.55)


def test_surroundings_are_seen_and_the_tile_is_replaced(
    engine: TorchEngine, samples: np.ndarray
) -> None:
    y = latents_of(engine, samples)
    inner = Box(1, 2, 4, 5)
    part = np.ascontiguousarray(samples[32:80, 16:64])
    original = Original(part, None, False)
    rows, columns = inner.slices
    spoilt = y.copy()
    spoilt[:, rows, columns] = 1e3
    distortion = SquaredError(engine, scene_of(original, spoilt, inner))
    tile = np.ascontiguousarray(y[:, rows, columns])
    expected = np.square(reconstruction(engine, y, samples)[32:80, 16:64] - part).sum()
    assert distortion.error(tile) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("tile", [False, True])
def test_strips_add_up(
    tiny_weights: Weights, engine: TorchEngine, turned: bool, tile: bool
) -> None:
    photo = (crops_of_flowers(1, 250)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    photo = np.ascontiguousarray(photo[:, :170].transpose(1, 0, 2) if turned else photo[:, :170])
    y = latents_of(engine, photo)
    inner = Box(1, 2, y.shape[2] - 3, y.shape[1] - 1) if tile else whole(y)
    area = inner.enlarged(16)
    part = np.ascontiguousarray(photo[area.top : area.bottom, area.left : area.right])
    visible = np.arange(part.shape[0] * part.shape[1]).reshape(part.shape[:2]) % 7 > 0
    latents = np.ascontiguousarray(y[:, inner.top : inner.bottom, inner.left : inner.right])
    found = []
    for pixels in (1 << 20, 9000):
        strips = TorchEngine(tiny_weights, strip_pixels=pixels)
        distortion = SquaredError(strips, scene_of(Original(part, visible, False), y, inner))
        error, slopes = distortion.slopes(latents)
        assert distortion.error(latents) == pytest.approx(error, rel=1e-5)
        found.append((error, slopes.gradient))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    scale = np.abs(found[0][1]).max()
    assert np.abs(found[1][1] - found[0][1]).max() < 1e-3 * scale
