"""The entropy models of weights: all that the range decoder depends on, verified.

Each has a digest of what it computes from fixed latents. A weights file holds the exporter's, so
that a machine whose arithmetic is another notices before it decodes.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from codec.entropy.codebook import Codebook
from codec.entropy.dyadic import Exact
from codec.entropy.exact_prior import ExactPrior, LatentGrid
from codec.entropy.graph import CHECKERBOARD, SCALE_TABLES
from codec.entropy.index_prior import ExactIndexPrior
from codec.entropy.tables import FrequencyTables
from codec.entropy.z_contexts import CONTEXTS
from codec.errors import WeightsError
from codec.level import Level
from codec.weights.file import Weights

MAX_HYPER = 2047
"""Largest magnitude of a symbol of z: activations hold 2^11 units."""
DIGEST_SHAPE = 5, 6
"""Rows and columns of the latents that digests are of."""


class IntegerModel:
    """Entropy model of latents that are rounded to integers.

    Args:
        weights: of a model with this rounding.

    Raises:
        WeightsError: a tensor is missing or unsound, or breaks the exactness bound.
    """

    def __init__(self, weights: Weights) -> None:
        self.config = weights.config
        self.prior = ExactPrior(weights.part("prior"), self.config)
        self.y_tables = FrequencyTables.from_tensors(weights.tensors, "tables.y")
        """One for each scale."""
        self.z_tables = FrequencyTables.from_tensors(weights.tensors, "tables.z")
        if len(self.y_tables) != SCALE_TABLES:
            raise WeightsError(f"the weights hold no {SCALE_TABLES} tables of y")
        if "tables.z_context" not in weights.tensors:
            raise WeightsError("the weights lack the contexts of the hyper-latents")
        self.z_contexts: NDArray[np.int32] = weights.tensors["tables.z_context"]
        """Numbers of tables of z by anchor, context and channel, [anchors, 25, hyper], see
        `codec.entropy.z_contexts`."""
        self._check_contexts()

    def _check_contexts(self) -> None:
        tables, numbers = self.z_tables, self.z_contexts
        shape = (self.config.anchors, CONTEXTS, self.config.hyper)
        if numbers.dtype != np.int32 or numbers.shape != shape:
            raise WeightsError("the contexts of the hyper-latents are unsound")
        if numbers.min() < 0 or numbers.max() >= len(tables):
            raise WeightsError("a context of the hyper-latents names a table that is not there")
        if np.any(tables.low != tables.low[0]) or np.any(tables.size != tables.size[0]):
            raise WeightsError("tables of the hyper-latents must have the same support")
        if tables.low[0] < -MAX_HYPER or tables.high[0] > MAX_HYPER:
            raise WeightsError("tables of the hyper-latents reach beyond what the prior reads")

    def digest(self) -> str:
        """SHA-256 in hex of means and table numbers."""
        grid = LatentGrid(*DIGEST_SHAPE)
        positions = grid.height * grid.width
        hyper, part = self.config.hyper, self.config.latent // grid.passes
        z = (np.arange(hyper * 4) * 7 % 5 - 2).astype(np.int32).reshape(hyper, *grid.hyper_shape)
        residual = (np.arange(part * positions) * 11 % 7 - 3).astype(np.int32)
        level = Level(self.config.highest_level // 3)
        features = self.prior.features(z, level, grid)
        digest = hashlib.sha256()
        known: list[Exact] = []
        for _ in range(grid.passes):
            features, prediction = self.prior.predict(features, known, level, grid)
            digest.update(prediction.mean.astype("<i4").tobytes())
            digest.update(prediction.table.tobytes())
            known.append(prediction.reconstruct(residual.reshape(part, positions)))
        return digest.hexdigest()


class CentreModel:
    """Entropy model of latents that are rounded to centres, and the centres.

    Args:
        weights: of a model with this rounding.

    Raises:
        WeightsError: a tensor is missing or unsound, or breaks the exactness bound.
    """

    def __init__(self, weights: Weights) -> None:
        self.config = weights.config
        self.prior = ExactIndexPrior(weights.part("prior"), self.config)
        if "quantizer.centres" not in weights.tensors:
            raise WeightsError("the weights lack the centres")
        self.codebook = Codebook(weights.tensors["quantizer.centres"], self.config)

    def digest(self) -> str:
        """SHA-256 in hex of the frequencies of indices."""
        digest = hashlib.sha256()
        walk = self.prior.walk(LatentGrid(*DIGEST_SHAPE, CHECKERBOARD))
        for level in range(self.config.anchors):
            for part, frequencies in walk.parts(level):
                digest.update(frequencies.astype("<i4").tobytes())
                positions = np.arange(len(frequencies))
                walk.tell(level, part, (positions * 7 + part.group) % self.config.centres)
        return digest.hexdigest()


EntropyModel = IntegerModel | CentreModel


def entropy_model(weights: Weights) -> EntropyModel:
    """The entropy model for the rounding of some weights, verified.

    Raises:
        WeightsError: it is unsound, or computes other numbers here than where it was exported.
    """
    try:
        model = (CentreModel if weights.config.rounding == "vq" else IntegerModel)(weights)
        if weights.self_check not in (None, model.digest()):
            raise WeightsError("this machine computes other numbers than the exporter did")
    except WeightsError as error:
        raise WeightsError(f"model {weights.name}: {error}") from error
    except (ValueError, IndexError, TypeError) as error:
        raise WeightsError(
            f"model {weights.name}: tensors do not fit together ({error})"
        ) from error
    return model


def with_self_check(weights: Weights) -> Weights:
    """The same weights with the digest of their entropy model as this machine computes it.

    Raises:
        WeightsError: the entropy model is unsound.
    """
    unchecked = dataclasses.replace(weights, self_check=None)
    return dataclasses.replace(weights, self_check=entropy_model(unchecked).digest())
