"""Network layers in exact arithmetic, so that every machine computes the same numbers.

Activations are integers in units of 2^-10, in [-2^21, 2^21), held in float64. Weights are
multiples of 2^-16 and biases multiples of 2^-6 of an activation unit. Hence every product
and every partial sum is a multiple of 2^-16; `check_bounds` proves them smaller than 2^36
in magnitude, so all fit the 53-bit significand and each addition is exact, whatever the
order, blocking, threads, fused multiply-adds or BLAS library. Each layer then rounds to
whole units with floor(v + 1/2) and clamps. A lower clamp of 0 is the ReLU.

Float convolutions cannot do this job: most float32 outputs change with the backend, and a
scale that is off by 1e-7 breaks range decoding.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codec.entropy.crew import ALONE, Crew
from codec.entropy.graph import ACTIVATION_BITS, WEIGHT_BITS, Parameters
from codec.errors import WeightsError
from codec.level import UNITS
from codec.level_map import Levels

Exact = NDArray[np.float64]
"""Integer-valued activations."""

UNIT = 2**ACTIVATION_BITS
LOWEST = -float(2**21)
HIGHEST = float(2**21 - 1)
ACCUMULATOR_LIMIT = 2**52
"""Bound on |partial sum| in units of 2^-26; leaves a bit for the rounding offset."""


def quantise(values: NDArray[np.floating], unit: float = 1.0) -> NDArray[np.int32]:
    """Round real weights or biases times `unit` to integers in units of 2^-16.

    Raises:
        WeightsError: a value is not finite or does not fit 32 bits.
    """
    scaled = np.floor(np.asarray(values, np.float64) * unit * 2**WEIGHT_BITS + 0.5)
    if not np.all(np.abs(scaled) < 2**31):
        raise WeightsError("a weight of the prior is not finite, or is too large to export")
    return scaled.astype(np.int32)


def check_bounds(weight: NDArray[np.int32], bias: NDArray[np.int32], name: str) -> None:
    """Prove that no partial sum of a layer can leave the exact range.

    Args:
        weight: [out, ...] in units of 2^-16; all other axes are summed over.
        bias: [..., out] in units of 2^-16; every row is a bias that may be used.
        name: of the layer, for the message.

    Raises:
        WeightsError: the bound does not hold.
    """
    # Below the limit all of this is exact in float64, and above it no less than the limit.
    sums = np.abs(weight, dtype=np.float64).reshape(len(weight), -1).sum(1)
    worst_bias = np.abs(bias, dtype=np.float64).reshape(-1, len(weight)).max(0)
    if (worst_bias * UNIT + sums * 2**21).max() + 2**WEIGHT_BITS >= ACCUMULATOR_LIMIT:
        raise WeightsError(f"layer {name} of the prior exceeds the range of exact arithmetic")


def check_shapes(tensors: Mapping[str, NDArray[np.int32]], parameters: Parameters) -> None:
    """Check that a prior has all the tensors that it needs.

    Raises:
        WeightsError: one is missing, no int32 array or of another shape.
    """
    for name, (shape, _) in parameters.items():
        if name not in tensors:
            raise WeightsError(f"the weights lack the prior's tensor {name}")
        if tensors[name].dtype != np.int32 or tensors[name].shape != shape:
            raise WeightsError(f"the prior's tensor {name} is not int32 of shape {shape}")


def requantise(v: Exact, lowest: float) -> Exact:
    """Floor to whole units and clamp, in place; `lowest` 0 makes it a ReLU."""
    np.floor(v, out=v)
    np.clip(v, lowest, HIGHEST, out=v)
    return v


class Pointwise:
    """1x1 convolution: [in, n] to [out, n]."""

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], name: str) -> None:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        check_bounds(weight, bias, name)
        self._weight = weight * 2.0**-WEIGHT_BITS
        self._offset = bias_in_units(bias)[:, None]

    def __call__(self, x: Exact, relu: bool = False) -> Exact:
        v = self._weight @ x
        v += self._offset
        return requantise(v, 0.0 if relu else LOWEST)


class Depthwise:
    """3x3 convolution of each channel by itself, zero padded, then ReLU: [C, H, W]."""

    CHANNELS = 24
    """Channels at a time, so that the working set stays in the cache."""

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], name: str) -> None:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        check_bounds(weight, bias, name)
        self._weight = weight * 2.0**-WEIGHT_BITS
        self._offset = bias_in_units(bias)

    def __call__(self, x: Exact) -> Exact:
        channels, height, width = x.shape
        stride = width + 2
        count = height * stride
        # Rows stay joined, two columns too wide, so that each shift is one long run.
        padded = np.zeros((self.CHANNELS, count + 2 * stride + 2))
        inner = padded[:, stride + 1 : stride + 1 + count].reshape(-1, height, stride)
        inner = inner[:, :, :width]
        product = np.empty((self.CHANNELS, count))
        v = np.empty_like(product)
        result = np.empty_like(x)
        for start in range(0, channels, self.CHANNELS):
            part = slice(start, start + self.CHANNELS)
            used = len(x[part])
            inner[:used] = x[part]
            v[:used] = self._offset[part, None]
            for i, j in itertools.product(range(3), repeat=2):
                shift = i * stride + j
                window = padded[:used, shift : shift + count]
                np.multiply(window, self._weight[part, i, j, None], out=product[:used])
                v[:used] += product[:used]
            requantise(v[:used], 0.0)
            result[part] = v[:used].reshape(used, height, stride)[:, :, :width]
        return result


class Block:
    """Residual block x += W2 relu(dw3x3(relu(W1 x))): [C, H, W] to the same."""

    def __init__(self, tensors: Mapping[str, NDArray[np.int32]], name: str) -> None:
        self._w1 = Pointwise(tensors, f"{name}.w1")
        self._dw = Depthwise(tensors, f"{name}.dw")
        self._w2 = Pointwise(tensors, f"{name}.w2")

    def __call__(self, x: Exact, crew: Crew = ALONE) -> Exact:
        strips = crew.map(partial(self._rows, x), crew.rows(x.shape[1]))
        return strips[0] if len(strips) == 1 else np.concatenate(strips, axis=1)

    def _rows(self, x: Exact, rows: slice) -> Exact:
        """Some rows of the output."""
        first = max(rows.start - 1, 0)  # the 3x3 convolution sees one more on either side
        seen = x[:, first : rows.stop + 1]
        h = self._dw(self._w1(seen.reshape(len(x), -1), relu=True).reshape(seen.shape))
        h = h[:, rows.start - first :][:, : rows.stop - rows.start]
        v: Exact = self._w2(h.reshape(len(x), -1)).reshape(h.shape)
        v += x[:, rows]
        return np.clip(v, LOWEST, HIGHEST, out=v)


def bias_in_units(bias: NDArray[np.int32]) -> Exact:
    """Biases in activation units, with the 1/2 of floor(v + 1/2) folded in."""
    return bias.astype(np.float64) * 2.0 ** (ACTIVATION_BITS - WEIGHT_BITS) + 0.5


def pixel_shuffle(x: Exact) -> Exact:
    """[4C, H, W] to [C, 2H, 2W], channel order as torch's."""
    channels, height, width = x.shape
    grouped = x.reshape(channels // 4, 2, 2, height, width)
    return grouped.transpose(0, 3, 1, 4, 2).reshape(channels // 4, 2 * height, 2 * width)


def interpolate(table: NDArray[np.int32], levels: Levels) -> NDArray[np.int32]:
    """Rows of `table` [anchors, C] at levels, rounded: [C, n], or [C, 1]; integers only."""
    at = np.asarray(levels).reshape(-1)
    low, fraction = at // UNITS, at[:, None].astype(np.int64) % UNITS
    below, above = table[low], table[np.minimum(low + 1, len(table) - 1)]
    mixed = below * (UNITS - fraction) + above * fraction
    return ((mixed + UNITS // 2) >> (UNITS.bit_length() - 1)).astype(np.int32).T
