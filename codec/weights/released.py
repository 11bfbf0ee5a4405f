"""Finding weights files by name or id, from their metadata alone; imports no numpy.

A safetensors file starts with the length of its JSON header as a little-endian uint64; the
header's `__metadata__` holds strings. That much is read here, so that `info` and `models`
answer at once.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from codec import remote
from codec.errors import InputError, ModelNotFoundError, WeightsError
from codec.url import Url, place_of
from codec.weights.config import ModelConfig

SUFFIX = ".safetensors"
DEFAULT_MODEL = "photo"
RESEARCH_MODELS = {"vq": "535fef9a"}
"""Short ids of released models that are not installed, by name: 12 MB for few."""
RESEARCH_FILES = "weights/{}.safetensors of the source repository"
ID_BYTES = 4
MAX_HEADER_BYTES = 1 << 24


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata strings of a weights file, unverified.

    Raises:
        WeightsError: the file cannot be read or has no such header.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError("the header is too long")
            metadata = json.loads(file.read(length))["__metadata__"]
            return {str(key): str(value) for key, value in metadata.items()}
    except (
        OSError,
        struct.error,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        RecursionError,
    ) as error:
        raise WeightsError(f"{path}: not a weights file, or damaged") from error


def read_config(metadata: dict[str, str]) -> ModelConfig:
    """The model's configuration in its metadata.

    Raises:
        WeightsError: it is missing or wrong.
    """
    try:
        values: dict[str, Any] = json.loads(metadata["config"])
        return ModelConfig.from_dict(values)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError("the weights' metadata has no valid configuration") from error


def released_models() -> list[Path]:
    """The released weights files that are here, by name."""
    return sorted(_weights_folder().glob(f"*{SUFFIX}"), key=lambda path: path.stem)


def _weights_folder() -> Path:
    """This package's own folder where it is installed, the checkout's otherwise."""
    installed = Path(__file__).parent
    shipped = any(installed.glob(f"*{SUFFIX}"))
    return installed if shipped else installed.parents[1] / "weights"


def find_weights(model: str) -> Path:
    """Path of a released model by name, or of a weights file by path or URL.

    Raises:
        ModelNotFoundError: neither exists, or a store refuses.
    """
    for path in released_models():
        if path.stem == model:
            return path
    place = place_of(model)
    if isinstance(place, Url):
        try:
            return remote.local_copy(place)
        except InputError as error:
            raise ModelNotFoundError(str(error), field="model") from error
    if place.is_file():
        return place
    if model in RESEARCH_MODELS:
        raise ModelNotFoundError(f"model {model} {_not_installed(model)}", field="model")
    known = ", ".join(p.stem for p in released_models()) or "none"
    raise ModelNotFoundError(f"no model {model!r}: no such file, and released models are: {known}")


def short_id_of(path: Path) -> bytes:
    """The short id that a weights file claims; empty if the file is unreadable."""
    try:
        return bytes.fromhex(read_metadata(path).get("id", ""))[:ID_BYTES]
    except (WeightsError, ValueError):
        return b""


def find_by_id(short_id: bytes) -> Path:
    """Path of the released model that a compressed file names.

    Raises:
        ModelNotFoundError: no released model has this id.
    """
    models = {path: short_id_of(path) for path in released_models()}
    for path, claimed in models.items():
        if claimed == short_id:
            return path
    for name, research in RESEARCH_MODELS.items():
        if short_id.hex() == research:
            raise ModelNotFoundError(
                f"made with model {name} ({research}), which {_not_installed(name)}", field="model"
            )
    known = ", ".join(f"{p.stem} ({i.hex()})" for p, i in models.items() if i) or "none"
    raise ModelNotFoundError(
        f"made with model {short_id.hex()}, which is not among the released ones: {known}; "
        "name its weights file with model",
        field="model",
    )


def _not_installed(name: str) -> str:
    file = RESEARCH_FILES.format(name)
    return f"is for research and not installed; name its weights file, {file}, with model"
