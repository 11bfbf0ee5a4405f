"""Random maps of levels, so that a model learns what files with a map look like.

A part of the pictures has levels that vary smoothly by up to some anchors around the drawn one. The
gradient of the distortion by a pixel is weighted by its lambda relative to that of the drawn level,
so that each position is trained for the slope of its own level.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.level_map import CELL
from codec.tiles import LATENT_STRIDE
from codec.weights.config import ModelConfig

MOST = 1.5
"""Largest standard deviation of a map in anchors."""


def draw_maps(
    level: Tensor, side: int, config: ModelConfig, share: float, generator: torch.Generator
) -> Tensor:
    """Levels by latent position of a batch, [B, side / 16, side / 16]; [B] if no picture has a map.

    Args:
        level: drawn levels, [B].
        side: of the crops in pixels, a multiple of 64.
        config: of the model.
        share: of the pictures, on average, that have a map.
        generator: of random numbers.
    """
    if config.rounding == "vq" or config.anchors == 1:
        return level
    chosen = torch.rand(len(level), generator=generator) < share
    if not chosen.any():
        return level
    maps = level[:, None, None].repeat(1, side // LATENT_STRIDE, side // LATENT_STRIDE)
    for number in chosen.nonzero()[:, 0].tolist():
        # From broad slopes to a value for each cell of a file.
        cells = int(torch.randint(2, side // CELL + 1, (), generator=generator))
        noise = torch.randn(1, 1, cells, cells, generator=generator)
        noise *= MOST * float(torch.rand((), generator=generator))
        maps[number] += F.interpolate(noise, maps.shape[1:], mode="bilinear")[0, 0]
    return maps.clamp(0, config.anchors - 1)


def with_weighted_gradient(
    x_hat: Tensor, levels: Tensor, base: Tensor, config: ModelConfig
) -> Tensor:
    """Reconstructions whose gradient is that times lambda relative to lambda of a base level.

    Args:
        x_hat: [B, 3, H, W].
        levels: of the latent positions, [B, H/16, W/16]; or [B], for no weights.
        base: levels that the loss has its lambdas from, [B].
        config: of the model.
    """
    if levels.dim() == 1:
        return x_hat
    weights = ((levels - base[:, None, None]) * config.log_lambda_step).exp()[:, None].to(x_hat)
    weights = F.interpolate(weights, x_hat.shape[2:], mode="nearest")
    return x_hat * weights + (x_hat * (1 - weights)).detach()
