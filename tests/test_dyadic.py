"""The exact layers against an implementation in Python's own integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from codec.entropy.dyadic import (
    HIGHEST,
    LOWEST,
    Block,
    Depthwise,
    Pointwise,
    check_bounds,
    interpolate,
    pixel_shuffle,
    quantise,
)
from codec.errors import WeightsError
from codec.level import Level


def in_integers(weight: Any, x: Any, bias: Any, relu: bool) -> NDArray[np.int64]:
    """clamp((W x + b 2^10 + 2^15) >> 16) in arbitrary precision."""
    total = weight.astype(object) @ x.astype(object) + (bias.astype(object) * 1024)[:, None]
    rounded = (total + 2**15) // 2**16
    return np.clip(rounded, 0 if relu else int(LOWEST), int(HIGHEST)).astype(np.int64)


def draw(seed: int, out: int, inputs: int, n: int, large: bool) -> tuple[NDArray[Any], ...]:
    rng = np.random.default_rng(seed)
    limit = 2**20 if large else 2**14
    weight = rng.integers(-limit, limit, (out, inputs)).astype(np.int32)
    bias = rng.integers(-(2**20), 2**20, out).astype(np.int32)
    reach = 2**21 if large else 2**13
    x = rng.integers(-reach, reach, (inputs, n)).astype(np.float64)
    return weight, bias, x


@given(
    seed=st.integers(0, 2**32),
    out=st.integers(1, 40),
    inputs=st.integers(1, 60),
    n=st.integers(1, 50),
    large=st.booleans(),
    relu=st.booleans(),
)
def test_pointwise_is_exact(
    seed: int, out: int, inputs: int, n: int, large: bool, relu: bool
) -> None:
    weight, bias, x = draw(seed, out, inputs, n, large)
    layer = Pointwise({"l.weight": weight, "l.bias": bias}, "l")
    assert np.array_equal(layer(x, relu), in_integers(weight, x, bias, relu))


def test_saturated_inputs_at_the_bound_are_exact() -> None:
    # The largest weights that the bound admits, all inputs at their extremes.
    weight = np.full((2, 2047), 2**20 - 1, np.int32)
    bias = np.array([2**31 - 1, -(2**31)], np.int32)
    check_bounds(weight, bias, "l")
    x = np.full((2047, 3), LOWEST)
    x[:, 1] = HIGHEST
    x[::2, 2] = HIGHEST
    layer = Pointwise({"l.weight": weight, "l.bias": bias}, "l")
    assert np.array_equal(layer(x), in_integers(weight, x, bias, False))


def test_bound_is_enforced() -> None:
    weight = np.full((1, 2048), 2**20, np.int32)
    with pytest.raises(WeightsError, match="exact arithmetic"):
        check_bounds(weight, np.zeros(1, np.int32), "l")


@given(
    seed=st.integers(0, 2**32),
    channels=st.integers(1, 35),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_depthwise_is_exact(seed: int, channels: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-(2**18), 2**18, (channels, 3, 3)).astype(np.int32)
    bias = rng.integers(-(2**20), 2**20, channels).astype(np.int32)
    x = rng.integers(-(2**21), 2**21, (channels, height, width)).astype(np.float64)
    expected = torch.nn.functional.conv2d(  # int64 has no rounding to hide behind
        torch.from_numpy(x).long()[None],
        torch.from_numpy(weight).long()[:, None],
        torch.from_numpy(bias).long() * 1024 + 2**15,
        padding=1,
        groups=channels,
    )[0]
    expected = (expected >> 16).clamp(0, int(HIGHEST))
    layer = Depthwise({"l.weight": weight, "l.bias": bias}, "l")
    assert np.array_equal(layer(x), expected.numpy())


def test_block_adds_its_input() -> None:
    zeros: NDArray[np.int32] = np.zeros((3, 3), np.int32)
    tensors: dict[str, NDArray[np.int32]] = {"b.w1.weight": zeros, "b.w2.weight": zeros}
    tensors |= {f"b.{name}.bias": np.zeros(3, np.int32) for name in ("w1", "dw", "w2")}
    tensors["b.dw.weight"] = np.zeros((3, 3, 3), np.int32)
    x = np.arange(-12.0, 15.0).reshape(3, 3, 3)
    assert np.array_equal(Block(tensors, "b")(x), x)


def test_threads_and_order_do_not_matter(rng: np.random.Generator) -> None:
    weight, bias, x = draw(1, 64, 96, 200, large=True)
    layer = Pointwise({"l.weight": weight, "l.bias": bias}, "l")
    shuffle = rng.permutation(96)
    shuffled = Pointwise({"l.weight": weight[:, shuffle], "l.bias": bias}, "l")
    assert np.array_equal(layer(x), shuffled(x[shuffle]))


def test_pixel_shuffle_is_torchs() -> None:
    x = np.arange(8 * 3 * 5, dtype=np.float64).reshape(8, 3, 5)
    expected = torch.nn.functional.pixel_shuffle(torch.from_numpy(x)[None], 2)[0]
    assert np.array_equal(pixel_shuffle(x), expected.numpy())


def test_interpolation_in_integers() -> None:
    table = np.array([[0, -100], [10, 100], [11, 7]], np.int32)
    assert interpolate(table, Level(0)).tolist() == [[0], [-100]]
    assert interpolate(table, Level.of_anchor(2)).tolist() == [[11], [7]]
    assert interpolate(table, Level.at(0.5)).tolist() == [[5], [0]]
    assert interpolate(table, Level.at(1.5)).tolist() == [[11], [54]]  # 10.5, 53.5 round up
    levels = np.array([[0, 2048], [6144, 8192]], np.int32)
    assert interpolate(table, levels).tolist() == [[0, 5, 11, 11], [-100, 0, 54, 7]]


def test_quantise_refuses_what_does_not_fit() -> None:
    assert quantise(np.array([0.5, -1.0])).tolist() == [2**15, -(2**16)]
    for bad in (np.nan, np.inf, 1e6):
        with pytest.raises(WeightsError):
            quantise(np.array([bad]))
