import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from codec.model.autoencoder import Forward, RoundingAutoencoder
from codec.model.initialisation import start_as_transform_codec
from codec.model.objective import (
    LEAST,
    MOST,
    balance,
    distortion_bits,
    evenness,
    rate_distortion,
)
from codec.model.perceptual import ssimulacra2, ssimulacra2_error
from codec.model.texture import texture_error
from codec.weights.config import ModelConfig


@pytest.mark.parametrize("surrogate", ["noise", "mixed", "rounded"])
def test_forward(tiny_config: ModelConfig, surrogate: str) -> None:
    model = RoundingAutoencoder(tiny_config)
    x = torch.rand(2, 3, 64, 64)
    result = model(x, torch.tensor([0.0, 7.0]), surrogate)
    assert result.x_hat.shape == x.shape
    assert bool((result.y_bits > 0).all())
    assert bool((result.z_bits > 0).all())


def test_only_surrogates_train_the_encoder(tiny_config: ModelConfig) -> None:
    model = RoundingAutoencoder(tiny_config)
    x, level = torch.rand(1, 3, 64, 64), torch.tensor([6.0])

    def encoder_gradient(surrogate: str) -> bool:
        result = model(x, level, surrogate)
        loss = rate_distortion(x, result, torch.tensor([0.1]), "mse").value.sum()
        weight = model.get_parameter("g_a.stem.weight")
        (gradient,) = torch.autograd.grad(loss, weight, allow_unused=True)
        return gradient is not None and bool(gradient.any())

    assert encoder_gradient("noise")
    assert encoder_gradient("mixed")
    assert not encoder_gradient("rounded")


def test_transform_codec_start_beats_a_random_one() -> None:
    config = ModelConfig(channels16=96, latent=96, hyper=4, prior=8, blocks8=1, blocks16=1)
    ramp = torch.linspace(0, 1, 64)
    x = (ramp[None, None, :, None] * ramp).expand(4, 3, -1, -1) * torch.rand(4, 3, 1, 1)
    level = torch.full((4,), 7.0)
    lmbda = torch.full((4,), 0.18)

    def objective(model: RoundingAutoencoder) -> float:
        with torch.no_grad():
            return rate_distortion(x, model(x, level, "rounded"), lmbda, "mse").value.mean().item()

    model = RoundingAutoencoder(config)
    start_as_transform_codec(model, x)
    started = objective(model)
    torch.nn.init.normal_(model.get_parameter("g_a.stem.weight"), std=0.1)
    assert started < objective(model) / 5


def test_objective_counts_bits_and_distortion() -> None:
    x = torch.zeros(1, 3, 10, 10)
    result = Forward(x + 0.1, torch.tensor([150.0]), torch.tensor([50.0]))
    loss = rate_distortion(x, result, torch.tensor([0.02]), "mse")
    assert loss.bpp.item() == 2.0
    assert loss.mse.item() == pytest.approx(0.01)
    assert loss.value.item() == pytest.approx(2.0 + 0.02 * 255**2 * 0.01)


def test_ms_ssim_is_better_for_a_better_picture() -> None:
    x = torch.rand(1, 3, 192, 192)
    bits, lmbda = torch.zeros(1), torch.tensor([0.01])
    losses = [
        rate_distortion(x, Forward(x + noise * torch.randn_like(x), bits, bits), lmbda, "ms-ssim")
        for noise in (0.0, 0.1, 0.3)
    ]
    values = [loss.value.item() for loss in losses]
    assert values[0] == pytest.approx(0.0, abs=1e-4)
    assert values == sorted(values)


def test_looks_are_a_mix_of_four_terms() -> None:
    x = torch.rand(2, 3, 192, 192)
    x_hat = (x + torch.tensor([0.02, 0.2])[:, None, None, None] * torch.randn_like(x)).clamp(0, 1)
    mixed = distortion_bits(x, x_hat, 1.0, "looks") / 192**2
    squared_error = distortion_bits(x, x_hat, 1.0, "mse") / 192**2
    dissimilar = distortion_bits(x, x_hat, 1.0, "ms-ssim") / 192**2 - 0.05 * squared_error
    expected = dissimilar / 2 + 0.35 * squared_error
    expected += 0.65 * ssimulacra2_error(x_hat, x) + 255**2 * texture_error(x_hat, x)
    expected *= 0.7
    assert mixed.tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    assert mixed[0] < mixed[1]


def test_the_error_of_ssimulacra2_is_that_of_its_score() -> None:
    """Of the metric that is reported, which tells an original from what is blurred."""
    noise = torch.rand(2, 3, 16, 16)
    x = functional.resize(noise, [128, 128], antialias=False)
    x_hat = functional.gaussian_blur(x, [9, 9], [2.0, 2.0])
    x, x_hat = (part.mul(255).round() for part in (x, x_hat))
    pairs = [
        [part[n].permute(1, 2, 0).numpy().astype(np.uint8) for part in (x, x_hat)] for n in range(2)
    ]
    x, x_hat = x / 255, (x_hat / 255).requires_grad_()
    error = ssimulacra2_error(x_hat, x)
    found = (100 - 10 * error.detach() ** 0.6276336467831387).tolist()
    assert found == pytest.approx([ssimulacra2(*pair) for pair in pairs], abs=0.02)
    assert found != pytest.approx([ssimulacra2(*pair[::-1]) for pair in pairs], abs=0.5)
    (gradient,) = torch.autograd.grad(error.sum(), x_hat)
    assert bool(gradient.isfinite().all())
    assert bool((gradient != 0).any())


def test_inverted_structure_has_a_way_back() -> None:
    """MS-SSIM alone is cut to 0 there, whatever a small step changes."""
    squares = torch.randint(0, 2, (1, 1, 48, 48)).float().repeat_interleave(4, 2)
    x = squares.repeat_interleave(4, 3).expand(1, 3, 192, 192)
    x_hat = (0.9 - 0.8 * x).requires_grad_()
    result = Forward(x_hat, torch.zeros(1), torch.zeros(1))
    rate_distortion(x, result, torch.tensor([0.01]), "ms-ssim").value.sum().backward()  # type: ignore[no-untyped-call]
    assert x_hat.grad is not None
    assert bool((x_hat.grad * (x_hat - x) > 0).all())


def test_balance_gives_each_rate_a_say() -> None:
    assert balance(torch.tensor([0.01, 0.04]), 0.01).tolist() == pytest.approx([1.0, 0.5])


def test_one_picture_does_not_own_the_gradient() -> None:
    losses = torch.tensor([0.001, 2.0, 3.0, 4000.0], requires_grad=True)
    weights = evenness(losses)
    assert weights[0].item() == pytest.approx(LEAST**-0.5)
    assert weights[1:3].tolist() == pytest.approx([1, (2 / 3) ** 0.5])
    assert (losses * weights)[3].item() == pytest.approx(MOST * 2.0)
    (losses * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert losses.grad is not None
    assert torch.equal(losses.grad, weights)
