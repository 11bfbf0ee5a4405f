import dataclasses

import pytest
import torch

from codec.codec import Codec
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.dct import dct_matrix, opponent_dct_basis
from codec.model.gdn import GDN
from codec.model.transforms import Block, PictureFilter, build_transforms
from codec.training.initial import state_of
from codec.weights.config import ModelConfig
from tests.helpers import crops_of_flowers


@pytest.mark.parametrize("transform", ["lowres", "gdn"])
def test_shapes(transform: str) -> None:
    config = ModelConfig(transform=transform, channels8=8, channels16=12, latent=12)  # type: ignore[arg-type]
    g_a, g_s = build_transforms(config)
    x, level = torch.rand(2, 3, 48, 32), torch.zeros(2)
    y = g_a(x, level)
    assert y.shape == (2, 12, 3, 2)
    assert g_s(y, level).shape == x.shape


def test_dct_is_orthonormal() -> None:
    for basis in (dct_matrix(8), opponent_dct_basis(192).double()):
        assert torch.allclose(basis @ basis.T, torch.eye(len(basis), dtype=basis.dtype), atol=1e-6)


def test_first_basis_function_is_the_mean_grey() -> None:
    assert torch.allclose(opponent_dct_basis(1), torch.full((1, 192), 192**-0.5))


def test_full_width_start_is_lossless() -> None:
    # With all 768 channels the start is an orthonormal transform and its transpose.
    config = ModelConfig(channels16=768, latent=768, blocks8=1, blocks16=1)
    g_a, g_s = build_transforms(config)
    x, level = torch.rand(1, 3, 32, 32), torch.full((1,), 3.5)
    y = g_a(x, level)
    assert torch.allclose(g_s(y, level), x, atol=1e-5)
    assert y.square().sum().item() == pytest.approx((x - 0.5).square().sum().item(), rel=1e-4)


def test_block_starts_as_the_identity() -> None:
    x = torch.randn(1, 6, 4, 4)
    assert torch.equal(Block(6, 5, 4.0)(x), x)


def test_filter_starts_as_the_identity_and_crosses_the_squares_of_the_stem() -> None:
    layer = PictureFilter(7)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(layer(x), x)
    torch.nn.init.ones_(layer.leave.weight)
    x.requires_grad_()
    layer(x)[0, :, 8, 8].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    assert (rows[0], rows[-1]) == (0, 19)


def test_bounded_gates_keep_a_block_from_exploding() -> None:
    def growth(bound: float) -> float:
        torch.manual_seed(0)
        block = Block(6, 6, bound)
        torch.nn.init.normal_(block.w2.weight)
        torch.nn.init.normal_(block.w4.weight)
        x = torch.randn(1, 6, 4, 4)
        with torch.no_grad():
            return float(block(1e6 * x).abs().max() / block(1e3 * x).abs().max())

    assert growth(4.0) == pytest.approx(1e3, rel=0.05)
    assert growth(0.0) == pytest.approx(1e6, rel=0.05)


@pytest.mark.slow
def test_photographs_do_not_notice_the_bound(released_codec: Codec) -> None:
    state = state_of(released_codec.weights)
    pictures = crops_of_flowers(4, 256)
    level = torch.tensor([0.0, 2.0, 5.0, 7.0])

    def shown(bound: float) -> torch.Tensor:
        model = RoundingAutoencoder(
            dataclasses.replace(released_codec.weights.config, gate_bound=bound)
        )
        model.load_state_dict(state)
        with torch.no_grad():
            return model(pictures, level, "rounded").x_hat

    assert torch.equal(shown(ModelConfig().gate_bound), shown(0.0))


def test_gdn_learns_to_normalise_across_channels_from_its_start() -> None:
    """Two channels of one common scale: only gamma off the diagonal makes them unit normal."""
    torch.manual_seed(0)
    gdn = GDN(2)
    optimiser = torch.optim.Adam(gdn.parameters(), 1e-2)
    for _ in range(300):
        scale = torch.randn(256, 1, 1, 1).exp()
        x = scale * torch.randn(256, 2, 1, 1).sign()
        loss = (gdn(x).square() - 0.5).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    gamma = gdn.gamma_root.detach() ** 2
    assert bool((gamma[[0, 1], [1, 0]] > 0.05).all())


def test_parameters_of_gdn_come_back_from_below_their_bounds() -> None:
    gdn = GDN(2)
    with torch.no_grad():
        gdn.beta_root.fill_(-0.5)
        gdn.gamma_root.fill_(-0.5)
    x = torch.full((1, 2, 1, 1), 3.0)
    least = 3.0 / GDN.BETA_MIN**0.5
    assert gdn(x).flatten().tolist() == pytest.approx([least, least])
    slopes = torch.autograd.grad(gdn(x).sum(), [gdn.beta_root, gdn.gamma_root])
    assert all(bool((slope < 0).all()) for slope in slopes)  # a step down raises them


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse: bool) -> None:
    gdn = GDN(3, inverse)
    torch.nn.init.uniform_(gdn.beta_root, 0.5, 1.5)
    torch.nn.init.uniform_(gdn.gamma_root, 0.1, 0.9)
    x = torch.randn(1, 3, 1, 1)
    beta, gamma = gdn.beta_root**2, gdn.gamma_root**2
    for i in range(3):
        norm = (beta[i] + sum(gamma[i, j] * x[0, j] ** 2 for j in range(3))).sqrt()
        expected = x[0, i] * norm if inverse else x[0, i] / norm
        assert torch.allclose(gdn(x)[0, i], expected, rtol=1e-4)
