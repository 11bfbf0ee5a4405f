"""Mean-scale hyperprior with a spatial prior in four passes, in floating point for training.

    y' --h_a--> z          z^ --h_s--> features --head--> mu, scale of pass 1
                           y^ of earlier passes --context--> + features --head--> next pass

The latent positions of a 2x2 group form four classes (quadtree partition, Li et al. 2023). Pass k
codes quarter c xor k of the channels at positions of class c. So each pass codes a quarter of the
channels at every position, and a latent of pass 2, 3 or 4 has neighbours in its own channel in
earlier passes: the four diagonal ones, the four nearest, all eight. Heads predict mu and a position
on the ladder of 64 scales.

`LatentPrior` (h_s, heads, context) has a twin in `codec.entropy.exact_prior`, which runs the same
layers in exact arithmetic. Hence it has 1x1 and depthwise 3x3 convolutions, pixel shuffles and
ReLU only, and its parameters are exported as dyadic numbers. Both twins are built from
`codec.entropy.graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.entropy.graph import (
    CONTEXT_UNIT,
    FEATURES,
    HEAD_UNIT,
    QUARTERS,
    SCALE_TABLES,
    STEPS,
    UPSAMPLING,
    Pattern,
    Step,
    latent_parameters,
)
from codec.model.rate import coarsened, interpolate
from codec.model.transforms import Depthwise, Pointwise
from codec.weights.config import ModelConfig

Part = TypeVar("Part", bound=nn.Module)


def pass_numbers(
    channels: int,
    height: int,
    width: int,
    device: torch.device,
    pattern: Pattern = QUARTERS,
) -> Tensor:
    """Number of the pass, from 0, that codes each latent; int64 [channels, height, width]."""
    passes = 1 + max(map(max, pattern))
    rows = torch.arange(height, device=device)[:, None] % 2
    columns = torch.arange(width, device=device) % 2
    position = torch.tensor(pattern, device=device)[rows, columns]
    ends = torch.tensor([channels * k // passes for k in range(1, passes)], device=device)
    part = (torch.arange(channels, device=device)[:, None] >= ends).sum(1)
    return position ^ part[:, None, None]


class HyperAnalysis(nn.Module):
    """h_a: y' [B, M, H, W] to z [B, hyper, H/4, W/4] (H and W multiples of 4).

    The input is asinh(y'), since scales span orders of magnitude.
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

    The bias depends on the level, since gains shift each mu and log scale linearly in it. The
    weight is initialised to zero.
    """

    def __init__(self, width: int, latent: int, anchors: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * latent, width))
        middle = torch.tensor([0.0, SCALE_TABLES / 2]).repeat_interleave(latent)
        self.level_bias = nn.Parameter(middle.repeat(anchors, 1))

    def forward(self, features: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(features.device.type, enabled=False):  # mu needs more than 8 bits
            out = F.conv2d(features.float(), self.weight[:, :, None, None]) * HEAD_UNIT
        mu, scale_level = (out + interpolate(self.level_bias, level)).chunk(2, 1)
        return mu, scale_level


class _PassLayers(NamedTuple):
    """Layers that predict one pass."""

    context: Pointwise | None
    blocks: Sequence[PriorBlock]
    head: PriorHead


class LatentPrior(nn.Module):
    """h_s, heads and context networks: the layers that the range decoder depends on."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        parameters = latent_parameters(config)

        def pointwise(name: str) -> Pointwise:
            outputs, inputs = parameters[f"{name}.weight"].shape
            return self._add(name, Pointwise(inputs, outputs))

        def block(name: str) -> PriorBlock:
            return self._add(name, PriorBlock(config.prior))

        def layers(step: Step) -> _PassLayers:
            head = PriorHead(config.prior, config.latent, config.anchors)
            return _PassLayers(
                pointwise(step.context) if step.context else None,
                [block(name) for name in step.blocks],
                self._add(step.head, head),
            )

        self.stem = pointwise("stem")
        self.level_bias = nn.Parameter(torch.zeros(parameters["level_bias"].shape))
        self._upsampling = [(block(name), pointwise(up)) for name, up in UPSAMPLING]
        block(FEATURES)
        # Checkpoints number the parameters in this order.
        first, third, second, fourth = (layers(STEPS[number]) for number in (0, 2, 1, 3))
        self._steps = [first, second, third, fourth]

    def _add(self, name: str, part: Part) -> Part:
        """Register a part by its name in the graph, which may have a dot."""
        owner, _, last = name.rpartition(".")
        if owner and owner not in self._modules:
            self.add_module(owner, nn.Module())
        self.get_submodule(owner).add_module(last, part)
        return part

    def heads(self) -> list[PriorHead]:
        """Heads in the order of the passes."""
        return [layers.head for layers in self._steps]

    def features(self, z_hat: Tensor, level: Tensor) -> Tensor:
        """Features [B, prior, 4H, 4W] of hyper-latents z^ [B, hyper, H, W]."""
        h = self.stem(z_hat) + interpolate(self.level_bias, coarsened(level))
        for block, up in self._upsampling:
            h = F.pixel_shuffle(up(block(h)), 2)
        return cast(Tensor, self.get_submodule(FEATURES)(h))

    def predict(
        self, number: int, features: Tensor, known: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the latents of one pass.

        Args:
            number: number of the pass, from 0.
            features: features from the pass before, or from `features` for the first.
            known: y^ of all earlier passes, [B, M, H, W], zero elsewhere.

        Returns:
            (features for the next pass, mu, position on the ladder of scales), the last two
            [B, M, H, W] and valid for the latents of this pass.
        """
        context, blocks, head = self._steps[number]
        if context is not None:
            features = features + context(known * CONTEXT_UNIT)
        for block in blocks:
            features = block(features)
        return features, *head(features, level)
