"""Generalised divisive normalisation, Balle, Laparra, Simoncelli, ICLR 2016/2017."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2), or x_i times that root if `inverse`.

    beta >= 1e-6 and gamma >= 0 by squaring free parameters, shifted by a pedestal so that the
    gradient does not vanish at zero. Input and output are [B, channels, H, W].
    """

    PEDESTAL = 2.0**-18
    BETA_MIN = 1e-6

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_root = nn.Parameter(torch.full((channels,), 1.0 + self.PEDESTAL**2).sqrt())
        self.gamma_root = nn.Parameter((0.1 * torch.eye(channels) + self.PEDESTAL**2).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        beta = (self.beta_root**2 - self.PEDESTAL**2).clamp_min(self.BETA_MIN)
        gamma = (self.gamma_root**2 - self.PEDESTAL**2).clamp_min(0.0)
        norm = F.conv2d(x**2, gamma[:, :, None, None], beta)
        return x * norm.sqrt() if self.inverse else x * norm.rsqrt()
