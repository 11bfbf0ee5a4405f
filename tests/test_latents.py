from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from codec.encoder.rdoq import CAUTION, rdoq_of
from codec.entropy.latents import LatentCoder
from codec.entropy.model import IntegerModel
from codec.entropy.rounding import Rule
from codec.entropy.tables import FrequencyTables, quantise_frequencies
from codec.entropy.z_contexts import CONTEXTS
from codec.errors import DamagedFileError, WeightsError
from codec.level import Level
from codec.training.hyper_tables import LIMIT, fit_hyper_tables
from codec.weights.file import Weights


@pytest.fixture(scope="module")
def coder(tiny_weights: Weights) -> LatentCoder:
    return LatentCoder(IntegerModel(tiny_weights))


def latents(
    rng: np.random.Generator, height: int, width: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    y = rng.normal(scale=spread, size=(16, height, width))
    z = rng.normal(scale=2, size=(8, -(-height // 4), -(-width // 4)))
    return y, z


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (8, 12), (5, 3)])
@pytest.mark.parametrize("level", [Level(0), Level(10_000), Level.of_anchor(7)])
def test_round_trip(
    coder: LatentCoder, rng: np.random.Generator, shape: tuple[int, int], level: Level
) -> None:
    y, z = latents(rng, *shape, spread=3)
    coded = coder.round(y, z, level)
    stream = coder.write(coded)
    y_hat, checksum = coder.read(stream, *shape, level)
    assert np.array_equal(y_hat, coded.y_hat)
    assert checksum == coded.checksum
    assert np.abs(y_hat - y).max() <= 0.5 + 2**-20


@pytest.mark.parametrize("shape", [(23, 45), (3, 300), (1, 1024)])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(
    coder: LatentCoder, rng: np.random.Generator, shape: tuple[int, int], threads: int
) -> None:
    y, z = latents(rng, *shape, spread=3)
    level = rng.integers(0, Level.of_anchor(7), shape, np.int32)
    alone = coder.round(y, z, level)
    together = coder.round(y, z, level, threads=threads)
    stream = coder.write(alone)
    assert coder.write(together) == stream
    assert np.array_equal(together.y_hat, alone.y_hat)
    y_hat, checksum = coder.read(stream, *shape, level, threads=threads)
    assert np.array_equal(y_hat, alone.y_hat)
    assert checksum == alone.checksum


def test_stream_is_as_long_as_the_model_says(coder: LatentCoder, rng: np.random.Generator) -> None:
    y, z = latents(rng, 32, 48, spread=5)
    coded = coder.round(y, z, Level(20_000))
    stream = coder.write(coded)
    assert abs(len(stream) - coded.bits / 8) <= 0.0005 * coded.bits / 8 + 8


def test_bits_by_position_add_up(coder: LatentCoder, rng: np.random.Generator) -> None:
    y, z = latents(rng, 6, 9, spread=3)
    calm = coder.round(y, z, Level(20_000))
    assert calm.position_bits.shape == (6, 9)
    assert calm.position_bits.sum() == pytest.approx(calm.bits)
    y[:, 2, 5] += 40  # pass 2 sees pass 1 through two 3x3 convolutions
    more = coder.round(y, z, Level(20_000)).position_bits - calm.position_bits
    assert more.argmax() == 2 * 9 + 5
    assert not more[:, 8].any()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30, -1e30])
def test_wild_latents_are_clamped_and_decode(coder: LatentCoder, value: float) -> None:
    y, z = np.full((16, 4, 4), value), np.full((8, 1, 1), value)
    coded = coder.round(y, z, Level(0))
    stream = coder.write(coded)
    y_hat, _ = coder.read(stream, 4, 4, Level(0))
    assert np.array_equal(y_hat, coded.y_hat)
    assert np.isfinite(y_hat).all()


def test_wrong_stream_is_damage_or_another_checksum(
    coder: LatentCoder, rng: np.random.Generator
) -> None:
    coded = coder.round(*latents(rng, 4, 4, spread=3), Level(0))
    stream = coder.write(coded)
    for position in range(len(stream)):
        damaged = bytearray(stream)
        damaged[position] ^= 0x55
        try:
            _, checksum = coder.read(bytes(damaged), 4, 4, Level(0))
        except DamagedFileError:
            continue
        if position < len(stream) - 4:  # the last word has bits that no symbol needs
            assert checksum != coded.checksum


def test_junk_after_the_symbols_is_damage(coder: LatentCoder, rng: np.random.Generator) -> None:
    coded = coder.round(*latents(rng, 4, 4, spread=3), Level(0))
    stream = coder.write(coded)
    with pytest.raises(DamagedFileError, match="longer"):
        coder.read(stream + b"junk junk", 4, 4, Level(0))


def test_contexts_save_bits(tiny_weights: Weights, rng: np.random.Generator) -> None:
    """Tables that expect what lies to the left: neighbours that are alike cost less."""
    counts = np.zeros((8, CONTEXTS, 8, 2 * LIMIT + 1))
    for left in range(-2, 3):
        counts[:, 5 * (left + 2) : 5 * (left + 3), :, LIMIT + left] = 1000
    fitted = fit_hyper_tables(counts, np.ones((8, 2 * LIMIT + 1)))
    rows = [quantise_frequencies(row) for row in fitted.probabilities]
    tensors = {**tiny_weights.tensors, "tables.z_context": fitted.numbers}
    tensors |= FrequencyTables.build([-LIMIT] * len(rows), rows).to_tensors("tables.z")
    coder = LatentCoder(IntegerModel(dataclasses.replace(tiny_weights, tensors=tensors)))
    y = np.zeros((16, 64, 64))
    alike = np.broadcast_to(rng.integers(-2, 3, (8, 1, 1)).astype(float), (8, 16, 16))
    unlike = rng.integers(-2, 3, (8, 16, 16)).astype(float)
    bits = [coder.round(y, z, Level(20_000)).z.bits.sum() for z in (alike, unlike)]
    assert bits[0] < 0.2 * bits[1]


