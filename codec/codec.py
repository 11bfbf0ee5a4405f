"""The Python API: a model kept loaded, pictures to bytes and back.

The writer is imported when something is written.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache, partial
from io import BytesIO
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.decoder import decode, decode_lossless
from codec.engine.base import EngineName, Precision
from codec.engine.choice import choose_engine, differentiable_engine
from codec.entropy.coder import symbol_coder
from codec.errors import InputError, LimitError
from codec.format.container import ContainerFile
from codec.format.header import MAX_SIDE
from codec.level import Level
from codec.level_map import STEP
from codec.limits import Limits
from codec.loaded import LoadedModel
from codec.picture.reduction import reduction_of
from codec.tiles import WINDOW
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

if TYPE_CHECKING:
    from codec.encoder.model import EncoderModel
    from codec.encoder.options import EncoderOptions, RateOptions
    from codec.encoder.picture import Encoded
    from codec.picture.pixels import Picture
    from codec.tiles import Grid

__all__ = ["Codec", "compress", "decompress"]

Source = Image.Image | NDArray[Any]
"""A Pillow image, or uint8 samples [H, W] or [H, W, 1..4]."""


def load(
    model: str | Path | Weights = DEFAULT_MODEL,
    device: str = "cpu",
    precision: Precision = "float32",
    engine: EngineName = "auto",
) -> LoadedModel:
    """Load and verify a model; arguments and errors as of `Codec`."""
    weights = model if isinstance(model, Weights) else load_weights(find_weights(str(model)))
    chosen = choose_engine(weights, engine, device, precision)
    further = partial(differentiable_engine, weights) if engine == "auto" else None
    return LoadedModel(weights, chosen, symbol_coder(weights), further)


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
        self.limits = limits or Limits()
        if not isinstance(model, LoadedModel):
            model = load(model, device, precision, engine)
        self.model = model
        self._threads = threads

    @cached_property
    def _encoder_model(self) -> EncoderModel:
        from codec.encoder.model import EncoderModel

        return EncoderModel(self.model)

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
        from codec.encoder.lossless import WRITTEN_PIXELS, encode_lossless
        from codec.encoder.model import EncoderModel
        from codec.encoder.options import EncoderOptions
        from codec.encoder.patch_choice import PatchChoice
        from codec.encoder.photograph_rates import photograph_rates
        from codec.encoder.picture import PictureEncoder
        from codec.encoder.plan import Plan
        from codec.encoder.quality_map import offsets_of
        from codec.encoder.targets import meet
        from codec.picture.patch import ENCODING_BYTES

        given = EncoderOptions.of(quality=quality, lmbda=lmbda, **options)
        picture, grid = _accepted(image, given, self.limits)
        if given.lossless:
            rounding = self.weights.config.rounding
            return encode_lossless(
                picture, grid, self.model.id, rounding, self.limits, reconstruct, progress
            )
        offsets = None
        if given.level_map is not None:
            size = picture.height, picture.width
            offsets = offsets_of(given.level_map, *size, self.weights.config)
        model = self._encoder_model
        rounds = given.rounds if model.searches else 0
        if rounds:
            model = EncoderModel(self.model.with_derivatives())
        engine = model.engine
        plan = Plan(model, rounds, given.looks_back and model.looks_back)
        measure = measure or given.target_psnr is not None
        chooses = given.patches == "auto"
        remedy = "do not measure, or " if measure or reconstruct else ""

        def workers_for(grid: Grid) -> int:
            return self.limits.workers(
                grid,
                grid.whole,
                engine.analysis_halo,
                min(self._threads or engine.threads, len(grid)),
                extra=plan.memory(grid),
                kept=plan.kept(grid, measure, reconstruct),
                instead=ENCODING_BYTES * min(grid.whole.area, WRITTEN_PIXELS) * chooses,
                remedy="lower the effort, or " if plan.rounds else remedy,
                footprint=engine.footprint,
                analyses=True,
            )

        try:
            count = workers_for(grid)
        except LimitError:
            if given.tile_size is not None or grid.side:
                raise
            tiled = replace(given, tile_size=WINDOW)  # tiles need less
            grid = tiled.grid(picture.height, picture.width)
            count = workers_for(grid)
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
                offsets=offsets,
            )
            rates = photograph_rates(model.id, model.config)
            if offsets is not None:
                rates = rates.over(STEP * int(offsets.min()), STEP * int(offsets.max()))
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
        file = data if isinstance(data, ContainerFile) else _opened(data, self.limits)
        if file.lossless:
            return decode_lossless(file, self.limits, region, levels, progress, reduction)
        threads = self._threads or self.model.engine.threads
        return decode(file, self.model, self.limits, threads, region, levels, progress, reduction)

    def decompress_array(
        self,
        data: bytes | bytearray | memoryview | BinaryIO,
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


def _accepted(source: Source, options: EncoderOptions, limits: Limits) -> tuple[Picture, Grid]:
    """A picture that can be compressed, and its tiles."""
    from codec.picture.pixels import from_image

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
    engine: EngineName = "auto",
) -> Codec:
    """A codec whose model stays loaded in this process, until its weights file is another one."""
    path = path.resolve()
    status = path.stat()
    version = status.st_ino, status.st_size, status.st_mtime_ns
    return Codec(_loaded(path, version, device, precision, engine), limits=limits)


@lru_cache(maxsize=2)
def _loaded(
    path: Path, version: tuple[int, ...], device: str, precision: Precision, engine: EngineName
) -> LoadedModel:
    """One model for each version of a file."""
    return load(path, device, precision, engine)


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
        return cached_codec(path, device, precision, limits, engine).encode(
            image,
            quality,
            lmbda,
            measure=measure,
            reconstruct=reconstruct,
            progress=progress,
            **options,
        )
    from codec.encoder.lossless import encode_lossless
    from codec.encoder.options import EncoderOptions

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
    data: bytes | bytearray | memoryview | BinaryIO | ContainerFile,
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
    file = data if isinstance(data, ContainerFile) else _opened(data, limits)
    if file.lossless:
        return decode_lossless(file, limits, region, levels, progress, reduction)
    limits.check_pixels(file.header.width, file.header.height)
    path = find_by_id(file.header.model_id) if model is None else find_weights(str(model))
    loaded = cached_codec(path, device, precision, limits, engine)
    return loaded.decompress(file, region, levels=levels, scale=scale, progress=progress)
