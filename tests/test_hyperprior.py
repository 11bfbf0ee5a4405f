import torch

from codec.model.config import ModelConfig
from codec.model.hyperprior import ExactPrior, HyperAnalysis, checkerboard


def test_checkerboard_halves() -> None:
    first = checkerboard(4, 2, 2, torch.device("cpu"))
    assert first[0].tolist() == [[True, False], [False, True]]
    assert first[3].tolist() == [[False, True], [True, False]]
    assert first.sum() * 2 == first.numel()


def random_prior(config: ModelConfig) -> ExactPrior:
    prior = ExactPrior(config)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return prior


def test_shapes(tiny_config: ModelConfig) -> None:
    y = torch.randn(2, tiny_config.latent, 8, 4)
    z = HyperAnalysis(tiny_config)(y)
    assert z.shape == (2, tiny_config.hyper, 2, 1)
    features = ExactPrior(tiny_config).features(z, torch.zeros(2))
    assert features.shape == (2, tiny_config.prior, 8, 4)


def test_second_pass_sees_only_the_first(tiny_config: ModelConfig) -> None:
    # Decoding order: nothing that pass 2 predicts may depend on a latent of pass 2.
    prior = random_prior(tiny_config)
    y = torch.randn(1, tiny_config.latent, 4, 4, requires_grad=True)
    first = checkerboard(tiny_config.latent, 4, 4, y.device)
    level = torch.zeros(1)
    features = prior.features(torch.randn(1, tiny_config.hyper, 1, 1), level)
    mu, scale = prior.second_pass(features, y.where(first, 0.0), level)
    (gradient,) = torch.autograd.grad((mu + scale).sum(), y)
    assert not gradient[0][~first].any()
    assert gradient[0][first].any()


def test_level_moves_the_prior(tiny_config: ModelConfig) -> None:
    prior = random_prior(tiny_config)
    z = torch.randn(1, tiny_config.hyper, 1, 1).expand(2, -1, -1, -1)
    level = torch.tensor([0.0, 5.0])
    mu, _ = prior.first_pass(prior.features(z, level), level)
    assert not torch.allclose(mu[0], mu[1])
