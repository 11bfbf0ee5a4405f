"""Bounds whose gradients lead back: what lies beyond a bound still learns the way to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        (gradient,) = gradients
        return gradient * ((x >= ctx.bound) | (gradient < 0)), None


def at_least(x: Tensor, bound: float) -> Tensor:
    """max(x, bound) whose gradient still reaches x below the bound if descent would raise x."""
    found: Tensor = _LowerBound.apply(x, bound)  # type: ignore[no-untyped-call]
    return found


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    """x clamped to low..high; the gradient reaches x beyond if descent would move it back."""
    if not x.requires_grad:
        return x.clamp(low, high)
    return -at_least(-at_least(x, low), -high)
