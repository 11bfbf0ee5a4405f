"""Restoration filter after the synthesis: for each picture a combination of learned kernels.

    x^ + sum_k w_k (B_k * (x^ - 1/2) + b_k)

with kernels B_k of 5x5 samples from three colours to three. The encoder finds the weights w of a
picture by least squares and writes them into the file: a Wiener filter for this picture, like AV1's
loop restoration (Mukherjee et al. 2017) and VVC's adaptive loop filter (Tsai et al. 2013), but with
few coefficients, since the kernels are learned from photographs. It corrects properties of a single
picture, such as its sharpness and noise, which the synthesis does not know.

It acts on samples only; no symbol depends on it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.weights.config import MIDDLE_GREY


class Kernels(NamedTuple):
    """Learned basis of the filters of all pictures."""

    kernels: Tensor
    """B, [K, output colour, input colour, 5, 5]."""
    offsets: Tensor
    """b, [K, 3]."""


def restore(x_hat: Tensor, kernels: Kernels, weights: Tensor) -> Tensor:
    """Apply the filter with given weights.

    Args:
        x_hat: samples [3, H, W], about 0..1; the border is padded by replication.
        kernels: basis of the filters.
        weights: weights of the first n kernels, [n].

    Returns:
        Samples [3, H, W].
    """
    count, radius = len(weights), kernels.kernels.shape[-1] // 2
    kernel = torch.tensordot(weights, kernels.kernels[:count], 1)
    offset = weights @ kernels.offsets[:count]
    return x_hat + F.conv2d(surrounded(x_hat, radius), kernel, offset)[0]


def surrounded(x_hat: Tensor, radius: int) -> Tensor:
    """Input of kernels of a radius: x^ - 1/2 of samples [3, H, W], padded by replication.

    Returns:
        [1, 3, H + 2 radius, W + 2 radius].
    """
    return F.pad(x_hat[None] - MIDDLE_GREY, (radius,) * 4, mode="replicate")
