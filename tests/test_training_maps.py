"""Random maps of levels in training."""

import dataclasses

import pytest
import torch

from codec.training.level_maps import draw_maps, with_weighted_gradient
from codec.weights.config import ModelConfig

CONFIG = ModelConfig()


def drawn(share: float, config: ModelConfig = CONFIG) -> torch.Tensor:
    level = torch.tensor([0.0, 2.5, 5.0, 7.0])
    return draw_maps(level, 192, config, share, torch.Generator().manual_seed(3))


def test_maps_are_smooth_and_inside_the_ladder() -> None:
    maps = drawn(1.0)
    assert maps.shape == (4, 12, 12)
    assert (float(maps.min()), float(maps.max())) == (0, 7)
    assert maps.flatten(1).std(1).min() > 0.05
    # A cell has 2x2 positions, between whose centres levels are linear: neighbours are alike.
    assert maps.diff(dim=1).abs().mean() < maps.flatten(1).std(1).mean()


def test_no_map() -> None:
    assert drawn(0.0).dim() == 1
    assert (
        drawn(1.0, dataclasses.replace(CONFIG, anchors=1, lambda_min=0.1, lambda_max=0.1)).dim()
        == 1
    )
    assert drawn(1.0, dataclasses.replace(CONFIG, rounding="vq")).dim() == 1


def test_some_maps() -> None:
    level = torch.full((64,), 3.0)
    maps = draw_maps(level, 64, CONFIG, 0.25, torch.Generator().manual_seed(1))
    count = int((maps.flatten(1).std(1) > 0).sum())
    assert 8 <= count <= 24


def test_gradients_are_weighted_by_lambda() -> None:
    base, levels = torch.tensor([2.0]), torch.full((1, 2, 2), 2.0)
    levels[0, 0, 1] = 3.0
    x_hat = torch.rand(1, 3, 32, 32, requires_grad=True)
    weighted = with_weighted_gradient(x_hat, levels, base, CONFIG)
    assert torch.allclose(weighted, x_hat)
    weighted.sum().backward()  # type: ignore[no-untyped-call]
    gradient = x_hat.grad
    assert gradient is not None
    ratio = CONFIG.lambda_of(3.0) / CONFIG.lambda_of(2.0)
    assert float(gradient[0, 0, 0, 31]) == pytest.approx(ratio, rel=1e-5)
    assert float(gradient[0, 2, 31, 31]) == pytest.approx(1, rel=1e-5)
    assert with_weighted_gradient(x_hat, base, base, CONFIG) is x_hat
