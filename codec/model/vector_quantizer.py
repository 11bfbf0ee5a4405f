"""Rounding to the nearest of K centres, with its published gradient rules.

    k[p] = argmin_k |C[k] - L[p]|,   L^[p] = C[k[p]],   loss = 1/2 |x - g(L^)|^2

    end-to-end   L.grad += L^.grad                        C[k].grad += L^.grad
    published    L.grad += L^.grad + beta (L - L^)        C[k].grad += eta (C[k] - L)
    joint        L.grad += L^.grad + beta (L - L^)        C[k].grad += L^.grad + beta (C[k] - L)

`published` is VQ-VAE (van den Oord et al. 2017, eq. 3). The derivative of rounding is zero, hence
the straight-through term in all three. At a stationary point C[k] is the mean of its class under
`published` only.

Product and residual codes: a latent of M channels is cut into G groups of D = M/G channels (group
g has channels g, g + G, g + 2G, ...), and L^ = C_1[k_1] + ... + C_n[k_n], where level r quantises
the residual of the levels before it. In the formulas of the latents L^ is the whole sum; in those
of the centres of a level L is the residual that the level quantises. One level and one group give
the formulas above exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from codec.errors import TrainingError
from codec.weights.config import ModelConfig

Rule = Literal["end-to-end", "published", "joint"]
MAX_DISTANCES = 1 << 22
"""Maximum number of distances computed at once."""


@dataclass(frozen=True)
class UpdateRule:
    """Gradient rule of latents and centres; see the module's formulas."""

    name: Rule = "published"
    beta: float = 1.0
    """Commitment weight. The straight-through gradient is J^T J (L^ - L), J the Jacobian of the
    decoder, so that 1 cancels it if latents are scaled to J^T J = 1 (`initialisation`). VQ-VAE used
    0.25."""
    eta: float = 1.0
    """Weight of the centres' gradient under `published`."""

    def __post_init__(self) -> None:
        if self.name not in get_args(Rule):
            raise TrainingError(f"the VQ update must be one of {', '.join(get_args(Rule))}")
        if not (0 <= self.beta < 1e6 and 0 < self.eta < 1e6):
            raise TrainingError("beta must be at least 0, and eta above 0")


