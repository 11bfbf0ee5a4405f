"""The weights file: one safetensors file with everything a model is.

    g_a.* g_s.* h_a.*        float16      transforms, inexact by nature
    gain.* z_density.*       float32      gains; density of z (for further training)
    prior.*                  int32        in units of 2^-16, run exactly
    tables.y.* tables.z.*    int32        integer frequencies
    tables.z_context         int32        [anchors, 25, hyper], which of tables.z, see
                                          `codec.entropy.z_contexts`
    tables.curvature         float32      [anchors, M], for quantisation; may be absent
    restoration.kernels      float32      [K, 3, 3, 5, 5], see `codec.model.restoration`
    restoration.offsets      float32      [K, 3]; both may be absent
    metadata                 strings      format, name, id, config (JSON), self_check, training

A model that rounds to centres has neither h_a, gain, z_density nor tables, but

    quantizer.centres        float16      [levels, G, K, D]
    prior.*                  int32        of the indices; embeddings and pass biases in units
                                          of 2^-10, integer powers of two, the rest as above

The id of a model is the SHA-256 over configuration and tensors; a file that it compressed
carries the first four bytes. Loading checks the id stored in the file, the configuration, and
the restoration filter. What the range decoder depends on is checked where it is built
(`codec.entropy.model`), and so is `self_check`, the digest of what it computes.
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

from codec.errors import ModelNotFoundError, WeightsError
from codec.weights.config import ModelConfig
from codec.weights.released import ID_BYTES, read_config

FORMAT = "vqcodec-weights-1"
CHECKPOINT = "vqcodec-checkpoint"
"""Beginning of the format that checkpoints of training name, which are no weights files."""
MAX_FILE_BYTES = 1 << 30
COLOURS = 3
KERNEL_RADIUS = 2
"""Pixels that the restoration filter sees around its own."""
KERNEL_SIDE = 2 * KERNEL_RADIUS + 1
MAX_KERNELS = 255
"""Largest number of kernels of the restoration filter, whose weights a file counts in a byte."""

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
    """A model as its file holds it."""

    name: str
    config_text: str
    """The configuration as stored, JSON with sorted keys."""
    tensors: Tensors
    training: Mapping[str, Any]
    """Facts about the training: steps, hours, settings."""
    self_check: str | None = None
    """SHA-256 in hex of what the exporter's entropy model computed, see `codec.entropy.model`;
    None of weights that were never exported."""

    @cached_property
    def config(self) -> ModelConfig:
        return read_config({"config": self.config_text})

    @cached_property
    def id(self) -> str:
        return model_id(self.config_text, self.tensors)

    @property
    def short_id(self) -> bytes:
        """First bytes of the id, by which a compressed file names its model."""
        return bytes.fromhex(self.id)[:ID_BYTES]

    def part(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Tensors whose name begins with `prefix.`, without it."""
        start = len(prefix) + 1
        return {n[start:]: a for n, a in self.tensors.items() if n.startswith(f"{prefix}.")}

    @property
    def restoration(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Kernels [K, 3, 3, 5, 5] and offsets [K, 3] of the restoration filter, if there is one.

        For weights that are whole numbers in -127..127, see `codec.model.restoration`.
        """
        parts = self.part("restoration")
        return (parts["kernels"], parts["offsets"]) if parts else None

    @property
    def kernels(self) -> int:
        """K of the restoration filter, 0 without one."""
        return 0 if self.restoration is None else len(self.restoration[0])

    def check_restoration(self) -> None:
        """Check the tensors of the restoration filter, if there is one.

        Raises:
            WeightsError: one is missing, not finite or of another type or shape, or the model
                may have no filter.
        """
        parts, side = self.part("restoration"), KERNEL_SIDE
        count = parts["offsets"].size // COLOURS if "offsets" in parts else 0
        shapes = {"kernels": (count, COLOURS, COLOURS, side, side), "offsets": (count, COLOURS)}
        finite = all(p.dtype == np.float32 and np.isfinite(p).all() for p in parts.values())
        if parts and ({name: p.shape for name, p in parts.items()} != shapes or not finite):
            raise WeightsError("the restoration filter is unsound")
        if parts and not self.config.restorable:
            raise WeightsError("only models for MSE that round to integers have a filter")
        if parts and not 1 <= count <= MAX_KERNELS:
            raise WeightsError(f"a restoration filter has 1 to {MAX_KERNELS} kernels")

    def to_bytes(self) -> bytes:
        """Serialise; `load_weights` reads it back.

        Raises:
            WeightsError: there is no digest to store.
        """
        if self.self_check is None:
            raise WeightsError("weights without the digest of their entropy model are not written")
        metadata = {
            "format": FORMAT,
            "name": self.name,
            "id": self.id,
            "config": self.config_text,
            "self_check": self.self_check,
            "training": json.dumps(dict(self.training), sort_keys=True),
        }
        return save({n: np.ascontiguousarray(a) for n, a in self.tensors.items()}, metadata)


def load_weights(path: Path) -> Weights:
    """Load a weights file; its id and configuration are checked, its entropy model is not.

    Raises:
        ModelNotFoundError: there is no such file.
        WeightsError: it is not a weights file, is damaged, or holds an unsound configuration or
            restoration filter.
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
    if metadata.get("format", "").startswith(CHECKPOINT):
        raise WeightsError(
            f"{path}: a checkpoint, no model; give model.safetensors of its run, or make that: "
            "vqcodec train PHOTOS --out RUN --resume --steps N, with no more steps than it has"
        )
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: not a weights file of format {FORMAT}")
    try:
        training = json.loads(metadata["training"])
        name, config, stored_id, check = (
            metadata[key] for key in ("name", "config", "id", "self_check")
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the metadata is incomplete or damaged") from error
    weights = Weights(name, config, tensors, training, check)
    if weights.id != stored_id:
        raise WeightsError(f"{path}: damaged: contents do not match the model id")
    try:
        _ = weights.config
        weights.check_restoration()
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return weights
