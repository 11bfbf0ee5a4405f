"""Optimisers: Adam for the networks, gradient descent by class for the centres of codebooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from codec.entropy.graph import INDEX_BLOCKS, LATENT_BLOCKS
from codec.model.build import Autoencoder
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.model.vector_quantizer import VectorQuantizer


def is_slow(name: str) -> bool:
    """Tell whether a parameter belongs to blocks at 1/16 or below, of a transform or the prior."""
    blocks = tuple(f"prior.{block}." for block in (*LATENT_BLOCKS, *INDEX_BLOCKS))
    return ".blocks16." in name or name.startswith(("h_a.", *blocks))


SLOW_RATE = 0.3
"""Learning rate of slow parameters relative to the others. A batch has few positions at these
resolutions, so at the full rate Adam's steps are noise, which training escapes by switching hidden
units off."""

CENTRES_RATE = 100.0
"""Learning rate of centres relative to the others; it is a share of a distance, not a length."""


class ClassDescent(Optimizer):
    """Gradient descent on centres, each step divided by the weight of the centre's class.

    With gradients sum_p w_p (C - L_p) over a class and a rate r,

        C <- (1 - r) C + r * sum_p w_p L_p / sum_p w_p,

    Lloyd's algorithm in small steps, invariant to the scale of the latents. A factor of the
    gradient (eta) acts as a factor of the rate, which it would not under Adam.
    """

    def __init__(self, quantizer: VectorQuantizer) -> None:
        super().__init__([quantizer.centres], {"lr": 0.0, "rate_factor": CENTRES_RATE})
        self._quantizer = quantizer

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step; the class weights are those of the last forward pass."""
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


def build_optimisers(model: Autoencoder, fused: bool) -> list[Optimizer]:
    """Build optimisers over all parameters; the learning rate is set at every step."""
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if name != "quantizer.centres":
            groups.setdefault(SLOW_RATE if is_slow(name) else 1.0, []).append(parameter)
    by_rate = [{"params": group, "rate_factor": factor} for factor, group in groups.items()]
    optimisers: list[Optimizer] = [
        AdamW(by_rate, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0, fused=fused)
    ]
    if isinstance(model, VectorAutoencoder):
        optimisers.append(ClassDescent(model.quantizer))
    return optimisers


def set_learning_rate(optimisers: Iterable[Optimizer], rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
