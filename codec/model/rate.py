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
    """Rows of a table at fractional levels, as factors or offsets of the channels of pictures.

    Args:
        table: [anchors, C].
        level: of each picture, [B], or of each position, [B, H, W].

    Returns:
        [B, C, 1, 1], or [B, C, H, W].
    """
    low = level.floor().clamp(0, max(len(table) - 2, 0)).long()
    high = (low + 1).clamp_max(len(table) - 1)
    rows = torch.lerp(table[low], table[high], (level - low)[..., None])
    return rows[:, :, None, None] if level.dim() == 1 else rows.movedim(-1, 1)


def refined(level: Tensor) -> Tensor:
    """Levels at the positions of 1/8 from those at 1/16: [B], or [B, H, W] to twice its size."""
    if level.dim() == 1:
        return level
    return level.repeat_interleave(2, 1).repeat_interleave(2, 2)


def coarsened(level: Tensor) -> Tensor:
    """Levels at the positions of z from those of y: [B], or [B, H, W] to a quarter of its size,
    which must be whole; see `codec.level_map.of_hyper`."""
    return level if level.dim() == 1 else level[:, 2::4, 2::4]


class LevelScale(nn.Module):
    """Channel-wise scaling at 1/8 that depends on the level."""

    def __init__(self, anchors: int, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(anchors, channels))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return x * interpolate(self.log_scale, refined(level)).exp().to(x.dtype)


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
        return y * interpolate(self.log_gain, level).exp()

    def inverse(self, y: Tensor, level: Tensor) -> Tensor:
        return y * interpolate(self.log_inverse, level).exp()
