import pytest
import torch

from codec.model.rate import Gain, LevelScale, interpolate
from codec.weights.config import ModelConfig


def test_interpolation() -> None:
    table = torch.tensor([[0.0, 4.0], [1.0, 8.0], [3.0, 0.0]])
    level = torch.tensor([0.0, 0.5, 1.25, 2.0])
    expected = [[0.0, 4.0], [0.5, 6.0], [1.5, 6.0], [3.0, 0.0]]
    assert interpolate(table, level)[:, :, 0, 0].tolist() == expected
    by_position = interpolate(table, level.reshape(1, 2, 2))
    assert by_position.permute(0, 2, 3, 1).reshape(4, 2).tolist() == expected


def test_interpolation_with_one_anchor() -> None:
    assert interpolate(torch.tensor([[7.0]]), torch.zeros(2)).flatten().tolist() == [7.0, 7.0]


def test_scale_between_anchors_is_the_geometric_mean() -> None:
    scale = LevelScale(2, 1)
    with torch.no_grad():
        scale.log_scale[:, 0] = torch.tensor([2.0, 8.0]).log()
    x = torch.ones(1, 1, 1, 1)
    assert scale(x, torch.tensor([0.5])).item() == pytest.approx(4.0)


def test_gain_starts_at_the_optimal_step_and_inverts() -> None:
    gain = Gain(ModelConfig(latent=4))
    y, level = torch.ones(1, 4, 1, 1), torch.tensor([7.0])
    # step^2 = 18 / (0.18 * 255^2 ln 2)
    assert gain(y, level)[0, 0].item() == pytest.approx((0.18 * 255**2 * 0.693147 / 18) ** 0.5)
    assert torch.allclose(gain.inverse(gain(y, level), level), y)
