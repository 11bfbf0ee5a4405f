"""Models by name, path or weights, loaded and verified."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from threading import Lock

from codec.engine.base import EngineName, Precision
from codec.engine.choice import choose_engine, differentiable_engine
from codec.entropy.coder import symbol_coder
from codec.loaded import LoadedModel
from codec.weights.file import Weights, load_weights
from codec.weights.released import DEFAULT_MODEL, find_weights

KEPT = 2
"""Models that stay loaded in a process."""

_LOADING = Lock()
"""Held while a model is loaded, so that several threads load it once."""


def load(
    model: str | Path | Weights = DEFAULT_MODEL,
    device: str = "cpu",
    precision: Precision = "float32",
    engine: EngineName = "auto",
) -> LoadedModel:
    """Load and verify a model; arguments and errors as of `codec.Codec`."""
    weights = model if isinstance(model, Weights) else load_weights(find_weights(str(model)))
    chosen = choose_engine(weights, engine, device, precision)
    further = partial(differentiable_engine, weights) if engine == "auto" else None
    return LoadedModel(weights, chosen, symbol_coder(weights), further)


def load_once(
    path: Path,
    device: str = "cpu",
    precision: Precision = "float32",
    engine: EngineName = "auto",
) -> LoadedModel:
    """Load a model that stays loaded in this process, until its weights file is another one.

    Args:
        path: of the weights file.
        device: as of `load`, like all that follow.
    """
    path = path.resolve()
    status = path.stat()
    version = status.st_ino, status.st_size, status.st_mtime_ns
    with _LOADING:
        return _loaded(path, version, device, precision, engine)


@lru_cache(maxsize=KEPT)
def _loaded(
    path: Path, version: tuple[int, ...], device: str, precision: Precision, engine: EngineName
) -> LoadedModel:
    """One model for each version of a file."""
    return load(path, device, precision, engine)
