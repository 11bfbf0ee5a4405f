import math

import pytest
import torch
from torch import Tensor

from codec.model.densities import (
    SIGMA_MAX,
    SIGMA_MIN,
    FactorizedDensity,
    bits,
    cell_probability,
    gaussian_cell_probability,
    sigma_of_level,
)


def integral(density: Tensor, grid: Tensor) -> Tensor:
    return torch.trapezoid(density, grid)


@pytest.mark.parametrize("sigma", [0.2, 0.7, 3.0, 40.0])
def test_cell_probability_is_the_integral_of_the_density(sigma: float) -> None:
    # P(z~) = E_eps p(z~ + eps): the mean of p over the cell, by fine quadrature.
    for z in (0.0, 0.3, -1.0, 2.5):
        grid = torch.linspace(z - 0.5, z + 0.5, 20_001, dtype=torch.float64)
        density = torch.exp(-0.5 * (grid / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        z_, sigma_ = torch.tensor([z, sigma], dtype=torch.float64)
        cell = gaussian_cell_probability(z_, sigma_)
        assert cell.item() == pytest.approx(integral(density, grid).item(), rel=1e-6)


def test_density_that_is_linear_on_the_cell_keeps_its_value() -> None:
    # A triangular density on [-2, 2]: p(x) = (2 - |x|) / 4, linear on the cell around 1.
    def cumulative(x: Tensor) -> Tensor:
        x = x.clamp(-2, 2)
        return 0.5 + x / 2 - x * x.abs() / 8

    z = torch.tensor(1.0, dtype=torch.float64)
    assert cell_probability(cumulative, z - 0.5, z + 0.5).item() == pytest.approx(0.25)


def test_gaussian_cells_sum_to_one() -> None:
    symbols = torch.arange(-4000, 4001, dtype=torch.float64)
    for level in (0.0, 20.0, 63.0):
        sigma = sigma_of_level(torch.tensor(level, dtype=torch.float64))
        total = gaussian_cell_probability(symbols, sigma).sum()
        assert total.item() == pytest.approx(1.0, abs=1e-12)


def test_far_tail_keeps_relative_accuracy() -> None:
    # At 5 sigma a difference of two cumulatives near 1 would have lost all float32 digits.
    q, sigma = torch.tensor(5.5), torch.tensor(1.0)
    exact = gaussian_cell_probability(q.double(), sigma.double())
    assert gaussian_cell_probability(q, sigma).item() == pytest.approx(exact.item(), rel=1e-4)
    assert gaussian_cell_probability(-q, sigma).item() == pytest.approx(exact.item(), rel=1e-4)


def test_bits_are_bounded_but_still_pull() -> None:
    probability = torch.tensor([1e-30, 0.25], requires_grad=True)
    cost = bits(probability)
    assert cost.tolist() == [24.0, 2.0]
    cost.sum().backward()  # type: ignore[no-untyped-call]
    assert probability.grad is not None
    assert probability.grad[0] < 0  # raising the probability lowers the cost


def test_scale_ladder() -> None:
    levels = torch.tensor([-5.0, 0.0, 63.0, 99.0])
    expected = [SIGMA_MIN, SIGMA_MIN, SIGMA_MAX, SIGMA_MAX]
    assert sigma_of_level(levels).tolist() == pytest.approx(expected)


def test_scale_outside_the_ladder_can_come_back() -> None:
    level = torch.tensor([-5.0, 70.0], requires_grad=True)
    (sigma_of_level(level) * torch.tensor([-1.0, 1.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert level.grad is not None
    assert level.grad[0] < 0  # a larger scale is wanted at the bottom
    assert level.grad[1] > 0  # a smaller one at the top


def test_factorized_cells_sum_to_one_and_are_the_integral_of_the_density() -> None:
    density = FactorizedDensity(3).double()
    symbols = torch.arange(-400, 401, dtype=torch.float64)
    cells = density.cell_probability(symbols[None, None, :, None].expand(2, 3, -1, 1))
    assert cells.shape == (2, 3, 801, 1)
    assert cells.sum(2).flatten().tolist() == pytest.approx([1.0] * 6, abs=1e-6)

    grid = torch.linspace(-0.5, 0.5, 2001, dtype=torch.float64, requires_grad=True)
    cumulative = torch.sigmoid(density.logits(grid.expand(3, 1, -1)))[1, 0]
    (p,) = torch.autograd.grad(cumulative.sum(), grid)
    assert cells[0, 1, 400, 0].item() == pytest.approx(integral(p, grid).item(), rel=1e-5)


def test_factorized_logits_rise() -> None:
    density = FactorizedDensity(2)
    for factor in density.factors:
        torch.nn.init.normal_(factor)
    logits = density.logits(torch.linspace(-50, 50, 500).expand(2, 1, -1))
    assert bool((logits.diff(dim=2) > 0).all())
