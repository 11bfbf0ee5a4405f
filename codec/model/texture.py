"""Difference of textures: local statistics of a filter bank, without a trained network.

Where a picture is texture, another sample of the same texture looks alike, and a blurred one does
not; squared error says the opposite. As in Wasserstein distortion (Qiu, Balle, Wagner, Theis 2023),
the responses of filters are compared by their local means and deviations: the squared Wasserstein
distance between normal distributions of mean mu and deviation s,

    |mu - mu^|^2 + |s - s^|^2

The filters are second derivatives of a Gaussian in four directions, of luma at three scales. What
counts is where the original's responses are strong and have no common direction: there is texture;
at edges and on flat ground the distance has no weight.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = 3
DIRECTIONS = 4
RADIUS = 3
"""Of a filter, in samples of its scale."""
WIDTH = 1.2
"""Standard deviation of its Gaussian."""
POOL = 16
"""Side of the windows of local statistics in samples of a scale: 16, 32 and 64 pixels, large enough
for deviations to say little of the sample."""
LUMA = 0.299, 0.587, 0.114
FLOOR = (2 / 255) ** 2
"""Energy of responses below which there is no texture but noise, as a variance of samples 0..1;
deviations below its root are not told apart, which keeps gradients finite."""


def texture_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Weighted mean of the distances between local statistics, of each picture, [B].

    Args:
        x_hat: reconstructions [B, 3, H, W] in 0..1, sides of at least 88.
        x: originals, likewise.

    Returns:
        Mean over positions and filters, in squares of samples 0..1, summed over scales.
    """
    luma = x.new_tensor(LUMA)[:, None, None]
    one, other = ((picture * luma).sum(1, keepdim=True) for picture in (x_hat, x))
    total = x.new_zeros(len(x))
    for scale in range(SCALES):
        if scale:
            one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
        (mean_hat, power_hat), (mean, power) = (
            local_statistics(picture) for picture in (one, other)
        )
        deviation_hat, deviation = (
            (second - first.square() + FLOOR).clamp_min(FLOOR).sqrt()
            for first, second in ((mean_hat, power_hat), (mean, power))
        )
        distance = (mean_hat - mean).square() + (deviation_hat - deviation).square()
        total = total + (distance * texture_share(power)).mean((1, 2, 3))
    return total


def local_statistics(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Local means of the responses to luma [B, 1, H, W] and of their squares, each
    [B, directions, h, w]."""
    bank = _bank().to(luma)
    responses = F.conv2d(luma, bank)
    pooled = (
        F.avg_pool2d(values, POOL, stride=POOL // 4) for values in (responses, responses.square())
    )
    mean, power = pooled
    return mean, power


def texture_share(power: Tensor) -> Tensor:
    """How much of a place is texture, 0..1, from the energies by direction; [B, 1, h, w]."""
    energy = power.mean(1, keepdim=True)
    # With energies alike in all directions, one over their number of the sum is each one's.
    even = 1 - (power - energy).abs().mean(1, keepdim=True) / (energy + FLOOR)
    return even.clamp(0, 1).square() * energy / (energy + FLOOR)


@cache
def _bank() -> Tensor:
    """Filters [directions, 1, side, side] of mean 0 and of unit norm."""
    at = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    filters = []
    for number in range(DIRECTIONS):
        angle = math.pi * number / DIRECTIONS
        along = math.cos(angle) * columns + math.sin(angle) * rows
        envelope = torch.exp(-(rows**2 + columns**2) / (2 * WIDTH**2))
        one = (along**2 / WIDTH**2 - 1) * envelope
        one -= one.sum() / envelope.sum() * envelope
        filters.append(one / one.norm())
    return torch.stack(filters)[:, None].float()
