"""The start of training: a linear transform codec instead of noise.

The first layer starts as the 8x8 DCT in an opponent colour basis, the second as the
principal components of 2x2 groups of its output, the synthesis as their transposes. The
residual blocks start as the identity, so the first step already sees some 28 dB.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.model.build import Autoencoder
from codec.model.densities import LOG_SIGMA_STEP, SIGMA_MIN
from codec.model.transforms import MIDDLE_GREY, LowResAnalysis, LowResSynthesis
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.model.vector_quantizer import fit_centres, group, look_up, nearest, ungroup

BATCH = 16


@torch.no_grad()
def start_as_transform_codec(model: Autoencoder, pictures: Tensor) -> None:
    """Fit the linear parts of a fresh model to a sample of pictures.

    The second layer of g_a becomes the PCA of 2x2 groups and that of g_s its transpose
    (`lowres` only). Then the prior's biases become mean and deviation of each latent channel,
    or the centres those of the latents (`fit_codebooks`).

    Args:
        model: a freshly built model.
        pictures: sample of training pictures [B, 3, H, W] in 0..1, H and W multiples of 16.
    """
    if isinstance(model.g_a, LowResAnalysis) and isinstance(model.g_s, LowResSynthesis):
        _principal_components(model.g_a, model.g_s, pictures)
    if isinstance(model, VectorAutoencoder):
        fit_codebooks(model, pictures)
        return
    for anchor in range(model.config.anchors):
        level = torch.full((len(pictures),), float(anchor))
        y = model.gain(model.g_a(pictures, level), level)
        mean, deviation = y.mean((0, 2, 3)), y.std((0, 2, 3)).clamp_min(SIGMA_MIN)
        bias = torch.cat([mean, (deviation / SIGMA_MIN).log() / LOG_SIGMA_STEP])
        model.prior.first_head.level_bias[anchor] = bias
        model.prior.second_head.level_bias[anchor] = bias


@torch.no_grad()
def fit_codebooks(model: VectorAutoencoder, pictures: Tensor) -> None:
    """Fit centres level by level, and the prior's biases, to the latents of `pictures`.

    The latents are scaled so that their squared error is that of the samples it causes, which
    is what distances between centres stand for: first channel by channel, then all together by
    what a first fit leaves over (`lowres` only).
    """
    if isinstance(model.g_a, LowResAnalysis) and isinstance(model.g_s, LowResSynthesis):
        _scale_latents(model.g_a, model.g_s, _sensitivity(model, pictures[:BATCH]))
        _fit(model, pictures)
        _scale_latents(model.g_a, model.g_s, _sensitivity_to_rounding(model, pictures[:BATCH]))
    _fit(model, pictures)


def _fit(model: VectorAutoencoder, pictures: Tensor) -> None:
    config = model.config
    y = torch.cat([model.analyse(part) for part in torch.split(pictures, BATCH)])
    remainder = group(y, config.groups).clone()
    for level in range(config.anchors):
        weigh = config.assignment == "rate-weighted"
        rate = 1 / config.assignment_lambda(level) if weigh else 0.0
        for g in range(config.groups):
            centres, share = fit_centres(remainder[:, g], config.centres, rate)
            model.quantizer.centres[level, g] = centres
            indices = nearest(remainder[:, g], centres, -rate * share.log()[None])
            remainder[:, g] -= centres[indices]
            if config.index_prior == "learned":
                first = g * config.centres
                model.prior.head_bias[level, first : first + config.centres] = share.log2()


def _sensitivity(model: VectorAutoencoder, pictures: Tensor) -> Tensor:
    """Root mean square change of all samples by a unit change of a latent, per channel [M].

    Squared gradients of random projections of the samples have it as their mean.
    """
    y = model.analyse(pictures).detach().requires_grad_(True)
    with torch.enable_grad():
        x_hat = model.g_s(y, torch.full((len(y),), model.config.anchors - 1.0))
        (gradient,) = torch.autograd.grad((x_hat * torch.randn_like(x_hat)).sum(), y)
    return gradient.square().mean((0, 2, 3)).sqrt().clamp_min(1e-3)


def _sensitivity_to_rounding(model: VectorAutoencoder, pictures: Tensor) -> Tensor:
    """Root mean square change of the samples by rounding to all levels, per unit of it."""
    y = model.analyse(pictures)
    flat = model.assign(y).permute(0, 1, 3, 4, 2).flatten(1, 3)
    used = torch.ones(*flat.shape[:2], 1, 1)
    y_hat = ungroup(look_up(model.quantizer.centres, flat, used), *y.shape[2:])
    top = torch.full((len(y),), model.config.anchors - 1.0)
    change = (model.g_s(y_hat, top) - model.g_s(y, top)).square().sum()
    return (change / (y_hat - y).square().sum().clamp_min(1e-9)).sqrt().clamp_min(1e-3)


def _scale_latents(g_a: LowResAnalysis, g_s: LowResSynthesis, scale: Tensor) -> None:
    g_a.head.weight.mul_(scale.reshape(-1, 1))
    g_a.head.bias.mul_(scale)
    g_s.head.weight.div_(scale)


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
