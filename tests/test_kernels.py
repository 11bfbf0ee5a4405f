from __future__ import annotations

import math

import pytest
import torch

from codec.model.autoencoder import RoundingAutoencoder
from codec.model.restoration import restore
from codec.training.kernels import Products, fit_kernels, products
from tests.helpers import crops_of_flowers

AROUND = 76
PASSES = 1000
"""600 steps over 60 pictures."""


@pytest.fixture(scope="module")
def model(tiny_autoencoder: RoundingAutoencoder) -> RoundingAutoencoder:
    return tiny_autoencoder


def made_up(count: int, filters: torch.Tensor, error: float) -> Products:
    """Pictures that random mixtures of `filters` [k, 76, 3] would mend, but for noise.

    Args:
        error: part of the squared error that the mixture takes.
    """
    generator = torch.Generator().manual_seed(1)
    samples, missing = [], []
    for _ in range(count):
        root = torch.randn(AROUND, 2 * AROUND, generator=generator, dtype=torch.float64)
        matrix = root @ root.T / AROUND
        mixture = torch.randn(len(filters), generator=generator, dtype=torch.float64)
        wanted = torch.tensordot(mixture, filters, 1)
        wanted *= math.sqrt(error / float((wanted * (matrix @ wanted)).sum()))
        samples.append(matrix)
        missing.append(matrix @ wanted)
    return Products(torch.stack(samples), torch.stack(missing))


def part_taken(kernels: torch.Tensor, found: Products) -> float:
    """Mean part of the error that filters [k, 76, 3] take."""
    matrix = torch.einsum("kpc,npq,lqc->nkl", kernels, found.samples, kernels)
    vector = torch.einsum("kpc,npc->nk", kernels, found.residual)
    return float((torch.linalg.solve(matrix, vector) * vector).sum(1).mean())


def as_filters(kernels: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """[K, 3, 3, 5, 5] and [K, 3] to filters [K, 76, 3]."""
    flat = torch.cat([kernels.flatten(2), offsets[:, :, None]], 2)
    return flat.transpose(1, 2).double()


@pytest.mark.slow
def test_kernels_span_what_pictures_want() -> None:
    wanted = torch.randn(3, AROUND, 3, dtype=torch.float64)
    found = made_up(60, wanted, 0.1)
    fitted = fit_kernels(found, 3, PASSES)
    assert fitted is not None
    kernels = as_filters(*fitted)
    assert part_taken(kernels, found) > 0.099
    # Any two miss some of it, and the first two are no worse than chance would have it.
    assert 0.05 < part_taken(kernels[:2], found) < 0.097


@pytest.mark.slow
def test_weights_are_whole_numbers_of_a_good_size() -> None:
    found = made_up(60, torch.randn(3, AROUND, 3, dtype=torch.float64), 0.1)
    fitted = fit_kernels(found, 3, PASSES)
    assert fitted is not None
    kernels = as_filters(*fitted)
    matrix = torch.einsum("kpc,npq,lqc->nkl", kernels, found.samples, kernels)
    vector = torch.einsum("kpc,npc->nk", kernels, found.residual)
    weights = torch.linalg.solve(matrix, vector)
    assert weights.square().mean(0).sqrt() == pytest.approx(32, rel=0.05)
    rounded = weights.round()
    quadratic = torch.einsum("nk,nkl,nl->n", rounded, matrix, rounded)
    assert float((2 * (rounded * vector).sum(1) - quadratic).mean()) > 0.098


@pytest.mark.slow
def test_pictures_unlike_photographs_do_not_count() -> None:
    photographs = made_up(40, torch.randn(2, AROUND, 3, dtype=torch.float64), 0.1)
    others = made_up(40, torch.randn(2, AROUND, 3, dtype=torch.float64), 0.6)
    both = Products(*(torch.cat(pair) for pair in zip(photographs, others, strict=True)))
    alone, together = fit_kernels(photographs, 2), fit_kernels(both, 2)
    assert alone is not None
    assert together is not None
    assert torch.equal(alone.kernels, together.kernels)
    assert fit_kernels(others, 2) is None


def test_products_are_those_of_the_filter(model: RoundingAutoencoder) -> None:
    """The error that products promise is what the filter leaves of a decoded picture."""
    pictures = (crops_of_flowers(6, 128) * 255).round().to(torch.uint8)
    found = products(model, pictures)
    assert found.samples.shape == (6, AROUND, AROUND)
    kernels = fit_kernels(found._replace(residual=found.residual * 0.3), 3)  # as a photograph's
    assert kernels is not None

    generator = torch.Generator().manual_seed(0)
    level = torch.rand(6, generator=generator)[:1] * (model.config.anchors - 1)
    x = pictures[:1].float() / 255
    with torch.no_grad():
        shown = model.synthesise(model.rounded(x, level), level).clamp(0, 1)[0]
    missing = x[0] - shown
    weights = torch.tensor([20.0, -30.0, 10.0])
    filters = as_filters(*kernels)
    filter_ = torch.tensordot(weights.double(), filters, 1)
    promised = 1 - 2 * (filter_ * found.residual[0]).sum()
    promised += (filter_ * (found.samples[0] @ filter_)).sum()
    left = (x[0] - restore(shown, kernels, weights)).square().sum() / missing.square().sum()
    assert float(left) == pytest.approx(float(promised), rel=1e-4)


def test_few_pictures_fill_up_with_noise(model: RoundingAutoencoder) -> None:
    found = made_up(3, torch.randn(2, AROUND, 3, dtype=torch.float64), 0.1)
    fitted = fit_kernels(found, 8)
    assert fitted is not None
    assert fitted.kernels.shape == (8, 3, 3, 5, 5)
    assert bool(fitted.kernels.isfinite().all())
