"""The start of training: a linear transform codec instead of noise.

The first layer starts as the 8x8 DCT in an opponent colour basis, the second as the
principal components of 2x2 groups of its output, the synthesis as their transposes. The
residual blocks start as the identity, so the first step already sees some 28 dB.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.model.autoencoder import RoundingAutoencoder
from codec.model.densities import LOG_SIGMA_STEP, SIGMA_MIN
from codec.model.transforms import MIDDLE_GREY, LowResAnalysis, LowResSynthesis


@torch.no_grad()
def start_as_transform_codec(model: RoundingAutoencoder, pictures: Tensor) -> None:
    """Fit the linear parts of a fresh model to a sample of pictures.

    The second layer of g_a becomes the PCA of 2x2 groups and that of g_s its transpose
    (`lowres` only); the prior's biases become mean and deviation of each latent channel.

    Args:
        model: a freshly built model.
        pictures: sample of training pictures [B, 3, H, W] in 0..1, H and W multiples of 16.
    """
    if isinstance(model.g_a, LowResAnalysis) and isinstance(model.g_s, LowResSynthesis):
        _principal_components(model.g_a, model.g_s, pictures)
    for anchor in range(model.config.anchors):
        level = torch.full((len(pictures),), float(anchor))
        y = model.gain(model.g_a(pictures, level), level)
        mean, deviation = y.mean((0, 2, 3)), y.std((0, 2, 3)).clamp_min(SIGMA_MIN)
        bias = torch.cat([mean, (deviation / SIGMA_MIN).log() / LOG_SIGMA_STEP])
        model.prior.first_head.level_bias[anchor] = bias
        model.prior.second_head.level_bias[anchor] = bias


def _principal_components(g_a: LowResAnalysis, g_s: LowResSynthesis, pictures: Tensor) -> None:
    groups = F.pixel_unshuffle(g_a.stem(F.pixel_unshuffle(pictures - MIDDLE_GREY, 8)), 2)
    samples = groups.permute(1, 0, 2, 3).reshape(groups.shape[1], -1).double()
    covariance = samples @ samples.T / samples.shape[1]
    directions = torch.linalg.eigh(covariance).eigenvectors.flip(1).T  # strongest first
    weight = torch.zeros(g_a.down.weight.shape, dtype=torch.float64)
    count = min(weight.shape)
    weight[:count] = directions[:count]
    g_a.down.weight.copy_(weight)
    g_s.up.weight.copy_(weight.T)
