"""The weights file: one safetensors file with everything a model is.

    g_a.* g_s.* h_a.*        float16      transforms, inexact by nature
    gain.* z_density.*       float32      gains; density of z (for further training)
    prior.*                  int32        in units of 2^-16, run exactly
    tables.y.* tables.z.*    int32        integer frequencies
    tables.z_context         int32        [anchors, 25, hyper], which of tables.z, see
                                          `codec.entropy.z_contexts`; may be absent
    tables.curvature         float32      [anchors, M], for the encoder's dead zone; may be absent
    restoration.kernels      float32      [K, 3, 3, 5, 5], see `codec.model.restoration`
    restoration.offsets      float32      [K, 3]; both may be absent
    metadata                 strings      format, name, config (JSON), self_check, training

A model that rounds to centres has neither h_a, gain, z_density nor tables, but

    quantizer.centres        float16      [levels, G, K, D]
    prior.*                  int32        of the indices; embeddings and pass biases in units
                                          of 2^-10, integer powers of two, the rest as above

The id of a model is the SHA-256 over configuration and tensors; a file that it compressed
carries the first four bytes. Loading checks the id stored in the file, every shape, the
exactness bounds, the tables, and a digest of what the prior computes from a fixed input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from codec.entropy.codebook import Codebook
from codec.entropy.dyadic import Exact
from codec.entropy.exact_prior import ExactPrior, LatentGrid
from codec.entropy.index_prior import ExactIndexPrior
from codec.entropy.tables import FrequencyTables
from codec.entropy.z_contexts import CONTEXTS
from codec.errors import ModelNotFoundError, WeightsError
from codec.weights.config import LEVEL_BITS, ModelConfig
from codec.weights.released import ID_BYTES, read_config

FORMAT = "vqcodec-weights-1"
MAX_FILE_BYTES = 1 << 30
SCALE_TABLES = 64
COLOURS = 3
KERNEL_RADIUS = 2
"""Pixels that the restoration filter sees around its own."""
KERNEL_SIDE = 2 * KERNEL_RADIUS + 1
MAX_KERNELS = 255
"""Of the restoration filter: a file has the number of their weights in a byte."""

Tensors = Mapping[str, NDArray[Any]]


def model_id(config: str, tensors: Tensors) -> str:
    """SHA-256 in hex over the configuration's text and every tensor, in order of names.

    The text is the one stored, so that fields that later versions add change no id.
    """
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Weights:
    """A loaded and verified model."""

    name: str
    config_text: str
    """The configuration as stored, JSON with sorted keys."""
    tensors: Tensors
    training: Mapping[str, Any]
    """What the card says: steps, hours, settings."""

    @cached_property
    def config(self) -> ModelConfig:
        return read_config({"config": self.config_text})

    @cached_property
    def id(self) -> str:
        return model_id(self.config_text, self.tensors)

    @property
    def short_id(self) -> bytes:
        """What a compressed file carries."""
        return bytes.fromhex(self.id)[:ID_BYTES]

    def part(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Tensors whose name begins with `prefix.`, without it."""
        start = len(prefix) + 1
        return {n[start:]: a for n, a in self.tensors.items() if n.startswith(f"{prefix}.")}

    @cached_property
    def prior(self) -> ExactPrior:
        return ExactPrior(self.part("prior"), self.config)

    @cached_property
    def y_tables(self) -> FrequencyTables:
        return FrequencyTables.from_tensors(self.tensors, "tables.y")

    @cached_property
    def z_tables(self) -> FrequencyTables:
        return FrequencyTables.from_tensors(self.tensors, "tables.z")

    @property
    def z_contexts(self) -> NDArray[np.int32] | None:
        """Numbers of tables of z by anchor, context and channel; None if each channel has one.

        [anchors, 25, hyper], see `codec.entropy.z_contexts`.
        """
        return self.tensors.get("tables.z_context")

    @property
    def curvature(self) -> NDArray[np.float32] | None:
        """Bits that a unit step of a latent costs in distortion, [anchors, M]; None if unknown.

        Half the second derivative, see `codec.training.calibration`.
        """
        return self.tensors.get("tables.curvature")

    @property
    def restoration(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Kernels [K, 3, 3, 5, 5] and offsets [K, 3] of the restoration filter, if there is one.

        For weights that are whole numbers in -127..127, see `codec.model.restoration`.
        """
        parts = self.part("restoration")
        return (parts["kernels"], parts["offsets"]) if parts else None

    @cached_property
    def index_prior(self) -> ExactIndexPrior:
        return ExactIndexPrior(self.part("prior"), self.config)

    @cached_property
    def codebook(self) -> Codebook:
        if "quantizer.centres" not in self.tensors:
            raise WeightsError("the weights lack the centres")
        return Codebook(self.tensors["quantizer.centres"], self.config)

    @property
    def kernels(self) -> int:
        """K of the restoration filter, 0 without one."""
        return 0 if self.restoration is None else len(self.restoration[0])

    def check_tables(self) -> None:
        """Check centres, or that there is a sound table for each scale and each symbol of z.

        Contexts of z, if there are any, must name tables, which then have one support.
        Curvatures, if there are any, must be positive numbers for each channel of y, and tables
        of y must then have -1, 0 and 1. So must a restoration filter be sound, if there is one.

        Raises:
            WeightsError: there is not.
        """
        if self.config.rounding == "vq":
            _ = self.codebook
        else:
            needed = self.config.hyper if self.z_contexts is None else len(self.z_tables)
            if len(self.y_tables) != SCALE_TABLES or len(self.z_tables) != needed:
                raise WeightsError("the weights hold another number of tables than they need")
            if self.z_contexts is not None:
                self._check_contexts(self.z_contexts)
            if self.curvature is not None:
                self._check_curvature(self.curvature)
        self._check_restoration()

    def _check_curvature(self, measured: NDArray[Any]) -> None:
        shape = (self.config.anchors, self.config.latent)
        finite = measured.dtype == np.float32 and bool(np.all(np.isfinite(measured)))
        if measured.shape != shape or not finite or measured.min() <= 0:
            raise WeightsError("the curvature of the distortion is unsound")
        if self.y_tables.low.max() > -1 or self.y_tables.high.min() < 1:
            raise WeightsError("a dead zone needs tables with symbols -1, 0 and 1")

    def _check_contexts(self, numbers: NDArray[Any]) -> None:
        tables = self.z_tables
        shape = (self.config.anchors, CONTEXTS, self.config.hyper)
        if numbers.dtype != np.int32 or numbers.shape != shape:
            raise WeightsError("the contexts of the hyper-latents are unsound")
        if numbers.min() < 0 or numbers.max() >= len(tables):
            raise WeightsError("a context of the hyper-latents names a table that is not there")
        if np.any(tables.low != tables.low[0]) or np.any(tables.size != tables.size[0]):
            raise WeightsError("tables of the hyper-latents must have the same support")

    def _check_restoration(self) -> None:
        parts, side = self.part("restoration"), KERNEL_SIDE
        count = len(parts.get("offsets", ()))
        shapes = {"kernels": (count, COLOURS, COLOURS, side, side), "offsets": (count, COLOURS)}
        finite = all(p.dtype == np.float32 and np.isfinite(p).all() for p in parts.values())
        if parts and ({name: p.shape for name, p in parts.items()} != shapes or not finite):
            raise WeightsError("the restoration filter is unsound")
        if parts and not self.config.restorable:
            raise WeightsError("only models for MSE that round to integers have a filter")
        if parts and not 1 <= count <= MAX_KERNELS:
            raise WeightsError(f"a restoration filter has 1 to {MAX_KERNELS} kernels")

    def self_check(self) -> str:
        """SHA-256 in hex of what the prior computes from fixed latents.

        Means and table numbers, or the frequencies of indices.
        """
        if self.config.rounding == "vq":
            return self._check_indices(LatentGrid(5, 6))
        grid = LatentGrid(5, 6, self.config.passes)
        hyper, part = self.config.hyper, self.config.latent // self.config.passes
        z = (np.arange(hyper * 4) * 7 % 5 - 2).astype(np.int32).reshape(hyper, *grid.hyper_shape)
        residual = (np.arange(part * 30) * 11 % 7 - 3).astype(np.int32).reshape(part, 30)
        level = (self.config.anchors - 1) * (1 << LEVEL_BITS) // 3
        features = self.prior.features(z, level, grid)
        digest = hashlib.sha256()
        known: list[Exact] = []
        for _ in range(grid.passes):
            features, prediction = self.prior.predict(features, known, level, grid)
            digest.update(prediction.mean.astype("<i4").tobytes())
            digest.update(prediction.table.tobytes())
            known.append(prediction.reconstruct(residual))
        return digest.hexdigest()

    def _check_indices(self, grid: LatentGrid) -> str:
        digest = hashlib.sha256()
        walk = self.index_prior.walk(grid)
        for level in range(self.config.anchors):
            for part, frequencies in walk.parts(level):
                digest.update(frequencies.astype("<i4").tobytes())
                places = np.arange(len(frequencies))
                walk.tell(level, part, (places * 7 + part.group) % self.config.centres)
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Serialise; `load_weights` reads it back."""
        metadata = {
            "format": FORMAT,
            "name": self.name,
            "id": self.id,
            "config": self.config_text,
            "self_check": self.self_check(),
            "training": json.dumps(dict(self.training), sort_keys=True),
        }
        return save({n: np.ascontiguousarray(a) for n, a in self.tensors.items()}, metadata)


def load_weights(path: Path) -> Weights:
    """Load a weights file and verify all of it.

    Raises:
        ModelNotFoundError: there is no such file.
        WeightsError: it is not a weights file, is damaged, or computes other numbers here
            than where it was exported.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such weights file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise WeightsError(f"{path}: too large for a weights file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: not a weights file, or damaged ({error})") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: not a weights file of format {FORMAT}")
    try:
        training = json.loads(metadata["training"])
        name, config, stored_id, check = (
            metadata[key] for key in ("name", "config", "id", "self_check")
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the metadata is incomplete or damaged") from error
    weights = Weights(name, config, tensors, training)
    if weights.id != stored_id:
        raise WeightsError(f"{path}: damaged: contents do not match the model id")
    try:
        weights.check_tables()
        computed = weights.self_check()
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except (ValueError, IndexError, TypeError) as error:
        raise WeightsError(f"{path}: tensors do not fit together ({error})") from error
    if computed != check:
        raise WeightsError(f"{path}: this machine computes other numbers than the exporter did")
    return weights
