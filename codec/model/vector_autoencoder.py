"""The autoencoder that rounds to the nearest of K centres (VQ-VAE).

    x --g_a--> L --nearest centres, level by level--> k --look up--> L^ --g_s--> x^
                                                      |
                                          index prior: -ln P(k)

The first n levels give the n-th rate. g_a does not depend on n, so that the symbols of n - 1 levels
are a prefix of those of n; g_s does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from codec.entropy.graph import INDEX_PASSES
from codec.model.autoencoder import Forward
from codec.model.index_prior import IndexPrior, log2_probability
from codec.model.rounding import Surrogate
from codec.model.transforms import build_transforms
from codec.model.vector_quantizer import (
    VectorQuantizer,
    draw_far,
    group,
    nearest,
    ungroup,
)
from codec.weights.config import ModelConfig


class VectorAutoencoder(nn.Module):
    """VQ-VAE with product and residual codebooks and a prior over the indices."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a, self.g_s = build_transforms(config)
        self.quantizer = VectorQuantizer(config)
        if config.index_prior == "learned":
            self.prior = IndexPrior(config)

    def analyse(self, x: Tensor) -> Tensor:
        """Latents L before rounding, [B, M, H/16, W/16], of pictures [B, 3, H, W] in 0..1."""
        top = torch.full((len(x),), self.config.anchors - 1.0, device=x.device)
        y: Tensor = self.g_a(x, top).float()
        return y

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        surrogate: Surrogate = "mixed",
        weight: Tensor | None = None,
    ) -> Forward:
        """Compute reconstructions and rates of a batch with the first `level + 1` levels.

        Args:
            x: pictures [B, 3, H, W] in 0..1; H and W multiples of 16.
            level: [B], whole numbers in [0, levels - 1].
            surrogate: "rounded" for no gradient of the encoder; the others are equivalent here.
            weight: weight of 1/2 |x - x^|^2 of each picture in the loss, [B]; 1 by default.
        """
        y = self.analyse(x)
        if surrogate == "rounded":
            y = y.detach()
        latents = group(y, self.config.groups)
        indices = self.assign(y.detach())
        height, width = y.shape[2:]
        numbers = torch.arange(self.config.anchors, device=x.device)
        used = (numbers[:, None] <= level).to(y)  # (levels, B)
        at_positions = used.repeat_interleave(height * width, dim=1)[:, :, None, None]
        weight = torch.ones_like(level) if weight is None else weight
        weight = weight.repeat_interleave(height * width)[:, None, None]
        flat = indices.permute(0, 1, 3, 4, 2).flatten(1, 3)  # (levels, P, G)
        y_hat = ungroup(self.quantizer(latents, flat, at_positions, weight), height, width)
        x_hat = self.g_s(y_hat, level)
        bits = (self._bits(indices) * used).sum(0)
        return Forward(x_hat.float(), bits, torch.zeros_like(bits))

    def _bits(self, indices: Tensor) -> Tensor:
        """-log2 P(k) of each level and picture, [levels, B]."""
        if self.config.index_prior == "uniform":
            bits = math.log2(self.config.centres) * indices[0, 0].numel()
            return torch.full(indices.shape[:2], bits, device=indices.device)
        return self.prior.bits(indices).sum((2, 3, 4))

    @torch.no_grad()
    def assign(self, y: Tensor) -> Tensor:
        """Indices [levels, B, G, H, W] of latents y [B, M, H, W]."""
        levels, groups = self.config.anchors, self.config.groups
        batch, _, height, width = y.shape
        remainder = group(y, groups).clone()
        indices = torch.zeros(levels, batch, groups, height, width, dtype=torch.long).to(y.device)
        context: Tensor | float = 0.0
        for level in range(levels):
            if self.config.assignment == "rate-weighted":
                context = self._assign_weighted(remainder, indices[level], level, context)
            else:
                self._assign(remainder, indices[level], level, None)
            chosen = indices[level].permute(0, 2, 3, 1).reshape(-1, groups)
            centres = self.quantizer.centres[level]
            remainder -= torch.stack([centres[g][chosen[:, g]] for g in range(groups)], dim=1)
        return indices

    def _assign(self, remainder: Tensor, indices: Tensor, level: int, cost: Tensor | None) -> None:
        """Fill `indices` [B, G, H, W]; `cost` [B, G, K, H, W]."""
        batch, groups, height, width = indices.shape
        for g in range(groups):
            at_positions = 0.0 if cost is None else cost[:, g].permute(0, 2, 3, 1).flatten(0, 2)
            chosen = nearest(remainder[:, g], self.quantizer.centres[level, g], at_positions)
            indices[:, g] = chosen.reshape(batch, height, width)

    def _assign_weighted(
        self, remainder: Tensor, indices: Tensor, level: int, context: Tensor | float
    ) -> Tensor:
        """Fill `indices` by argmin |L - C_k|^2 - ln P(k) / lambda', pass by pass; returns the next
        context."""
        per_bit = math.log(2) / self.config.assignment_lambda(level)
        seen = torch.zeros_like(self.prior.embed(indices, level)) + context
        chosen = torch.zeros_like(indices)
        known = seen
        for number in range(INDEX_PASSES):
            cost = -per_bit * log2_probability(self.prior.logits(known, level, number))
            self._assign(remainder, chosen, level, cost)
            mask = self.prior.pass_mask(indices, number)
            indices.copy_(torch.where(mask, chosen, indices))
            known = seen + self.prior.embed(indices, level, mask)
        return seen + self.prior.embed(indices, level)

    @torch.no_grad()
    def restart_dead(self, x: Tensor) -> Tensor:
        """Move unused centres (`usage` of 0) to latents of x [B, 3, H, W] with large error.

        Returns:
            Mask of the moved centres, [levels, G, K].
        """
        dead = self.quantizer.usage == 0
        y = self.analyse(x)
        remainder = group(y, self.config.groups).clone()
        indices = self.assign(y).permute(0, 1, 3, 4, 2).flatten(1, 3)
        for level, g in torch.cartesian_prod(*map(torch.arange, dead.shape[:2])).tolist():
            centres = self.quantizer.centres[level, g]
            rounded = centres[indices[level, :, g]]
            count = int(dead[level, g].sum())
            if count:
                centres[dead[level, g]] = draw_far(remainder[:, g], rounded, count)
            remainder[:, g] -= rounded
        if self.config.index_prior == "learned":
            self.prior.restart(dead)
        return dead

    def restarted_parameters(self) -> list[nn.Parameter]:
        """Parameters that `restart_dead` changes, with rows [levels, G * K] or [levels, G, K]."""
        if self.config.index_prior == "uniform":
            return [self.quantizer.centres]
        return [self.quantizer.centres, self.prior.head_bias, self.prior.head_weight]

    @torch.no_grad()
    def take_restarted(self, source: VectorAutoencoder, dead: Tensor) -> None:
        """Copy the rows of restarted centres [levels, G, K] from another model."""
        pairs = zip(self.restarted_parameters(), source.restarted_parameters(), strict=True)
        for mine, other in pairs:
            rows = dead.reshape(mine.shape[: dead.ndim - (mine is not self.quantizer.centres)])
            mine[rows] = other[rows]
