"""Calibration of a trained model on photographs: tables of y and curvatures of the distortion.

Training takes a residual of scale s for a Gaussian N(0, s^2); the residuals of photographs have
a sharper peak and longer tails. Each table becomes a mixture of Gaussians around its scale,

    p_s = sum_k w_sk N(0, (r_k s)^2)
    P(q) = sum_k w_sk (Phi((q + 1/2) / (r_k s)) - Phi((q - 1/2) / (r_k s)))

whose weights maximise the likelihood of symbols counted on training pictures, rounded as the
encoder rounds. P is still the integral of p over the unit cell; only the files get shorter.

The curvature of the distortion along each channel of y is what the encoder weighs bits against, see
`codec.encoder.rdoq`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from codec.encoder.rdoq import Rdoq
from codec.level import Level
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.densities import SIGMA_LEVELS, gaussian_cell_probability, sigma_of_level
from codec.model.objective import distortion_bits

RATIOS = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)
"""Deviations of the components in units of the table's scale."""
LIMIT = 2048
"""Largest magnitude of a counted symbol; larger ones are clipped to it."""
GAUSSIAN_COUNT = 2000.0
"""Pseudo-counts of the plain Gaussian in each table: what rarely occurs stays as trained."""
ITERATIONS = 1000
REACH = 32.0
"""Range of the symbols that are fitted, in standard deviations of the table."""
LEAST_CURVATURE = 1e-3
"""Lower bound in bits; the estimate for an almost constant channel can be negative."""
TINY = 1e-300
"""Lower bound of a cell's probability, against division by 0."""


@torch.no_grad()
def count_symbols(
    model: RoundingAutoencoder, pictures: Tensor, rdoq: Rdoq | None = None, batch: int = 8
) -> Tensor:
    """Count how often each symbol of y occurs under each table, over all anchors.

    Args:
        model: in evaluation mode.
        pictures: uint8 [n, 3, H, W], sides multiples of 64, on the model's device.
        rdoq: quantisation of the encoder; None for the nearest integers.
        batch: pictures per forward pass.

    Returns:
        float64 [64, 2 LIMIT + 1], symmetric about symbol 0 in the middle.
    """
    size = 2 * LIMIT + 1
    counts = np.zeros(SIGMA_LEVELS * size)
    for part in torch.split(pictures, batch):
        x = part.float() / 255
        for anchor in range(model.config.anchors):
            level = torch.full((len(x),), float(anchor), device=x.device)
            residual, table = (values.cpu().numpy() for values in model.residuals(x, level))
            if rdoq is None:
                symbols = np.rint(residual).astype(np.int32)
            else:
                rule = rdoq.rule(Level.of_anchor(anchor))
                symbols = rule(residual, table, lambda channels: channels[:, None, None])
            index = table * size + symbols.clip(-LIMIT, LIMIT) + LIMIT
            counts += np.bincount(index.reshape(-1), minlength=len(counts))
    by_table = torch.from_numpy(counts).reshape(SIGMA_LEVELS, size)
    return (by_table + by_table.flip(1)) / 2


def fit_mixtures(counts: Tensor) -> Tensor:
    """Fit the weights of each table's components by expectation maximisation.

    Args:
        counts: result of `count_symbols`.

    Returns:
        float64 [64, components].
    """
    plain = RATIOS.index(1.0)
    start = torch.full((len(RATIOS), 1), 0.5 / (len(RATIOS) - 1), dtype=torch.float64)
    start[plain] = 0.5
    weights = []
    for table, sigma in enumerate(sigma_of_level(torch.arange(SIGMA_LEVELS, dtype=torch.float64))):
        reach = min(LIMIT, math.ceil(REACH * sigma))
        symbols = torch.arange(-reach, reach + 1, dtype=torch.float64)
        cells = torch.stack([gaussian_cell_probability(symbols, sigma * ratio) for ratio in RATIOS])
        seen = counts[table, LIMIT - reach : LIMIT + reach + 1] + GAUSSIAN_COUNT * cells[plain]
        weight = start
        for _ in range(ITERATIONS):
            share = weight * cells
            share /= share.sum(0).clamp_min(TINY)
            weight = (share * seen).sum(1, keepdim=True) / seen.sum()
        weights.append(weight[:, 0] / weight.sum())
    return torch.stack(weights)


def mixture_cell_probability(symbols: Tensor, sigma: Tensor, weights: Tensor) -> Tensor:
    """Probability of the unit cell around each symbol under a mixture around one scale.

    Args:
        symbols: [n].
        sigma: the scale, a scalar.
        weights: weights of the components, [components].

    Returns:
        [n].
    """
    parts = [
        weight * gaussian_cell_probability(symbols, sigma * ratio)
        for weight, ratio in zip(weights, RATIOS, strict=True)
    ]
    return torch.stack(parts).sum(0)


def latent_curvature(model: RoundingAutoencoder, pictures: Tensor) -> Tensor | None:
    """Curvature of lambda * distortion along each channel of y, in bits per squared unit step:

        c = 1/2 E[d^2(lambda D) / dy^2]

    by Hutchinson's estimator (1990) of the Hessian's diagonal at rounded latents, averaged over
    positions and pictures, at least `LEAST_CURVATURE`. Pictures in which a derivative does not
    exist, as can happen with MS-SSIM, are left out.

    Args:
        model: in evaluation mode.
        pictures: uint8 [n, 3, H, W], sides multiples of 64, on the model's device.

    Returns:
        float32 [anchors, M]; None if no picture is left.
    """
    generator = torch.Generator().manual_seed(0)
    rows = []
    for anchor in range(model.config.anchors):
        found = []
        for picture in pictures:
            x = picture[None].float() / 255
            level = torch.full((1,), float(anchor), device=x.device)
            y_hat = model.rounded(x, level).requires_grad_()
            x_hat = model.synthesise(y_hat, level)
            lmbda = model.config.lambda_of(anchor)
            cost = distortion_bits(x, x_hat, lmbda, model.config.distortion)
            (gradient,) = torch.autograd.grad(cost.sum(), y_hat, create_graph=True)
            signs = torch.randint(0, 2, y_hat.shape, generator=generator) * 2.0 - 1
            signs = signs.to(x.device)
            (product,) = torch.autograd.grad(gradient, y_hat, signs)
            mean = (signs * product).mean((0, 2, 3)).cpu() / 2
            if bool(mean.isfinite().all()):
                found.append(mean)
        if not found:
            return None
        rows.append(torch.stack(found).mean(0))
    return torch.stack(rows).clamp_min(LEAST_CURVATURE)
