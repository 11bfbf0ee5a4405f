"""Optimisers: Adam for everything, or Muon for the matrices inside the networks.

Muon (Jordan et al. 2024) orthogonalises the momentum of a weight matrix; with updates scaled
to the size of Adam's (Moonshot 2025) one learning rate serves both. On two CPU cores Adam came
further in the same three minutes, since a step with Muon took twice as long; with larger
batches or on a GPU the balance may differ.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW, Muon, Optimizer


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a hidden weight matrix, not a table, head or density."""
    tables = ("gain.", "level_bias", "log_scale", "z_density", "first_head", "second_head", "gdns")
    return parameter.ndim == 2 and not any(part in name for part in tables)


def build_optimisers(model: nn.Module, kind: str, fused: bool) -> list[Optimizer]:
    """Optimisers over all parameters; the learning rate is set at every step."""
    named = list(model.named_parameters())
    matrices = [p for n, p in named if kind == "muon" and is_matrix(n, p)]
    chosen = set(map(id, matrices))
    others = [p for _, p in named if id(p) not in chosen]
    optimisers: list[Optimizer] = [
        AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0, fused=fused)
    ]
    if matrices:
        optimisers.append(Muon(matrices, lr=0.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
    return optimisers


def set_learning_rate(optimisers: Iterable[Optimizer], rate: float) -> None:
    """Set the rate of every parameter group."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
