"""The difference of textures: what it sees and what it does not."""

import pytest
import torch
from torch.nn import functional as F

from codec.model.texture import local_statistics, texture_error, texture_share


def grain(seed: int, contrast: float = 0.15) -> torch.Tensor:
    noise = torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(seed))
    return (0.5 + contrast * noise).clamp(0, 1).repeat(1, 3, 1, 1)


def blurred(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def test_equal_pictures_have_no_error() -> None:
    x = grain(1)
    assert float(texture_error(x, x)) == 0


def test_another_sample_is_nearer_than_a_blurred_one() -> None:
    """Squared error says the opposite."""
    x, other = grain(1), grain(2)
    same_texture, smooth = texture_error(other, x), texture_error(blurred(x), x)
    assert float(same_texture) < 0.2 * float(smooth)
    assert (other - x).square().mean() > (blurred(x) - x).square().mean()


def test_edges_are_no_texture() -> None:
    stripes = (0.5 + 0.3 * torch.sin(torch.arange(96) * 1.2)).expand(1, 1, 96, 96)
    shares = [
        float(texture_share(local_statistics(one)[1]).mean()) for one in (stripes, grain(1)[:, :1])
    ]
    assert shares[0] < 0.05
    assert shares[1] > 0.7


def test_flat_ground_is_no_texture() -> None:
    flat = torch.full((1, 3, 96, 96), 0.5)
    assert float(texture_error(grain(1, 0.01), flat)) < 1e-3 * float(texture_error(flat, grain(1)))


@pytest.mark.parametrize("x_hat", [torch.full((2, 3, 88, 96), 0.5), torch.zeros(2, 3, 88, 96)])
def test_gradients_are_finite(x_hat: torch.Tensor) -> None:
    x_hat = x_hat.clone().requires_grad_()
    x = torch.cat([grain(3)[:, :, :88], x_hat.detach()[:1]])
    error = texture_error(x_hat, x)
    assert error.shape == (2,)
    (gradient,) = torch.autograd.grad(error.sum(), x_hat)
    assert torch.isfinite(gradient).all()
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0
