"""The rate-distortion objective: bits per pixel + lambda * distortion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from codec.model.autoencoder import Forward
from codec.model.metrics import ms_ssim
from codec.model.perceptual import ssimulacra2_error
from codec.model.texture import texture_error
from codec.weights.config import Distortion

PEAK = 255.0
MS_SSIM_LAMBDA = 1200.0
"""lambda_ms-ssim / lambda_mse; published pairs are (0.0018, 2.40) .. (0.18, 220)."""

SQUARED_ERROR_SHARE = 0.05
"""Weight of the squared error in the MS-SSIM objective. Where the structure term is negative, as
for random squares of few pixels, MS-SSIM is clamped to 0 and has no gradient."""


@dataclass(frozen=True)
class Looks:
    """Weights of the objective "looks".

    On photographs at middle rates the gradients of the four terms by the latents have norms of
    about 0.25, 0.35, 0.3 and 0.15 of that of 255^2 MSE alone. Files of a lambda are a fifth smaller
    than with that; with weights of 1 / 0.7 times these they were 4 % larger, and the smallest too
    large. Squared error holds means and colours, which the others hardly see; twice the weight of
    MS-SSIM and SSIMULACRA 2 was worse by Butteraugli.
    """

    squared_error: float = 0.245
    """Of 255^2 MSE."""
    dissimilarity: float = 420.0
    """Of 1 - MS-SSIM."""
    ssimulacra2: float = 0.455
    """Of the error of SSIMULACRA 2."""
    texture: float = 0.7
    """Of 255^2 times the difference of textures."""


LOOKS = Looks()

LEAST = 1 / 8
"""Lower bound of a picture's loss for its weight, in medians of the batch."""
MOST = 4.0
"""Upper bound of a weighted loss, in medians of the batch."""


class Loss(NamedTuple):
    """Objective of each picture of a batch and its terms, each [B]."""

    value: Tensor
    bpp: Tensor
    mse: Tensor
    """Mean squared error of 0..1 samples."""


def rate_distortion(x: Tensor, result: Forward, lmbda: Tensor, distortion: Distortion) -> Loss:
    """bits/pixel + lambda * D, D being one of

        mse      255^2 MSE
        ms-ssim  1200 (1 - MS-SSIM) + 0.05 * 255^2 MSE
        looks    420 (1 - MS-SSIM) + 255^2 (0.245 MSE + 0.7 times the difference of textures)
                 + 0.455 times the error of SSIMULACRA 2

    Args:
        x: originals [B, 3, H, W] in 0..1.
        lmbda: slope of each picture, [B].
    """
    pixels = x.shape[-2] * x.shape[-1]
    bpp = (result.y_bits + result.z_bits) / pixels
    mse = (result.x_hat - x).square().mean((1, 2, 3))
    return Loss(bpp + lmbda * _distortion(x, result.x_hat, mse, distortion), bpp, mse)


def distortion_bits(x: Tensor, x_hat: Tensor, lmbda: float, distortion: Distortion) -> Tensor:
    """Distortion term of the objective in bits: pixels * lambda * distortion, [B].

    Args:
        x: as in `rate_distortion`, like `distortion`.
        x_hat: reconstructions.
        lmbda: slope of all pictures.
    """
    mse = (x_hat - x).square().mean((1, 2, 3))
    pixels = x.shape[-2] * x.shape[-1]
    return pixels * lmbda * _distortion(x, x_hat, mse, distortion)


def _distortion(x: Tensor, x_hat: Tensor, mse: Tensor, distortion: Distortion) -> Tensor:
    """Distortion D of the objective, [B]."""
    squared_error = PEAK**2 * mse
    if distortion == "mse":
        return squared_error
    shown = x_hat.clamp(0, 1)
    dissimilarity = 1 - ms_ssim(shown, x)
    if distortion == "ms-ssim":
        return MS_SSIM_LAMBDA * dissimilarity + SQUARED_ERROR_SHARE * squared_error
    return (
        LOOKS.squared_error * squared_error
        + LOOKS.dissimilarity * dissimilarity
        + LOOKS.ssimulacra2 * ssimulacra2_error(shown, x)
        + LOOKS.texture * PEAK**2 * texture_error(shown, x)
    )


def squared_error_weight(lmbda: Tensor, pixels: int) -> Tensor:
    """Weight of 1/2 |x - x^|^2 of a picture in bits/pixel + lambda 255^2 MSE."""
    return lmbda * (2 * PEAK**2 / (3 * pixels))


def evenness(value: Tensor) -> Tensor:
    """Weights (median / loss)^1/2 of the pictures of a batch, [B], without gradient.

    They lie between equal weights for absolute gains, which textured pictures dominate, and equal
    weights for relative gains (1 / loss). They also bound the influence of pictures unlike
    photographs and of diverging latents. Gains after 800 steps from `photo` at 4e-4, over 64
    held-out tiles: BD-rate of the mean curve 0.15 %, mean of the tiles' BD-rates 0.5 %, of the
    smoothest quarter 1.7 %.

    Args:
        value: losses [B], balanced over the lambdas.
    """
    ratio = value.detach().median() / value.detach()
    return torch.minimum(ratio.clamp(max=1 / LEAST).sqrt(), MOST * ratio)


def balance(lmbda: Tensor, centre: float) -> Tensor:
    """Weight (lambda / centre)^-1/2 of a picture's loss in a batch of mixed lambdas.

    The optimal loss grows roughly like lambda^1/2, so that all rates contribute equally to the
    gradient.
    """
    return torch.rsqrt(lmbda / centre)
