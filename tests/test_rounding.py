import torch

from codec.model.rounding import add_noise, for_rate, for_synthesis, round_straight_through


def test_plain_rounding_has_no_gradient_and_noise_has() -> None:
    x = torch.randn(100, requires_grad=True)
    (rounded,) = torch.autograd.grad(x.round().square().sum(), x)
    assert not rounded.any()
    (noisy,) = torch.autograd.grad(add_noise(x).square().sum(), x)
    assert bool(noisy.all())


def test_noise_is_uniform_on_the_unit_cell() -> None:
    noise = add_noise(torch.zeros(100_000))
    assert noise.abs().max() <= 0.5
    # Standard error of the variance of U(-1/2, 1/2) over 1e5 draws is 2.4e-4.
    assert abs(noise.var().item() - 1 / 12) < 1.2e-3


def test_straight_through() -> None:
    x = torch.tensor([0.4, 1.6, -2.5], requires_grad=True)
    y = round_straight_through(x)
    assert y.tolist() == [0.0, 2.0, -2.0]
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_mixed_surrogate_rounds_around_the_mean() -> None:
    x, mean = torch.tensor([3.3]), torch.tensor([0.25])
    assert torch.allclose(for_synthesis(x, mean, "mixed"), torch.tensor([3.25]))
    assert (for_rate(x, mean, "mixed") - (x - mean)).abs().item() <= 0.5


def test_rounded_surrogate_still_trains_the_mean() -> None:
    mean = torch.tensor([0.25], requires_grad=True)
    x = torch.tensor([3.3])
    (rate,) = torch.autograd.grad(for_rate(x, mean, "rounded").sum(), mean)
    (shown,) = torch.autograd.grad(for_synthesis(x, mean, "rounded").sum(), mean)
    assert (rate.item(), shown.item()) == (-1.0, 1.0)


def test_rounded_surrogate_gives_the_encoder_no_gradient() -> None:
    x = torch.tensor([3.3], requires_grad=True)
    assert not for_synthesis(x, 0.25, "rounded").requires_grad
    rate = for_rate(x, 0.25, "rounded")
    assert not rate.requires_grad
    assert rate.item() == 3.0
