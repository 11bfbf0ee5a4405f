"""Latents rounded to centres, as bytes and back."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from codec.entropy.codebook import MAX_DISTANCES, Codebook
from codec.entropy.indices import IndexCoder
from codec.entropy.model import CentreModel
from codec.errors import DamagedFileError, WeightsError
from codec.level import Level
from codec.model.initialisation import start_as_transform_codec
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.training.export import export_model
from codec.weights.config import ModelConfig
from codec.weights.file import Weights
from tests.helpers import crops_of_flowers

Made = tuple[Weights, NDArray[np.float32]]
NO_Z = np.empty((0, 0, 0), np.float32)


def weights_of(config: ModelConfig) -> Made:
    """Weights fitted to a photograph, and latents of another crop of it."""
    torch.manual_seed(0)
    model = VectorAutoencoder(config)
    start_as_transform_codec(model, crops_of_flowers(24, 64))
    with torch.no_grad():
        y = model.analyse(crops_of_flowers(26, 112)[25:, :, :, :80])[0].numpy()
    return export_model(model.eval(), "tiny-vq", {}), y


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weighed": {"assignment": "rate-weighted"},
    "uniform": {"index_prior": "uniform", "centres": 6},
    "one group": {"groups": 1},
    "three groups": {"groups": 3},
    "one level": {"anchors": 1, "lambda_max": 0.001},
}


@pytest.fixture(scope="module", params=VARIANTS)
def made(request: pytest.FixtureRequest, tiny_vq_config: ModelConfig) -> Made:
    return weights_of(dataclasses.replace(tiny_vq_config, **VARIANTS[request.param]))


def sides(y: NDArray[np.float32]) -> tuple[int, int]:
    return y.shape[1], y.shape[2]


def test_round_trip_and_size(made: Made) -> None:
    weights, y = made
    coder = IndexCoder(CentreModel(weights))
    for number in range(weights.config.anchors):
        coded = coder.round(y, NO_Z, Level.of_anchor(number))
        y_hat, checksum = coder.read(coded.stream, *sides(y), Level.of_anchor(number))
        assert checksum == coded.checksum
        assert np.array_equal(y_hat, coded.y_hat)
        assert len(coded.level_bits) == number + 1
        assert -4 <= len(coded.stream) - coded.bits / 8 <= 8  # the last word, and 24-bit steps


def test_latents_are_sums_of_centres(made: Made) -> None:
    weights, y = made
    coded = IndexCoder(CentreModel(weights)).round(y, NO_Z, Level(0))
    groups = weights.config.groups
    for g in range(groups):
        rounded = coded.y_hat[g::groups].reshape(weights.config.dimensions, -1).T
        centres = weights.tensors["quantizer.centres"][0, g].astype(np.float32)
        distances = np.square(rounded[:, None] - centres).sum(-1)
        assert distances.min(1).max() == 0
        if weights.config.assignment == "nearest":
            latents = y[g::groups].reshape(weights.config.dimensions, -1).T
            error = np.square(latents[:, None] - centres).sum(-1)
            np.testing.assert_allclose(
                np.square(latents - rounded).sum(-1), error.min(1), rtol=1e-4, atol=1e-6
            )


def test_first_levels_are_the_same_in_longer_files(made: Made) -> None:
    weights, y = made
    coder, top = IndexCoder(CentreModel(weights)), weights.config.anchors - 1
    longest = coder.round(y, NO_Z, Level.of_anchor(top))
    for number in range(top + 1):
        short = coder.round(y, NO_Z, Level.of_anchor(number))
        part, checksum = coder.read(
            longest.stream, *sides(y), Level.of_anchor(top), levels=number + 1
        )
        assert np.array_equal(part, short.y_hat)
        assert checksum == longest.checksum
        assert short.level_bits == longest.level_bits[: number + 1]


def test_odd_sizes(made: Made) -> None:
    weights, y = made
    coder = IndexCoder(CentreModel(weights))
    for height, width in ((1, 1), (1, 4), (3, 1)):
        part = y[:, :height, :width]
        coded = coder.round(part, NO_Z, Level(0))
        assert np.array_equal(coder.read(coded.stream, height, width, Level(0))[0], coded.y_hat)


def test_weighing_pays(tiny_vq_config: ModelConfig) -> None:
    """The indices of a level cost less, by their distance and exact bits together."""
    config = dataclasses.replace(tiny_vq_config, assignment="rate-weighted", lambda_min=1e-5)
    weights, y = weights_of(config)
    config = dataclasses.replace(weights.config, assignment="nearest")
    plain = dataclasses.replace(
        weights, config_text=weights.config_text.replace('"rate-weighted"', '"nearest"')
    )
    assert plain.config == config
    costs = []
    for variant in (weights, plain):
        coded = IndexCoder(CentreModel(variant)).round(y, NO_Z, Level(0))
        nats = coded.bits * np.log(2)
        costs.append(np.square(y - coded.y_hat).sum() + nats / config.assignment_lambda(0))
    assert costs[0] < costs[1]


def test_nonsense_latents_are_coded_all_the_same(made: Made) -> None:
    weights, y = made
    broken = y.copy()
    broken[0, 0, 0], broken[1, 0, 0] = np.nan, 1e30
    coder = IndexCoder(CentreModel(weights))
    coded = coder.round(broken, NO_Z, Level(0))
    assert np.array_equal(coder.read(coded.stream, *sides(y), Level(0))[0], coded.y_hat)


def test_damage_is_detected(made: Made) -> None:
    """Every flipped bit gives an error, another checksum, or the same indices."""
    weights, y = made
    coder = IndexCoder(CentreModel(weights))
    coded = coder.round(y, NO_Z, Level(0))
    for bit in range(0, 8 * len(coded.stream), 3):
        damaged = bytearray(coded.stream)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            y_hat, checksum = coder.read(bytes(damaged), *sides(y), Level(0))
        except DamagedFileError:
            continue
        assert checksum != coded.checksum or np.array_equal(y_hat, coded.y_hat)


def test_choice_in_pieces(tiny_vq_config: ModelConfig) -> None:
    weights, _ = weights_of(tiny_vq_config)
    rng = np.random.default_rng(0)
    count = MAX_DISTANCES // tiny_vq_config.centres + 50
    latents = rng.normal(size=(count, tiny_vq_config.dimensions)).astype(np.float32)
    centres = CentreModel(weights).codebook
    cost = rng.random((count, tiny_vq_config.centres))
    halves = (slice(0, count // 2), slice(count // 2, count))
    parts = [centres.choose(latents[half], 1, 1, cost[half]) for half in halves]
    assert np.array_equal(centres.choose(latents, 1, 1, cost), np.concatenate(parts))


def test_unsound_centres_are_refused(tiny_vq_config: ModelConfig) -> None:
    shape = (3, 2, 8, 12)
    Codebook(np.zeros(shape, np.float16), tiny_vq_config)
    unsound: list[NDArray[Any]] = [
        np.zeros((3, 2, 8, 11), np.float16),
        np.zeros(shape, np.int32),
        np.full(shape, np.inf, np.float16),
    ]
    for centres in unsound:
        with pytest.raises(WeightsError, match="centre"):
            Codebook(centres, tiny_vq_config)
