"""Kernels of the restoration filter, fitted to what pictures want, see `codec.model.restoration`.

The best filter of 5x5 samples for one picture x, decoded as x^, is the least-squares solution
F = A^-1 b, A being the products of the samples around each place with each other and b those with
what is missing, x - x^. Of all pictures' filters the first principal components, with distances as
A has them, are a start; from there the kernels descend on

    mean over pictures of ln(error with the best filter in the span of the first n / error without)

with n drawn anew in each step, so that the first kernels do well alone. All of it happens on A
and b: no picture is looked at twice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.model.autoencoder import RoundingAutoencoder
from codec.model.restoration import Kernels, surrounded
from codec.runtime.weights import COLOURS, KERNEL_RADIUS, KERNEL_SIDE

COUNT = 64
"""Kernels: on 24 held-out tiles of 512x512 they bring 0.22 dB at the lowest rate and 0.15 at a
middle one, 32 of them 0.18 and 0.12, 16 of them 0.14 and 0.09."""
UNLIKE = 0.25
"""Part of the error that a filter of its own takes from a picture unlike photographs, which would
own the kernels: of photographs it takes 1 to 12 %."""
PASSES = 150
"""Passes over the pictures in the descent of the kernels."""
BATCH = 100
RATE = 4e-3
WEIGHT_DEVIATION = 32.0
"""Of a kernel's weights over the pictures; they are rounded to whole numbers."""
RIDGE = 1e-6
"""Part of the mean of a matrix's diagonal that is added to it."""
SEED = 0


class Products(NamedTuple):
    """What least squares needs of n pictures, in units of their squared error."""

    samples: Tensor
    """A, float64 [n, 76, 76]: of the samples around a place, and 1."""
    missing: Tensor
    """b, float64 [n, 76, 3]: of those with what is missing."""


@torch.no_grad()
def products(model: RoundingAutoencoder, pictures: Tensor) -> Products:
    """Products over pictures, each decoded at a random level.

    Args:
        pictures: uint8 [n, 3, H, W], sides multiples of 64, on the model's device.
    """
    generator = torch.Generator().manual_seed(SEED)
    levels = torch.rand(len(pictures), generator=generator) * (model.config.anchors - 1)
    found = []
    for picture, level in zip(pictures, levels, strict=True):
        x = picture[None].float() / 255
        position = level.reshape(1).to(x.device)
        shown = model.synthesise(model.rounded(x, position), position).clamp(0, 1)[0]
        around = F.unfold(surrounded(shown, KERNEL_RADIUS), KERNEL_SIDE)[0]
        around = torch.cat([around, torch.ones_like(around[:1])]).double().cpu()
        missing = (x[0] - shown).flatten(1).double().cpu()
        error = missing.square().sum().clamp_min(1e-9)
        found.append((around @ around.T / error, around @ missing.T / error))
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
    # In whitened units the mean of A is the identity, so that all directions learn alike.
    factor = torch.linalg.cholesky(_with_ridge(found.samples.mean(0)))
    unit = torch.eye(size, dtype=torch.float64)
    whiten = torch.linalg.solve_triangular(factor, unit, upper=False)
    found = Products(whiten @ found.samples @ whiten.T, whiten @ found.missing)

    filters = torch.linalg.solve(_with_ridge(found.samples), found.missing)
    components = torch.linalg.svd(filters.flatten(1), full_matrices=False)[2][:count]
    # Fewer pictures than kernels span less: noise fills up.
    generator = torch.Generator().manual_seed(SEED)
    missing = torch.randn(
        count - len(components), components.shape[1], generator=generator, dtype=torch.float64
    )
    basis = torch.cat([components, missing / math.sqrt(components.shape[1])])
    basis = _descend(basis.reshape(count, size, COLOURS), found, passes, generator)

    weights = _least_squares(basis, found)[0]
    basis = basis * (weights.square().mean(0).sqrt() / WEIGHT_DEVIATION)[:, None, None]
    flat = (whiten.T @ basis).transpose(1, 2).float()  # [count, to, around]
    kernels = flat[:, :, :-1].reshape(count, COLOURS, COLOURS, KERNEL_SIDE, KERNEL_SIDE)
    return Kernels(kernels.contiguous(), flat[:, :, -1].contiguous())


def _photographs(found: Products) -> Products:
    filters = torch.linalg.solve(_with_ridge(found.samples), found.missing)
    kept = (filters * found.missing).sum((1, 2)) < UNLIKE
    return Products(found.samples[kept], found.missing[kept])


def _descend(basis: Tensor, found: Products, passes: int, generator: torch.Generator) -> Tensor:
    basis = basis.clone().requires_grad_()
    optimiser = torch.optim.Adam([basis])
    count = len(basis)
    lengths = sorted({max(1, count * part // 8) for part in (1, 2, 4, 6, 8)})
    steps = passes * len(found.samples) // BATCH
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - step / steps))
        chosen = torch.randperm(len(found.samples), generator=generator)[:BATCH]
        some = Products(found.samples[chosen], found.missing[chosen])
        length = lengths[int(torch.randint(len(lengths), (1,), generator=generator))]
        taken = _least_squares(basis[:length], some)[1]
        loss = torch.log1p(-taken.clamp(max=1 - 1e-6)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return basis.detach()


def _least_squares(basis: Tensor, found: Products) -> tuple[Tensor, Tensor]:
    """Best weights of each picture [n, k], and the part of its error that they take [n].

    Args:
        basis: filters [k, 76, 3].
        found: of n pictures.
    """
    matrix = torch.einsum("kpc,npq,lqc->nkl", basis, found.samples, basis)
    vector = torch.einsum("kpc,npc->nk", basis, found.missing)
    weights = torch.linalg.solve(_with_ridge(matrix), vector)
    taken = 2 * (weights * vector).sum(1) - torch.einsum("nk,nkl,nl->n", weights, matrix, weights)
    return weights, taken


def _with_ridge(matrix: Tensor) -> Tensor:
    mean = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    return matrix + RIDGE * mean * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
