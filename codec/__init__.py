"""vqcodec: a learned image codec whose files decode to the same symbols on every machine.

    cli          commands: compress, decompress, info, models, evaluate, train
    pillow_plugin  .vqc files in Pillow
    evaluation   codecs measured and compared      training   photographs -> weights
    pipeline     picture -> bytes -> picture: tiles, rate targets, what users call
    bitstream    range coder, latents <-> bytes, the .vqc container (FORMAT.md)
    runtime      exact prior and tables (numpy), transforms (torch), weights files
    model        the autoencoder in torch          picture    picture files <-> samples
    files        atomic output                     limits     what a picture may cost
    tiles        boxes and grids                   errors     every error and its exit code

Arrows point down only. Importing this package imports neither torch nor numpy.

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
    from codec.codec import Codec, compress, decompress
    from codec.encoder.options import EncoderOptions
    from codec.encoder.picture import Encoded
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
    "Encoded": "codec.encoder.picture",
    "EncoderOptions": "codec.encoder.options",
    "Limits": "codec.limits",
    "compress": "codec.codec",
    "decompress": "codec.codec",
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
