import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codec.entropy.tables import TOTAL, FrequencyTables, quantise_frequencies
from codec.errors import WeightsError


def table(*frequencies: int) -> np.ndarray:
    return np.array(frequencies, np.int32)


@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 1e3)))
def test_frequencies_are_positive_and_sum_to_the_total(probabilities: np.ndarray) -> None:
    if probabilities.sum() == 0:
        with pytest.raises(WeightsError):
            quantise_frequencies(probabilities)
        return
    frequencies = quantise_frequencies(probabilities)
    assert frequencies.sum() == TOTAL
    assert frequencies.min() >= 1
    share = probabilities / probabilities.sum()
    # Each entry gives up its part of n units and less than one by rounding down.
    assert np.all(np.abs(frequencies - share * TOTAL) <= len(share) + 1)


def test_bits_are_minus_log2_of_the_frequencies() -> None:
    tables = FrequencyTables.build(
        [-1, 0], [table(TOTAL // 4, TOTAL // 2, TOTAL // 4), table(TOTAL - 1, 1)]
    )
    symbols, number = np.array([-1, 0, 1, 1], np.int32), np.array([0, 0, 0, 1])
    assert tables.bits(symbols, number) == pytest.approx([2, 1, 2, 24])


def test_clamp() -> None:
    tables = FrequencyTables.build([-1, 0], [table(1, TOTAL - 2, 1), table(TOTAL - 1, 1)])
    symbols = np.array([-9, 9, -9, 9], np.int32)
    assert tables.clamp(symbols, np.array([0, 0, 1, 1])).tolist() == [-1, 1, 0, 1]


@pytest.mark.parametrize(
    ("low", "size", "frequencies"),
    [
        ([0], [2], [TOTAL, 0]),
        ([0], [2], [TOTAL, 1]),
        ([0], [2], [TOTAL + 1, -1]),
        ([0], [3], [TOTAL - 1, 1]),
        ([0], [1], [TOTAL]),
        ([5000], [2], [TOTAL - 1, 1]),
        ([0, 0], [2], [TOTAL - 1, 1]),
        ([], [], []),
        ([0, 0], [4, -2], [TOTAL - 1, 1]),
    ],
)
def test_unsound_tables_are_refused(
    low: list[int], size: list[int], frequencies: list[int]
) -> None:
    with pytest.raises(WeightsError):
        FrequencyTables(table(*low), table(*size), table(*frequencies))


def test_missing_table_is_named() -> None:
    with pytest.raises(WeightsError, match=r"tables\.y\.low"):
        FrequencyTables.from_tensors({}, "tables.y")
