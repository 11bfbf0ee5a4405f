"""The codec: a model kept loaded, pictures to bytes and back.

The writer is imported when something is written.
"""

from __future__ import annotations

from functools import cached_property
from io import BytesIO, TextIOBase
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.decoder import decode, decode_lossless
from codec.engine.base import EngineName, Precision
from codec.errors import InputError
from codec.format.container import ContainerFile
from codec.level import Level
from codec.limits import Limits
from codec.loaded import LoadedModel
from codec.loading import load
from codec.picture.reduction import reduction_of
from codec.pool import Progress
from codec.weights.file import Weights
from codec.weights.released import DEFAULT_MODEL

if TYPE_CHECKING:
    from codec.encoder.encoded import Encoded
    from codec.encoder.options import RateOptions
    from codec.encoder.writer import Writer
    from codec.picture.pixels import Source

Compressed = bytes | bytearray | memoryview | BinaryIO | ContainerFile
"""A compressed file: its bytes, or the file open for reading, seekable."""


class Codec:
    """A model kept loaded for many pictures; may be used from several threads.

    Args:
        model: name of a released model, path of a weights file, loaded weights, or a model with an
            engine of its own, for which `engine`, `device` and `precision` are not read.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".
        limits: on pixels and memory, for pictures in both directions.
        threads: tiles in work at once; None for as many as the engine has threads. With several,
            NumPy's own threads get in their way: set OPENBLAS_NUM_THREADS=1 before it is imported,
            as the command line does.
        engine: that runs the transforms: "onnx" on ONNX Runtime; "torch", which efforts 2 to 9,
            other devices than "cpu" and bfloat16 need; or "auto", torch where it is needed.

    Raises:
        WeightsError: the weights are missing, damaged or unsound.
        InputError: the engine, the device or the precision cannot be used, or there are no threads.

    Example:
        >>> from PIL import Image
        >>> codec = Codec()
        >>> data = codec.compress(Image.new("RGB", (40, 30), "teal"), quality=30)
        >>> codec.decompress(data).size
        (40, 30)
        >>> codec.decompress_array(data).shape
        (30, 40, 3)
    """

    def __init__(
        self,
        model: str | Path | Weights | LoadedModel = DEFAULT_MODEL,
        device: str = "cpu",
        precision: Precision = "float32",
        limits: Limits | None = None,
        threads: int | None = None,
        engine: EngineName = "auto",
    ) -> None:
        if threads is not None and not (isinstance(threads, Integral) and threads >= 1):
            raise InputError("threads must be a whole number of at least 1")
        self._limits = limits or Limits()
        if not isinstance(model, LoadedModel):
            model = load(model, device, precision, engine)
        self.model = model
        self._threads = threads

    @cached_property
    def _writer(self) -> Writer:
        from codec.encoder.writer import Writer

        return Writer(self.model, self.limits, self._threads)

    @property
    def limits(self) -> Limits:
        """Limits on pixels and memory."""
        return self._limits

    @property
    def weights(self) -> Weights:
        """Weights of the model."""
        return self.model.weights

    def level_of(self, quality: float | None = None, lmbda: float | None = None) -> Level:
        """Level for a quality 0..100 or a lambda.

        Raises:
            InputError: a value is outside what the model was trained for.
        """
        from codec.encoder.options import EncoderOptions

        return EncoderOptions(quality, lmbda).level(self.weights.config)

    def compress(
        self,
        image: Source,
        quality: float | None = None,
        lmbda: float | None = None,
        **options: Unpack[RateOptions],
    ) -> bytes:
        """Compress a picture.

        Args:
            image: of 8 bits: grey, RGB, CMYK, Lab, palette; alpha is kept, without loss.
            quality: 0..100, log-linear in lambda; 50 if nothing is given.
            lmbda: slope of the model's objective, bits/pixel + lambda 255^2 MSE, or what
                `codec.model.objective` has for MS-SSIM or for looks.
            options: `lossless`, targets, effort and more, see
                `codec.encoder.options.EncoderOptions`.

        Raises:
            InputError: the picture or a value is not supported, or a target out of reach.
            LimitError: too many pixels or too much memory.
        """
        return self.encode(image, quality, lmbda, **options).data

    def encode(
        self,
        image: Source,
        quality: float | None = None,
        lmbda: float | None = None,
        *,
        measure: bool = False,
        reconstruct: bool = False,
        progress: Progress | None = None,
        **options: Unpack[RateOptions],
    ) -> Encoded:
        """Compress a picture and report on the file.

        Args:
            image: as for `compress`, like all that is not named here.
            quality: likewise.
            lmbda: likewise.
            measure: find the PSNR, which takes the synthesis of the whole picture.
            reconstruct: give the reconstruction, which takes that synthesis too.
            progress: called with (steps done, steps in all) of the present trial, a step being a
                tile or a round of its search; by one thread at a time, but by any.
            options: as for `compress`.

        Raises:
            InputError, LimitError: as for `compress`.
        """
        from codec.encoder.options import EncoderOptions
        from codec.encoder.writer import Report

        given = EncoderOptions.of(quality=quality, lmbda=lmbda, **options)
        return self._writer.encode(image, given, Report(measure, reconstruct, progress))

    def decompress(
        self,
        data: Compressed,
        region: tuple[int, int, int, int] | None = None,
        *,
        levels: int | None = None,
        scale: float = 1,
        progress: Progress | None = None,
    ) -> Image.Image:
        """Picture of a compressed file.

        Args:
            data: the file's bytes, or the file open for reading; seekable.
            region: (x, y, width, height) in pixels of the full size; None for the whole picture.
                Only the tiles that it needs are read and decoded.
            levels: residual levels to reconstruct of a file rounded to centres; None for all.
            scale: 1, 1/2, 1/4 or 1/8. Below 1 each pixel is about the mean of a square, for much
                less time than decoding and averaging takes (see `codec.engine.reduced`); sizes
                are rounded up, and a region grows to whole squares.
            progress: called with (pixels done, pixels in all) after each window and patch.

        Returns:
            An image of mode L, LA, RGB or RGBA, whose `info` holds what metadata there is.

        Raises:
            FileFormatError: not a vqcodec file, damaged, or of a newer version.
            WeightsError: the file was made with another model.
            InputError: the region lies outside the picture, there are fewer levels, or there is no
                such scale.
            LimitError: more pixels or memory than `limits` allow.
        """
        reduction = reduction_of(scale)
        file = opened(data, self.limits)
        if file.lossless:
            return decode_lossless(file, self.limits, region, levels, progress, reduction)
        threads = self._threads or self.model.engine.threads
        return decode(file, self.model, self.limits, threads, region, levels, progress, reduction)

    def decompress_array(
        self,
        data: Compressed,
        region: tuple[int, int, int, int] | None = None,
        *,
        levels: int | None = None,
        scale: float = 1,
        progress: Progress | None = None,
    ) -> NDArray[np.uint8]:
        """Samples of a compressed file, [H, W] of a grey picture, else [H, W, 2..4].

        Arguments and errors are those of `decompress`.
        """
        image = self.decompress(data, region, levels=levels, scale=scale, progress=progress)
        return np.array(image)


def opened(data: Compressed, limits: Limits) -> ContainerFile:
    """A compressed file, parsed.

    Raises:
        FileFormatError: not a vqcodec file, damaged, or of a newer version.
        InputError: it is none of these types, or a file that is not open for reading bytes at any
            place.
    """
    if isinstance(data, ContainerFile):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        data = BytesIO(data)
    if not (hasattr(data, "read") and hasattr(data, "seek")):  # images of Pillow seek, too
        raise InputError(
            f"a compressed file cannot be of type {type(data).__name__}; give its bytes, or the "
            "file open for reading"
        )
    able = (getattr(data, name, lambda: True)() for name in ("readable", "seekable"))
    if isinstance(data, TextIOBase) or not all(able):
        raise InputError("the compressed file must be open for reading bytes, and seekable")
    return ContainerFile(data, limits)
