"""Rounding to centres: the choice, the three gradient rules, and the start from data."""

import pytest
import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.model.vector_quantizer import (
    MAX_DISTANCES,
    Rule,
    UpdateRule,
    VectorQuantizer,
    fit_centres,
    group,
    nearest,
    ungroup,
)
from codec.weights.config import ModelConfig

RULES: list[Rule] = ["end-to-end", "published", "joint"]


def quantizer(levels: int, groups: int, centres: int, dimensions: int) -> VectorQuantizer:
    config = ModelConfig(
        rounding="vq",
        anchors=levels,
        lambda_min=0.001,
        lambda_max=0.001 if levels == 1 else 0.01,
        groups=groups,
        centres=centres,
        latent=dimensions * groups,
    )
    made = VectorQuantizer(config).double()
    with torch.no_grad():
        made.centres.normal_()
    return made


@pytest.mark.parametrize("count", [37, MAX_DISTANCES // 64 + 7])
def test_nearest_is_the_least_distance_plus_cost(count: int) -> None:
    """The larger number of latents is searched in two parts."""
    latents, centres, cost = torch.randn(count, 3), torch.randn(64, 3), torch.rand(count, 64)
    distances = (latents[:, None] - centres).square().sum(2)
    for costs in (None, cost, cost[:1]):
        found = nearest(latents, centres) if costs is None else nearest(latents, centres, costs)
        total = distances if costs is None else distances + costs
        chosen = total.gather(1, found[:, None])[:, 0]
        assert (chosen - total.min(1).values).max() < 1e-4  # but for the last digits of floats


@pytest.mark.parametrize("name", RULES)
def test_gradients_are_those_of_the_published_formulas(name: Rule) -> None:
    """One level, one group: against explicit loops over latents."""
    rounding = quantizer(levels=1, groups=1, centres=4, dimensions=4)
    rounding.rule = UpdateRule(name, beta=0.3, eta=0.7)
    x = torch.randn(20, 5, dtype=torch.double)
    decoder = torch.randn(4, 5, dtype=torch.double)
    latents = torch.randn(20, 1, 4, dtype=torch.double, requires_grad=True)
    indices = nearest(latents[:, 0].detach(), rounding.centres[0, 0])
    one = torch.ones(1, 20, 1, 1, dtype=torch.double)
    rounded = rounding(latents, indices[None, :, None], one, one[0])
    (0.5 * (x - torch.tanh(rounded[:, 0] @ decoder)).square().sum()).backward()  # type: ignore[no-untyped-call]

    centres = rounding.centres.detach()[0, 0]
    wanted_latents, wanted_centres = torch.zeros(20, 4), torch.zeros(4, 4)
    wanted_latents, wanted_centres = wanted_latents.double(), wanted_centres.double()
    for p in range(20):
        k = int(torch.stack([(c - latents[p, 0]).norm() for c in centres]).argmin())
        assert k == indices[p]
        hat = centres[k].clone().requires_grad_(True)
        (0.5 * (x[p] - torch.tanh(hat @ decoder)).square().sum()).backward()  # type: ignore[no-untyped-call]
        assert hat.grad is not None
        away = latents[p, 0].detach() - centres[k]
        wanted_latents[p] += hat.grad
        if name == "end-to-end":
            wanted_centres[k] += hat.grad
        elif name == "published":
            wanted_latents[p] += 0.3 * away
            wanted_centres[k] += 0.7 * -away
        else:
            wanted_latents[p] += 0.3 * away
            wanted_centres[k] += hat.grad + 0.3 * -away
    assert latents.grad is not None
    assert rounding.centres.grad is not None
    # double precision: sums of 20 terms of order 1
    torch.testing.assert_close(latents.grad[:, 0], wanted_latents, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rounding.centres.grad[0, 0], wanted_centres, rtol=1e-12, atol=1e-12)


def residual_setting(name: Rule) -> tuple[VectorQuantizer, Tensor, Tensor, Tensor, Tensor]:
    rounding = quantizer(levels=3, groups=2, centres=4, dimensions=2)
    rounding.rule = UpdateRule(name, beta=0.3, eta=0.7)
    latents = torch.randn(12, 2, 2, dtype=torch.double, requires_grad=True)
    indices = torch.randint(4, (3, 12, 2))
    used = (torch.arange(3)[:, None] < torch.randint(1, 4, (12,))).double()[:, :, None, None]
    weight = torch.rand(12, 1, 1, dtype=torch.double)
    return rounding, latents, indices, used, weight


@pytest.mark.parametrize("name", RULES)
def test_gradients_of_product_and_residual_codes(name: Rule) -> None:
    """Each level's centres see the remainder that reached them, if the level is used."""
    rounding, latents, indices, used, weight = residual_setting(name)
    rounded = rounding(latents, indices, used, weight)
    incoming = torch.randn_like(rounded)
    rounded.backward(incoming)
    wanted_latents = incoming.clone()
    wanted_centres = torch.zeros_like(rounding.centres)
    for p in range(12):
        for g in range(2):
            remainder = latents[p, g].detach().clone()
            for level in range(3):
                if not used[level, p]:
                    continue
                centre = rounding.centres[level, g, indices[level, p, g]].detach()
                pull = weight[p, 0, 0] * (centre - remainder)
                step = {
                    "end-to-end": incoming[p, g],
                    "published": 0.7 * pull,
                    "joint": incoming[p, g] + 0.3 * pull,
                }[name]
                wanted_centres[level, g, indices[level, p, g]] += step
                remainder -= centre
            if name != "end-to-end":
                wanted_latents[p, g] += 0.3 * weight[p, 0, 0] * remainder
    assert latents.grad is not None
    assert rounding.centres.grad is not None
    torch.testing.assert_close(latents.grad, wanted_latents, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rounding.centres.grad, wanted_centres, rtol=1e-12, atol=1e-12)


def test_rounded_latents_are_sums_of_the_used_levels() -> None:
    rounding, latents, indices, used, weight = residual_setting("published")
    rounded = rounding(latents, indices, used, weight)
    for p in range(12):
        for g in range(2):
            chosen = [rounding.centres[r, g, indices[r, p, g]] * used[r, p, 0] for r in range(3)]
            torch.testing.assert_close(rounded[p, g], torch.stack(chosen).sum(0))


def test_usage_counts_used_levels_only() -> None:
    rounding, latents, indices, used, weight = residual_setting("published")
    rounding.eval()(latents, indices, used, weight)
    assert rounding.statistics()["codebook_usage"] == 0.0
    rounding.train()(latents, indices, used, weight)
    for level in range(3):
        counted = rounding.usage[level].sum(-1)
        assert counted.tolist() == [float(used[level].sum())] * 2
    rounding.usage.zero_()
    rounding.usage[..., :2] = 5.0
    assert rounding.statistics() == {
        "codebook_usage": 0.5,
        "codebook_perplexity": pytest.approx(2.0),
    }
    rounding.reset_usage()
    assert rounding.statistics()["codebook_usage"] == 0.0


def test_groups_are_interleaved_channels() -> None:
    y = torch.randn(2, 6, 3, 4)
    latents = group(y, 3)
    assert latents.shape == (2 * 12, 3, 2)
    assert torch.equal(latents[12 + 5, 1], y[1, [1, 4], 1, 1])
    assert torch.equal(ungroup(latents, 3, 4), y)


def test_fit_finds_clusters() -> None:
    truth = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    samples = truth.repeat(50, 1) + 0.1 * torch.randn(200, 2)
    centres, share = fit_centres(samples, 4)
    # means of 50 samples deviate by 0.014 per axis
    assert torch.cdist(truth, centres).min(1).values.max() < 0.1
    torch.testing.assert_close(share, torch.full((4,), 0.25))


def test_fit_with_a_rate_spends_fewer_bits() -> None:
    samples = torch.randn(4000, 2)

    def measure(weight: float) -> tuple[float, float]:
        centres, share = fit_centres(samples, 32, weight)
        indices = nearest(samples, centres, -weight * share.log()[None])
        used = torch.bincount(indices, minlength=32) / len(samples)
        entropy = -torch.special.xlogy(used, used).sum()
        return float(entropy), float((samples - centres[indices]).square().sum(1).mean())

    plain_rate, plain_distortion = measure(0.0)
    rate, distortion = measure(0.5)
    assert rate < 0.8 * plain_rate
    # what the objective weighs is better than without weighing
    assert distortion + 0.5 * rate < plain_distortion + 0.5 * plain_rate


def test_rules_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TrainingError, match="end-to-end"):
        UpdateRule("straight")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="beta"):
        UpdateRule("published", beta=-1.0)
    with pytest.raises(TrainingError, match="eta"):
        UpdateRule("published", eta=float("nan"))
