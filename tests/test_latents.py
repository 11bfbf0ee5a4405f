from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from codec.encoder.dead_zone import CAUTION
from codec.entropy.latents import LatentCoder
from codec.errors import DamagedFileError
from codec.weights.file import Weights, load_weights
from tests.conftest import TINY, TINY_4, TINY_FULL


@pytest.fixture(scope="module", params=[TINY, TINY_FULL], ids=["plain", "contexts"])
def coder(request: pytest.FixtureRequest) -> LatentCoder:
    """Of a model whose z has a table for each channel, and of one that asks its neighbours."""
    return LatentCoder(load_weights(request.param))


def latents(
    rng: np.random.Generator, height: int, width: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    y = rng.normal(scale=spread, size=(16, height, width))
    z = rng.normal(scale=2, size=(8, -(-height // 4), -(-width // 4)))
    return y, z


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (8, 12), (5, 3)])
@pytest.mark.parametrize("level", [0, 10_000, 7 << 12])
def test_round_trip(
    coder: LatentCoder, rng: np.random.Generator, shape: tuple[int, int], level: int
) -> None:
    y, z = latents(rng, *shape, spread=3)
    coded = coder.encode(y, z, level)
    y_hat, checksum = coder.decode(coded.stream, *shape, level)
    assert np.array_equal(y_hat, coded.y_hat)
    assert checksum == coded.checksum
    assert np.abs(y_hat - y).max() <= 0.5 + 2**-20


def test_stream_is_as_long_as_the_model_says(coder: LatentCoder, rng: np.random.Generator) -> None:
    y, z = latents(rng, 32, 48, spread=5)
    coded = coder.encode(y, z, 20_000)
    assert abs(len(coded.stream) - coded.bits / 8) <= 0.0005 * coded.bits / 8 + 8


def test_bits_by_position_add_up(coder: LatentCoder, rng: np.random.Generator) -> None:
    y, z = latents(rng, 6, 9, spread=3)
    calm = coder.round(y, z, 20_000)
    assert calm.position_bits.shape == (6, 9)
    assert calm.position_bits.sum() == pytest.approx(calm.bits)
    y[:, 2, 5] += 40  # pass 2 sees pass 1 through two 3x3 convolutions
    more = coder.round(y, z, 20_000).position_bits - calm.position_bits
    assert more.argmax() == 2 * 9 + 5
    assert not more[:, 8].any()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30, -1e30])
def test_wild_latents_are_clamped_and_decode(coder: LatentCoder, value: float) -> None:
    y, z = np.full((16, 4, 4), value), np.full((8, 1, 1), value)
    coded = coder.encode(y, z, 0)
    y_hat, _ = coder.decode(coded.stream, 4, 4, 0)
    assert np.array_equal(y_hat, coded.y_hat)
    assert np.isfinite(y_hat).all()


def test_wrong_stream_is_damage_or_another_checksum(
    coder: LatentCoder, rng: np.random.Generator
) -> None:
    coded = coder.encode(*latents(rng, 4, 4, spread=3), 0)
    for position in range(len(coded.stream)):
        stream = bytearray(coded.stream)
        stream[position] ^= 0x55
        try:
            _, checksum = coder.decode(bytes(stream), 4, 4, 0)
        except DamagedFileError:
            continue
        if position < len(stream) - 4:  # the last word has bits that no symbol needs
            assert checksum != coded.checksum


def test_junk_after_the_symbols_is_damage(coder: LatentCoder, rng: np.random.Generator) -> None:
    coded = coder.encode(*latents(rng, 4, 4, spread=3), 0)
    with pytest.raises(DamagedFileError, match="longer"):
        coder.decode(coded.stream + b"junk junk", 4, 4, 0)


def test_contexts_save_bits(rng: np.random.Generator) -> None:
    """Neighbours that are alike, as in photographs, take less with contexts."""
    plain, aware = (LatentCoder(load_weights(path)) for path in (TINY, TINY_FULL))
    y, _ = latents(rng, 64, 64, spread=1)
    z = np.broadcast_to(rng.normal(scale=1.5, size=(8, 1, 1)), (8, 16, 16))
    bits = [coder.round(y, z, 20_000).z.bits.sum() for coder in (plain, aware)]
    assert bits[1] < 0.9 * bits[0]


@pytest.fixture(scope="module")
def curved(tiny_weights: Weights) -> LatentCoder:
    """Of a model for which the distortion of channel 5 is nothing, and that of others much."""
    config = tiny_weights.config
    curvature = np.full((config.anchors, config.latent), 1e6, np.float32)
    curvature[:, 5] = 1e-3
    tensors = {**tiny_weights.tensors, "tables.curvature": curvature}
    return LatentCoder(dataclasses.replace(tiny_weights, tensors=tensors))


def test_dead_zone(tiny_weights: Weights, curved: LatentCoder, rng: np.random.Generator) -> None:
    coder = LatentCoder(tiny_weights)
    y, z = latents(rng, 8, 12, spread=1)
    nearest, dead = coder.round(y, z, 10_000), curved.round(y, z, 10_000)
    assert curved.round(y, z, 10_000, dead_zone=False).checksum == nearest.checksum
    assert dead.bits < nearest.bits
    error = np.abs(dead.y_hat - y)
    assert np.delete(error, 5, axis=0).max() <= 0.501
    assert 0.7 < error[5].max() < 1.5
    stream = curved.write(dead).stream
    assert np.array_equal(coder.decode(stream, 8, 12, 10_000)[0], dead.y_hat)


@pytest.mark.parametrize("path", [TINY, TINY_4], ids=["two passes", "four passes"])
def test_width_of_the_dead_zone(path: Path, rng: np.random.Generator) -> None:
    """Of the first pass, whose predictions depend on z alone, by the formula."""
    weights = load_weights(path)
    config, level = weights.config, 10_000
    y = rng.normal(size=(config.latent, 8, 12))
    z = rng.normal(scale=2, size=(config.hyper, 2, 3))
    curvature = np.exp(rng.normal(size=(config.anchors, config.latent))).astype(np.float32) / 10
    tensors = {**weights.tensors, "tables.curvature": curvature}
    curved = LatentCoder(dataclasses.replace(weights, tensors=tensors))
    found, plain = (coder.round(y, z, level) for coder in (curved, LatentCoder(weights)))

    grid = plain.grid
    features = weights.prior.features(plain.z.values.reshape(-1, 2, 3), level, grid)
    _, prediction = weights.prior.predict(features, [], level, grid)
    low, part = level >> 12, (level & 4095) / 4096
    between = curvature[low] ** (1 - part) * curvature[low + 1] ** part
    c = grid.pack(np.broadcast_to(between[:, None, None], y.shape))[0]
    residual = grid.pack(y)[0] - prediction.mean / 1024
    tables, table = weights.y_tables, prediction.table
    zeros = np.zeros(table.shape, np.int32)
    saved = tables.bits(zeros + 1, table) - tables.bits(zeros, table)
    dead = (np.abs(residual) < 0.5 + saved / (2 * CAUTION * c)) & (np.abs(residual) < 1.5)
    expected = np.where(dead, 0, np.rint(residual)).astype(np.int32)
    assert np.array_equal(found.passes[0].values, expected.reshape(-1))
    changed = found.passes[0].values != plain.passes[0].values
    assert set(plain.passes[0].values[changed]) == {-1, 1}
