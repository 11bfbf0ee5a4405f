"""Pictures to bytes and back with released models, which stay loaded.

The writer is imported when something is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from PIL import Image

from codec.codec import Codec, Compressed, opened
from codec.decoder import decode_lossless
from codec.engine.base import EngineName, Precision
from codec.limits import Limits
from codec.loading import load_once
from codec.picture.reduction import reduction_of
from codec.pool import Progress
from codec.weights.released import (
    DEFAULT_MODEL,
    find_by_id,
    find_weights,
    read_config,
    read_metadata,
    short_id_of,
)

if TYPE_CHECKING:
    from codec.encoder.encoded import Encoded
    from codec.encoder.options import RateOptions
    from codec.picture.pixels import Source


def encode(
    image: Source,
    model: str | Path = DEFAULT_MODEL,
    *,
    limits: Limits | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    engine: EngineName = "auto",
    quality: float | None = None,
    lmbda: float | None = None,
    measure: bool = False,
    reconstruct: bool = False,
    progress: Progress | None = None,
    **options: Unpack[RateOptions],
) -> Encoded:
    """Compress a picture with a released model and report on the file.

    Without loss the model is named in the file, and not loaded. Arguments and errors are those of
    `compress` and of `Codec.encode`.
    """
    path = find_weights(str(model))
    if not options.get("lossless"):
        loaded = load_once(path, device, precision, engine)
        return Codec(loaded, limits=limits).encode(
            image,
            quality,
            lmbda,
            measure=measure,
            reconstruct=reconstruct,
            progress=progress,
            **options,
        )
    from codec.encoder.options import EncoderOptions
    from codec.encoder.writer import Report, write_lossless

    given = EncoderOptions.of(quality=quality, lmbda=lmbda, **options)
    rounding = read_config(read_metadata(path)).rounding
    report = Report(measure, reconstruct, progress)
    return write_lossless(image, given, short_id_of(path), rounding, limits or Limits(), report)


def compress(
    image: Source,
    quality: float | None = None,
    lmbda: float | None = None,
    model: str | Path = DEFAULT_MODEL,
    *,
    limits: Limits | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    engine: EngineName = "auto",
    **options: Unpack[RateOptions],
) -> bytes:
    """Compress a picture with a released model.

    Args:
        image: a Pillow image, or uint8 samples, as for `Codec.compress`.
        quality: 0..100, log-linear in lambda; 50 if nothing is given.
        lmbda: slope of the model's objective, instead of a quality.
        model: name of a released model, or path of a weights file.
        limits: on pixels and memory.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".
        engine: "auto", "onnx" or "torch", see `Codec`.
        options: `lossless`, targets, effort and more, see `EncoderOptions`.

    Raises:
        CodecError: as of `Codec.compress`, and if the model is not found.

    Example:
        >>> import codec, numpy
        >>> data = codec.compress(numpy.zeros((30, 40), numpy.uint8), target_size=100)
        >>> len(data) <= 100
        True
    """
    return encode(
        image,
        model,
        limits=limits,
        device=device,
        precision=precision,
        engine=engine,
        quality=quality,
        lmbda=lmbda,
        **options,
    ).data


def decompress(
    data: Compressed,
    model: str | Path | None = None,
    region: tuple[int, int, int, int] | None = None,
    *,
    levels: int | None = None,
    scale: float = 1,
    limits: Limits | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    engine: EngineName = "auto",
    progress: Progress | None = None,
) -> Image.Image:
    """Decompress with the released model that the file names, or with a given one.

    Args:
        data: the file's bytes, or the file open for reading; seekable.
        model: name of a released model or path of a weights file, instead of the file's.
        region: (x, y, width, height) in pixels of the full size; None for the whole picture.
        levels: residual levels to reconstruct of a file rounded to centres; None for all.
        scale: 1, 1/2, 1/4 or 1/8, as for `Codec.decompress`.
        limits: on pixels and memory.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".
        engine: "auto", "onnx" or "torch", see `Codec`.
        progress: called with (pixels done, pixels in all) after each window and patch.

    Raises:
        CodecError: as of `Codec.decompress`, and if the model is not found.
    """
    limits, reduction = limits or Limits(), reduction_of(scale)
    file = opened(data, limits)
    if file.lossless:
        return decode_lossless(file, limits, region, levels, progress, reduction)
    limits.check_pixels(file.header.width, file.header.height)
    path = find_by_id(file.header.model_id) if model is None else find_weights(str(model))
    codec = Codec(load_once(path, device, precision, engine), limits=limits)
    return codec.decompress(file, region, levels=levels, scale=scale, progress=progress)
