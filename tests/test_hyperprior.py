import torch

from codec.entropy.graph import CHECKERBOARD
from codec.model.hyperprior import HyperAnalysis, LatentPrior, pass_numbers
from codec.weights.config import PASSES, ModelConfig


def test_two_passes_are_halves_of_a_checkerboard() -> None:
    numbers = pass_numbers(4, 2, 2, torch.device("cpu"), CHECKERBOARD)
    assert numbers[0].tolist() == numbers[1].tolist() == [[0, 1], [1, 0]]
    assert numbers[2].tolist() == numbers[3].tolist() == [[1, 0], [0, 1]]


def test_four_passes_split_the_two() -> None:
    four = pass_numbers(8, 4, 6, torch.device("cpu"))
    assert torch.equal(four // 2, pass_numbers(8, 4, 6, torch.device("cpu"), CHECKERBOARD))
    # Of a channel, the first pass knows nothing, the second its diagonal neighbours, ...
    (row, column) = (four[0, 1:3, 1:5] == 1).nonzero()[0] + 1
    assert four[0, row - 1 : row + 2, column - 1 : column + 2].tolist() == [
        [0, 2, 0],
        [3, 1, 3],
        [0, 2, 0],
    ]
    # ... and every pass holds a quarter of the channels everywhere.
    assert all(((four == number).sum(0) == 2).all() for number in range(4))


def random_prior(config: ModelConfig) -> LatentPrior:
    prior = LatentPrior(config)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return prior


def test_shapes(tiny_config: ModelConfig) -> None:
    y = torch.randn(2, tiny_config.latent, 8, 4)
    z = HyperAnalysis(tiny_config)(y)
    assert z.shape == (2, tiny_config.hyper, 2, 1)
    features = LatentPrior(tiny_config).features(z, torch.zeros(2))
    assert features.shape == (2, tiny_config.prior, 8, 4)


def test_a_pass_sees_only_those_before(tiny_config: ModelConfig) -> None:
    # Decoding order: nothing that a pass predicts may depend on a latent of itself or later.
    config = tiny_config
    prior = random_prior(config)
    y = torch.randn(1, config.latent, 4, 4, requires_grad=True)
    numbers = pass_numbers(config.latent, 4, 4, y.device)
    level = torch.zeros(1)
    features = prior.features(torch.randn(1, config.hyper, 1, 1), level)
    for number in range(PASSES):
        known = y.where(numbers < number, 0.0)
        features, mu, scale = prior.predict(number, features, known, level)
        seen = torch.autograd.grad((mu + scale).sum(), y, retain_graph=True, allow_unused=True)[0]
        if number == 0:
            assert seen is None
        else:
            assert seen is not None
            assert not seen[0][numbers >= number].any()
            assert seen[0][numbers < number].all()


def test_level_moves_the_prior(tiny_config: ModelConfig) -> None:
    prior = random_prior(tiny_config)
    z = torch.randn(1, tiny_config.hyper, 1, 1).expand(2, -1, -1, -1)
    level = torch.tensor([0.0, 5.0])
    known = torch.zeros(2, tiny_config.latent, 4, 4)
    _, mu, _ = prior.predict(0, prior.features(z, level), known, level)
    assert not torch.allclose(mu[0], mu[1])
