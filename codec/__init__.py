"""vqcodec: a learned image codec whose files decode to the same symbols on every machine.

    cli            commands: compress, decompress, info, models, view, web, register, evaluate,
                   train
    cluster        the codec on Ray                  dataset     .vqc files to train networks on
    pillow_plugin  .vqc files in Pillow
    api            compress, decompress with released models
    codec          Codec: a loaded model, pictures in, bytes out, and back
    decoder        the reader: bytes -> picture
    encoder        the writer: picture -> bytes; efforts, rate targets
    windows        reconstruction window by window   tiles       boxes and grids
    picture        picture files <-> samples         format      fields <-> bytes of a file
    entropy        symbols <-> bytes, exactly        engine      transforms, NumPy in and out
    weights        models: shape, files, names       model       the autoencoder in PyTorch
    training       photographs -> weights            evaluation  codecs measured and compared
    loading        models by name                    loaded      a model in memory
    level          the rate level                    level_map   levels by position
    web            the reader in web pages           pool        threads of tiles and windows
    limits         pixels and memory of a picture    files       outputs whole or not at all
    url            URLs as places of files           remote      files in stores
    errors         every error and its exit code

ARCHITECTURE.md follows a picture through these, FORMAT.md specifies the file. Imports point
downwards only. Importing this package imports neither torch nor numpy.

>>> import codec
>>> from PIL import Image
>>> data = codec.compress(Image.new("L", (100, 80), 90), quality=40)
>>> codec.decompress(data).mode
'L'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.api import compress, decompress
    from codec.codec import Codec
    from codec.encoder.encoded import Encoded
    from codec.encoder.options import EncoderOptions
    from codec.errors import (
        CodecError,
        DamagedFileError,
        FileFormatError,
        InputError,
        LimitError,
        ModelNotFoundError,
        OutputError,
        UnsupportedFileError,
        WeightsError,
    )
    from codec.limits import Limits

    __version__: str

_HOMES = {
    "Codec": "codec.codec",
    "Encoded": "codec.encoder.encoded",
    "EncoderOptions": "codec.encoder.options",
    "Limits": "codec.limits",
    "compress": "codec.api",
    "decompress": "codec.api",
} | dict.fromkeys(
    (
        "CodecError",
        "DamagedFileError",
        "FileFormatError",
        "InputError",
        "LimitError",
        "ModelNotFoundError",
        "OutputError",
        "UnsupportedFileError",
        "WeightsError",
    ),
    "codec.errors",
)
"""Modules of the public names, each loaded when the name is first used."""

__all__ = [
    "Codec",
    "CodecError",
    "DamagedFileError",
    "Encoded",
    "EncoderOptions",
    "FileFormatError",
    "InputError",
    "LimitError",
    "Limits",
    "ModelNotFoundError",
    "OutputError",
    "UnsupportedFileError",
    "WeightsError",
    "compress",
    "decompress",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vqcodec")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'codec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
