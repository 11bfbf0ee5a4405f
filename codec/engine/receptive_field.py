"""Receptive fields of the transforms: what of a picture a tile or a window depends on.

Halos are as wide as these, so that cutting a picture into tiles or windows changes no latent and no
sample, but for the order of float additions.
"""

from __future__ import annotations

from codec.tiles import LATENT_STRIDE, TILE_UNIT
from codec.weights.config import ModelConfig
from codec.weights.file import KERNEL_RADIUS

GDN_RADIUS = 32
"""Pixels: four 5x5 convolutions of stride 2 see 2 (1 + 2 + 4 + 8) of them."""
GDN_SYNTHESIS_RADIUS = 3
"""Latents: four transposed 5x5 convolutions see less than 1 + 1/2 + 1/4 + 1/8 and one more."""
FILTER_RADIUS = 8
"""Pixels: the filter at the end of g_s has two 3x3 at 1/4."""
HYPER_RADIUS = 3
"""Latents that h_a sees around those of its own z: one 3x3 at 1/16, one at 1/32."""


def analysis_halo(config: ModelConfig) -> int:
    """Pixels around a tile that its y and z depend on; a multiple of 64."""
    radius = GDN_RADIUS
    if config.transform == "lowres":  # each block has one 3x3, at 1/8 or at 1/16
        radius = 8 * config.blocks8 + 16 * config.blocks16
    radius = -(-radius // LATENT_STRIDE) + HYPER_RADIUS
    return -(-radius * LATENT_STRIDE // TILE_UNIT) * TILE_UNIT


def synthesis_halo(config: ModelConfig, restores: bool = False) -> int:
    """Latents around a window that its samples depend on.

    Args:
        config: of the model.
        restores: whether there is a restoration filter.
    """
    if config.transform == "lowres":
        return config.blocks16 + synthesis_margins(config, restores)[0]
    return GDN_SYNTHESIS_RADIUS + (1 if restores else 0)


def reduced_halo(blocks16: int, blocks8: int) -> int:
    """Latents around a window that its reduced samples depend on, by the blocks that are run."""
    return blocks16 + -(-8 * blocks8 // LATENT_STRIDE)


def synthesis_margins(config: ModelConfig, restores: bool = False) -> tuple[int, int]:
    """Latents around a window that its samples still depend on at 1/8 and at the end of g_s.

    Args:
        config: of a model with `lowres`; like `restores` as of `synthesis_halo`.
        restores: likewise.
    """
    last = (KERNEL_RADIUS if restores else 0) + (FILTER_RADIUS if config.filter4 else 0)
    return -(-(8 * config.blocks8 + last) // LATENT_STRIDE), -(-last // LATENT_STRIDE)
