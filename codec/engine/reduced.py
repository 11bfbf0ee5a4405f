"""Synthesis at a reduced size: means of the samples over squares of 2x2, 4x4 or 8x8.

These take no filter at 1/4, no restoration filter and few of the blocks of g_s, if the stem after
them is fitted to that. `python -m scripts.reduced_stems` fits stems by least squares to photographs
and writes `reduced.safetensors`; a model without fitted ones runs all its blocks, and the stem's
own rows are averaged.

PSNR against the full reconstruction with its 8x8, 4x4 or 2x2 squares averaged, mean over eight
Kodak pictures (02, 03, 08, 13, 15, 17, 20, 23) at quality 25, 50 and 90, and CPU seconds of the
synthesis of 12 megapixels by ONNX Runtime (11.5 in full), of model `photo`; what is taken is
marked:

    blocks at 1/16, 1/8   stem        1/8               1/4               1/2             seconds
    3, 4 (all)            averaged    52.9 53.9 54.9    50.9 52.0 53.2    47.7 49.1 50.3    8.8
    3, 2                  averaged    49.0 50.0 50.3    47.2 48.2 48.7    44.2 45.3 46.1    4.9
    3, 2                  fitted      51.9 53.3 54.8    50.0 51.5 53.1    46.5 48.0 49.5 *  4.9
    0, 2                  fitted      47.1 48.7 49.9    44.2 45.6 46.5    41.2 42.5 43.6    3.6
    3, 1                  fitted      45.6 47.8 50.2    43.2 45.2 47.1    39.5 40.9 42.6    3.5
    0, 1                  fitted      44.2 46.2 48.0    41.3 43.0 44.3 *  38.1 39.5 40.9    2.2
    0, 0                  fitted      40.6 42.3 44.0 *  37.1 38.6 40.1    34.3 35.5 37.0    0.03
    0, 0                  averaged    30.7 31.0 31.1    29.9 30.2 30.5    28.9 29.3 29.6    0.03
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from codec.engine.receptive_field import reduced_halo
from codec.weights.config import ModelConfig
from codec.weights.file import COLOURS, Weights

Array = NDArray[np.float32]

STEM = 8
"""Samples a side of the blocks that the stem of `lowres` writes."""
REDUCTIONS = (2, 4, 8)
BLOCKS = {8: (0, 0), 4: (0, 1), 2: (3, 2)}
"""Blocks at 1/16 and at 1/8 that are run before a fitted stem, by the side of the squares."""


@dataclass(frozen=True)
class ReducedStem:
    """Layer from activations at 1/8 to reduced samples, and the blocks that are run before it."""

    blocks16: int
    blocks8: int
    weight: Array
    """[3 p p, C8]; the outputs (colour, row, column) are p x p reduced samples."""
    bias: Array
    """[3 p p]."""

    @property
    def side(self) -> int:
        """Reduced samples a side, p."""
        return round((len(self.bias) / COLOURS) ** 0.5)

    @property
    def reduction(self) -> int:
        """Side of the squares that its samples are means of."""
        return STEM // self.side

    @property
    def halo(self) -> int:
        """Latents around a window that its reduced samples depend on."""
        return reduced_halo(self.blocks16, self.blocks8)


class ReducedStems:
    """Stems of a model by reduction: fitted ones, where there are any; none without `lowres`.

    They are read when something is first shown at a reduced size.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    @cached_property
    def _stems(self) -> dict[int, ReducedStem]:
        if self._weights.config.transform != "lowres":
            return {}
        return {reduction: _stem(self._weights, reduction) for reduction in REDUCTIONS}

    def get(self, reduction: int) -> ReducedStem | None:
        """Stem of a reduction, or None if the full reconstruction is averaged instead."""
        return self._stems.get(reduction)

    def halo(self, reduction: int, full: int) -> int:
        """Latents around a window that its samples depend on, `full` of them at the full size."""
        stem = self.get(reduction)
        return stem.halo if stem else full


def blocks_before(config: ModelConfig, reduction: int) -> tuple[int, int]:
    """Blocks at 1/16 and at 1/8 that are run before a fitted stem."""
    blocks16, blocks8 = BLOCKS[reduction]
    return min(blocks16, config.blocks16), min(blocks8, config.blocks8)


def means(samples: Array, reduction: int) -> Array:
    """Means of samples [3, H, W], clamped to 0..1, over squares; sides are multiples of theirs."""
    colours, height, width = samples.shape
    shape = colours, height // reduction, reduction, width // reduction, reduction
    return samples.clip(0, 1).reshape(shape).mean((2, 4))


def linear_kernel(
    stem: ReducedStem, tensors: Mapping[str, NDArray[np.floating]], scale: Array
) -> tuple[Array, Array]:
    """What a stem without blocks before it makes of y at 1/16, as one matrix and bias.

    Args:
        stem: of a reduction by 8.
        tensors: of the transforms.
        scale: factors of the level, [C8].

    Returns:
        ([3, 2, 2, M], [3, 2, 2]), the reduced samples of the 2x2 positions at 1/8.
    """
    head, head_bias, up, up_bias = (
        tensors[f"g_s.{layer}.{part}"].astype(np.float32)
        for layer in ("head", "up")
        for part in ("weight", "bias")
    )
    factors = stem.weight * scale
    across = np.tensordot(factors, up.reshape(len(scale), 4, -1), 1)
    offset = across @ head_bias + factors @ up_bias.reshape(len(scale), 4) + stem.bias[:, None]
    shape = COLOURS, 2, 2
    matrix = across @ head
    return matrix.reshape(*shape, -1), offset.reshape(shape).astype(np.float32)


def _stem(weights: Weights, reduction: int) -> ReducedStem:
    config, name = weights.config, f"{weights.short_id.hex()}.{reduction}"
    fitted = _fitted()
    if f"{name}.weight" in fitted:
        weight, bias = (fitted[f"{name}.{part}"].astype(np.float32) for part in ("weight", "bias"))
        return ReducedStem(*blocks_before(config, reduction), weight, bias)
    side = STEM // reduction
    rows = COLOURS, side, reduction, side, reduction
    weight, bias = (
        weights.tensors[f"g_s.stem.{part}"].astype(np.float32) for part in ("weight", "bias")
    )
    weight = weight.reshape(*rows, -1).mean((2, 4)).reshape(COLOURS * side**2, -1)
    bias = bias.reshape(rows).mean((2, 4)).reshape(-1)
    return ReducedStem(config.blocks16, config.blocks8, weight, bias)


@cache
def _fitted() -> dict[str, NDArray[np.float16]]:
    """Fitted stems of all models."""
    return load(resources.files("codec.engine").joinpath("reduced.safetensors").read_bytes())
