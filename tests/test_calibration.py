from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch

from codec.encoder.rdoq import Rdoq
from codec.engine.torch import TorchEngine
from codec.entropy.latents import LatentCoder
from codec.entropy.model import IntegerModel
from codec.entropy.tables import TOTAL
from codec.level import Level
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.densities import SIGMA_LEVELS, gaussian_cell_probability, sigma_of_level
from codec.model.objective import distortion_bits
from codec.training.calibration import (
    LIMIT,
    RATIOS,
    count_symbols,
    fit_mixtures,
    latent_curvature,
    mixture_cell_probability,
)
from codec.training.export import export_model, gaussian_tables
from codec.weights.config import Distortion
from tests.helpers import analyse, crops_of_flowers

SYMBOLS = torch.arange(-LIMIT, LIMIT + 1, dtype=torch.float64)


@pytest.fixture(scope="module")
def model(tiny_autoencoder: RoundingAutoencoder) -> RoundingAutoencoder:
    return tiny_autoencoder


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return (crops_of_flowers(6, 128) * 255).round().to(torch.uint8)


def counts_of(sharpness: float) -> torch.Tensor:
    """Symbols of a two-sided exponential with the deviation of each table."""
    sigma = sigma_of_level(torch.arange(SIGMA_LEVELS, dtype=torch.float64))[:, None]
    mass = torch.exp(-((SYMBOLS.abs() / sigma) ** sharpness))
    return 1e6 * mass / mass.sum(1, keepdim=True)


@pytest.mark.slow
def test_gaussian_symbols_keep_the_gaussian() -> None:
    sigma = sigma_of_level(torch.arange(SIGMA_LEVELS, dtype=torch.float64))
    counts = torch.stack([1e6 * gaussian_cell_probability(SYMBOLS, s) for s in sigma])
    weights = fit_mixtures(counts)
    assert weights.sum(1).numpy() == pytest.approx(1)
    for level in (12, 30, 50):
        before = gaussian_cell_probability(SYMBOLS, sigma[level])
        after = mixture_cell_probability(SYMBOLS, sigma[level], weights[level])
        divergence = (before * (before / after).log())[before > 1e-12].sum()
        assert 0 <= float(divergence) < 1e-4


@pytest.mark.slow
def test_sharper_symbols_cost_less_with_the_fitted_tables() -> None:
    counts = counts_of(1.0)
    plain, fitted = gaussian_tables(), gaussian_tables(fit_mixtures(counts))
    for level in (16, 30, 44):
        low, high = int(plain.low[level]), int(plain.high[level])
        seen = counts[level, LIMIT + low : LIMIT + high + 1].numpy()
        costs = [seen @ -np.log2(tables[level] / TOTAL) / seen.sum() for tables in (plain, fitted)]
        share = seen / seen.sum()
        entropy = -float(share @ np.log2(share))
        assert costs[1] < costs[0] - 0.02
        assert costs[1] - entropy < 0.3 * (costs[0] - entropy)


@pytest.mark.slow
def test_tables_without_symbols_stay_as_they_were() -> None:
    weights = fit_mixtures(torch.zeros(SIGMA_LEVELS, 2 * LIMIT + 1, dtype=torch.float64))
    assert weights[20:, RATIOS.index(1.0)].min() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("curvature", [None, 0.1])
def test_symbols_are_those_of_files(
    model: RoundingAutoencoder, pictures: torch.Tensor, curvature: float | None
) -> None:
    anchors, positions = model.config.anchors, len(pictures) * 8 * 8
    bends = None if curvature is None else torch.full((anchors, model.config.latent), curvature)
    rdoq = None if bends is None else Rdoq(gaussian_tables(), bends.numpy())
    counts = count_symbols(model, pictures, rdoq, batch=4)
    assert counts.sum() == anchors * positions * model.config.latent
    assert torch.equal(counts, counts.flip(1))

    weights = export_model(model, "tiny", {}, curvature=bends)
    engine, coder = TorchEngine(weights), LatentCoder(IntegerModel(weights))
    exact = torch.zeros_like(counts)
    for picture in pictures:
        for anchor in range(anchors):
            level = Level.of_anchor(anchor)
            y, z = analyse(engine, picture.permute(1, 2, 0).numpy().copy(), level)
            rounded = coder.round(y, z, level, rdoq.rule(level) if rdoq else None)
            for group in rounded.passes:
                np.add.at(exact.numpy(), (group.table, group.values + LIMIT), 1)
    exact = (exact + exact.flip(1)) / 2
    # Floats put a few latents on the other side of a rounding threshold than the exact prior.
    assert float((exact - counts).abs().sum() / counts.sum()) < 0.01


