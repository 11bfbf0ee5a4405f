"""Weights files for readers alone, with a list that has their digests, as web pages load them.

    python -m codec.web.reader_weights FOLDER WEIGHTS...

A reader needs g_s, the entropy model, its tables and the restoration filter, two thirds of the
bytes; as a zlib stream they are half.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from codec.entropy.model import entropy_model
from codec.weights.file import FORMAT, Weights, load_weights

INDEX = "INDEX.json"
HEADER_LENGTH = struct.Struct("<Q")
NEEDED = ("g_s.", "prior.", "quantizer.", "restoration.", "tables.y.", "tables.z.")
"""How the names of the tensors begin that a reader needs."""
NEEDED_WHOLE = ("gain.log_inverse", "tables.z_context")


def reader_weights(weights: Weights) -> bytes:
    """A safetensors file with what a reader needs of verified weights.

    Its `id` is that of the whole model, which cannot be computed from a part; whoever loads it
    compares its digest with that in the list.

    Raises:
        WeightsError: the entropy model is unsound.
    """
    entropy_model(weights)
    tensors = {
        name: np.ascontiguousarray(tensor)
        for name, tensor in weights.tensors.items()
        if name.startswith(NEEDED) or name in NEEDED_WHOLE
    }
    metadata = {
        "format": FORMAT,
        "name": weights.name,
        "id": weights.id,
        "config": weights.config_text,
    }
    return _ordered(save(tensors, metadata))


def _ordered(file: bytes) -> bytes:
    """A safetensors file with its header in order, which is otherwise another one each time."""
    start = HEADER_LENGTH.size + HEADER_LENGTH.unpack_from(file)[0]
    header = json.loads(file[HEADER_LENGTH.size : start])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_LENGTH.size)
    return HEADER_LENGTH.pack(len(text)) + text + file[start:]


def packed_models(models: Iterable[Path], effort: int = 9) -> dict[str, bytes]:
    """Content of the files of a folder of models, by name: the reader's weights and their list.

    Args:
        models: weights files.
        effort: of zlib, 0 to 9.

    Raises:
        WeightsError: one is damaged.
    """
    files: dict[str, bytes] = {}
    entries: dict[str, dict[str, str | int]] = {}
    for path in models:
        weights = load_weights(path)
        content = reader_weights(weights)
        short_id = weights.short_id.hex()
        name = f"{short_id}.zz"
        files[name] = zlib.compress(content, effort)
        digest = hashlib.sha256(content).hexdigest()
        entries[short_id] = {
            "name": weights.name,
            "file": name,
            "sha256": digest,
            "anchors": weights.config.anchors,
        }
    return files | {INDEX: (json.dumps(entries, indent=2) + "\n").encode()}


def write_models(folder: Path, models: Iterable[Path]) -> None:
    """Write the reader's weights of some models into a folder, and their list.

    Args:
        folder: is made if it is not there.
        models: weights files.

    Raises:
        WeightsError: one is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in packed_models(models).items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write_models(Path(sys.argv[1]), map(Path, sys.argv[2:]))
