"""Rounding to the integer lattice and the surrogates that training puts in its place.

The gradient of rounding is zero almost everywhere, so neither -ln P(round(f(x))) nor the
distortion of g(round(f(x))) would ever move the encoder f. The surrogates:

    noise     additive uniform noise for both terms (Balle et al. 2017)
    mixed     noise for the rate; for the distortion and everything the prior is conditioned
              on, rounding with the straight-through gradient (Minnen & Singh 2020)
    rounded   true rounding, no gradient to the encoder: trains g_s and the prior on exactly
              what they will decode, and measures the real rate
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Surrogate = Literal["noise", "mixed", "rounded"]


def add_noise(x: Tensor) -> Tensor:
    """x + eps with eps ~ U(-1/2, 1/2)."""
    return x + torch.rand_like(x) - 0.5


def round_straight_through(x: Tensor) -> Tensor:
    """round(x) forwards, the identity backwards."""
    return x + (x.round() - x).detach()


def for_rate(x: Tensor, mean: Tensor | float, surrogate: Surrogate) -> Tensor:
    """The residual x - mean as the rate term sees it.

    On really rounded latents the mean still learns, straight through the rounding.
    """
    if surrogate == "rounded":
        return round_straight_through(x.detach() - mean)
    return add_noise(x) - mean


def for_synthesis(x: Tensor, mean: Tensor | float, surrogate: Surrogate) -> Tensor:
    """The latent x as the synthesis and the prior's conditioning see it."""
    if surrogate == "noise":
        return add_noise(x)
    if surrogate == "mixed":
        return mean + round_straight_through(x - mean)
    return mean + (x.detach() - mean).round().detach()
