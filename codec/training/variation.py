"""Random changes to training crops, for the photographs that a collection lacks.

Collections of photographs that were shrunk for training have sharp edges, as much detail in colour
as in luminance, little noise and no compression artefacts. What users compress has passed through
other lenses, sensors, raw converters and file formats. Each change imitates one of them:

resizing       lenses and enlargements: softer edges, another spectrum
development    raw converters: gamma, white balance (a gain per colour), saturation
grain          sensors and film: Gaussian noise, the most of it in luminance
JPEG           files that are compressed again: blocking, ringing, 4:2:0 chroma subsampling

They come in the order of a camera, each with the same probability and of a random strength. All
random numbers are those of one generator, so that a resumed run sees the same crops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Variation:
    """How likely and how strong the changes are; strengths are uniform up to these."""

    chance: float = 0.5
    """Probability of each change."""
    scale: float = 0.5
    """Largest |log2| of the factor by which a crop is resized."""
    gamma: float = 0.3
    """Largest |ln| of the exponent of all samples."""
    balance: float = 0.15
    """Largest |ln| of the gain of each colour."""
    saturation: float = 0.5
    """Largest |ln| of the factor on the distance of a colour from grey."""
    grain: float = 3 / 255
    """Largest standard deviation of the noise that the colours share; each has half as much of its
    own besides."""
    jpeg: tuple[int, int] | None = (75, 95)
    """Lowest and highest quality of JPEG files; None: no JPEG."""


VARIATION = Variation()


def source_side(
    size: int, largest: int, generator: torch.Generator, variation: Variation = VARIATION
) -> int:
    """Side of the square from which `varied` makes a crop.

    Args:
        size: side of the crop.
        largest: largest side of the square.
        generator: source of the random numbers, on the CPU.
        variation: strength of the changes.
    """
    chance, position = torch.rand(2, generator=generator).tolist()
    enlarges = chance < variation.chance
    factor = 2 ** (variation.scale * (2 * position - 1)) if enlarges else 1.0
    return min(largest, round(size * factor))


def varied(
    square: Tensor, size: int, generator: torch.Generator, variation: Variation = VARIATION
) -> Tensor:
    """Make a randomly changed crop of a square of a picture.

    Args:
        square: [3, n, n] in 0..1.
        size: side of the crop.
        generator: source of the random numbers, on the CPU.
        variation: strength of the changes.

    Returns:
        [3, size, size], samples of 8 bits in 0..1.
    """
    from torchvision.transforms.v2 import InterpolationMode, functional

    develops, adds_grain, is_jpeg = (
        chance < variation.chance for chance in torch.rand(3, generator=generator).tolist()
    )
    crop = square
    if crop.shape[-1] != size:
        crop = functional.resize(crop, [size, size], InterpolationMode.BICUBIC, antialias=True)
        crop = crop.clamp(0, 1)
    if develops:
        crop = _developed(crop, generator, variation)
    if adds_grain:
        crop = _with_grain(crop, generator, variation)
    samples = (crop * 255).round().to(torch.uint8)
    if is_jpeg and variation.jpeg:
        lowest, highest = variation.jpeg
        quality = int(torch.randint(lowest, highest + 1, (1,), generator=generator))
        # As a Pillow image: the codec of torchvision for tensors is deprecated.
        image = functional.jpeg(functional.to_pil_image(samples.cpu()), quality)
        samples = functional.pil_to_tensor(image).to(samples.device)
    return samples.float() / 255


def _developed(crop: Tensor, generator: torch.Generator, variation: Variation) -> Tensor:
    """Apply a random gamma, white balance and saturation."""
    from torchvision.transforms.v2 import functional

    draws = 2 * torch.rand(5, generator=generator) - 1
    gains = (variation.balance * draws[:3]).exp().to(crop.device)
    crop = functional.adjust_gamma(crop, math.exp(variation.gamma * draws[3]))
    crop = (crop * gains[:, None, None]).clamp(0, 1)
    return functional.adjust_saturation(crop, math.exp(variation.saturation * draws[4]))


def _with_grain(crop: Tensor, generator: torch.Generator, variation: Variation) -> Tensor:
    """Add noise that the colours share, and half as much of each one's own."""
    from torchvision.transforms.v2 import functional

    sigma = variation.grain * float(torch.rand(1, generator=generator))
    with _seeded_by(generator, crop.device):
        shared = functional.gaussian_noise(torch.zeros_like(crop[:1]), sigma=sigma, clip=False)
        own = functional.gaussian_noise(crop, sigma=sigma / 2, clip=False)
    return (own + shared).clamp(0, 1)


@contextmanager
def _seeded_by(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed the global generators, which torchvision draws from, and restore them afterwards."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
