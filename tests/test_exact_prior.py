from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from codec.entropy.exact_prior import ExactPrior, LatentGrid
from codec.entropy.graph import CHECKERBOARD, QUARTERS, Pattern
from codec.entropy.model import IntegerModel
from codec.errors import WeightsError
from codec.level import Level
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.hyperprior import PriorBlock, pass_numbers
from codec.training.export import export_model
from codec.weights.config import ModelConfig
from codec.weights.file import Weights


@pytest.fixture(scope="module")
def model() -> RoundingAutoencoder:
    torch.manual_seed(3)
    config = ModelConfig(channels8=8, channels16=24, latent=24, hyper=8, prior=16)
    model = RoundingAutoencoder(config)
    for name, parameter in model.prior.named_parameters():
        if "level_bias" not in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def weights(model: RoundingAutoencoder) -> Weights:
    return export_model(model, "test", {})


@pytest.mark.parametrize("pattern", [CHECKERBOARD, QUARTERS])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 4), (4, 5), (7, 6)])
def test_pack_and_unpack(shape: tuple[int, int], pattern: Pattern) -> None:
    grid = LatentGrid(*shape, pattern)
    y = np.random.default_rng(0).normal(size=(8, *shape))
    packed = grid.pack(y)
    assert np.array_equal(grid.unpack(packed), y)
    # A pass holds exactly what the training model says.
    numbers = pass_numbers(8, *shape, torch.device("cpu"), pattern).numpy()
    for number, held in enumerate(packed):
        assert sorted(held.reshape(-1)) == sorted(y[numbers == number])


def test_order_of_symbols_is_that_of_the_format() -> None:
    y = np.arange(24.0).reshape(4, 2, 3)  # channel c holds 6 c + 3 row + column
    two = [held.tolist() for held in LatentGrid(2, 3, CHECKERBOARD).pack(y)]
    assert two[0] == [[0, 2, 4, 13, 15, 17], [6, 8, 10, 19, 21, 23]]
    assert two[1] == [[12, 14, 16, 1, 3, 5], [18, 20, 22, 7, 9, 11]]
    four = [held.tolist() for held in LatentGrid(2, 3).pack(y)]
    assert four == [
        [[0, 2, 10, 13, 21, 23]],
        [[6, 8, 4, 19, 15, 17]],
        [[12, 14, 22, 1, 9, 11]],
        [[18, 20, 16, 7, 3, 5]],
    ]


def both(
    model: RoundingAutoencoder, weights: Weights, shape: tuple[int, int], level: float
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """(mu, scale level or table) of all passes, of the float model and the exact one."""
    rng = np.random.default_rng(1)
    grid = LatentGrid(*shape)
    z = rng.integers(-4, 5, (8, *grid.hyper_shape)).astype(np.int32)
    y_hat = rng.integers(-40, 41, (24, *shape)).astype(np.float64)
    fixed = Level.at(level)

    prior = IntegerModel(weights).prior
    features = prior.features(z, fixed, grid)
    packed = grid.pack(y_hat * 1024)
    means, tables = [], []
    for number in range(grid.passes):
        features, prediction = prior.predict(features, packed[:number], fixed, grid)
        means.append(prediction.mean)
        tables.append(prediction.table.astype(float))
    exact = [grid.unpack(means) / 1024, grid.unpack(tables)]

    with torch.no_grad():
        position = torch.tensor([level])
        numbers = pass_numbers(24, *shape, torch.device("cpu"))
        seen = torch.from_numpy(y_hat)[None].float()
        mu = scale = torch.zeros_like(seen)
        floats_ = model.prior.features(torch.from_numpy(z)[None].float(), position)
        for number in range(grid.passes):
            known = seen.where(numbers < number, 0.0)
            floats_, mean, place = model.prior.predict(number, floats_, known, position)
            mu = torch.where(numbers == number, mean, mu)
            scale = torch.where(numbers == number, place, scale)
    return [mu[0].numpy(), scale[0].numpy()], exact


@pytest.mark.parametrize("level", [0.0, 2.5, 7.0])
def test_exact_prior_is_the_float_prior_rounded(
    model: RoundingAutoencoder, weights: Weights, level: float
) -> None:
    (mu, scale), (exact_mu, table) = both(model, weights, (8, 12), level)
    # Rounding to 2^-10 after each of some 15 layers, heads in units of 8: a few 2^-7.
    assert np.abs(mu - exact_mu).max() < 0.1
    inside = np.abs(scale - np.floor(scale) - 0.5) > 0.1  # not at the edge of a table
    expected = np.clip(np.floor(scale + 0.5), 0, 63)
    assert np.array_equal(table[inside], expected[inside])
    assert inside.mean() > 0.5


def test_float_prior_would_not_pass(model: RoundingAutoencoder, weights: Weights) -> None:
    """The same network, its channels in another order: floats differ, exact numbers do not."""
    width = model.config.prior
    shuffle = torch.randperm(width)
    twin = RoundingAutoencoder(model.config)
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        # Permuting the hidden channels of a block leaves its function as it is.
        block, original = (one.prior.get_submodule("context_block1") for one in (twin, model))
        assert isinstance(block, PriorBlock)
        assert isinstance(original, PriorBlock)
        block.w1.weight.copy_(original.w1.weight[shuffle])
        block.w1.bias.copy_(original.w1.bias[shuffle])
        block.dw.weight.copy_(original.dw.weight[shuffle])
        block.dw.bias.copy_(original.dw.bias[shuffle])
        block.w2.weight.copy_(original.w2.weight[:, shuffle])
    floats, exact = both(model, weights, (16, 16), 3.0)
    twin_floats, twin_exact = both(twin, export_model(twin, "twin", {}), (16, 16), 3.0)
    assert not np.array_equal(floats[0], twin_floats[0])
    assert not np.array_equal(floats[1], twin_floats[1])
    assert np.array_equal(exact[0], twin_exact[0])
    assert np.array_equal(exact[1], twin_exact[1])


def test_missing_tensor_is_named(weights: Weights) -> None:
    tensors = weights.part("prior")
    del tensors["context.weight"]
    with pytest.raises(WeightsError, match=r"context\.weight"):
        ExactPrior(tensors, weights.config)


def test_overflowing_model_is_refused(weights: Weights) -> None:
    tensors = weights.part("prior")
    tensors["up64.weight"] = np.full_like(tensors["up64.weight"], 2**31 - 1)
    with pytest.raises(WeightsError, match="up64"):
        ExactPrior(tensors, weights.config)
