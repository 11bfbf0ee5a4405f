"""Generalised divisive normalisation, Balle, Laparra, Simoncelli, ICLR 2016/2017."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.bounds import lower_bound


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2), or x_i times that root if `inverse`.

    beta >= 1e-6 and gamma >= 0 are squares of free parameters, less a pedestal: with
    p = 2^-18 the parameters are bounded below by (1e-6 + p^2)^1/2 and by p, where the derivative
    of the square is not zero, and the gradient of the bound lets them rise again (Balle et al.
    2018, and `tensorflow_compression`). All gamma off the diagonal start at that bound. Input and
    output are [B, channels, H, W].
    """

    PEDESTAL = 2.0**-18
    BETA_MIN = 1e-6

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_root = nn.Parameter(torch.full((channels,), 1.0 + self.PEDESTAL**2).sqrt())
        self.gamma_root = nn.Parameter((0.1 * torch.eye(channels) + self.PEDESTAL**2).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        beta = self._squared(self.beta_root, self.BETA_MIN)
        gamma = self._squared(self.gamma_root, 0.0)
        norm = F.conv2d(x**2, gamma[:, :, None, None], beta)
        return x * norm.sqrt() if self.inverse else x * norm.rsqrt()

    def _squared(self, root: Tensor, least: float) -> Tensor:
        pedestal = self.PEDESTAL**2
        return lower_bound(root, (least + pedestal) ** 0.5) ** 2 - pedestal
