"""Tables of the hyper-latents z, fitted to symbols of photographs by their contexts.

For every anchor a, context k (`codec.entropy.z_contexts`) and channel c the symbols of training
pictures are counted. The more is counted, the less counts what is known of it without the anchor,
and of that what is known of the channel alone:

    p_ck  ~ n_ck  + SHRINKAGE p_c
    p_akc ~ n_akc + SHRINKAGE p_ck

with p_c the counts of the channel and the trained density. There are far more of these than a file
of weights should hold and different ones that photographs tell apart, so they share a family of
tables: the one of k-means with the bits that a wrong table costs, Kullback and Leibler's
divergence, as the distance.
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
"""Of the family."""
SHRINKAGE = 60.0
DENSITY_COUNT = 200.0
"""Symbols that the trained density of a channel weighs as much as."""
ITERATIONS = 30
SEED = 0


class HyperTables(NamedTuple):
    """A family of distributions, and who uses which."""

    probabilities: NDArray[np.float64]
    """[tables, 2 LIMIT + 1], all above 0."""
    numbers: NDArray[np.int32]
    """Of the tables, [anchors, 25, hyper]."""


@torch.no_grad()
def count_hyper_symbols(
    model: RoundingAutoencoder, pictures: Tensor, batch: int = 8
) -> NDArray[np.float64]:
    """How often each symbol of z occurs, [anchors, 25, hyper, 2 LIMIT + 1].

    Args:
        pictures: uint8 [n, 3, H, W], sides multiples of 64, on the model's device.
    """
    anchors, hyper = model.config.anchors, model.config.hyper
    shape = (CONTEXTS, hyper, 2 * LIMIT + 1)
    counts = np.zeros((anchors, *shape))
    for part in torch.split(pictures, batch):
        features = model.g_a.features(part.float() / 255)
        for anchor in range(anchors):
            level = torch.full((len(part),), float(anchor), device=part.device)
            z = model.hyper_symbols(features, level).cpu().numpy().clip(-LIMIT, LIMIT)
            places = everywhere(*z.shape[2:])
            context = contexts(z, places)
            channel = np.arange(hyper)[:, None]
            symbol = z[:, :, *places] + LIMIT
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
    """A family of at most `tables` distributions for what was counted.

    Args:
        counts: as `count_hyper_symbols` gives them.
        density: what the model was trained with, of each channel, [hyper, 2 LIMIT + 1].
        tables: how many.
    """
    channel = _distribution(counts.sum((0, 1)) + DENSITY_COUNT * _distribution(density))
    context = _distribution(counts.sum(0) + SHRINKAGE * channel)
    rows = _distribution(counts + SHRINKAGE * context).reshape(-1, counts.shape[-1])
    family, numbers = _cluster(rows, counts.sum(-1).reshape(-1) + 1, tables)
    return HyperTables(family, numbers.reshape(counts.shape[:-1]).astype(np.int32))


def _distribution(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Masses above 0 that sum to 1 along the last axis."""
    masses = masses + np.finfo(np.float32).tiny
    shares: NDArray[np.float64] = masses / masses.sum(-1, keepdims=True)
    return shares


def _cluster(
    rows: NDArray[np.float64], weight: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Centres [<= count, n] of distributions [m, n] that weigh so much, and each one's nearest."""
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