@pytest.mark.slow
def test_fitted_tables_make_files_shorter(
    model: RoundingAutoencoder, pictures: torch.Tensor
) -> None:
    mixtures = fit_mixtures(count_symbols(model, pictures))
    picture = pictures[0].permute(1, 2, 0).numpy().copy()
    sizes = []
    for tables in (None, mixtures):
        weights = export_model(model, "tiny", {}, tables)
        y, z = analyse(TorchEngine(weights), picture, Level.of_anchor(5))
        coder = LatentCoder(IntegerModel(weights))
        rounded = coder.round(y, z, Level.of_anchor(5))
        stream = coder.write(rounded)
        y_hat, checksum = coder.read(stream, 8, 8, Level.of_anchor(5))
        assert np.array_equal(y_hat, rounded.y_hat)
        assert checksum == rounded.checksum
        sizes.append(len(stream))
    assert sizes[1] < sizes[0]


@pytest.mark.slow
@pytest.mark.parametrize("distortion", get_args(Distortion))
def test_curvature_is_that_of_the_distortion(
    model: RoundingAutoencoder, distortion: Distortion
) -> None:
    config = dataclasses.replace(model.config, distortion=distortion)
    similar = RoundingAutoencoder(config)
    similar.load_state_dict(model.state_dict())
    pictures = (crops_of_flowers(2, 192) * 255).round().to(torch.uint8)
    found = latent_curvature(similar, pictures)
    assert found is not None
    assert found.shape == (config.anchors, config.latent)

    # Of all latents of one channel moved up and down by random signs, with a small step.
    generator, step, channel, anchor = torch.Generator().manual_seed(1), 0.05, 3, 4
    bends = []
    for x in pictures[:, None].float() / 255:
        level = torch.tensor([float(anchor)])
        y_hat = similar.rounded(x, level)

        def cost(move: torch.Tensor, x=x, y_hat=y_hat, level=level) -> torch.Tensor:  # type: ignore[no-untyped-def]
            shown = similar.synthesise(y_hat + move, level)
            return distortion_bits(x, shown, config.lambda_of(anchor), distortion).sum()

        with torch.no_grad():
            middle = cost(torch.zeros_like(y_hat))
            for _ in range(40):
                move = torch.zeros_like(y_hat)
                signs = torch.randint(0, 2, y_hat.shape[2:], generator=generator) * 2.0 - 1
                move[:, channel] = step * signs
                bends.append((cost(move) + cost(-move) - 2 * middle) / (2 * step**2))
    places = y_hat[0, 0].numel()
    assert found[anchor, channel].item() == pytest.approx(
        torch.stack(bends).mean().item() / places, rel=0.2
    )


def test_tables_reach_what_the_prior_did_not_see_coming(model: RoundingAutoencoder) -> None:
    coder = LatentCoder(IntegerModel(export_model(model, "tiny", {})))
    y, z = np.zeros((model.config.latent, 4, 4)), np.zeros((model.config.hyper, 1, 1))
    y[3, 1, 2] = 400.4
    y_hat, _ = coder.read(coder.write(coder.round(y, z, Level(0))), 4, 4, Level(0))
    assert abs(y_hat[3, 1, 2] - 400.4) <= 0.5


class Broken(RoundingAutoencoder):
    """A model whose synthesis overflows at every n-th call, from the first on."""

    def __init__(self, model: RoundingAutoencoder, every: int) -> None:
        super().__init__(model.config)
        self.load_state_dict(model.state_dict())
        self._every, self._calls = every, 0

    def synthesise(self, y_hat: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        self._calls += 1
        fails = (self._calls - 1) % self._every == 0
        return super().synthesise(y_hat, level) * (torch.nan if fails else 1.0)


@pytest.mark.slow
def test_pictures_without_derivatives_are_left_out(
    model: RoundingAutoencoder, pictures: torch.Tensor
) -> None:
    whole = latent_curvature(model, pictures[[1, 1]])
    half = latent_curvature(Broken(model, every=2).eval(), pictures[[0, 1]])
    assert whole is not None
    assert half is not None
    both = torch.stack([whole.log().flatten(), half.log().flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.9  # of one picture, by other random signs
    assert latent_curvature(Broken(model, every=1).eval(), pictures[:1]) is None
