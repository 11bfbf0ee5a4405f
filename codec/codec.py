"""What users call: a model kept loaded, pictures in, bytes out, and back."""

from __future__ import annotations

from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.decoder import decode
from codec.encoder.model import EncoderModel
from codec.encoder.options import DEFAULT_QUALITY, EncoderOptions, RateOptions
from codec.encoder.picture import Encoded, PictureEncoder
from codec.encoder.plan import Plan
from codec.encoder.targets import meet
from codec.engine.base import Engine, Precision
from codec.engine.torch import TorchEngine
from codec.entropy.coder import symbol_coder
from codec.errors import InputError
from codec.format.container import MAX_SIDE, ContainerFile
from codec.level import Level
from codec.limits import Limits
from codec.loaded import LoadedModel
from codec.picture.pixels import from_image
from codec.weights.file import Weights, load_weights
from codec.weights.released import DEFAULT_MODEL, find_by_id, find_weights
from codec.windows import Progress, workers

__all__ = ["DEFAULT_QUALITY", "Codec", "Encoded", "compress", "decompress"]

Source = Image.Image | NDArray[Any]
"""A Pillow image, or uint8 samples [H, W] or [H, W, 1..4]."""


class Codec:
    """A model kept loaded for many pictures; may be used from several threads.

    Args:
        model: name of a released model, path of a weights file, or loaded weights.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".
        limits: on pixels and memory, for pictures in both directions.
        threads: tiles in work at once; None for as many as the engine has threads.
        engine: of these weights, to run the transforms instead of one that is made for `device` and
            `precision`.

    Raises:
        WeightsError: the weights are missing, damaged or unsound.

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
        model: str | Path | Weights = DEFAULT_MODEL,
        device: str = "cpu",
        precision: Precision = "float32",
        limits: Limits | None = None,
        threads: int | None = None,
        engine: Engine | None = None,
    ) -> None:
        loaded = model if isinstance(model, Weights) else load_weights(find_weights(str(model)))
        self.weights = loaded
        self.limits = limits or Limits()
        self.device, self.precision = device, precision
        coder = symbol_coder(loaded)
        engine = engine or TorchEngine(loaded, device, precision)
        self.model = LoadedModel(loaded, engine, coder)
        self._threads = threads or self.model.engine.threads

    @cached_property
    def _encoder_model(self) -> EncoderModel:
        return EncoderModel(self.model)

    def level_of(self, quality: float | None = None, lmbda: float | None = None) -> Level:
        """Level for a quality 0..100 or a lambda.

        Raises:
            InputError: a value is outside what the model was trained for.
        """
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
                `codec.model.objective` has for MS-SSIM.
            options: targets, effort and more, see `codec.encoder.options.EncoderOptions`.

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
        """As `compress`, with what is known about the file.

        Args:
            image: as for `compress`, like all that is not named here.
            quality: likewise.
            lmbda: likewise.
            measure: find the PSNR, which takes the synthesis of the whole picture unless a search
                or a target has found it.
            reconstruct: give the reconstruction, which takes that synthesis too.
            progress: told how much of the present trial is done: a round of search, or a tile.
            options: as for `compress`.

        Raises:
            InputError, LimitError: as for `compress`.
        """
        given = EncoderOptions.of(quality=quality, lmbda=lmbda, **options)
        picture = from_image(image, given.keep, given.to_8bit)
        if max(picture.height, picture.width) > MAX_SIDE:
            raise InputError(f"sides must lie in 1..{MAX_SIDE} pixels")
        self.limits.check_pixels(picture.width, picture.height)
        grid = given.grid(picture.height, picture.width)
        model = self._encoder_model
        plan = Plan(
            model,
            given.rounds if model.searches else 0,
            given.looks_back and model.looks_back,
        )
        measure = measure or given.target_psnr is not None
        engine = model.engine
        count = self.limits.workers(
            grid,
            grid.whole,
            engine.analysis_halo,
            min(self._threads, len(grid)),
            plan.memory(grid),
            keeps=measure or reconstruct or plan.keeps(grid),
            remedy="lower the effort, or " if plan.rounds else "",
        )
        with workers(engine, count) as mapper:
            encoder = PictureEncoder(
                plan,
                picture,
                grid,
                mapper,
                measure=measure,
                reconstruct=reconstruct,
                trials=given.has_target,
                progress=progress,
            )
            return meet(encoder, given, model.config)

    def decompress(
        self,
        data: bytes | bytearray | memoryview | BinaryIO | ContainerFile,
        region: tuple[int, int, int, int] | None = None,
        progress: Progress | None = None,
        levels: int | None = None,
    ) -> Image.Image:
        """Picture of a compressed file.

        Args:
            data: the file's bytes, or the file open for reading; seekable.
            region: (x, y, width, height) in pixels, to show only that. Only the tiles that it
                needs are read and decoded.
            progress: told (pixels done, pixels in all) after each window.
            levels: show the first so many residual levels of a file rounded to centres.

        Returns:
            An image of mode L, LA, RGB or RGBA, whose `info` holds what metadata there is.

        Raises:
            FileFormatError: not a vqcodec file, damaged, or of a newer version.
            WeightsError: the file was made with another model.
            InputError: the region lies outside the picture, or there are fewer levels.
            LimitError: more pixels or memory than `limits` allow.
        """
        file = data if isinstance(data, ContainerFile) else _opened(data, self.limits)
        return decode(file, self.model, self.limits, self._threads, region, levels, progress)

    def decompress_array(
        self,
        data: bytes | bytearray | memoryview | BinaryIO,
        region: tuple[int, int, int, int] | None = None,
    ) -> NDArray[np.uint8]:
        """As `decompress`, as samples [H, W] of a grey picture, else [H, W, 2..4]."""
        return np.array(self.decompress(data, region))


def _opened(data: bytes | bytearray | memoryview | BinaryIO, limits: Limits) -> ContainerFile:
    if isinstance(data, bytes | bytearray | memoryview):
        data = BytesIO(data)
    return ContainerFile(data, limits)


def cached_codec(
    path: Path,
    device: str = "cpu",
    precision: Precision = "float32",
    limits: Limits | None = None,
) -> Codec:
    """A codec that stays loaded in this process, until its weights file is another one."""
    path = path.resolve()
    status = path.stat()
    version = status.st_ino, status.st_size, status.st_mtime_ns
    return _loaded(path, version, device, precision, limits or Limits())


@lru_cache(maxsize=2)
def _loaded(
    path: Path, version: tuple[int, ...], device: str, precision: Precision, limits: Limits
) -> Codec:
    """One for each version of a file."""
    return Codec(path, device, precision, limits)


def compress(
    image: Source,
    quality: float | None = None,
    lmbda: float | None = None,
    model: str | Path = DEFAULT_MODEL,
    **options: Unpack[RateOptions],
) -> bytes:
    """Compress a picture with a released model; see `Codec.compress`.

    Example:
        >>> import codec, numpy
        >>> data = codec.compress(numpy.zeros((30, 40), numpy.uint8), target_size=100)
        >>> len(data) <= 100
        True
    """
    return cached_codec(find_weights(str(model))).compress(image, quality, lmbda, **options)


def decompress(
    data: bytes | bytearray | memoryview | BinaryIO | ContainerFile,
    model: str | Path | None = None,
    region: tuple[int, int, int, int] | None = None,
    *,
    levels: int | None = None,
    limits: Limits | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> Image.Image:
    """Decompress with the released model that the file names, or with a given one.

    Args:
        data: as for `Codec.decompress`, like `region`, `levels` and `progress`.
        model: name of a released model or path of a weights file, instead of the file's.
        region: see `data`.
        levels: see `data`.
        limits: on pixels and memory.
        device: where the transforms run.
        precision: of the transforms.
        progress: see `data`.

    Raises:
        CodecError: as of `Codec.decompress`, and if the model is not found.
    """
    limits = limits or Limits()
    file = data if isinstance(data, ContainerFile) else _opened(data, limits)
    limits.check_pixels(file.header.width, file.header.height)
    path = find_by_id(file.header.model_id) if model is None else find_weights(str(model))
    loaded = cached_codec(path, device, precision, limits)
    return loaded.decompress(file, region, progress, levels)
