"""The Python API: a model kept loaded, pictures to bytes and back."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.decoder import decode, decode_lossless
from codec.encoder.lossless import WRITTEN_PIXELS, encode_lossless
from codec.encoder.model import EncoderModel
from codec.encoder.options import DEFAULT_QUALITY, EncoderOptions, RateOptions
from codec.encoder.patch_choice import PatchChoice
from codec.encoder.photograph_rates import photograph_rates
from codec.encoder.picture import Encoded, PictureEncoder
from codec.encoder.plan import Plan
from codec.encoder.targets import meet
from codec.engine.base import Precision
from codec.entropy.coder import symbol_coder
from codec.errors import InputError
from codec.format.container import MAX_SIDE, ContainerFile
from codec.level import Level
from codec.limits import Limits
from codec.loaded import LoadedModel
from codec.picture.patch import ENCODING_BYTES
from codec.picture.pixels import Picture, from_image
from codec.tiles import Grid
from codec.weights.file import Weights, load_weights
from codec.weights.released import (
    DEFAULT_MODEL,
    find_by_id,
    find_weights,
    read_config,
    read_metadata,
    short_id_of,
)
from codec.windows import Progress, workers

__all__ = ["DEFAULT_QUALITY", "Codec", "Encoded", "compress", "decompress"]

Source = Image.Image | NDArray[Any]
"""A Pillow image, or uint8 samples [H, W] or [H, W, 1..4]."""


def load(
    model: str | Path | Weights = DEFAULT_MODEL,
    device: str = "cpu",
    precision: Precision = "float32",
) -> LoadedModel:
    """Load and verify a model; arguments and errors as of `Codec`."""
    from codec.engine.differentiable import DifferentiableEngine  # not before it is needed

    weights = model if isinstance(model, Weights) else load_weights(find_weights(str(model)))
    return LoadedModel(
        weights, DifferentiableEngine(weights, device, precision), symbol_coder(weights)
    )


class Codec:
    """A model kept loaded for many pictures; may be used from several threads.

    Args:
        model: name of a released model, path of a weights file, loaded weights, or a model with an
            engine of its own, for which `device` and `precision` are not read.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".
        limits: on pixels and memory, for pictures in both directions.
        threads: tiles in work at once; None for as many as the engine has threads.

    Raises:
        WeightsError: the weights are missing, damaged or unsound.
        InputError: the device or the precision cannot be used, or there are no threads.

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
    ) -> None:
        if threads is not None and not (isinstance(threads, Integral) and threads >= 1):
            raise InputError("threads must be a whole number of at least 1")
        self.limits = limits or Limits()
        self.model = model if isinstance(model, LoadedModel) else load(model, device, precision)
        self._threads = threads or self.model.engine.threads
        self._encoder_model = EncoderModel(self.model)

    @property
    def weights(self) -> Weights:
        """Weights of the model."""
        return self.model.weights

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
        given = EncoderOptions.of(quality=quality, lmbda=lmbda, **options)
        picture, grid = _accepted(image, given, self.limits)
        if given.lossless:
            rounding = self.weights.config.rounding
            return encode_lossless(
                picture, grid, self.model.id, rounding, self.limits, reconstruct, progress
            )
        model, engine = self._encoder_model, self.model.engine
        plan = Plan(
            model,
            given.rounds if model.searches else 0,
            given.looks_back and model.looks_back,
        )
        if plan.rounds and not engine.differentiable:
            raise InputError("efforts from 2 on need an engine with derivatives", field="effort")
        measure = measure or given.target_psnr is not None
        chooses = given.patches == "auto"
        remedy = "do not measure, or " if measure or reconstruct else ""
        count = self.limits.workers(
            grid,
            grid.whole,
            engine.analysis_halo,
            min(self._threads, len(grid)),
            plan.memory(grid),
            plan.kept(grid, measure, reconstruct),
            ENCODING_BYTES * min(grid.whole.area, WRITTEN_PIXELS) * chooses,
            "lower the effort, or " if plan.rounds else remedy,
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
            rates = photograph_rates(model.id, model.config)
            choice = PatchChoice(encoder, rates) if chooses else None
            encoded = meet(encoder, given, model.config, choice)
        least = rates.least_psnr(encoded.header.level)
        return replace(encoded, below_promise=encoded.psnr < least)

    def decompress(
        self,
        data: bytes | bytearray | memoryview | BinaryIO | ContainerFile,
        region: tuple[int, int, int, int] | None = None,
        *,
        levels: int | None = None,
        progress: Progress | None = None,
    ) -> Image.Image:
        """Picture of a compressed file.

        Args:
            data: the file's bytes, or the file open for reading; seekable.
            region: (x, y, width, height) in pixels; None for the whole picture. Only the tiles that
                it needs are read and decoded.
            levels: residual levels to reconstruct of a file rounded to centres; None for all.
            progress: called with (pixels done, pixels in all) after each window and patch.

        Returns:
            An image of mode L, LA, RGB or RGBA, whose `info` holds what metadata there is.

        Raises:
            FileFormatError: not a vqcodec file, damaged, or of a newer version.
            WeightsError: the file was made with another model.
            InputError: the region lies outside the picture, or there are fewer levels.
            LimitError: more pixels or memory than `limits` allow.
        """
        file = data if isinstance(data, ContainerFile) else _opened(data, self.limits)
        if file.lossless:
            return decode_lossless(file, self.limits, region, levels, progress)
        return decode(file, self.model, self.limits, self._threads, region, levels, progress)

    def decompress_array(
        self,
        data: bytes | bytearray | memoryview | BinaryIO,
        region: tuple[int, int, int, int] | None = None,
        *,
        levels: int | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.uint8]:
        """Samples of a compressed file, [H, W] of a grey picture, else [H, W, 2..4].

        Arguments and errors are those of `decompress`.
        """
        return np.array(self.decompress(data, region, levels=levels, progress=progress))


def _accepted(source: Source, options: EncoderOptions, limits: Limits) -> tuple[Picture, Grid]:
    """A picture that can be compressed, and its tiles."""
    picture = from_image(source, options.keep, options.to_8bit)
    if max(picture.height, picture.width) > MAX_SIDE:
        raise InputError(f"sides must lie in 1..{MAX_SIDE} pixels")
    limits.check_pixels(picture.width, picture.height)
    return picture, options.grid(picture.height, picture.width)


def _opened(data: bytes | bytearray | memoryview | BinaryIO, limits: Limits) -> ContainerFile:
    if isinstance(data, bytes | bytearray | memoryview):
        data = BytesIO(data)
    if not hasattr(data, "seek"):
        raise InputError(
            f"a compressed file cannot be of type {type(data).__name__}; give its bytes, or the "
            "file open for reading"
        )
    return ContainerFile(data, limits)


def cached_codec(
    path: Path,
    device: str = "cpu",
    precision: Precision = "float32",
    limits: Limits | None = None,
) -> Codec:
    """A codec whose model stays loaded in this process, until its weights file is another one."""
    path = path.resolve()
    status = path.stat()
    version = status.st_ino, status.st_size, status.st_mtime_ns
    return Codec(_loaded(path, version, device, precision), limits=limits)


@lru_cache(maxsize=2)
def _loaded(path: Path, version: tuple[int, ...], device: str, precision: Precision) -> LoadedModel:
    """One model for each version of a file."""
    return load(path, device, precision)


def encode(
    image: Source,
    model: str | Path = DEFAULT_MODEL,
    *,
    limits: Limits | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
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
        return cached_codec(path, device, precision, limits).encode(
            image,
            quality,
            lmbda,
            measure=measure,
            reconstruct=reconstruct,
            progress=progress,
            **options,
        )
    limits = limits or Limits()
    given = EncoderOptions.of(quality=quality, lmbda=lmbda, **options)
    picture, grid = _accepted(image, given, limits)
    rounding = read_config(read_metadata(path)).rounding
    return encode_lossless(
        picture, grid, short_id_of(path), rounding, limits, reconstruct, progress
    )


def compress(
    image: Source,
    quality: float | None = None,
    lmbda: float | None = None,
    model: str | Path = DEFAULT_MODEL,
    *,
    limits: Limits | None = None,
    device: str = "cpu",
    precision: Precision = "float32",
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
        quality=quality,
        lmbda=lmbda,
        **options,
    ).data


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
        data: the file's bytes, or the file open for reading; seekable.
        model: name of a released model or path of a weights file, instead of the file's.
        region: (x, y, width, height) in pixels; None for the whole picture.
        levels: residual levels to reconstruct of a file rounded to centres; None for all.
        limits: on pixels and memory.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".
        progress: called with (pixels done, pixels in all) after each window and patch.

    Raises:
        CodecError: as of `Codec.decompress`, and if the model is not found.
    """
    limits = limits or Limits()
    file = data if isinstance(data, ContainerFile) else _opened(data, limits)
    if file.lossless:
        return decode_lossless(file, limits, region, levels, progress)
    limits.check_pixels(file.header.width, file.header.height)
    path = find_by_id(file.header.model_id) if model is None else find_weights(str(model))
    loaded = cached_codec(path, device, precision, limits)
    return loaded.decompress(file, region, levels=levels, progress=progress)
