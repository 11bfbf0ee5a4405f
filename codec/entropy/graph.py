"""The layer graphs of both priors, as data: the float twins of `codec.model` train them, the exact
twins of this package run them.

Latents, which are rounded to integers, are predicted in four passes:

    z^ --stem, + level bias--> --block64, up64--> --block32, up32--> --block16--> features
    features + context(y^ of the passes before) --blocks--> features --head--> mu, scale of a pass

Indices, of latents that are rounded to centres, are predicted in two passes per residual level:

    sum of embeddings of all known indices + pass bias --block1, block2, head--> log2 P(k)

Imports neither numpy nor torch.
"""

from __future__ import annotations

from typing import NamedTuple

from codec.weights.config import PASSES, ModelConfig

ACTIVATION_BITS = 10
"""Activations of the exact twins are integers in units of 2^-10."""
WEIGHT_BITS = 16
"""Their weights and biases are integers in units of 2^-16."""
HEAD_UNIT = 8.0
"""Float heads predict mu, scale and log2 P in units of 8."""
CONTEXT_UNIT = 1 / 16
"""The float context layers read y^ in units of 16."""
ACTIVATION_UNIT = 2.0 ** (ACTIVATION_BITS - WEIGHT_BITS)
"""Unit of parameters that are added to activations as they are."""
SCALE_TABLES = 64
"""Frequency tables of y, one for each place on the ladder of scales."""

Pattern = tuple[tuple[int, int], tuple[int, int]]
"""Class of each position in squares of 2x2 latent positions. Pass k of P holds of class c the
channels of part c xor k of P equal parts."""
QUARTERS: Pattern = ((0, 2), (3, 1))
"""Pattern of latents: upper left, lower right, upper right, lower left."""
CHECKERBOARD: Pattern = ((0, 1), (1, 0))
"""Pattern of indices."""


class Step(NamedTuple):
    """Names of the layers that predict one pass."""

    context: str
    """1x1 convolution of the latents of all passes before; empty in the first pass."""
    blocks: tuple[str, ...]
    head: str


class Parameter(NamedTuple):
    """One tensor of a prior."""

    shape: tuple[int, ...]
    unit: float = 1.0
    """Constant factor of the float twin that the exact twin has in its weights."""


Parameters = dict[str, Parameter]
"""Parameters by name."""

UPSAMPLING = (("block64", "up64"), ("block32", "up32"))
"""Residual block, 1x1 convolution to four times the channels and pixel shuffle, from z to y."""
FEATURES = "block16"
STEPS = (
    Step("", (), "first_head"),
    Step("first_split.context", ("first_split.block",), "first_split.head"),
    Step("context", ("context_block1", "context_block2"), "second_head"),
    Step("second_split.context", ("second_split.block",), "second_split.head"),
)
assert len(STEPS) == PASSES
LATENT_BLOCKS = (
    *(block for block, _ in UPSAMPLING),
    FEATURES,
    *(block for step in STEPS for block in step.blocks),
)
INDEX_PASSES = 2
INDEX_BLOCKS = ("block1", "block2")


def latent_parameters(config: ModelConfig) -> Parameters:
    """All tensors of the prior of latents."""
    width, latent, anchors = config.prior, config.latent, config.anchors
    found = _pointwise("stem", config.hyper, width)
    found["level_bias"] = Parameter((anchors, width))
    for _, up in UPSAMPLING:
        found |= _pointwise(up, width, 4 * width)
    for block in LATENT_BLOCKS:
        found |= _block(block, width)
    for step in STEPS:
        if step.context:
            found |= _pointwise(step.context, latent, width, CONTEXT_UNIT)
        found[f"{step.head}.weight"] = Parameter((2 * latent, width), HEAD_UNIT)
        found[f"{step.head}.level_bias"] = Parameter((anchors, 2 * latent))
    return found


def index_parameters(config: ModelConfig) -> Parameters:
    """All tensors of the prior of indices; none if it is uniform."""
    if config.index_prior == "uniform":
        return {}
    width, levels, symbols = config.prior, config.anchors, config.groups * config.centres
    found = {
        "embedding": Parameter((levels, symbols, width), ACTIVATION_UNIT),
        "pass_bias": Parameter((levels, INDEX_PASSES, width), ACTIVATION_UNIT),
        "head_weight": Parameter((levels, symbols, width), HEAD_UNIT),
        "head_bias": Parameter((levels, symbols)),
    }
    for block in INDEX_BLOCKS:
        found |= _block(block, width)
    return found


def prior_parameters(config: ModelConfig) -> Parameters:
    """All tensors of a model's prior, whatever it rounds to."""
    return index_parameters(config) if config.rounding == "vq" else latent_parameters(config)


def _pointwise(name: str, inputs: int, outputs: int, unit: float = 1.0) -> Parameters:
    """1x1 convolution."""
    weight = Parameter((outputs, inputs), unit)
    return {f"{name}.weight": weight, f"{name}.bias": Parameter((outputs,))}


def _block(name: str, width: int) -> Parameters:
    """Residual block x += W2 relu(dw3x3(relu(W1 x)))."""
    depthwise = {
        f"{name}.dw.weight": Parameter((width, 3, 3)),
        f"{name}.dw.bias": Parameter((width,)),
    }
    ends = _pointwise(f"{name}.w1", width, width) | _pointwise(f"{name}.w2", width, width)
    return ends | depthwise
