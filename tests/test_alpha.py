from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.errors import DamagedFileError
from codec.picture.alpha import decode_alpha, encode_alpha, fill_hidden

PLANES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20))


@given(PLANES)
def test_planes_come_back(plane: np.ndarray) -> None:
    assert np.array_equal(decode_alpha(encode_alpha(plane), *plane.shape), plane)


@pytest.mark.parametrize("number", range(4))
def test_every_filter_is_undone(number: int, rng: np.random.Generator) -> None:
    plane = rng.integers(0, 256, (7, 9), np.uint8)
    filtered = plane.astype(int)
    if number & 1:
        filtered = np.diff(filtered, axis=1, prepend=0)
    if number & 2:
        filtered = np.diff(filtered, axis=0, prepend=0)
    data = bytes([number]) + zlib.compress((filtered % 256).astype(np.uint8).tobytes())
    assert np.array_equal(decode_alpha(data, 7, 9), plane)


def test_one_value_takes_one_byte() -> None:
    assert encode_alpha(np.full((300, 200), 37, np.uint8)) == b"%"


def test_smooth_planes_are_small() -> None:
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint8)
    assert len(encode_alpha(ramp)) < 1000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x04" + zlib.compress(bytes(63)),
        b"\x00junk",
        b"\x00" + zlib.compress(bytes(62)),
        b"\x00" + zlib.compress(bytes(64)),
        b"\x00" + zlib.compress(bytes(63)) + b"x",
        b"\x00" + zlib.compress(bytes(63))[:-1],
        b"\x00" + zlib.compress(bytes(10**7)),
    ],
)
def test_damaged_planes(data: bytes) -> None:
    with pytest.raises(DamagedFileError):
        decode_alpha(data, 7, 9)


@given(PLANES, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_visible_colours_are_left_alone(alpha: np.ndarray, random: object) -> None:
    colours = np.arange(alpha.size * 3, dtype=np.uint32).astype(np.uint8).reshape(*alpha.shape, 3)
    filled = fill_hidden(colours, alpha)
    assert np.array_equal(filled[alpha > 0], colours[alpha > 0])


def test_hidden_colours_continue_the_visible_ones(rng: np.random.Generator) -> None:
    colours = rng.integers(0, 256, (32, 32, 3), np.uint8)
    alpha = np.zeros((32, 32), np.uint8)
    colours[3:5, 3:5] = (10, 20, 30)
    alpha[3:5, 3:5] = 1
    assert (fill_hidden(colours, alpha) == (10, 20, 30)).all()
    assert (fill_hidden(colours, np.zeros_like(alpha)) == 128).all()


def test_holes_have_no_edges_inside(rng: np.random.Generator) -> None:
    """Between two colours that meet at a hole the fill changes by small steps."""
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:, 48:] = 240
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[:, 16:48] = 0
    filled = fill_hidden(colours, alpha).astype(int)
    assert np.abs(np.diff(filled, axis=1)).max() <= 80  # 240 if each repeats its nearest
    assert np.abs(np.diff(filled, axis=0)).max() == 0
