"""Random changes to training crops, for the photographs that a collection lacks.

Photographs that were shrunk for training have sharp edges, colours as fine as their grey, and
hardly any grain; what users compress has been through other lenses, sensors, developers and file
formats. A varied crop is resized, its colours are developed anew, they lose half of their
resolution, as in most JPEG files and scans, and grain is added: each by chance, to a random degree.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

CHANCE = 0.5
"""Of each change."""
SCALE = 0.5
"""Largest |log2| of the factor by which a crop is resized."""
SATURATION = 0.5
"""Largest |ln| of the factor on colours' distances from grey."""
GAMMA = 0.3
"""Largest |ln| of the exponent of all samples."""
BALANCE = 0.15
"""Largest |ln| of the gain of each colour."""
GRAIN = 3 / 255
"""Largest standard deviation of the grain."""
LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601)."""


def source_side(size: int, largest: int, generator: torch.Generator) -> int:
    """Side of the square that `varied` shall make a crop of `size` of.

    Args:
        size: side of the crop.
        largest: side that the square may have.
        generator: of the random numbers.
    """
    chance, place = torch.rand(2, generator=generator).tolist()
    factor = 2 ** (SCALE * (2 * place - 1)) if chance < CHANCE else 1.0
    return min(largest, round(size * factor))


def varied(square: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A crop made of a square of a picture, changed at random.

    Args:
        square: [3, n, n] in 0..1.
        size: side of the crop, even.
        generator: of the random numbers, on the CPU.

    Returns:
        [3, size, size], samples of 8 bits in 0..1.
    """
    chances = torch.rand(3, generator=generator).tolist()
    develops, coarsens, adds_grain = (chance < CHANCE for chance in chances)
    crop = square[None]
    if crop.shape[-1] != size:
        crop = F.interpolate(crop, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    if develops:
        crop = _developed(crop, generator)
    if coarsens:
        grey = _grey(crop)
        coarse = F.avg_pool2d(crop - grey, 2)
        crop = grey + F.interpolate(coarse, (size, size), mode="bilinear")
    if adds_grain:
        crop = crop + _grain(size, generator).to(crop.device)
    return (crop[0].clamp(0, 1) * 255).round() / 255


def _developed(crop: Tensor, generator: torch.Generator) -> Tensor:
    """Another exponent, other gains of the colours, and more or less of them."""
    draws = 2 * torch.rand(5, generator=generator) - 1
    gains = (BALANCE * draws[:3]).exp().to(crop.device)
    gamma, saturation = math.exp(GAMMA * draws[3]), math.exp(SATURATION * draws[4])
    crop = (crop**gamma * gains[:, None, None]).clamp(0, 1)
    grey = _grey(crop)
    return (grey + saturation * (crop - grey)).clamp(0, 1)


def _grey(crop: Tensor) -> Tensor:
    """[1, 1, H, W]."""
    shares = torch.tensor(LUMA, device=crop.device)
    return (crop * shares[:, None, None]).sum(1, keepdim=True)


def _grain(size: int, generator: torch.Generator) -> Tensor:
    """Noise that the colours share, and half as much of each one's own."""
    deviation = GRAIN * torch.rand(1, generator=generator)
    shared = torch.randn(1, 1, size, size, generator=generator)
    own = torch.randn(1, 3, size, size, generator=generator)
    return deviation * (shared + own / 2)
