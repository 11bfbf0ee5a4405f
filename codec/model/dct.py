"""Initial linear basis of the transforms: an 8x8 DCT in opponent colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def dct_matrix(size: int) -> Tensor:
    """Orthonormal DCT-II [frequency, position] in float64."""
    position = torch.arange(size, dtype=torch.float64)
    frequency = position[:, None]
    basis = torch.cos(math.pi / size * (position + 0.5) * frequency) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def opponent_basis() -> Tensor:
    """Orthonormal rows: grey, blue-yellow, red-green; [3, 3] in float64."""
    rows = torch.tensor([[1, 1, 1], [-1, -1, 2], [1, -1, 0]], dtype=torch.float64)
    return F.normalize(rows, dim=1)


def opponent_dct_basis(outputs: int) -> Tensor:
    """The first `outputs` rows of the 8x8 opponent-colour DCT, [outputs, 192].

    Columns follow PixelUnshuffle(8): channel, then row, then column of the pixel. Rows go
    from low to high frequency, the three colours of a frequency together; rows beyond 192
    are zero.
    """
    dct = dct_matrix(8)
    full = torch.einsum("kc,ui,vj->kuvcij", opponent_basis(), dct, dct).reshape(3, 64, 192)
    zigzag = sorted(range(64), key=lambda f: (f // 8 + f % 8, f))
    rows = full[:, zigzag].transpose(0, 1).reshape(192, 192)
    basis = torch.zeros(outputs, 192, dtype=torch.float64)
    basis[: min(outputs, 192)] = rows[:outputs]
    return basis.float()
