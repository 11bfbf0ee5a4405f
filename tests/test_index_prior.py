"""The prior over indices: float and exact twins, frequencies by integers, causality."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codec.entropy.exact_prior import LatentGrid
from codec.entropy.graph import CHECKERBOARD
from codec.entropy.index_prior import POWERS, ExactIndexPrior, parts_of_pass, stored_parameters
from codec.entropy.model import CentreModel
from codec.entropy.tables import TOTAL
from codec.errors import WeightsError
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.training.export import export_model, powers_of_two
from codec.weights.config import ModelConfig
from codec.weights.file import Weights

GRID = LatentGrid(5, 6, CHECKERBOARD)


@pytest.fixture(scope="module")
def model(tiny_vq_config: ModelConfig) -> VectorAutoencoder:
    torch.manual_seed(3)
    made = VectorAutoencoder(tiny_vq_config)
    with torch.no_grad():
        for name, parameter in made.prior.named_parameters():
            if name.startswith("head") or "w2" in name:
                parameter.normal_(std=0.15)
    return made.eval()


@pytest.fixture(scope="module")
def weights(model: VectorAutoencoder) -> Weights:
    return export_model(model, "tiny-vq", {})


def random_indices(config: ModelConfig, seed: int = 0) -> torch.Tensor:
    shape = (config.anchors, 1, config.groups, GRID.height, GRID.width)
    return torch.randint(config.centres, shape, generator=torch.Generator().manual_seed(seed))


def walk_bits(prior: ExactIndexPrior, indices: torch.Tensor) -> np.ndarray:
    """-log2 P of each index [levels, G, H, W] by the exact prior."""
    result = np.zeros((len(indices), *indices.shape[2:]))
    walk = prior.walk(GRID)
    for level in range(len(indices)):
        packed = GRID.to_packed(indices[level, 0].flatten(1).numpy().astype(np.float64)).astype(int)
        bits = np.zeros_like(packed, dtype=np.float64)
        for part, frequencies in walk.parts(level):
            chosen = packed[part]
            assert frequencies.shape == (len(chosen), prior.config.centres)
            assert frequencies.min() >= 1
            assert np.all(frequencies.sum(1) == TOTAL)
            bits[part] = 24 - np.log2(frequencies[np.arange(len(chosen)), chosen])
            walk.tell(level, part, chosen)
        result[level] = GRID.to_spatial(bits).reshape(result.shape[1:])
    return result


def test_exact_prior_follows_the_float_one(model: VectorAutoencoder, weights: Weights) -> None:
    indices = random_indices(model.config)
    with torch.no_grad():
        wanted = model.prior.bits(indices)[:, 0].numpy()
    exact = walk_bits(CentreModel(weights).prior, indices)
    assert wanted.std() > 0.5  # the prior does say something
    # activations are rounded to 2^-10 after each of 5 layers with gains of a few
    np.testing.assert_allclose(exact, wanted, atol=0.05)
    assert abs(exact.sum() / wanted.sum() - 1) < 1e-3


@pytest.mark.parametrize("groups", [1, 3])
def test_passes_cover_every_index_once(groups: int) -> None:
    seen = np.zeros((groups, GRID.height * GRID.width), int)
    for number in (0, 1):
        for part in parts_of_pass(GRID, groups, number):
            seen[part] += 1
    assert np.all(seen == 1)


def test_frequencies_depend_on_what_was_coded_before_only(weights: Weights) -> None:
    """Changing an index changes nothing before it, and something after it."""
    config = weights.config
    indices = random_indices(config)
    changed = indices.clone()
    changed[1, 0, 0, 0, 0] = (changed[1, 0, 0, 0, 0] + 1) % config.centres  # pass 0 of level 1
    before, after = (walk_bits(CentreModel(weights).prior, i) for i in (indices, changed))
    same = before == after
    rows, columns = np.ogrid[: GRID.height, : GRID.width]
    even = (rows + columns) % 2 == 0
    assert same[0].all()
    first = np.stack([even, ~even])  # pass 0 of two groups
    first[0, 0, 0] = False  # its own cost
    assert same[1][first].all()
    assert not same[1].all()
    assert not same[2].all()


def test_uniform_prior(tiny_vq_config: ModelConfig) -> None:
    config = dataclasses.replace(tiny_vq_config, index_prior="uniform", centres=6)
    prior = ExactIndexPrior({}, config)
    indices = random_indices(config)
    np.testing.assert_allclose(walk_bits(prior, indices), np.log2(6), atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    arrays(
        np.int64, st.tuples(st.integers(1, 4), st.just(8)), elements=st.integers(-(2**21), 2**21)
    )
)
def test_frequencies_by_big_integers(weights: Weights, logits: np.ndarray) -> None:
    powers = powers_of_two()
    result = CentreModel(weights).prior.frequencies(logits.astype(np.float64))
    for row, got in zip(logits.tolist(), result.tolist(), strict=True):
        top = max(row)
        e = [int(powers[top - v]) if top - v < POWERS else 0 for v in row]
        wanted = [1 + v * (TOTAL - 8) // sum(e) for v in e]
        wanted[row.index(top)] += TOTAL - sum(wanted)
        assert got == wanted


def test_powers_are_those_of_two() -> None:
    powers = powers_of_two()
    assert powers[0] == TOTAL
    assert powers[10 * 1024] == TOTAL >> 10
    assert abs(powers[512] - TOTAL / 2**0.5) <= 0.5
    assert powers[-1] == 1


@pytest.mark.parametrize(
    "damage",
    ["missing", "shape", "dtype", "unbounded", "rising", "zero"],
)
def test_unsound_priors_are_refused(weights: Weights, damage: str) -> None:
    tensors = dict(weights.part("prior"))
    assert set(tensors) == set(stored_parameters(weights.config))
    if damage == "missing":
        del tensors["pass_bias"]
    elif damage == "shape":
        tensors["head_bias"] = tensors["head_bias"][:, 1:]
    elif damage == "dtype":
        tensors["embedding"] = tensors["embedding"].astype(np.float32)
    elif damage == "unbounded":
        tensors["head_weight"] = np.full_like(tensors["head_weight"], 2**30)
    else:
        powers = tensors["powers"].copy()
        powers[5 if damage == "rising" else 0] = 2**25 if damage == "rising" else 0
        tensors["powers"] = powers
    with pytest.raises(WeightsError):
        ExactIndexPrior(tensors, weights.config)
