"""Densities of latents and their discretisation.

The probability of a rounded latent is that of the unit cell around it, and equals the density of
the latent with additive uniform noise (Balle et al. 2017, eq. 8-12):

    P(z~) = E_eps p(z~ + eps) = c(z~ + 1/2) - c(z~ - 1/2),    eps ~ U(-1/2, 1/2)

with c the cumulative of p. Training evaluates it at noisy latents, validation at rounded ones, and
the export at every integer of a table's support, all by `cell_probability`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.entropy.graph import SCALE_TABLES
from codec.model.bounds import lower_bound

SIGMA_MIN = 0.11
SIGMA_MAX = 256.0
SIGMA_LEVELS = SCALE_TABLES
LOG_SIGMA_STEP = math.log(SIGMA_MAX / SIGMA_MIN) / (SIGMA_LEVELS - 1)

PROBABILITY_FLOOR = 2.0**-24
"""Least probability of a symbol: every entry of a frequency table is at least 1 of 2^24."""


def normal_cdf(x: Tensor) -> Tensor:
    """Cumulative of the standard normal, accurate in the lower tail."""
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


def cell_probability(cdf: Callable[[Tensor], Tensor], lower: Tensor, upper: Tensor) -> Tensor:
    """Probability mass between two transformed cell edges.

    Args:
        cdf: cumulative of a density that is symmetric about 0.
        lower: t(z - 1/2), upper: t(z + 1/2), for an increasing t with c(z) = cdf(t(z)).

    The difference is taken in the lower tail, where its relative accuracy is highest.
    """
    sign = -torch.sign(lower + upper).detach()
    sign = torch.where(sign == 0, 1.0, sign)
    return (cdf(sign * upper) - cdf(sign * lower)).abs()


def bits(probability: Tensor) -> Tensor:
    """-log2 of probabilities, of at least `PROBABILITY_FLOOR`."""
    return -lower_bound(probability, PROBABILITY_FLOOR).log2()


def sigma_of_level(level: Tensor) -> Tensor:
    """Standard deviation at a position 0..63 on the log-spaced ladder 0.11..256, clamped."""
    bounded = level.clamp(0, SIGMA_LEVELS - 1) if not level.requires_grad else _soft_clamp(level)
    return SIGMA_MIN * (bounded * LOG_SIGMA_STEP).exp()


def _soft_clamp(level: Tensor) -> Tensor:
    return -lower_bound(-lower_bound(level, 0.0), -(SIGMA_LEVELS - 1.0))


def gaussian_cell_probability(residual: Tensor, sigma: Tensor) -> Tensor:
    """Cell probability of N(0, sigma^2) at `residual`: Phi((q+1/2)/s) - Phi((q-1/2)/s)."""
    return cell_probability(normal_cdf, (residual - 0.5) / sigma, (residual + 0.5) / sigma)


class FactorizedDensity(nn.Module):
    """Non-parametric density per channel (Balle et al. 2018, appendix 6.1).

    The cumulative is a sigmoid of a chain of monotone layers
    x -> x + tanh(a) * tanh(x), x = softplus(H) x + b, of widths 1, 3, 3, 3, 1.
    """

    WIDTHS = (1, 3, 3, 3, 1)
    INITIAL_SPREAD = 10.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        layers = len(self.WIDTHS) - 1
        gain = self.INITIAL_SPREAD ** (1 / layers)
        for inputs, outputs in zip(self.WIDTHS, self.WIDTHS[1:], strict=False):
            start = math.log(math.expm1(1 / gain / outputs))
            self.matrices.append(nn.Parameter(torch.full((channels, outputs, inputs), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, outputs, 1) - 0.5))
        for width in self.WIDTHS[1:-1]:
            self.factors.append(nn.Parameter(torch.zeros(channels, width, 1)))

    def logits(self, x: Tensor) -> Tensor:
        """t(x) with c(x) = sigmoid(t(x)); x and result [channels, 1, n]."""
        for index, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = F.softplus(matrix) @ x + bias
            if index < len(self.factors):
                x = x + torch.tanh(self.factors[index]) * torch.tanh(x)
        return x

    def cell_probability(self, z: Tensor) -> Tensor:
        """Cell probability at z [B, channels, H, W], same shape."""
        flat = z.transpose(0, 1).reshape(z.shape[1], 1, -1)
        mass = cell_probability(torch.sigmoid, self.logits(flat - 0.5), self.logits(flat + 0.5))
        return mass.reshape(z.transpose(0, 1).shape).transpose(0, 1)
