"""Optimisers: Adam for the networks, or Muon for their matrices; descent by class for centres.

Muon (Jordan et al. 2024) orthogonalises the momentum of a weight matrix; with updates scaled
to the size of Adam's (Moonshot 2025) one learning rate serves both. On two CPU cores Adam came
further in the same three minutes, since a step with Muon took twice as long; with larger
batches or on a GPU the balance may differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from codec.entropy.graph import INDEX_BLOCKS, LATENT_BLOCKS
from codec.model.build import Autoencoder
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.model.vector_quantizer import VectorQuantizer


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a hidden weight matrix, not a table, head or density."""
    tables = ("gain.", "level_bias", "log_scale", "z_density", "first_head", "second_head", "gdns")
    return parameter.ndim == 2 and not any(part in name for part in tables)


def is_slow(name: str) -> bool:
    """Whether a parameter is of the blocks at 1/16 or below, in the transforms or the prior."""
    blocks = tuple(f"prior.{block}." for block in (*LATENT_BLOCKS, *INDEX_BLOCKS))
    return ".blocks16." in name or name.startswith(("h_a.", *blocks))


SLOW_RATE = 0.3
"""Rate of those in units of the others'. A step sees few places at these resolutions, so at the
full rate the steps of Adam are noise that training gets rid of by switching units off."""

CENTRES_RATE = 100.0
"""Rate of the centres in units of the others': their steps are shares of a distance."""


class ClassDescent(Optimizer):
    """Gradient descent of centres, each step divided by the weight of the centre's class.

    With gradients w (C - L) summed over a class, a rate of r moves C by the share r of its way
    to the class mean: Lloyd's algorithm in small steps, and free of the latents' scale. A
    factor in the gradient (eta) acts as a factor of the rate, as it would not under Adam.
    """

    def __init__(self, quantizer: VectorQuantizer) -> None:
        super().__init__([quantizer.centres], {"lr": 0.0, "rate_factor": CENTRES_RATE})
        self._quantizer = quantizer

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; the class weights are those of the last forward pass."""
        (group,) = self.param_groups
        (centres,) = group["params"]
        if centres.grad is None:
            return
        weight = self._quantizer.class_weight
        if torch.distributed.is_initialized():  # the mean, as of the gradients
            torch.distributed.all_reduce(weight)
            weight = weight / torch.distributed.get_world_size()
        share = torch.where(weight > 0, min(group["lr"], 1.0) / weight, 0.0)
        centres -= share[..., None] * centres.grad


def by_rate(named: Iterable[tuple[str, Tensor]]) -> list[dict[str, Any]]:
    """Groups of parameters that learn at one rate."""
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in named:
        groups.setdefault(SLOW_RATE if is_slow(name) else 1.0, []).append(parameter)
    return [{"params": group, "rate_factor": factor} for factor, group in groups.items()]


def build_adam(named: Iterable[tuple[str, Tensor]], fused: bool) -> AdamW:
    """Adam over parameters by name; the learning rate is set at every step."""
    return AdamW(by_rate(named), lr=0.0, betas=(0.9, 0.99), weight_decay=0.0, fused=fused)


def build_optimisers(model: Autoencoder, kind: str, fused: bool) -> list[Optimizer]:
    """Optimisers over all parameters; the learning rate is set at every step."""
    named = list(model.named_parameters())
    matrices = [(n, p) for n, p in named if kind == "muon" and is_matrix(n, p)]
    centres = [p for n, p in named if n == "quantizer.centres"]
    chosen = {id(p) for p in [*dict(matrices).values(), *centres]}
    optimisers: list[Optimizer] = [
        build_adam([(n, p) for n, p in named if id(p) not in chosen], fused)
    ]
    if isinstance(model, VectorAutoencoder):
        optimisers.append(ClassDescent(model.quantizer))
    if matrices:
        groups = by_rate(matrices)
        optimisers.append(Muon(groups, lr=0.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
    return optimisers


def set_learning_rate(optimisers: Iterable[Optimizer], rate: float) -> None:
    """Set the rate of every parameter group."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
