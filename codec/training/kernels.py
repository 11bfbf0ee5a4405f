"""Kernels of the restoration filter, fitted to training pictures; see `codec.model.restoration`.

The best 5x5 filter of one picture x, reconstructed as x^, is the least-squares solution

    F = A^-1 b,     A = sum_p s_p s_p^T,     b = sum_p s_p (x_p - x^_p)^T

with s_p the 75 samples of x^ around pixel p, and 1. Kernels start from the first principal
components of all pictures' filters in the metric of A and descend on

    E_pictures ln(squared error with the best filter in span(B_1..B_n) / squared error of x^)

with a random n in each step, so that fewer kernels do well too. A and b are sufficient statistics:
each picture is decoded once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.model.autoencoder import RoundingAutoencoder
from codec.model.restoration import Kernels, surrounded
from codec.weights.file import COLOURS, KERNEL_RADIUS, KERNEL_SIDE

COUNT = 64
"""Number of kernels: on 24 held-out tiles of 512x512 64 gain 0.22 dB at the lowest rate and 0.15 at
a middle one, 32 gain 0.18 and 0.12, 16 gain 0.14 and 0.09."""
UNLIKE = 0.25
"""Share of the squared error that F removes above which a picture is left out: 1 to 12 % in
photographs, far more in drawn pictures, which would dominate the kernels."""
PASSES = 150
"""Passes over the pictures in the descent of the kernels."""
BATCH = 100
RATE = 4e-3
WEIGHT_DEVIATION = 32.0
"""Root mean square of a kernel's weights over the pictures; files hold them as integers."""
RIDGE = 1e-6
"""Ridge of a matrix, relative to the mean of its diagonal."""
SEED = 0


class Products(NamedTuple):
    """Sufficient statistics of least squares for n pictures, divided by their squared errors."""

    samples: Tensor
    """A, float64 [n, 76, 76]."""
    residual: Tensor
    """b, float64 [n, 76, 3]."""


@torch.no_grad()
def products(model: RoundingAutoencoder, pictures: Tensor) -> Products:
    """Compute the statistics of pictures, each reconstructed at a random level.

    Args:
        model: in evaluation mode.
        pictures: uint8 [n, 3, H, W], sides multiples of 64, on the model's device.
    """
    generator = torch.Generator().manual_seed(SEED)
    levels = torch.rand(len(pictures), generator=generator) * (model.config.anchors - 1)
    found = []
    for picture, level in zip(pictures, levels, strict=True):
        x = picture[None].float() / 255
        position = level.reshape(1).to(x.device)
        x_hat = model.synthesise(model.rounded(x, position), position).clamp(0, 1)[0]
        around = F.unfold(surrounded(x_hat, KERNEL_RADIUS), KERNEL_SIDE)[0]
        around = torch.cat([around, torch.ones_like(around[:1])]).double().cpu()
        residual = (x[0] - x_hat).flatten(1).double().cpu()
        error = residual.square().sum().clamp_min(1e-9)
        found.append((around @ around.T / error, around @ residual.T / error))
    return Products(*map(torch.stack, zip(*found, strict=True)))


def fit_kernels(found: Products, count: int = COUNT, passes: int = PASSES) -> Kernels | None:
    """Fit kernels to pictures, scaled for integer weights.

    Args:
        found: products over the pictures.
        count: number of kernels.
        passes: length of the descent, in passes over all pictures.

    Returns:
        float32; None if fewer than two pictures are like photographs.
    """
    found = _photographs(found)
    size = found.samples.shape[1]
    if len(found.samples) < 2:
        return None
    # Whitened, the mean of A is the identity, so that all directions learn at one rate.
    factor = torch.linalg.cholesky(_with_ridge(found.samples.mean(0)))
    unit = torch.eye(size, dtype=torch.float64)
    whiten = torch.linalg.solve_triangular(factor, unit, upper=False)
    found = Products(whiten @ found.samples @ whiten.T, whiten @ found.residual)

    filters = torch.linalg.solve(_with_ridge(found.samples), found.residual)
    components = torch.linalg.svd(filters.flatten(1), full_matrices=False)[2][:count]
    # Fewer pictures than kernels span less: random directions complete the basis.
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(
        count - len(components), components.shape[1], generator=generator, dtype=torch.float64
    )
    basis = torch.cat([components, noise / math.sqrt(components.shape[1])])
    basis = _descend(basis.reshape(count, size, COLOURS), found, passes, generator)

    weights = _least_squares(basis, found)[0]
    basis = basis * (weights.square().mean(0).sqrt() / WEIGHT_DEVIATION)[:, None, None]
    flat = (whiten.T @ basis).transpose(1, 2).float()  # [count, to, around]
    kernels = flat[:, :, :-1].reshape(count, COLOURS, COLOURS, KERNEL_SIDE, KERNEL_SIDE)
    return Kernels(kernels.contiguous(), flat[:, :, -1].contiguous())


def _photographs(found: Products) -> Products:
    filters = torch.linalg.solve(_with_ridge(found.samples), found.residual)
    kept = (filters * found.residual).sum((1, 2)) < UNLIKE
    return Products(found.samples[kept], found.residual[kept])


def _descend(basis: Tensor, found: Products, passes: int, generator: torch.Generator) -> Tensor:
    basis = basis.clone().requires_grad_()
    optimiser = torch.optim.Adam([basis])
    count = len(basis)
    lengths = sorted({max(1, count * part // 8) for part in (1, 2, 4, 6, 8)})
    steps = passes * len(found.samples) // BATCH
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / steps))
        chosen = torch.randperm(len(found.samples), generator=generator)[:BATCH]
        some = Products(found.samples[chosen], found.residual[chosen])
        length = lengths[int(torch.randint(len(lengths), (1,), generator=generator))]
        taken = _least_squares(basis[:length], some)[1]
        loss = torch.log1p(-taken.clamp(max=1 - 1e-6)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return basis.detach()


def _least_squares(basis: Tensor, found: Products) -> tuple[Tensor, Tensor]:
    """Solve for the best weights of each picture.

    Args:
        basis: filters [k, 76, 3].
        found: statistics of n pictures.

    Returns:
        Weights [n, k], and the share of the squared error that they remove [n].
    """
    matrix = torch.einsum("kpc,npq,lqc->nkl", basis, found.samples, basis)
    vector = torch.einsum("kpc,npc->nk", basis, found.residual)
    weights = torch.linalg.solve(_with_ridge(matrix), vector)
    taken = 2 * (weights * vector).sum(1) - torch.einsum("nk,nkl,nl->n", weights, matrix, weights)
    return weights, taken


def _with_ridge(matrix: Tensor) -> Tensor:
    mean = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    return matrix + RIDGE * mean * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