def rule_of(weights: Weights, curvature: np.ndarray, level: Level) -> Rule:
    """The quantisation of a model with such a curvature, [anchors, M]."""
    tensors = {**weights.tensors, "tables.curvature": curvature.astype(np.float32)}
    curved = dataclasses.replace(weights, tensors=tensors)
    rdoq = rdoq_of(curved, IntegerModel(curved))
    assert rdoq is not None
    return rdoq.rule(level)


def test_bits_are_saved_where_the_distortion_hardly_changes(
    tiny_weights: Weights, rng: np.random.Generator
) -> None:
    """The distortion of channel 5 is nothing, and that of others much."""
    config = tiny_weights.config
    curvature = np.full((config.anchors, config.latent), 1e6)
    curvature[:, 5] = 1e-3
    coder = LatentCoder(IntegerModel(tiny_weights))
    y, z = latents(rng, 8, 12, spread=1)
    nearest = coder.round(y, z, Level(10_000))
    fewer = coder.round(y, z, Level(10_000), rule_of(tiny_weights, curvature, Level(10_000)))
    assert fewer.bits < nearest.bits
    error = np.abs(fewer.y_hat - y)
    assert np.delete(error, 5, axis=0).max() <= 0.501
    assert 0.7 < error[5].max() < 1.5
    assert np.array_equal(coder.read(coder.write(fewer), 8, 12, Level(10_000))[0], fewer.y_hat)


def test_borders_between_symbols(tiny_weights: Weights, rng: np.random.Generator) -> None:
    """Of the first pass, whose predictions depend on z alone, by the formula."""
    weights = tiny_weights
    config, level = weights.config, Level(10_000)
    model = IntegerModel(weights)
    coder = LatentCoder(model)
    y = rng.normal(scale=3, size=(config.latent, 8, 12))
    z = rng.normal(scale=2, size=(config.hyper, 2, 3))
    curvature = (np.exp(rng.normal(size=(config.anchors, config.latent))) / 10).astype(np.float32)
    found = coder.round(y, z, level, rule_of(weights, curvature, level))
    plain = coder.round(y, z, level)

    grid = plain.grid
    features = model.prior.features(plain.z.values.reshape(-1, 2, 3), level, grid)
    _, prediction = model.prior.predict(features, [], level, grid)
    low, part = level >> 12, (level & 4095) / 4096
    between = curvature[low] ** (1 - part) * curvature[low + 1] ** part
    c = grid.pack(np.broadcast_to(between[:, None, None], y.shape))[0]
    residual = grid.pack(y)[0] - prediction.mean / 1024
    tables, table = model.y_tables, prediction.table
    size = np.abs(np.rint(residual)).astype(np.int32)
    up = tables.bits(tables.clamp(size, table), table)  # the tables are symmetric
    down = tables.bits(tables.clamp(size - 1, table), table)
    border = size - 0.5 + np.maximum(up - down, 0) / (2 * CAUTION * c)
    step = (size > 0) & (np.abs(residual) < border)
    expected = (np.sign(residual) * (size - step)).astype(np.int32)
    expected = tables.clamp(expected, table)
    assert np.array_equal(found.passes[0].values, expected.reshape(-1))
    changed = found.passes[0].values != plain.passes[0].values
    assert {1, 2, 3} <= set(np.abs(plain.passes[0].values[changed]))


@pytest.mark.parametrize(
    "curvature",
    [
        np.ones((8, 3), np.float32),
        np.zeros((8, 16), np.float32),
        np.full((8, 16), np.nan, np.float32),
        np.ones((8, 16)),
    ],
)
def test_unsound_curvature_is_refused(tiny_weights: Weights, curvature: np.ndarray) -> None:
    tensors = {**tiny_weights.tensors, "tables.curvature": curvature}
    weights = dataclasses.replace(tiny_weights, tensors=tensors)
    with pytest.raises(WeightsError, match="curvature"):
        rdoq_of(weights, IntegerModel(weights))


def test_quantisation_by_rate_needs_tables_around_zero(tiny_weights: Weights) -> None:
    low = tiny_weights.tensors["tables.y.low"] + 100
    curvature = np.ones((8, 16), np.float32)
    tensors = {**tiny_weights.tensors, "tables.curvature": curvature, "tables.y.low": low}
    weights = dataclasses.replace(tiny_weights, tensors=tensors)
    with pytest.raises(WeightsError, match="-1, 0 and 1"):
        rdoq_of(weights, IntegerModel(weights))


def test_curvature_of_other_models_is_refused(tiny_weights: Weights) -> None:
    """A row for each anchor, a column for each channel."""
    with pytest.raises(WeightsError, match="curvature"):
        rule_of(tiny_weights, np.ones((7, 16)), Level(0))


def test_the_search_may_keep_z(coder: LatentCoder, rng: np.random.Generator) -> None:
    y, z = latents(rng, 6, 9, spread=3)
    first = coder.round(y, z, Level(20_000))
    again = coder.round(y + 1, z, Level(20_000), same_z=first)
    assert coder.write(again) == coder.write(coder.round(y + 1, z, Level(20_000)))
