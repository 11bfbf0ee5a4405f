"""The weights that ship: sound, honest about their sizes, and worth having."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.codec import Codec
from codec.evaluation.measuring import measure
from codec.evaluation.metrics import ms_ssim
from codec.evaluation.ours import ModelCoder
from codec.evaluation.subjects import Reading, read_subject
from codec.picture.pixels import psnr
from codec.weights.file import load_weights
from codec.weights.released import find_weights, released_models
from tests.helpers import DATA

NAMES = ["photo", "photo-mse", "vq"]
QUALITIES = (0, 25, 50, 75, 100)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_names_the_weights(name: str) -> None:
    path = find_weights(name)
    weights = load_weights(path)
    card = path.with_suffix(".md").read_text()
    assert weights.name == name
    assert weights.short_id.hex() in card
    assert str(weights.training["steps"]) in card.replace(",", "")


def test_all_released_models_have_cards() -> None:
    assert [path.stem for path in released_models()] == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flowers", "path"])
def test_smaller_than_jpeg_at_the_same_quality(released_codec: Codec, name: str) -> None:
    with Image.open(DATA / f"{name}.png") as image:
        picture = image.convert("RGB")
    jpeg = BytesIO()
    picture.save(jpeg, "JPEG", quality=60, subsampling=0, optimize=True)
    with Image.open(jpeg) as decoded:
        target = psnr(np.asarray(picture), np.asarray(decoded))
    for quality in range(0, 101, 5):
        coded = released_codec.encode(picture, quality, reconstruct=True)
        if coded.psnr >= target:
            break
    assert coded.psnr >= target
    assert len(coded.data) < 0.75 * len(jpeg.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flowers", "path"])
def test_each_model_is_best_at_what_it_is_for(released_codec: Codec, name: str) -> None:
    codecs = [Codec("photo-mse"), released_codec]
    assert [codec.weights.config.distortion for codec in codecs] == ["mse", "looks"]
    with Image.open(DATA / f"{name}.png") as image:
        picture = image.convert("RGB")
    for quality in (20, 70):
        size = len(codecs[0].compress(picture, quality))
        files = [codec.encode(picture, target_size=size, reconstruct=True) for codec in codecs]
        by_error, by_looks = (file.psnr for file in files)
        assert by_error > by_looks + 0.1
        shown = [file.reconstruction for file in files if file.reconstruction]
        losses = [1 - (ms_ssim(picture, decoded) or 0) for decoded in shown]
        assert losses[1] < 0.9 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photo", "photo-mse"])
@pytest.mark.parametrize("side", [4, 8, 16, 32])
def test_line_art_is_recognisable(name: str, side: int) -> None:
    """Random squares in black and white, as in a code to be scanned, aligned with the latents."""
    rng = np.random.default_rng(side)
    squares = rng.integers(0, 2, (256 // side, 256 // side), dtype=np.uint8) * 255
    drawn = np.kron(squares, np.ones((side, side), np.uint8))
    shown = Codec(name).encode(drawn, 50, reconstruct=True).reconstruction
    right = (np.asarray(shown) > 127) == (drawn > 127)
    assert right.mean() > 0.99


@pytest.mark.slow
def test_rate_and_quality_rise_together(released_codec: Codec) -> None:
    coder, subject = ModelCoder(released_codec), read_subject("path", DATA / "path.png", Reading())
    points = [measure(coder, subject, quality) for quality in range(0, 101, 10)]
    for low, high in itertools.pairwise(points):
        assert low.size < high.size
        assert low.psnr < high.psnr


@pytest.mark.slow
def test_files_are_as_long_as_the_model_says(
    released_codec: Codec, photographs: list[Path]
) -> None:
    coder = ModelCoder(released_codec)
    for picture in photographs:
        subject = read_subject(picture.stem, picture, Reading())
        for quality in QUALITIES:
            measured = measure(coder, subject, quality)
            assert measured.model
            assert measured.honest_size, measured
            assert measured.model.container <= 8 * 32


@pytest.mark.slow
def test_files_decode_to_what_the_encoder_said(
    released_codec: Codec, photographs: list[Path]
) -> None:
    with Image.open(photographs[-1]) as image:
        for quality in QUALITIES:
            coded = released_codec.encode(image, quality, reconstruct=True)
            decoded = np.asarray(released_codec.decompress(coded.data)).astype(int)
            assert np.abs(decoded - np.asarray(coded.reconstruction)).max() <= 1


def test_pictures_that_no_model_was_trained_for_give_files_all_the_same(
    released_codec: Codec,
) -> None:
    with Image.open(DATA / "flowers.png") as image:
        dithered = image.convert("1").crop((0, 0, 200, 180))
    shown = released_codec.decompress(released_codec.compress(dithered, 70))  # warnings are errors
    assert shown.size == dithered.size


def _dithered() -> Image.Image:
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("L").crop((0, 0, 256, 192)).convert("1").convert("RGB")


def _checkerboard() -> Image.Image:
    even = np.indices((192, 256)).sum(0) % 2 == 0
    return Image.fromarray((255 * even).astype(np.uint8)).convert("RGB")


@pytest.mark.slow
@pytest.mark.parametrize("draw", [_dithered, _checkerboard])
def test_full_contrast_from_pixel_to_pixel_is_kept(
    released_codec: Codec, draw: Callable[[], Image.Image]
) -> None:
    picture = draw()
    poor, good = (
        released_codec.encode(picture, quality, measure=True, patches="never")
        for quality in (0, 50)
    )
    grey = psnr(np.asarray(picture), np.full_like(np.asarray(picture), 128))  # 6 dB
    assert good.psnr > grey + 9
    assert good.psnr > poor.psnr
    assert 8 * len(good.data) / (192 * 256) < 8
