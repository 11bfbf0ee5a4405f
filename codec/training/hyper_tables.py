"""Frequency tables of the hyper-latents z by context, fitted to symbols of training pictures.

Symbols are counted for each (anchor a, context k of `codec.entropy.z_contexts`, channel c).
Counts are shrunk hierarchically: (a, k, c) towards (k, c) towards the channel,

    p_c   ~ n_c   + DENSITY_COUNT * trained density of c
    p_kc  ~ n_kc  + SHRINKAGE * p_c
    p_akc ~ n_akc + SHRINKAGE * p_kc

The weights file holds `TABLES` distributions only: centres of k-means over all p_akc with the
Kullback-Leibler divergence, the bits that a wrong table costs, as the distance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.entropy.z_contexts import CONTEXTS, contexts, everywhere
from codec.model.autoencoder import RoundingAutoencoder
from codec.weights.config import ModelConfig

LIMIT = 127
"""Largest magnitude of a symbol that a file can hold."""
TABLES = 64
"""Number of tables that all anchors, contexts and channels share."""
SHRINKAGE = 60.0
"""Pseudo-counts of the distribution one step up the hierarchy."""
DENSITY_COUNT = 200.0
"""Pseudo-counts of the trained density of a channel."""
ITERATIONS = 30
SEED = 0


class HyperTables(NamedTuple):
    """Shared distributions, and the number of the one that each context uses."""

    probabilities: NDArray[np.float64]
    """[tables, 2 LIMIT + 1], all above 0."""
    numbers: NDArray[np.int32]
    """Index of the distribution, [anchors, 25, hyper]."""


@torch.no_grad()
def count_hyper_symbols(
    model: RoundingAutoencoder, pictures: Tensor, batch: int = 8
) -> NDArray[np.float64]:
    """Count how often each symbol of z occurs in each context.

    Args:
        model: in evaluation mode.
        pictures: uint8 [n, 3, H, W], sides multiples of 64, on the model's device.
        batch: pictures per forward pass.

    Returns:
        [anchors, 25, hyper, 2 LIMIT + 1].
    """
    anchors, hyper = model.config.anchors, model.config.hyper
    shape = (CONTEXTS, hyper, 2 * LIMIT + 1)
    counts = np.zeros((anchors, *shape))
    for part in torch.split(pictures, batch):
        features = model.g_a.features(part.float() / 255)
        for anchor in range(anchors):
            level = torch.full((len(part),), float(anchor), device=part.device)
            z = model.hyper_symbols(features, level).cpu().numpy().clip(-LIMIT, LIMIT)
            positions = everywhere(*z.shape[2:])
            context = contexts(z, positions)
            channel = np.arange(hyper)[:, None]
            symbol = z[:, :, *positions] + LIMIT
            index = np.ravel_multi_index((context, channel, symbol), shape)
            counts[anchor] += np.bincount(index.reshape(-1), minlength=counts[0].size).reshape(
                shape
            )
    return counts


def without_counts(config: ModelConfig) -> NDArray[np.float64]:
    """Counts of no pictures, of one anchor and context that stand for all."""
    return np.zeros((1, 1, config.hyper, 2 * LIMIT + 1))


def fit_hyper_tables(
    counts: NDArray[np.float64], density: NDArray[np.float64], tables: int = TABLES
) -> HyperTables:
    """Fit at most `tables` shared distributions to counted symbols.

    Args:
        counts: result of `count_hyper_symbols`.
        density: cell probabilities of each channel in training, [hyper, 2 LIMIT + 1].
        tables: largest number of distributions.
    """
    channel = _distribution(counts.sum((0, 1)) + DENSITY_COUNT * _distribution(density))
    context = _distribution(counts.sum(0) + SHRINKAGE * channel)
    rows = _distribution(counts + SHRINKAGE * context).reshape(-1, counts.shape[-1])
    family, numbers = _cluster(rows, counts.sum(-1).reshape(-1) + 1, tables)
    return HyperTables(family, numbers.reshape(counts.shape[:-1]).astype(np.int32))


def _distribution(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalise masses to positive probabilities that sum to 1 along the last axis."""
    masses = masses + np.finfo(np.float32).tiny
    shares: NDArray[np.float64] = masses / masses.sum(-1, keepdims=True)
    return shares


def _cluster(
    rows: NDArray[np.float64], weight: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Cluster weighted distributions; returns centres and the nearest centre of each row.

    Args:
        rows: distributions [m, n].
        weight: weight of each, [m].
        count: largest number of centres.
    """
    random = np.random.default_rng(SEED)
    entropy = -(rows * np.log2(rows)).sum(-1)
    chance = weight * entropy
    count = min(count, len(rows))
    centres = rows[random.choice(len(rows), count, replace=False, p=chance / chance.sum())]
    for _ in range(ITERATIONS):
        nearest = np.argmax(rows @ np.log2(centres).T, 1)
        masses = np.zeros_like(centres)
        np.add.at(masses, nearest, weight[:, None] * rows)
        used = masses.any(1)
        centres[used] = _distribution(masses[used])
    return centres, np.argmax(rows @ np.log2(centres).T, 1)
