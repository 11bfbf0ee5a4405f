"""Names and shapes of the tensors that engines read, by the model's configuration.

They are checked before anything is built, so that what an engine allocates is bounded by the
length of the weights file, whatever its configuration claims.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from codec.errors import WeightsError
from codec.weights.config import ModelConfig
from codec.weights.file import COLOURS, Weights

MISFIT = "the transforms' tensors do not fit the configuration"
FILTER_SIDE = 4
"""The filter at the end of g_s works on blocks of so many samples a side."""

Shape = tuple[int, ...]
Shapes = Iterator[tuple[str, Shape]]


def transform_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Shapes of the tensors of g_a and g_s, and of h_a and the gains with rounding to integers."""
    shapes = dict(_gdn(config) if config.transform == "gdn" else _lowres(config))
    if config.rounding == "integer":
        shapes |= dict(_hyper_analysis(config))
        gain = (config.anchors, config.latent)
        shapes |= {"gain.log_gain": gain, "gain.log_inverse": gain}
    return shapes


def transform_tensors(weights: Weights) -> dict[str, NDArray[np.floating]]:
    """The tensors of `transform_shapes`, as stored.

    Raises:
        WeightsError: one is missing, superfluous, of another shape, or not of floating point.
    """
    shapes = transform_shapes(weights.config)
    parts = {name.split(".")[0] for name in shapes}
    tensors = {n: a for n, a in weights.tensors.items() if n.split(".")[0] in parts}
    if {name: array.shape for name, array in tensors.items()} != shapes:
        raise WeightsError(MISFIT)
    if any(array.dtype not in (np.float16, np.float32) for array in tensors.values()):
        raise WeightsError("the transforms' tensors must be float16 or float32")
    return tensors


def _layer(name: str, *weight: int) -> Shapes:
    """A weight [out, ...] and its bias."""
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def _residual(name: str, channels: int, hidden: int) -> Shapes:
    """The first branch of a block: 1x1, depthwise 3x3, 1x1."""
    yield from _layer(f"{name}.w1", hidden, channels)
    yield from _layer(f"{name}.dw", hidden, 3, 3)
    yield from _layer(f"{name}.w2", channels, hidden)


def _blocks(name: str, channels: int, hidden: int, count: int, gated: bool) -> Shapes:
    for number in range(count):
        yield from _residual(f"{name}.{number}", channels, hidden)
        if gated:
            yield from _layer(f"{name}.{number}.w3", 2 * channels, channels)
            yield from _layer(f"{name}.{number}.w4", channels, channels)


def _lowres(config: ModelConfig) -> Shapes:
    c8, c16, latent = config.channels8, config.channels16, config.latent
    samples = COLOURS * 64
    yield from _layer("g_a.stem", c8, samples)
    yield from _layer("g_a.down", c16, 4 * c8)
    yield from _layer("g_a.head", latent, c16)
    yield from _layer("g_s.head", c16, latent)
    yield from _layer("g_s.up", 4 * c8, c16)
    yield from _layer("g_s.stem", samples, c8)
    for part in ("g_a", "g_s"):
        yield f"{part}.scale.log_scale", (config.anchors, c8)
        yield from _blocks(f"{part}.blocks8", c8, c8, config.blocks8, gated=True)
        units, count = config.units16, config.blocks16
        yield from _blocks(f"{part}.blocks16", c16, units, count, config.gates16)
    if config.filter4:
        width, block = config.filter4, COLOURS * FILTER_SIDE**2
        yield from _layer("g_s.filter.enter", width, block, 3, 3)
        yield from _layer("g_s.filter.mix", width, width, 1, 1)
        yield from _layer("g_s.filter.leave", block, width, 3, 3)


def _gdn(config: ModelConfig) -> Shapes:
    hidden = (config.channels8,) * 3
    for number, (inputs, outputs) in enumerate(itertools.pairwise((3, *hidden, config.latent))):
        yield from _layer(f"g_a.convs.{number}", outputs, inputs, 5, 5)
    for number, (inputs, outputs) in enumerate(itertools.pairwise((config.latent, *hidden, 3))):
        yield f"g_s.convs.{number}.weight", (inputs, outputs, 5, 5)  # of a transposed convolution
        yield f"g_s.convs.{number}.bias", (outputs,)
    for part, number in itertools.product(("g_a", "g_s"), range(3)):
        yield f"{part}.gdns.{number}.beta_root", (config.channels8,)
        yield f"{part}.gdns.{number}.gamma_root", (config.channels8, config.channels8)


def _hyper_analysis(config: ModelConfig) -> Shapes:
    width = config.prior
    yield from _layer("h_a.stem", width, config.latent)
    yield from _residual("h_a.block16", width, width)
    yield from _layer("h_a.down16", width, 4 * width)
    yield from _residual("h_a.block32", width, width)
    yield from _layer("h_a.down32", width, 4 * width)
    yield from _layer("h_a.head", config.hyper, width)
