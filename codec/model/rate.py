"""Rate control: one model for a range of lambdas.

Quantities are learned at anchor lambdas and interpolated geometrically in between: their logarithm
is linear in the level, which is linear in log lambda.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from codec.weights.config import ModelConfig


def interpolate(table: Tensor, level: Tensor) -> Tensor:
    """Interpolate rows of `table` [anchors, C] at fractional levels [B]; returns [B, C]."""
    low = level.floor().clamp(0, max(len(table) - 2, 0)).long()
    high = (low + 1).clamp_max(len(table) - 1)
    fraction = (level - low)[:, None]
    return torch.lerp(table[low], table[high], fraction)


class LevelScale(nn.Module):
    """Channel-wise scaling that depends on the level."""

    def __init__(self, anchors: int, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(anchors, channels))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale = interpolate(self.log_scale, level).exp()
        return x * scale[:, :, None, None].to(x.dtype)


class Gain(nn.Module):
    """Per-channel gains on y before rounding, and separately learned inverses after it.

    Initialised to the high-rate optimum of a uniform quantiser for an orthonormal transform of
    0..1 samples: the derivatives of bits/pixel + lambda 255^2 MSE (mean over three colours),
    -1/(step ln 2) and lambda 255^2 step / 18, cancel at step^2 = 18 / (lambda 255^2 ln 2).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        lambdas = [config.lambda_of(level) for level in range(config.anchors)]
        steps = torch.tensor([math.sqrt(18 / (v * 255**2 * math.log(2))) for v in lambdas])
        log_gain = -steps.log()[:, None].expand(-1, config.latent)
        self.log_gain = nn.Parameter(log_gain.clone())
        self.log_inverse = nn.Parameter(-log_gain.clone())

    def forward(self, y: Tensor, level: Tensor) -> Tensor:
        return y * interpolate(self.log_gain, level).exp()[:, :, None, None]

    def inverse(self, y: Tensor, level: Tensor) -> Tensor:
        return y * interpolate(self.log_inverse, level).exp()[:, :, None, None]