def nearest(latents: Tensor, centres: Tensor, cost: Tensor | float = 0.0) -> Tensor:
    """argmin_k |latents - centres[k]|^2 + cost, in bounded memory.

    Args:
        latents: [P, D].
        centres: [K, D].
        cost: cost of each index, such as -ln P(k) / lambda', [P, K] or [1, K]; or 0.

    Returns:
        Indices [P], int64.
    """
    with torch.autocast(latents.device.type, enabled=False):  # differences of large numbers
        offset = centres.square().sum(1)[None] + cost
        rows = max(1, MAX_DISTANCES // len(centres))
        parts = zip(
            torch.split(latents, rows),
            torch.split(offset.expand(len(latents), -1), rows),
            strict=True,
        )
        return torch.cat([torch.addmm(o, a, centres.T, alpha=-2).argmin(1) for a, o in parts])


class _Round(torch.autograd.Function):
    """L -> L^ with the gradient rule as its backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        latents: Tensor,
        centres: Tensor,
        indices: Tensor,
        used: Tensor,
        weight: Tensor,
        rule: UpdateRule,
    ) -> Tensor:
        ctx.save_for_backward(latents, centres, indices, used, weight)
        ctx.rule = rule
        return look_up(centres, indices, used)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        latents, centres, indices, used, weight = ctx.saved_tensors
        rule: UpdateRule = ctx.rule
        commitment = 0.0 if rule.name == "end-to-end" else rule.beta
        remainder = latents.clone()
        d_centres = torch.zeros_like(centres)
        groups = range(centres.shape[1])
        for level in range(len(centres)):
            chosen = torch.stack([centres[level, g][indices[level, :, g]] for g in groups], dim=1)
            pull = (chosen - remainder) * weight  # C[k] - L
            if rule.name == "end-to-end":
                step = gradient
            elif rule.name == "published":
                step = rule.eta * pull
            else:
                step = gradient + rule.beta * pull
            step = step * used[level]
            for g in groups:
                d_centres[level, g].index_add_(0, indices[level, :, g], step[:, g])
            remainder -= chosen * used[level]
        d_latents = gradient + commitment * weight * remainder  # straight through + beta (L - L^)
        return d_latents, d_centres, None, None, None, None


def look_up(centres: Tensor, indices: Tensor, used: Tensor) -> Tensor:
    """L^ [P, G, D] of indices [levels, P, G] at used levels (1 or 0, [levels, P, 1, 1])."""
    total = torch.zeros(indices.shape[1], *centres.shape[1:2], centres.shape[3]).to(centres)
    for level in range(len(indices)):
        for g in range(centres.shape[1]):
            total[:, g] += centres[level, g][indices[level, :, g]] * used[level, :, 0]
    return total


class VectorQuantizer(nn.Module):
    """Rounding to centres [levels, G, K, D] with a gradient rule, and their usage in training."""

    usage: Tensor
    """Number of uses of each centre since the last `reset_usage`, [levels, G, K]."""

    class_weight: Tensor
    """Total weight of each class in the last forward pass in training mode, [levels, G, K]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        shape = (config.anchors, config.groups, config.centres)
        self.centres = nn.Parameter(torch.randn(*shape, config.dimensions) * 0.1)
        self.register_buffer("usage", torch.zeros(shape))
        self.register_buffer("class_weight", torch.zeros(shape), persistent=False)
        self.rule = UpdateRule()

    def forward(self, latents: Tensor, indices: Tensor, used: Tensor, weight: Tensor) -> Tensor:
        """Round to given indices; the gradient is that of `rule`.

        Args:
            latents: L, [P, G, D].
            indices: [levels, P, G].
            used: 1 where a position uses a level, else 0: [levels, P, 1, 1].
            weight: weight of 1/2 |x - g(L^)|^2 in the loss, [P, 1, 1]; beta and eta are relative
                to it.

        Returns:
            L^, [P, G, D].
        """
        if self.training:
            self._count(indices, used, weight)
        rounded: Tensor = _Round.apply(latents, self.centres, indices, used, weight, self.rule)
        return rounded

    @torch.no_grad()
    def _count(self, indices: Tensor, used: Tensor, weight: Tensor) -> None:
        counted, weighed = used[:, :, 0, 0], (used * weight)[:, :, 0, 0]
        self.class_weight.zero_()
        for level in range(len(indices)):
            for g in range(indices.shape[2]):
                chosen = indices[level, :, g]
                self.usage[level, g].index_add_(0, chosen, counted[level])
                self.class_weight[level, g].index_add_(0, chosen, weighed[level])

    def reset_usage(self) -> None:
        self.usage.zero_()

    def statistics(self) -> dict[str, float]:
        """Mean share of used centres and mean perplexity, over all codebooks."""
        share = self.usage / self.usage.sum(-1, keepdim=True).clamp_min(1)
        entropy = -torch.special.xlogy(share, share).sum(-1)
        return {
            "codebook_usage": float((self.usage > 0).float().mean()),
            "codebook_perplexity": float(entropy.exp().mean()),
        }


def group(y: Tensor, groups: int) -> Tensor:
    """Latents L [B*H*W, G, D] of y [B, M, H, W]; group g has channels g, g + G, ..."""
    batch, channels, height, width = y.shape
    split = y.permute(0, 2, 3, 1).reshape(batch * height * width, channels // groups, groups)
    return split.transpose(1, 2)


def ungroup(latents: Tensor, height: int, width: int) -> Tensor:
    """Inverse of `group`."""
    y = latents.transpose(1, 2).reshape(-1, height, width, latents.shape[1] * latents.shape[2])
    return y.permute(0, 3, 1, 2)


LLOYD_STEPS = 12
RESEEDED_STEPS = 6
"""Number of first steps that reseed empty classes."""


@torch.no_grad()
def fit_centres(samples: Tensor, count: int, rate_weight: float = 0.0) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from random samples, entropy-constrained if the rate has a weight.

    The assignment minimises |L - C_k|^2 - ln P(k) / lambda' (Chou, Lookabaugh, Gray 1989).

    Args:
        samples: [P, D].
        count: K.
        rate_weight: 1 / lambda', squared distance per nat; 0 is k-means.

    Returns:
        Centres [K, D] and the share of each class, [K], none of them zero.
    """
    centres = samples[torch.randint(len(samples), (count,), device=samples.device)].clone()
    centres[0] = 0.0  # the most frequent residual
    share = torch.full((count,), 1 / count, device=samples.device)
    floor = 0.5 / len(samples)
    for step in range(LLOYD_STEPS):
        cost = -rate_weight * share.clamp_min(floor).log()
        indices = nearest(samples, centres, cost[None])
        sizes = torch.bincount(indices, minlength=count).to(samples)
        sums = torch.zeros_like(centres).index_add_(0, indices, samples)
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp_min(1)[:, None], centres)
        empty = sizes == 0
        if step < RESEEDED_STEPS and empty.any():
            centres[empty] = draw_far(samples, centres[indices], int(empty.sum()))
            sizes[empty] = 1.0
        share = sizes / sizes.sum()
    share = share.clamp_min(floor)
    return centres, share / share.sum()


def draw_far(samples: Tensor, rounded: Tensor, count: int) -> Tensor:
    """Samples [count, D] drawn with probability proportional to their squared error."""
    error = (samples - rounded).square().sum(1) + 1e-12
    return samples[torch.multinomial(error, count, replacement=True)]
