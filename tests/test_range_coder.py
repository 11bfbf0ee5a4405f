from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.entropy.range_coder import CHUNK, CoderTables, RangeDecoder, RangeEncoder
from codec.entropy.tables import TOTAL, FrequencyTables, quantise_frequencies
from codec.errors import DamagedFileError


def tables(seed: int, count: int) -> FrequencyTables:
    rng = np.random.default_rng(seed)
    rows = [quantise_frequencies(rng.random(rng.integers(2, 60)) ** 8) for _ in range(count)]
    return FrequencyTables.build([int(v) for v in rng.integers(-40, 1, count)], rows)


def draw(family: FrequencyTables, seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols that follow their tables."""
    rng = np.random.default_rng(seed)
    number = rng.integers(0, len(family), n)
    symbols = [family.low[k] + rng.choice(family.size[k], p=family[k] / TOTAL) for k in number]
    return np.array(symbols, np.int32), number


@given(seed=st.integers(0, 2**32), count=st.integers(1, 6), n=st.integers(0, 200))
def test_round_trip(seed: int, count: int, n: int) -> None:
    family = tables(seed, count)
    coder = CoderTables(family)
    symbols, number = draw(family, seed, n)
    encoder = RangeEncoder()
    encoder.encode(symbols[: n // 2], number[: n // 2], coder)
    encoder.encode(symbols[n // 2 :], number[n // 2 :], coder)
    stream = encoder.finish()
    decoder = RangeDecoder(stream)
    assert np.array_equal(decoder.decode(number[: n // 2], coder), symbols[: n // 2])
    assert np.array_equal(decoder.decode(number[n // 2 :], coder), symbols[n // 2 :])
    decoder.finish()
    # Two words of 32 bits end the stream at most.
    assert len(stream) <= family.bits(symbols, number).sum() / 8 * 1.001 + 8


def test_every_symbol_of_a_skewed_table_survives() -> None:
    # Probabilities of 2^-24 next to almost 1, and streams that end in zero words.
    family = FrequencyTables.build([0], [np.array([TOTAL - 3, 1, 1, 1], np.int32)])
    coder = CoderTables(family)
    for symbol in range(4):
        for n in (1, 7, 5000):
            symbols = np.zeros(n, np.int32)
            symbols[-1] = symbol
            encoder = RangeEncoder()
            encoder.encode(symbols, np.zeros(n, int), coder)
            decoder = RangeDecoder(encoder.finish())
            assert np.array_equal(decoder.decode(np.zeros(n, int), coder), symbols)
            decoder.finish()


def test_words_are_frozen() -> None:
    """The exact stream is the file format; it must never change."""
    family = FrequencyTables.build(
        [-2, 0],
        [
            np.array([1 << 20, 1 << 22, TOTAL - (1 << 20) - (1 << 22) - 1, 1], np.int32),
            np.array([TOTAL // 2, TOTAL // 2], np.int32),
        ],
    )
    symbols = np.array([0, 1, -1, 1, -2, 0, 0, 1, 1, 0], np.int32)
    number = np.array([0, 0, 0, 1, 0, 0, 1, 1, 1, 0])
    encoder = RangeEncoder()
    encoder.encode(symbols, number, CoderTables(family))
    assert encoder.finish().hex() == "5dfeffff01008155"


def test_long_runs_are_coded_in_chunks() -> None:
    """The stream does not depend on how many symbols go to the coder at once."""
    family = tables(1, 1)
    symbols, number = (np.tile(array, CHUNK // 1000 + 1) for array in draw(family, 1, 1000))
    coder = CoderTables(family)
    whole = RangeEncoder()
    whole.encode(symbols, number, coder)
    halves = RangeEncoder()
    for half in (slice(0, CHUNK // 2), slice(CHUNK // 2, None)):
        halves.encode(symbols[half], number[half], coder)
    stream = whole.finish()
    assert halves.finish() == stream
    assert np.array_equal(RangeDecoder(stream).decode(number, coder), symbols)


def test_streams_that_end_in_zero_are_not_canonical() -> None:
    with pytest.raises(DamagedFileError):
        RangeDecoder(b"\1\0")


def test_impossible_streams_raise_nothing_but_damage() -> None:
    family = tables(3, 3)
    coder = CoderTables(family)
    number = np.arange(300) % 3
    for seed in range(200):
        stream = np.random.default_rng(seed).bytes(40) + b"\1"
        try:
            symbols = RangeDecoder(stream).decode(number, coder)
        except DamagedFileError:
            continue
        assert np.array_equal(family.clamp(symbols, number), symbols)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    test_words_are_frozen()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
