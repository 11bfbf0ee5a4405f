"""The layer graphs of the priors are what both twins are made of."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch

from codec.entropy.exact_prior import ExactPrior
from codec.entropy.graph import (
    CHECKERBOARD,
    QUARTERS,
    index_parameters,
    latent_parameters,
    prior_parameters,
)
from codec.entropy.index_prior import ExactIndexPrior
from codec.errors import WeightsError
from codec.model.build import build_autoencoder
from codec.model.hyperprior import LatentPrior
from codec.training.export import export_model
from codec.weights.config import ModelConfig
from codec.weights.file import load_weights
from codec.weights.released import find_weights


@pytest.mark.parametrize("rounding", ["integer", "vq"])
def test_the_float_twin_has_the_parameters_of_the_graph(
    rounding: str, tiny_config: ModelConfig, tiny_vq_config: ModelConfig
) -> None:
    config = tiny_config if rounding == "integer" else tiny_vq_config
    shapes = {n: tuple(p.shape) for n, p in build_autoencoder(config).prior.named_parameters()}
    assert shapes == {name: p.shape for name, p in prior_parameters(config).items()}


@pytest.mark.parametrize("rounding", ["integer", "vq"])
def test_the_exact_twin_needs_each_of_them(
    rounding: str, tiny_config: ModelConfig, tiny_vq_config: ModelConfig
) -> None:
    config = tiny_config if rounding == "integer" else tiny_vq_config
    stored = export_model(build_autoencoder(config), "tiny", {}).part("prior")
    twin = ExactPrior if rounding == "integer" else ExactIndexPrior
    twin(stored, config)
    for name in prior_parameters(config):
        with pytest.raises(WeightsError, match=name):
            twin({n: t for n, t in stored.items() if n != name}, config)


@pytest.mark.parametrize("model", ["photo", "photo-mse", "vq"])
def test_released_weights_hold_no_other_prior(model: str) -> None:
    weights = load_weights(find_weights(model))
    stored = {name: tensor.shape for name, tensor in weights.part("prior").items()}
    stored.pop("powers", None)
    assert stored == {name: p.shape for name, p in prior_parameters(weights.config).items()}


def test_a_uniform_prior_has_no_parameters(tiny_vq_config: ModelConfig) -> None:
    assert index_parameters(dataclasses.replace(tiny_vq_config, index_prior="uniform")) == {}


def test_checkpoints_number_the_parameters_in_this_order(tiny_config: ModelConfig) -> None:
    """The state of optimisers goes by it, so that runs can be resumed."""
    names = [name for name, _ in LatentPrior(tiny_config).named_parameters()]
    layers = list(dict.fromkeys(name.removesuffix(".weight").split(".dw")[0] for name in names))
    order = ["first_head", "context", "second_head", "first_split.context", "second_split.context"]
    assert [name for name in layers if name in order] == order
    assert set(names) == set(latent_parameters(tiny_config))


def test_patterns_hold_each_class_once() -> None:
    assert sorted(sum(QUARTERS, ())) == [0, 1, 2, 3]
    assert sorted(sum(CHECKERBOARD, ())) == [0, 0, 1, 1]


def test_copies_of_the_float_twin_share_nothing(tiny_config: ModelConfig) -> None:
    import copy

    prior = LatentPrior(tiny_config)
    twin = copy.deepcopy(prior)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    z, level = torch.ones(1, tiny_config.hyper, 1, 1), torch.zeros(1)
    known = torch.zeros(1, tiny_config.latent, 4, 4)
    for number in range(4):
        one, other = (p.predict(number, p.features(z, level), known, level) for p in (prior, twin))
        assert not torch.equal(one[1], other[1])


def test_the_graph_imports_neither_numpy_nor_torch() -> None:
    code = "import codec.entropy.graph, sys; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
