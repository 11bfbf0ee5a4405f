"""Both sides of each statement, computed by the code that trains and codes real pictures.

1. The rate of a coder Q bounds the mutual information: E KL(P(z|x), Q) = I(x, z) + KL(P(z), Q).
2. The gradient of the encoder is 0 through rounding, and is not through noise.
3. P(z~) = E_eps p(z~ + eps), the integral of the density over the unit cell.
4. At a stationary point, centres are the means of their classes under one rule only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec.model.autoencoder import RoundingAutoencoder
from codec.model.densities import (
    bits,
    cell_probability,
    gaussian_cell_probability,
    sigma_of_level,
)
from codec.model.objective import PEAK
from codec.model.rounding import add_noise
from codec.model.vector_quantizer import Rule, UpdateRule, VectorQuantizer, nearest
from codec.weights.config import ModelConfig


@dataclass(frozen=True)
class Bound:
    """Rate of a coder and the mutual information that it bounds, in nats."""

    width: float
    """Standard deviation of the coder's Q in units of the marginal's."""
    rate: float
    """E -ln q(z~) - h(z~|x), the mean code length of the noisy latent under Q."""
    information: float
    """I(x, z~)."""
    divergence: float
    """KL(P(z~), Q), which is rate - information."""


def gaussian_channel(signal: float, noise: float, width: float) -> Bound:
    """Closed form of statement 1: z = x + n, x ~ N(0, signal^2), n ~ N(0, noise^2).

    I(x, z) = 1/2 ln(1 + signal^2/noise^2), and for Q = N(0, s^2)
    E_x KL(P(z|x), Q) = ln(s/noise) + (signal^2 + noise^2)/(2 s^2) - 1/2.

    Args:
        width: s in units of the marginal's deviation, (signal^2 + noise^2)^(1/2).
    """
    marginal = math.hypot(signal, noise)
    s = width * marginal
    rate = math.log(s / noise) + marginal**2 / (2 * s**2) - 0.5
    information = math.log(marginal / noise)
    divergence = math.log(width) + 1 / (2 * width**2) - 0.5
    return Bound(width, rate, information, divergence)


def uniform_noise_channel(sigma: float, width: float) -> Bound:
    """Statement 1 for the rate of training: z~ = y + u, y ~ N(0, sigma^2), u ~ U(-1/2, 1/2).

    The marginal of z~ is the cell probability of the Gaussian at z~, h(z~|y) = 0, and Q is the
    cell probability of a Gaussian of deviation width * sigma. Integrals by quadrature.
    """
    reach = 9 * sigma * max(width, 1) + 1
    z = torch.linspace(-reach, reach, 400_001, dtype=torch.float64)
    step = float(z[1] - z[0])
    p = gaussian_cell_probability(z, torch.tensor(sigma, dtype=torch.float64))
    q = gaussian_cell_probability(z, torch.tensor(sigma * width, dtype=torch.float64))
    inside = (p > 0) & (q > 0)
    p, q = p[inside], q[inside]
    rate = float(-(p * q.log()).sum() * step)
    information = float(-(p * p.log()).sum() * step)
    return Bound(width, rate, information, float((p * (p / q).log()).sum() * step))


@dataclass(frozen=True)
class EncoderGradient:
    """Largest gradient of any parameter of the encoder, for each term of the objective."""

    rate: float
    distortion: float


def encoder_gradient(config: ModelConfig, x: Tensor, rounded: bool) -> EncoderGradient:
    """Statement 2: gradients of g_a by autograd through round(f(x)) or through f(x) + noise.

    Args:
        x: pictures [B, 3, H, W] in 0..1, sides multiples of 16.
        rounded: whether to round, rather than to add uniform noise.
    """
    torch.manual_seed(0)
    model = RoundingAutoencoder(config)
    level = torch.zeros(len(x))

    def gradient(term: Callable[[Tensor], Tensor]) -> float:
        model.zero_grad()
        y = model.gain(model.g_a(x, level), level)
        term(y.round() if rounded else add_noise(y)).backward()  # type: ignore[no-untyped-call]
        found = [p.grad.abs().max() for p in model.g_a.parameters() if p.grad is not None]
        return float(torch.stack(found).max()) if found else 0.0

    sigma = torch.tensor(2.0)
    return EncoderGradient(
        rate=gradient(lambda z: bits(gaussian_cell_probability(z, sigma)).sum()),
        distortion=gradient(
            lambda z: (model.g_s(model.gain.inverse(z, level), level) - x).square().sum() * PEAK
        ),
    )


NODES = 64


def integral_over_cell(density: Callable[[Tensor], Tensor], centre: Tensor) -> Tensor:
    """E_eps p(z~ + eps), eps ~ U(-1/2, 1/2), by Gauss-Legendre quadrature."""
    nodes, weights = (torch.from_numpy(a) / 2 for a in np.polynomial.legendre.leggauss(NODES))
    return density(centre[..., None] + nodes) @ weights


def normal_density(z: Tensor, sigma: Tensor) -> Tensor:
    """p of N(0, sigma^2)."""
    return torch.exp(-0.5 * (z / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Discretisation:
    """Error of the density at a point as an estimate of its mean over the unit cell."""

    sigma: float
    error: float
    """Largest |P(z~) - p(z~)| over the integers, in units of the largest P."""
    nats: float
    """Excess rate per symbol of a coder that uses p at the integers, normalised, instead of P."""


def discretisation(scale: int) -> Discretisation:
    """Statement 3 for one of the 64 Gaussians of the entropy model, by its number."""
    sigma = sigma_of_level(torch.tensor(float(scale), dtype=torch.float64))
    reach = math.ceil(9 * float(sigma)) + 2
    z = torch.arange(-reach, reach + 1, dtype=torch.float64)
    mass, density = gaussian_cell_probability(z, sigma), normal_density(z, sigma)
    share = density / density.sum()
    inside = (mass > 0) & (share > 0)
    loss = (mass[inside] * (mass[inside] / share[inside]).log()).sum()
    return Discretisation(
        float(sigma), float((mass - density).abs().max() / mass.max()), float(loss)
    )


def triangle_cell(z: Tensor, half_width: float) -> tuple[Tensor, Tensor]:
    """(P, p) under the triangular density on [-w, w], which is linear on cells without 0 inside."""

    def cdf(x: Tensor) -> Tensor:
        t = (x / half_width).clamp(-1, 1)
        return 0.5 + t - 0.5 * t * t.abs()

    density = (1 - z.abs() / half_width).clamp_min(0) / half_width
    return cell_probability(cdf, z - 0.5, z + 0.5), density


@dataclass(frozen=True)
class Stationary:
    """Centres at a stationary point of a gradient rule."""

    rule: Rule
    gradient: float
    """Largest remaining gradient of any centre."""
    distance: float
    """Root mean square distance between a centre and the mean of its class."""


def stationary_centres(rule: Rule, steps: int = 2000, rate: float = 0.005) -> Stationary:
    """Statement 4: descend by a rule on a toy problem to a stationary point.

    The encoder is fixed, and the decoder is a fixed linear map onto a curved target, so that the
    optimal centre for the decoder is not the mean of its class.
    """
    generator = torch.Generator().manual_seed(1)
    corners = torch.tensor([[-3, -3], [3, -3], [-3, 3], [3, 3]], dtype=torch.float64)
    spread = torch.randn(200, 2, dtype=torch.float64, generator=generator)
    latents = (corners.repeat(50, 1) + 0.5 * spread)[:, None]
    decoder = torch.tensor([[1.0, 0.2, 0.0], [-0.2, 0.9, 0.3]], dtype=torch.float64)
    target = latents[:, 0] @ decoder + 0.1 * latents[:, 0, :1] ** 2
    config = ModelConfig(
        rounding="vq", anchors=1, lambda_min=0.01, lambda_max=0.01, groups=1, centres=4, latent=2
    )
    quantizer = VectorQuantizer(config).double().eval()
    quantizer.rule = UpdateRule(rule, beta=0.25, eta=1.0)
    one = torch.ones(1, len(latents), 1, 1, dtype=torch.float64)
    with torch.no_grad():
        quantizer.centres.copy_(latents[:4, 0])
    for _ in range(steps):
        indices = nearest(latents[:, 0], quantizer.centres.detach()[0, 0])
        rounded = quantizer(latents, indices[None, :, None], one, one[0])
        loss = 0.5 * (target - rounded[:, 0] @ decoder).square().sum()
        (gradient,) = torch.autograd.grad(loss, quantizer.centres)
        with torch.no_grad():
            quantizer.centres.sub_(rate * gradient)
    centres = quantizer.centres.detach()[0, 0]
    means = torch.stack([latents[indices == k, 0].mean(0) for k in range(4)])
    return Stationary(
        rule,
        float(gradient.abs().max()),
        float((centres - means).square().sum(1).mean().sqrt()),
    )
