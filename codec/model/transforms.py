"""Analysis and synthesis transforms g_a, g_s: pixels to latents and back.

    lowres   PixelUnshuffle(8) -> 1x1 -> blocks at 1/8 -> PixelUnshuffle(2) -> 1x1
             -> blocks at 1/16 -> 1x1;   the synthesis is its mirror, with PixelShuffle, followed
             by a filter at 1/4
    gdn      four 5x5 convolutions of stride 2 with GDN between them (Balle et al. 2017/2018)

Both map x [B, 3, H, W] in 0..1 (H, W multiples of 16) to y [B, M, H/16, W/16] and back.
`level` [B] is the position on the ladder of lambdas; `gdn` ignores it.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.dct import opponent_dct_basis
from codec.model.gdn import GDN
from codec.model.rate import LevelScale
from codec.weights.config import MIDDLE_GREY, ModelConfig


class Pointwise(nn.Module):
    """1x1 convolution with a matrix [out, in] as weight."""

    def __init__(self, inputs: int, outputs: int, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if zero:
            nn.init.zeros_(self.weight)
        else:
            nn.init.normal_(self.weight, std=inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


class TrunkPointwise(Pointwise):
    """1x1 convolution on the skip path from pixels to latents, in float32 under autocast too.

    Latents span hundreds of quantisation steps at high rates, and a grey level is one part in 255:
    both need more than the 8 significant bits of bfloat16.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Depthwise(nn.Module):
    """Depthwise 3x3 convolution, zero padded; weight [channels, 3, 3]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 3, 3) / 3)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, None], self.bias, padding=1, groups=len(self.bias))


class Block(nn.Module):
    """Residual block: x += W2 dw3x3(lrelu(W1 x)), then x += W4 (u * gate(v)), [u, v] = W3 x.

    gate(v) is relu(v), clamped to `bound` unless that is 0. The last layer of each branch is
    initialised to zero, which makes the block the identity. The second branch is optional; the
    first has `hidden` units.
    """

    def __init__(self, channels: int, hidden: int, bound: float, gated: bool = True) -> None:
        super().__init__()
        self.gated = gated
        self._bound = bound or math.inf
        self.w1 = Pointwise(channels, hidden)
        self.dw = Depthwise(hidden)
        self.w2 = Pointwise(hidden, channels, zero=True)
        if gated:
            self.w3 = Pointwise(channels, 2 * channels)
            self.w4 = Pointwise(channels, channels, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.w2(self.dw(F.leaky_relu(self.w1(x))))
        if not self.gated:
            return x
        u, v = self.w3(x).chunk(2, dim=1)
        return cast(Tensor, x + self.w4(u * F.hardtanh(v, 0.0, self._bound)))


def _blocks8(config: ModelConfig) -> nn.Sequential:
    width = config.channels8
    return nn.Sequential(*(Block(width, width, config.gate_bound) for _ in range(config.blocks8)))


def _blocks16(config: ModelConfig) -> nn.Sequential:
    shape = config.channels16, config.units16, config.gate_bound, config.gates16
    return nn.Sequential(*(Block(*shape) for _ in range(config.blocks16)))


class PictureFilter(nn.Module):
    """Residual filter of 3x3, 1x1 and 3x3 convolutions at 1/4; initialised to the identity.

    At 1/8 an edge is a different pattern of channels for each of its offsets in an 8x8 block. The
    3x3 convolutions here run across the borders of blocks at a finer resolution.
    """

    SIDE = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        samples = 3 * self.SIDE**2
        self.enter = nn.Conv2d(samples, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        self.leave = nn.Conv2d(width, samples, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(cast(Tensor, self.leave.bias))

    def forward(self, x: Tensor) -> Tensor:
        # In place: at a width of 96 an activation takes twice the memory of the picture.
        h = F.leaky_relu(self.enter(F.pixel_unshuffle(x, self.SIDE)), inplace=True)
        h = self.leave(F.leaky_relu(self.mix(h), inplace=True))
        return x + F.pixel_shuffle(h, self.SIDE)


class LowResAnalysis(nn.Module):
    """g_a at 1/8 and 1/16; initialised to an 8x8 DCT in opponent colours (see `dct`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c8, c16 = config.channels8, config.channels16
        self.stem = TrunkPointwise(3 * 64, c8)
        self.blocks8 = _blocks8(config)
        self.scale = LevelScale(config.anchors, c8)
        self.down = TrunkPointwise(4 * c8, c16)
        self.blocks16 = _blocks16(config)
        self.head = TrunkPointwise(c16, config.latent)
        with torch.no_grad():
            self.stem.weight.copy_(opponent_dct_basis(c8))
            nn.init.eye_(self.down.weight)
            nn.init.eye_(self.head.weight)

    def features(self, x: Tensor) -> Tensor:
        """Part of g_a that does not depend on the level: x to [B, C8, H/8, W/8]."""
        return cast(Tensor, self.blocks8(self.stem(F.pixel_unshuffle(x - MIDDLE_GREY, 8))))

    def latents(self, h: Tensor, level: Tensor) -> Tensor:
        """Rest of g_a: `features` to y [B, M, H/16, W/16]."""
        h = self.scale(h, level)
        return cast(Tensor, self.head(self.blocks16(self.down(F.pixel_unshuffle(h, 2)))))

    def change(self, dx: Tensor, level: Tensor) -> Tensor:
        """Approximate change of y, [B, M, H/16, W/16], for a change dx of x: the response of the
        linear skip path, without the blocks."""
        h = F.conv2d(F.pixel_unshuffle(dx, 8), self.stem.weight[:, :, None, None])
        h = F.pixel_unshuffle(self.scale(h, level), 2)
        return F.conv2d(h, (self.head.weight @ self.down.weight)[:, :, None, None])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.latents(self.features(x), level)


class LowResSynthesis(nn.Module):
    """g_s: the mirror of `LowResAnalysis`, initialised to its transpose, and a filter."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c8, c16 = config.channels8, config.channels16
        self.head = TrunkPointwise(config.latent, c16)
        self.blocks16 = _blocks16(config)
        self.up = TrunkPointwise(c16, 4 * c8)
        self.scale = LevelScale(config.anchors, c8)
        self.blocks8 = _blocks8(config)
        self.stem = TrunkPointwise(c8, 3 * 64)
        self.filter = PictureFilter(config.filter4) if config.filter4 else nn.Identity()
        with torch.no_grad():
            self.stem.weight.copy_(opponent_dct_basis(c8).T)
            nn.init.eye_(self.up.weight)
            nn.init.eye_(self.head.weight)

    def forward(self, y: Tensor, level: Tensor) -> Tensor:
        h = self.features(y, level, len(self.blocks16), len(self.blocks8))
        return cast(Tensor, self.filter(F.pixel_shuffle(self.stem(h), 8)) + MIDDLE_GREY)

    def features(self, y: Tensor, level: Tensor, blocks16: int, blocks8: int) -> Tensor:
        """Activations at 1/8 before the stem, after the first blocks at 1/16 and at 1/8."""
        y = y.contiguous(memory_format=torch.channels_last)
        h = F.pixel_shuffle(self.up(self.blocks16[:blocks16](self.head(y))), 2)
        return cast(Tensor, self.blocks8[:blocks8](self.scale(h, level)))

    def reduced(
        self,
        y: Tensor,
        level: Tensor,
        weight: Tensor,
        bias: Tensor,
        blocks16: int,
        blocks8: int,
    ) -> Tensor:
        """Means of x over squares, see `codec.engine.reduced`.

        Args:
            y: as of `forward`, like `level`.
            level: likewise.
            weight: of the stem of reduced samples, [3 p p, C8].
            bias: likewise, [3 p p].
            blocks16: number of blocks at 1/16 to run.
            blocks8: likewise at 1/8.
        """
        h = self.features(y, level, blocks16, blocks8).float()
        x = F.conv2d(h, weight[:, :, None, None], bias)
        return F.pixel_shuffle(x, round((len(bias) / 3) ** 0.5)) + MIDDLE_GREY


class GDNAnalysis(nn.Module):
    """g_a of four 5x5 convolutions of stride 2 with GDN between (Balle et al. 2018, figure 4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = (3, *(config.channels8,) * 3, config.latent)
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 5, stride=2, padding=2) for i, o in itertools.pairwise(widths)
        )
        self.gdns = nn.ModuleList(GDN(n) for n in widths[1:-1])

    def features(self, x: Tensor) -> Tensor:
        """All of g_a, which does not depend on the level."""
        h = self.convs[0](x - MIDDLE_GREY)
        for gdn, conv in zip(self.gdns, self.convs[1:], strict=True):
            h = conv(gdn(h))
        return cast(Tensor, h)

    def latents(self, h: Tensor, level: Tensor) -> Tensor:
        """Return `features` unchanged."""
        return h

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.features(x)


class GDNSynthesis(nn.Module):
    """g_s of four transposed 5x5 convolutions of stride 2 with inverse GDN between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = (config.latent, *(config.channels8,) * 3, 3)
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 5, stride=2, padding=2, output_padding=1)
            for i, o in itertools.pairwise(widths)
        )
        self.gdns = nn.ModuleList(GDN(n, inverse=True) for n in widths[1:-1])

    def forward(self, y: Tensor, level: Tensor) -> Tensor:
        h = self.convs[0](y.contiguous(memory_format=torch.channels_last))
        for gdn, conv in zip(self.gdns, self.convs[1:], strict=True):
            h = conv(gdn(h))
        return cast(Tensor, h + MIDDLE_GREY)


def build_transforms(
    config: ModelConfig,
) -> tuple[LowResAnalysis | GDNAnalysis, LowResSynthesis | GDNSynthesis]:
    """Build the pair (g_a, g_s) of a configuration."""
    if config.transform == "gdn":
        return GDNAnalysis(config), GDNSynthesis(config)
    return LowResAnalysis(config), LowResSynthesis(config)
