"""Prior over the indices of a vector-quantised latent, in floating point for training.

    indices of lower levels --embed, sum--> context --blocks--> head of the level --> P(k), pass 1
    ... + indices of pass 1 --embed, sum--> context --blocks--> head of the level --> P(k), pass 2

Levels are coded in order, each in two passes: pass 1 codes the first half of the groups on the
even squares of a checkerboard and the second half on the odd ones, pass 2 the rest. So an index is
conditioned on all lower levels around it, and in pass 2 also on its neighbours and on the other
groups at its own position.

`IndexPrior` has a twin in `codec.entropy.index_prior`, which computes the same logits in exact
arithmetic; its layers are constrained as in `codec.model.hyperprior`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.entropy.graph import CHECKERBOARD, HEAD_UNIT, INDEX_BLOCKS, index_parameters
from codec.model.hyperprior import PriorBlock, pass_numbers
from codec.weights.config import ModelConfig


class IndexPrior(nn.Module):
    """Embeddings, context network and heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        shapes = {name: parameter.shape for name, parameter in index_parameters(config).items()}
        self.centres = config.centres
        self.embedding = nn.Parameter(torch.randn(shapes["embedding"]) * 0.3)
        self.pass_bias = nn.Parameter(torch.randn(shapes["pass_bias"]) * 0.3)
        self._blocks = [PriorBlock(config.prior) for _ in INDEX_BLOCKS]
        for name, block in zip(INDEX_BLOCKS, self._blocks, strict=True):
            self.add_module(name, block)
        self.head_weight = nn.Parameter(torch.zeros(shapes["head_weight"]))
        self.head_bias = nn.Parameter(torch.zeros(shapes["head_bias"]))

    def embed(self, indices: Tensor, level: int, mask: Tensor | None = None) -> Tensor:
        """Embed the indices of one level, as a term of the context.

        Args:
            indices: [B, G, H, W], int64.
            mask: indices that are known, [G, H, W]; all by default.

        Returns:
            [B, width, H, W].
        """
        groups = indices.shape[1]
        offset = torch.arange(groups, device=indices.device)[:, None, None] * self.centres
        rows = F.embedding(indices + offset, self.embedding[level])  # (B, G, H, W, width)
        if mask is not None:
            rows = rows * mask[..., None]
        return rows.sum(1).permute(0, 3, 1, 2)

    def logits(self, context: Tensor, level: int, number: int) -> Tensor:
        """log2 P(k) up to a constant, in pass `number` (0 or 1) of a level.

        Args:
            context: sum of the embeddings of all known indices, [B, width, H, W].

        Returns:
            [B, G, K, H, W], float32.
        """
        h = context + self.pass_bias[level, number][:, None, None]
        for block in self._blocks:
            h = block(h)
        with torch.autocast(h.device.type, enabled=False):  # a probability needs more than 8 bits
            out = self.head_weight[level] @ h.float().flatten(2) * HEAD_UNIT
            out = out + self.head_bias[level][:, None]
        return out.reshape(len(h), -1, self.centres, *h.shape[2:])

    def pass_mask(self, indices: Tensor, number: int) -> Tensor:
        """Mask [G, H, W] of those indices [B, G, H, W] that pass `number` codes."""
        _, groups, height, width = indices.shape
        return pass_numbers(groups, height, width, indices.device, CHECKERBOARD) == number

    def bits(self, indices: Tensor) -> Tensor:
        """-log2 P of indices [levels, B, G, H, W], in the same shape."""
        context = torch.zeros_like(self.embed(indices[0], 0))
        levels = []
        for level, chosen in enumerate(indices):
            first = self.pass_mask(chosen, 0)
            seen = context + self.embed(chosen, level, first)
            passes = [
                -log2_probability(self.logits(known, level, number))
                .gather(2, chosen[:, :, None])
                .squeeze(2)
                for number, known in enumerate((context, seen))
            ]
            levels.append(torch.where(first, passes[0], passes[1]))
            context = context + self.embed(chosen, level)
        return torch.stack(levels)

    @torch.no_grad()
    def restart(self, dead: Tensor) -> None:
        """Set the probability of restarted centres [levels, G, K] to 1/K in every context."""
        flat = dead.flatten(1)
        bias = self.head_bias.reshape(len(dead), -1, self.centres)
        mass = (bias * math.log(2)).logsumexp(-1, keepdim=True) / math.log(2)
        level = mass - math.log2(self.centres)
        self.head_bias[flat] = level.expand_as(bias).flatten(1)[flat]
        self.head_weight[flat] = 0.0


def log2_probability(logits: Tensor) -> Tensor:
    """Normalised log2 P over the axis of K of logits [B, G, K, H, W]."""
    return F.log_softmax(logits * math.log(2), dim=2) / math.log(2)
