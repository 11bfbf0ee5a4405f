"""Rounding to integers and its surrogates in training.

The gradient of rounding is zero almost everywhere, so neither -ln P(round(f(x))) nor the
distortion of g(round(f(x))) trains the encoder f. The surrogates:

    noise     additive uniform noise for both terms (Balle et al. 2017)
    mixed     noise for the rate; for the distortion and everything the prior is conditioned
              on, rounding with the straight-through gradient (Minnen & Singh 2020)
    rounded   true rounding without gradient to the encoder: trains g_s and the prior on what
              they decode, and measures the actual rate
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
    """Residual x - mean in the rate term.

    With "rounded" only the mean has a gradient, straight through the rounding.
    """
    if surrogate == "rounded":
        return round_straight_through(x.detach() - mean)
    return add_noise(x) - mean


def for_synthesis(x: Tensor, mean: Tensor | float, surrogate: Surrogate) -> Tensor:
    """Latent x as input of the synthesis and of the prior's context."""
    if surrogate == "noise":
        return add_noise(x)
    if surrogate == "mixed":
        return mean + round_straight_through(x - mean)
    return mean + (x.detach() - mean).round().detach()
