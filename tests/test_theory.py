"""The statements of the theory of rounding rate-distortion autoencoders."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from codec.codec import Codec
from codec.entropy.tables import TOTAL
from codec.evaluation.measuring import measure
from codec.evaluation.ours import ModelCoder
from codec.evaluation.subjects import Reading, read_subject
from codec.model.densities import SIGMA_LEVELS, sigma_of_level
from codec.model.vector_quantizer import Rule
from codec.training.export import gaussian_tables
from codec.weights.config import ModelConfig
from scripts.theory.statements import (
    discretisation,
    encoder_gradient,
    gaussian_channel,
    integral_over_cell,
    normal_density,
    stationary_centres,
    triangle_cell,
    uniform_noise_channel,
)
from tests.helpers import crops_of_flowers

WIDTHS = [0.5, 0.8, 1.0, 1.25, 2.0]


@pytest.mark.parametrize("width", WIDTHS)
def test_rate_bounds_the_mutual_information(width: float) -> None:
    for bound, accuracy in (
        (gaussian_channel(2.0, 0.5, width), 1e-12),
        (uniform_noise_channel(2.0, width), 1e-6),  # quadrature in float64
    ):
        excess = bound.rate - bound.information
        assert excess == pytest.approx(bound.divergence, abs=accuracy)
        assert abs(excess) < accuracy if width == 1 else excess > 0.03


def test_gaussian_channel_is_what_samples_say() -> None:
    """The closed form against the average over samples of what training would log."""
    generator = torch.Generator().manual_seed(0)
    x = 2.0 * torch.randn(400_000, generator=generator, dtype=torch.float64)
    z = x + 0.5 * torch.randn(400_000, generator=generator, dtype=torch.float64)
    width = 1.25
    scale = torch.tensor(width * (2.0**2 + 0.5**2) ** 0.5, dtype=torch.float64)
    code = -normal_density(z, scale).log() + normal_density(z - x, torch.tensor(0.5)).log()
    # deviation of a sample is about 1, of the mean of 400,000 about 0.0016
    assert float(code.mean()) == pytest.approx(gaussian_channel(2.0, 0.5, width).rate, abs=0.01)


def test_rounding_has_no_gradient_and_noise_has(tiny_config: ModelConfig) -> None:
    x = crops_of_flowers(1, 64)
    rounded, noisy = (encoder_gradient(tiny_config, x, flag) for flag in (True, False))
    assert rounded.rate == rounded.distortion == 0.0
    assert noisy.rate > 1e-3
    assert noisy.distortion > 1e-3


def test_tables_are_integrals_over_the_cell() -> None:
    tables = gaussian_tables()
    for level in range(0, SIGMA_LEVELS, 7):
        sigma = sigma_of_level(torch.tensor(float(level), dtype=torch.float64))
        symbols = torch.arange(len(tables[level]), dtype=torch.float64) + int(tables.low[level])
        integral = integral_over_cell(partial(normal_density, sigma=sigma), symbols).numpy()
        # each of n entries is rounded down and raised by 1, one takes what n leave over
        error = np.abs(tables[level] - TOTAL * integral).max()
        assert error <= len(tables[level])


def test_density_stands_for_the_cell_where_it_is_linear_only() -> None:
    mass, density = triangle_cell(torch.tensor([1.0, 2.5, -3.25], dtype=torch.float64), 6.0)
    torch.testing.assert_close(mass, density, rtol=0, atol=1e-15)
    peak_mass, peak_density = triangle_cell(torch.zeros(1, dtype=torch.float64), 6.0)
    assert float(peak_density - peak_mass) == pytest.approx(1 / 4 / 6 / 6)  # a kink inside
    errors = [discretisation(level).error for level in range(0, SIGMA_LEVELS, 7)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1
    assert errors[-1] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["end-to-end", "published", "joint"])
def test_centres_are_class_means_under_the_published_rule_only(rule: Rule) -> None:
    found = stationary_centres(rule)
    assert found.gradient < 1e-9
    if rule == "published":
        assert found.distance < 1e-9
    else:
        assert found.distance > 0.1  # clusters lie 6 apart and are 0.5 wide


@pytest.mark.slow
@pytest.mark.parametrize("model", ["photo", "vq"])
def test_files_are_as_long_as_the_model_says(model: str, photographs: list[Path]) -> None:
    coder = ModelCoder(Codec(model))
    for picture in photographs[::3]:
        subject = read_subject(picture.stem, picture, Reading())
        for quality in (0.0, 100.0):
            assert measure(coder, subject, quality).honest_size
