"""Mean-scale hyperprior with a dual spatial prior, in floats for training.

    y' --h_a--> z          z^ --h_s--> features --first head--> mu, scale of pass 1
                           y^ of pass 1 --context--> + features --second head--> pass 2

Pass 1 holds the first half of the channels on the even squares of a checkerboard and the
second half on the odd ones; pass 2 holds the rest (dual spatial prior: two passes, not a
serial scan). Heads give mu and a position on the ladder of 64 scales.

`ExactPrior` (h_s, heads, context) has a twin in `codec.runtime.exact_prior`, which runs the
same layers in exact arithmetic; therefore only 1x1 and depthwise 3x3 convolutions, pixel
shuffles and ReLU appear in it, and its parameters are exported as dyadic numbers.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.config import ModelConfig
from codec.model.densities import SIGMA_LEVELS
from codec.model.rate import interpolate
from codec.model.transforms import Depthwise, Pointwise

HEAD_UNIT = 8.0
"""Heads predict mu and scale level in units of 8; the export folds it into the weights."""
CONTEXT_UNIT = 1 / 16
"""The context network reads y^ in units of 16; folded likewise."""


def checkerboard(channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """True where pass 1 holds the latent; [channels, height, width]."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    even = (rows[:, None] + columns) % 2 == 0
    first_half = torch.arange(channels, device=device) < channels // 2
    return even == first_half[:, None, None]


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


class ExactPrior(nn.Module):
    """h_s, the two heads and the context network: all that the range decoder depends on."""

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

    def features(self, z_hat: Tensor, level: Tensor) -> Tensor:
        """z^ [B, hyper, H, W] to features [B, prior, 4H, 4W]."""
        h = self.stem(z_hat) + interpolate(self.level_bias, level)[:, :, None, None]
        h = F.pixel_shuffle(self.up64(self.block64(h)), 2)
        h = F.pixel_shuffle(self.up32(self.block32(h)), 2)
        return cast(Tensor, self.block16(h))

    def first_pass(self, features: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """mu and scale level [B, M, H, W] for the latents of pass 1."""
        return cast(tuple[Tensor, Tensor], self.first_head(features, level))

    def second_pass(
        self, features: Tensor, y_hat_first: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """mu and scale level for the rest; `y_hat_first` is zero outside pass 1."""
        h = features + self.context(y_hat_first * CONTEXT_UNIT)
        h = self.context_block2(self.context_block1(h))
        return cast(tuple[Tensor, Tensor], self.second_head(h, level))
