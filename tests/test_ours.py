from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from codec.codec import Codec
from codec.evaluation.ours import ModelCoder
from codec.evaluation.provenance import source_digest
from codec.tiles import Box
from codec.weights.config import PASSES
from codec.weights.file import Weights, load_weights
from tests.helpers import DATA, TINY_VQ, encoded_with


@pytest.fixture(scope="module")
def coder(tiny_weights: Weights) -> ModelCoder:
    return ModelCoder(Codec(tiny_weights))


@pytest.fixture(scope="module")
def vq_coder() -> ModelCoder:
    return ModelCoder(Codec(load_weights(TINY_VQ)))


def flowers(width: int, height: int) -> Image.Image:
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("RGB").crop((0, 0, width, height))


def test_settings_are_the_anchors(coder: ModelCoder, vq_coder: ModelCoder) -> None:
    assert coder.settings == pytest.approx([100 * n / 7 for n in range(8)])
    assert coder.finer[:2] == (0, 0.5)
    assert len(coder.finer) == 201
    assert vq_coder.settings == vq_coder.finer == (0.0, 50.0, 100.0)
    assert coder.name == f"vqcodec {coder.codec.weights.name}"
    assert coder.codec.weights.short_id.hex() in coder.description
    assert source_digest() in coder.description


def test_bits_are_those_of_the_file(coder: ModelCoder) -> None:
    image = flowers(200, 130)
    data = coder.encode(image, 40.0)
    encoded = coder.codec.encode(image, 40.0)
    assert data == encoded.data
    model = coder.model_bits(image, 40.0, data)
    assert model.content == pytest.approx(encoded.bits)
    assert min(model.z, *model.passes) > 0
    assert len(model.passes) == PASSES
    assert model.container == 8 * (18 + 8)  # header, checksums
    positions = coder.position_bits(data)
    assert positions is not None
    assert positions.shape == (9, 13)
    assert positions.sum() == pytest.approx(model.rounded)


def test_bits_of_tiles_add_up(coder: ModelCoder) -> None:
    image = flowers(300, 290)
    encoded = coder.codec.encode(image, 40.0, tile_size=256)
    model = coder.model_bits(image, 40.0, encoded.data)
    assert model.content == pytest.approx(encoded.bits)
    assert model.container > 8 * (18 + 8)
    positions = coder.position_bits(encoded.data)
    assert positions is not None
    assert positions.sum() == pytest.approx(model.rounded)


def test_bits_of_patches_are_counted_where_they_lie(coder: ModelCoder) -> None:
    image, box = flowers(300, 290), Box(256, 0, 300, 256)
    encoded = encoded_with(coder.codec, image, [box, Box(0, 0, 32, 16)])
    model = coder.model_bits(image, 60.0, encoded.data)
    assert model.patches == 8 * (encoded.patch_bytes + 2 * 16)
    assert model.content == pytest.approx(encoded.bits)
    positions = coder.position_bits(encoded.data)
    assert positions is not None
    assert positions.sum() == pytest.approx(model.rounded + model.patches)
    sizes = {patch.box: 16 + len(patch.data) for patch in encoded.patches}
    assert positions[:16, 16:].sum() == pytest.approx(8 * sizes[box])
    whole = coder.codec.compress(image, lossless=True)
    assert coder.model_bits(image, 60.0, whole).rounded == 0


def test_noise_costs_more_than_rounding_and_is_the_same_every_time(coder: ModelCoder) -> None:
    image = flowers(200, 130)
    one, two = (coder.model_bits(image, 30.0, coder.encode(image, 30.0)).noisy for _ in range(2))
    assert one == two
    assert one is not None
    # h(y + u) - H(round(y)) is least where latents spread over many cells, and never far below 0.
    assert one > 0.95 * coder.model_bits(image, 30.0, coder.encode(image, 30.0)).rounded


def test_noisy_bits_do_not_count_what_is_padded(coder: ModelCoder) -> None:
    whole, odd = flowers(256, 256), flowers(250, 250)
    bits = [coder.model_bits(i, 60.0, coder.encode(i, 60.0)) for i in (whole, odd)]
    assert bits[0].noisy
    assert bits[1].noisy
    assert bits[1].noisy / bits[0].noisy == pytest.approx(
        bits[1].rounded / bits[0].rounded, rel=0.02
    )


def test_models_that_round_to_centres(vq_coder: ModelCoder) -> None:
    image = flowers(96, 64)
    data = vq_coder.encode(image, 100.0)
    model = vq_coder.model_bits(image, 100.0, data)
    assert model.noisy is None
    assert model.rounded == pytest.approx(vq_coder.codec.encode(image, 100.0).bits)
    assert abs(len(data) - (model.rounded + model.container) / 8) < 16
    assert vq_coder.position_bits(data) is None
    shown = np.asarray(vq_coder.decode(data))
    assert shown.shape == (64, 96, 3)
