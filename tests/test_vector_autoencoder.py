"""The autoencoder that rounds to centres: its flow, its start from data, its upkeep."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from codec.model.build import build_autoencoder
from codec.model.initialisation import start_as_transform_codec
from codec.model.objective import rate_distortion, squared_error_weight
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.model.vector_quantizer import UpdateRule, group
from codec.training.codebooks import CodebookUpkeep
from codec.training.optimiser import ClassDescent
from codec.weights.config import ModelConfig
from tests.helpers import crops_of_flowers


@pytest.fixture
def model(tiny_vq_config: ModelConfig) -> VectorAutoencoder:
    made = VectorAutoencoder(tiny_vq_config)
    start_as_transform_codec(made, crops_of_flowers(24, 64))
    return made


def test_configuration_names_the_model(
    tiny_config: ModelConfig, tiny_vq_config: ModelConfig
) -> None:
    assert isinstance(build_autoencoder(tiny_vq_config), VectorAutoencoder)
    assert not isinstance(build_autoencoder(tiny_config), VectorAutoencoder)


def test_more_levels_cost_more_bits_and_lose_less(model: VectorAutoencoder) -> None:
    x = crops_of_flowers(3, 64).repeat_interleave(3, dim=0)
    level = torch.arange(3.0).repeat(3)
    with torch.no_grad():
        result = model.eval()(x, level, "rounded")
    error = (result.x_hat - x).square().mean((1, 2, 3)).reshape(3, 3)
    bits = result.y_bits.reshape(3, 3)
    assert torch.all(bits.diff(dim=1) > 0)
    assert torch.all(error.diff(dim=1) < 0)
    assert torch.all(result.z_bits == 0)


def test_indices_are_the_nearest_centres(model: VectorAutoencoder) -> None:
    y = model.analyse(crops_of_flowers(2, 64)).detach()
    remainder = group(y, model.config.groups).clone()
    indices = model.assign(y).permute(0, 1, 3, 4, 2).flatten(1, 3)
    for level in range(model.config.anchors):
        for g in range(model.config.groups):
            centres = model.quantizer.centres[level, g].detach()
            distances = torch.cdist(remainder[:, g], centres)
            least = distances.min(1).values
            chosen = distances.gather(1, indices[level, :, g : g + 1])[:, 0]
            torch.testing.assert_close(chosen, least)
            remainder[:, g] -= centres[indices[level, :, g]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("assignment", ["nearest", "rate-weighted"])
def test_assignment_leaves_the_latents_alone(
    model: VectorAutoencoder, assignment: str, layout: torch.memory_format
) -> None:
    model.config = dataclasses.replace(model.config, assignment=assignment)  # type: ignore[arg-type]
    y = model.analyse(crops_of_flowers(2, 64)).detach().contiguous(memory_format=layout)
    before = y.clone()
    model.assign(y)
    assert torch.equal(y, before)


def test_assignment_is_the_same_under_autocast(model: VectorAutoencoder) -> None:
    """bfloat16 distances would be useless: their differences are small beside them."""
    y = model.analyse(crops_of_flowers(2, 64)).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = model.assign(y)
    assert torch.equal(inside, model.assign(y))


def test_weighing_the_rate_lowers_bits_plus_distance(model: VectorAutoencoder) -> None:
    """By the objective of the assignment, summed over one level."""
    y = model.analyse(crops_of_flowers(4, 64)).detach()

    def cost(assignment: str) -> float:
        model.config = dataclasses.replace(
            model.config,
            assignment=assignment,  # type: ignore[arg-type]
            lambda_min=1e-5,
        )
        indices = model.assign(y)
        flat = indices.permute(0, 1, 3, 4, 2).flatten(1, 3)
        latents, one = group(y, model.config.groups), torch.ones(len(flat), len(flat[0]), 1, 1)
        one[1:] = 0
        error = (latents - model.quantizer(latents, flat, one, one[0])).square().sum()
        nats = model.prior.bits(indices)[0].sum() * np.log(2)
        return float(error.detach() + nats.detach() / model.config.assignment_lambda(0))

    assert cost("rate-weighted") < cost("nearest")


def test_start_gives_channels_the_size_of_their_effect(model: VectorAutoencoder) -> None:
    """A unit change of a latent changes the samples by about one, squared and summed."""
    y = model.analyse(crops_of_flowers(4, 64)).detach()
    top = torch.full((4,), model.config.anchors - 1.0)
    with torch.no_grad():
        moved = y + 0.01 * torch.randn_like(y)
        change = (model.g_s(moved, top) - model.g_s(y, top)).square().sum()
        ratio = float(change / (moved - y).square().sum())
    # random projections of 4 pictures estimate each channel's effect to some per cent
    assert 0.8 < ratio < 1.25


def test_rounded_surrogate_gives_the_encoder_no_gradient(model: VectorAutoencoder) -> None:
    x = crops_of_flowers(2, 64)
    for surrogate in ("mixed", "rounded"):
        model.zero_grad()
        result = model(x, torch.full((2,), 2.0), surrogate)
        (result.y_bits.sum() + (result.x_hat - x).square().sum()).backward()
        moved = any(p.grad is not None and bool(p.grad.any()) for p in model.g_a.parameters())
        assert moved == (surrogate == "mixed")
        assert model.prior.head_weight.grad is not None
        assert model.prior.head_weight.grad.any()
        assert model.quantizer.centres.grad is not None
        assert model.quantizer.centres.grad.any()


def test_uniform_prior_costs_log2_k_each(tiny_vq_config: ModelConfig) -> None:
    config = dataclasses.replace(tiny_vq_config, index_prior="uniform")
    result = VectorAutoencoder(config)(torch.rand(2, 3, 64, 64), torch.tensor([0.0, 2.0]))
    each = 16 * config.groups * np.log2(config.centres)
    assert result.y_bits.tolist() == pytest.approx([each, 3 * each])


@pytest.mark.slow
def test_training_lowers_the_objective(model: VectorAutoencoder) -> None:
    x = crops_of_flowers(8, 64)
    level = torch.arange(8.0) % model.config.anchors
    lmbda = torch.tensor([model.config.lambda_of(v) for v in level.tolist()])
    weight = squared_error_weight(lmbda, 64 * 64)
    model.quantizer.rule = UpdateRule("published", beta=1.0)
    others = [p for n, p in model.named_parameters() if n != "quantizer.centres"]
    adam, descent = torch.optim.Adam(others, lr=1e-3), ClassDescent(model.quantizer)
    descent.param_groups[0]["lr"] = 0.1
    values = []
    for _ in range(40):
        loss = rate_distortion(x, model(x, level, "mixed", weight), lmbda, "mse").value.sum()
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        descent.step()
        values.append(float(loss.detach()))
    assert np.mean(values[-5:]) < 0.9 * values[0]


def test_class_descent_moves_centres_to_their_means(model: VectorAutoencoder) -> None:
    """With the published rule, a rate of 1 and eta 1 a step is one of Lloyd's algorithm."""
    latents = torch.randn(40, model.config.groups, model.config.dimensions)
    indices = torch.randint(3, (3, 40, model.config.groups))
    used = torch.ones(3, 40, 1, 1)
    used[1:] = 0
    weight = torch.rand(40, 1, 1)
    descent = ClassDescent(model.quantizer)
    descent.param_groups[0]["lr"] = 1.0
    model.quantizer(latents, indices, used, weight).backward(torch.zeros_like(latents))
    before = model.quantizer.centres.detach().clone()
    descent.step()
    after = model.quantizer.centres.detach()
    for k in range(3):
        chosen = indices[0, :, 1] == k
        share = weight[chosen, 0] / weight[chosen].sum()
        torch.testing.assert_close(after[0, 1, k], (share * latents[chosen, 1]).sum(0))
    assert torch.equal(after[1:], before[1:])
    assert torch.equal(after[:, :, 3:], before[:, :, 3:])


