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

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.codec import Codec, compress, decompress
    from codec.errors import CodecError

__all__ = ["Codec", "CodecError", "compress", "decompress"]


def __getattr__(name: str) -> Any:
    if name in ("Codec", "compress", "decompress"):
        from codec import codec

        return getattr(codec, name)
    if name == "CodecError":
        from codec.errors import CodecError

        return CodecError
    raise AttributeError(f"module 'codec' has no attribute {name!r}")
