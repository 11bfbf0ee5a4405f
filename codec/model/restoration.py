"""A restoration filter after the synthesis, put together for each picture from learned kernels.

    x^ + sum_k w_k (B_k * (x^ - 1/2) + b_k)

with kernels B_k of 5x5 samples from all three colours to all three. The encoder solves for the
weights w of a picture by least squares and the file carries them: a Wiener filter for this picture,
as AV1's loop restoration (Mukherjee et al. 2017) and VVC's adaptive loop filter (Tsai et al. 2013)
have, but with few numbers to send, since the kernels are those that photographs want. How sharp or
noisy a picture is no average over photographs knows, and no latent says.

It acts on samples alone: no symbol depends on it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.weights.config import MIDDLE_GREY


class Kernels(NamedTuple):
    """What the filters of all pictures are made of."""

    kernels: Tensor
    """B, [K, 3, 3, 5, 5]: from colours (third axis) to colours (second axis)."""
    offsets: Tensor
    """b, [K, 3]."""


def restore(shown: Tensor, kernels: Kernels, weights: Tensor) -> Tensor:
    """Samples [3, H, W], about 0..1, after the filter of some weights.

    Args:
        shown: samples [3, H, W], about 0..1; what lies outside is like the nearest sample.
        kernels: that it may be made of.
        weights: of the first n kernels, [n].
    """
    count, radius = len(weights), kernels.kernels.shape[-1] // 2
    kernel = torch.tensordot(weights, kernels.kernels[:count], 1)
    offset = weights @ kernels.offsets[:count]
    return shown + F.conv2d(surrounded(shown, radius), kernel, offset)[0]


def surrounded(shown: Tensor, radius: int) -> Tensor:
    """What kernels of a radius read of samples [3, H, W]: x^ - 1/2 and a border,
    [1, 3, H + 2 radius, W + 2 radius]."""
    return F.pad(shown[None] - MIDDLE_GREY, (radius,) * 4, mode="replicate")
