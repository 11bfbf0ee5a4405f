"""Mean-scale hyperprior with a spatial prior in two or four passes, in floats for training.

    y' --h_a--> z          z^ --h_s--> features --head--> mu, scale of pass 1
                           y^ known so far --context--> + features --head--> the next pass

With two passes (dual spatial prior) the squares of a checkerboard are of two classes, with four
(quadtree partition, Li et al. 2023) the positions of 2x2 groups are of four. Pass k of P holds of
class c the channels of part c xor k of P equal parts. So every pass holds some channels
everywhere, and a latent of a later pass has neighbours of its own channel in earlier ones: first
the diagonal ones, then the four nearest, then all eight. The first two of four passes hold what
the first of two does. Heads give mu and a position on the ladder of 64 scales.

`ExactPrior` (h_s, heads, context) has a twin in `codec.entropy.exact_prior`, which runs the
same layers in exact arithmetic; therefore only 1x1 and depthwise 3x3 convolutions, pixel
shuffles and ReLU appear in it, and its parameters are exported as dyadic numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.densities import SIGMA_LEVELS
from codec.model.rate import interpolate
from codec.model.transforms import Depthwise, Pointwise
from codec.weights.config import ModelConfig

HEAD_UNIT = 8.0
"""Heads predict mu and scale level in units of 8; the export folds it into the weights."""
CONTEXT_UNIT = 1 / 16
"""The context network reads y^ in units of 16; folded likewise."""


def pass_numbers(
    channels: int, height: int, width: int, passes: int, device: torch.device
) -> Tensor:
    """The pass, from 0, that holds each latent; int64 [channels, height, width]."""
    rows = torch.arange(height, device=device)[:, None]
    columns = torch.arange(width, device=device)
    position = (rows + columns) % 2
    if passes == 4:
        position = 2 * position + rows % 2
    ends = torch.tensor([channels * k // passes for k in range(1, passes)], device=device)
    part = (torch.arange(channels, device=device)[:, None] >= ends).sum(1)
    return position ^ part[:, None, None]


class HyperAnalysis(nn.Module):
    """h_a: y' [B, M, H, W] to z [B, hyper, H/4, W/4] (H and W multiples of 4).

    Reads asinh(y'), since scales are a matter of orders of magnitude.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.prior
        self.stem = Pointwise(config.latent, width)
        self.block16 = PriorBlock(width)
        self.down16 = Pointwise(4 * width, width)
        self.block32 = PriorBlock(width)
        self.down32 = Pointwise(4 * width, width)
        self.head = Pointwise(width, config.hyper)

    def forward(self, y: Tensor) -> Tensor:
        h = self.block16(self.stem(torch.asinh(y)))
        h = self.block32(self.down16(F.pixel_unshuffle(h, 2)))
        h = self.down32(F.pixel_unshuffle(h, 2))
        return cast(Tensor, self.head(F.relu(h)))


class PriorBlock(nn.Module):
    """Residual block x += W2 relu(dw3x3(relu(W1 x))) that starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w1 = Pointwise(channels, channels)
        self.dw = Depthwise(channels)
        self.w2 = Pointwise(channels, channels, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.w2(F.relu(self.dw(F.relu(self.w1(x))))))


class PriorHead(nn.Module):
    """Features to (mu, position on the ladder of scales), each [B, M, H, W].

    The bias depends on the rate level: gains move every mu and every log scale by an amount
    that is linear in it. The weight starts at zero, so a fresh head is that bias alone.
    """

    def __init__(self, width: int, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * config.latent, width))
        middle = torch.tensor([0.0, SIGMA_LEVELS / 2]).repeat_interleave(config.latent)
        self.level_bias = nn.Parameter(middle.repeat(config.anchors, 1))

    def forward(self, features: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(features.device.type, enabled=False):  # mu needs more than 8 bits
            out = F.conv2d(features.float(), self.weight[:, :, None, None]) * HEAD_UNIT
        mu, scale_level = (out + interpolate(self.level_bias, level)[:, :, None, None]).chunk(2, 1)
        return mu, scale_level


class Split(nn.Module):
    """What the second of two passes sees of the first: y^ [B, M, H, W], zero where unknown.

    Starts blind, so that a prior that was trained without it computes what it did.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.context = Pointwise(config.latent, config.prior, zero=True)
        self.block = PriorBlock(config.prior)
        self.head = PriorHead(config.prior, config)


class ExactPrior(nn.Module):
    """h_s, the heads and the context networks: all that the range decoder depends on.

    Two passes are the halves of y; four split each half once more.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, latent = config.prior, config.latent
        self.stem = Pointwise(config.hyper, width)
        self.level_bias = nn.Parameter(torch.zeros(config.anchors, width))
        self.block64 = PriorBlock(width)
        self.up64 = Pointwise(width, 4 * width)
        self.block32 = PriorBlock(width)
        self.up32 = Pointwise(width, 4 * width)
        self.block16 = PriorBlock(width)
        self.first_head = PriorHead(width, config)
        self.context = Pointwise(latent, width)
        self.context_block1 = PriorBlock(width)
        self.context_block2 = PriorBlock(width)
        self.second_head = PriorHead(width, config)
        self.passes = config.passes
        if self.passes == 4:
            self.first_split = Split(config)
            self.second_split = Split(config)

    def heads(self) -> list[PriorHead]:
        """Of the passes, in their order."""
        return [head for _, _, head in self._steps()]

    def features(self, z_hat: Tensor, level: Tensor) -> Tensor:
        """z^ [B, hyper, H, W] to features [B, prior, 4H, 4W]."""
        h = self.stem(z_hat) + interpolate(self.level_bias, level)[:, :, None, None]
        h = F.pixel_shuffle(self.up64(self.block64(h)), 2)
        h = F.pixel_shuffle(self.up32(self.block32(h)), 2)
        return cast(Tensor, self.block16(h))

    def predict(
        self, number: int, features: Tensor, known: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the prior says of one pass.

        Args:
            number: of the pass, from 0.
            features: as the pass before left them, at first those of `features`.
            known: y^ of all passes before, [B, M, H, W], zero elsewhere.

        Returns:
            (features for the next pass, mu, scale level), the latter [B, M, H, W] and meant for
            the latents of this pass.
        """
        context, blocks, head = self._steps()[number]
        if context is not None:
            features = features + context(known * CONTEXT_UNIT)
        for block in blocks:
            features = block(features)
        return features, *head(features, level)

    def _steps(self) -> list[tuple[Pointwise | None, Sequence[PriorBlock], PriorHead]]:
        halves: list[tuple[Pointwise | None, Sequence[PriorBlock], PriorHead]] = [
            (None, (), self.first_head),
            (self.context, (self.context_block1, self.context_block2), self.second_head),
        ]
        if self.passes == 2:
            return halves
        first, second = (
            (split.context, (split.block,), split.head)
            for split in (self.first_split, self.second_split)
        )
        return [halves[0], first, halves[1], second]
