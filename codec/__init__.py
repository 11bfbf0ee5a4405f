"""vqcodec: a learned image codec whose files decode to the same symbols on every machine.

    cli            commands: compress, decompress, info, models, evaluate, train
    pillow_plugin  .vqc files in Pillow
    codec          Codec: a loaded model, pictures in, bytes out, and back
    decoder        the reader: bytes -> picture
    encoder        the writer: picture -> bytes; efforts, rate targets
    windows        reconstruction window by window   tiles       boxes and grids
    picture        picture files <-> samples         format      fields <-> bytes of a file
    entropy        symbols <-> bytes, exactly        engine      transforms, NumPy in and out
    weights        models: shape, files, names       model       the autoencoder in PyTorch
    training       photographs -> weights            evaluation  codecs measured and compared
    limits         pixels and memory of a picture    files       outputs whole or not at all
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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.errors import CodecError
    from codec.pipeline import Codec, compress, decompress

__all__ = ["Codec", "CodecError", "compress", "decompress"]


def __getattr__(name: str) -> Any:
    if name in ("Codec", "compress", "decompress"):
        from codec import pipeline

        return getattr(pipeline, name)
    if name == "CodecError":
        from codec.errors import CodecError

        return CodecError
    raise AttributeError(f"module 'codec' has no attribute {name!r}")