def test_dead_centres_start_again(model: VectorAutoencoder) -> None:
    average = VectorAutoencoder(model.config)
    average.load_state_dict(model.state_dict())
    with torch.no_grad():
        model.quantizer.centres[1, 0, 2] = 1e3  # no latent comes near
        model.prior.head_bias[1, 2] = -30.0
    upkeep = CodebookUpkeep(model, average, tiles=1, world=1)
    x: Tensor = crops_of_flowers(4, 64)
    model.quantizer.usage.fill_(64.0)
    model.quantizer.usage[1, 0, 2] = 0.0
    upkeep.after_step(x, progress=0.9)
    assert upkeep.statistics["codebook_usage"] < 1
    assert model.quantizer.centres[1, 0, 2].max() == 1e3  # too late in the run
    assert not model.quantizer.usage.any()
    model.quantizer.usage.fill_(64.0)
    model.quantizer.usage[1, 0, 2] = 0.0
    upkeep.after_step(x, progress=0.1)
    assert upkeep.statistics["codebook_restarts"] == 1
    assert model.quantizer.centres[1, 0, 2].abs().max() < 100
    assert model.prior.head_bias[1, 2] > -10
    assert torch.equal(average.quantizer.centres[1, 0, 2], model.quantizer.centres[1, 0, 2])
    upkeep.after_step(x, progress=0.1)  # a new epoch has begun
    assert upkeep.statistics["codebook_restarts"] == 1
