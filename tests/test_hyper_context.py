from __future__ import annotations

import numpy as np
import pytest
import torch

from codec.entropy.z_contexts import CONTEXTS, contexts, diagonals, everywhere
from codec.level import Level
from codec.level_map import nearest_anchors
from codec.model.autoencoder import RoundingAutoencoder
from codec.training import hyper_tables
from codec.training.hyper_tables import count_hyper_symbols, fit_hyper_tables
from tests.helpers import crops_of_flowers

WIDE = 2 * hyper_tables.LIMIT + 1


def test_contexts_are_those_of_the_format() -> None:
    """By hand: 5 (left + 2) + above + 2, neighbours clamped to -2..2."""
    z = np.array([[[1, -7, 0], [2, 9, -1]]])
    found = contexts(z, everywhere(2, 3)).reshape(2, 3)
    assert found.tolist() == [
        [12, 5 * 3 + 3, 5 * 0 + 0],
        [5 * 3 + 3, 5 * 4 + 0, 5 * 4 + 2],
    ]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (3, 7)])
def test_neighbours_lie_on_earlier_diagonals(shape: tuple[int, int]) -> None:
    z = np.random.default_rng(0).integers(-3, 4, (5, *shape))
    expected = contexts(z, everywhere(*shape)).reshape(z.shape)
    known, found = np.full_like(z, 99), np.full_like(z, -1)
    for places in diagonals(*shape):
        found[:, *places] = contexts(known, places)
        known[:, *places] = z[:, *places]
    assert np.array_equal(known, z)
    assert np.array_equal(found, expected)


def test_levels_have_the_tables_of_the_nearest_anchor() -> None:
    levels = [0, 2047, 2048, 4096, 7 * 4096 - 2049, 7 * 4096]
    expected = [0, 0, 1, 1, 6, 7]
    assert [nearest_anchors(Level(level)) for level in levels] == expected
    assert nearest_anchors(np.array([levels], np.int32)).tolist() == [expected]


def test_tables_follow_the_counts() -> None:
    """Two anchors, one channel that repeats its left neighbour: three kinds of tables matter."""
    counts = np.zeros((2, CONTEXTS, 1, WIDE))
    for left in range(-2, 3):
        counts[0, 5 * (left + 2) : 5 * (left + 3), 0, hyper_tables.LIMIT + left] = 1e5
    counts[1, :, 0, hyper_tables.LIMIT] = 1e5
    density = np.ones((1, WIDE))
    fitted = fit_hyper_tables(counts, density, 6)
    assert len(fitted.probabilities) <= 6
    assert np.allclose(fitted.probabilities.sum(1), 1)
    assert fitted.probabilities.min() > 0
    for left in range(-2, 3):
        number = fitted.numbers[0, 5 * (left + 2), 0]
        assert fitted.probabilities[number, hyper_tables.LIMIT + left] > 0.95
    assert fitted.probabilities[fitted.numbers[1, 24, 0], hyper_tables.LIMIT] > 0.95


def test_what_was_never_counted_is_the_density() -> None:
    density = np.exp(-np.abs(np.arange(WIDE) - hyper_tables.LIMIT) / 3.0)[None]
    fitted = fit_hyper_tables(np.zeros((2, CONTEXTS, 1, WIDE)), density)
    used = fitted.probabilities[np.unique(fitted.numbers)]
    assert np.allclose(used, density / density.sum(), atol=1e-9)


def test_symbols_are_counted_once_for_each_anchor(tiny_autoencoder: RoundingAutoencoder) -> None:
    pictures = (crops_of_flowers(3, 128) * 255).round().to(torch.uint8)
    counts = count_hyper_symbols(tiny_autoencoder, pictures, batch=2)
    config = tiny_autoencoder.config
    assert counts.shape == (config.anchors, CONTEXTS, config.hyper, WIDE)
    assert np.array_equal(counts.sum((1, 3)), np.full((config.anchors, config.hyper), 3 * 2 * 2))
    level = torch.tensor([3.0])
    features = tiny_autoencoder.g_a.features(pictures[:1].float() / 255)
    z = tiny_autoencoder.hyper_symbols(features, level)
    y = tiny_autoencoder.gain(tiny_autoencoder.g_a(pictures[:1].float() / 255, level), level)
    assert torch.equal(z, tiny_autoencoder.h_a(y).round().long())
