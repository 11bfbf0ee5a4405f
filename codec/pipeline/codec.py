"""What users call: a model kept loaded, pictures in, bytes out, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from codec.bitstream.container import MAX_SIDE, ContainerFile, Header
from codec.errors import DamagedFileError, InputError, WeightsError
from codec.limits import Limits
from codec.model.config import LEVEL_BITS
from codec.picture.alpha import Plane, decode_alpha
from codec.picture.exif import PREFIX
from codec.picture.metadata import Metadata
from codec.picture.pixels import Picture, from_image, to_image
from codec.pipeline.decoding import windows
from codec.pipeline.encoding import Encoded, PictureEncoder, Progress, Wanted
from codec.pipeline.options import DEFAULT_QUALITY, EncoderOptions, RateOptions
from codec.pipeline.targets import meet
from codec.pipeline.tile_coder import TileCoder
from codec.pipeline.workers import workers
from codec.runtime.released import DEFAULT_MODEL, find_by_id, find_weights
from codec.runtime.torch_engine import Precision
from codec.runtime.weights import Weights, load_weights
from codec.tiles import Box, region_box

__all__ = ["DEFAULT_QUALITY", "Codec", "Compressed", "Encoded", "compress", "decompress"]

Source = Image.Image | NDArray[Any]
"""A Pillow image, or uint8 samples [H, W] or [H, W, 1..4]."""


@dataclass(frozen=True)
class Compressed:
    """A file in memory, what it shows, and what the encoder knows about it."""

    data: bytes
    bits: float
    """-log2 P of the rounded latents by the model, and 8 for each weight of the restoration filter
    and their number."""
    reconstruction: Image.Image
    """What the decoder will show."""
    psnr: float
    """Of the reconstruction, in dB over all visible colours."""


class Codec:
    """A model kept loaded for many pictures; may be used from several threads.

    Args:
        model: name of a released model, path of a weights file, or loaded weights.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".
        limits: on pixels and memory, for pictures in both directions.
        threads: tiles in work at once; None for as many as torch may use threads.

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
    ) -> None:
        loaded = model if isinstance(model, Weights) else load_weights(find_weights(str(model)))
        self.weights = loaded
        self.limits = limits or Limits()
        self.device, self.precision = device, precision
        self._threads = threads or torch.get_num_threads()
        self._coder = TileCoder(loaded, device, precision)

    def level_of(self, quality: float | None = None, lmbda: float | None = None) -> int:
        """Level in units of 2^-12 for a quality 0..100 or a lambda.

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
            image: of 8 bits: grey, RGB, CMYK, Lab, palette; alpha is kept, without loss. Pixels
                are taken as they are: `PIL.ImageOps.exif_transpose` turns them upright before.
            quality: 0..100, log-linear in lambda; 50 if nothing is given.
            lmbda: slope of the model's objective, bits/pixel + lambda 255^2 MSE, or what
                `codec.model.objective` has for MS-SSIM.
            options: targets, effort and more, see `codec.pipeline.options.EncoderOptions`.

        Raises:
            InputError: the picture or a value is not supported, or a target out of reach.
            LimitError: too many pixels or too much memory.
        """
        return self.encode_only(image, quality, lmbda, **options).data

    def encode_only(
        self,
        image: Source,
        quality: float | None = None,
        lmbda: float | None = None,
        *,
        measure: bool = False,
        progress: Progress | None = None,
        **options: Unpack[RateOptions],
    ) -> Encoded:
        """As `compress`, with what is known about the file.

        Args:
            image: as for `compress`, like all that is not named here.
            quality: likewise.
            lmbda: likewise.
            measure: find the PSNR, which takes the synthesis of the whole picture.
            progress: told how much of the present trial is done: a round of search, or a tile.
            options: as for `compress`.
        """
        wanted = EncoderOptions(quality, lmbda, **options)
        picture = from_image(image, wanted.keep, wanted.to_8bit)
        with self._encoder(picture, wanted, progress) as encoder:
            return meet(encoder, wanted, self.weights.config, Wanted(psnr=measure))

    def encode(
        self,
        image: Source,
        quality: float | None = None,
        lmbda: float | None = None,
        **options: Unpack[RateOptions],
    ) -> Compressed:
        """As `compress`, with what the decoder will show."""
        wanted = EncoderOptions(quality, lmbda, **options)
        picture = from_image(image, wanted.keep, wanted.to_8bit)
        with self._encoder(picture, wanted) as encoder:
            encoded = meet(encoder, wanted, self.weights.config, Wanted(psnr=True, image=True))
        assert encoded.image is not None
        return Compressed(encoded.data, encoded.bits, encoded.image, encoded.psnr)

    @contextmanager
    def _encoder(
        self, picture: Picture, options: EncoderOptions, progress: Progress | None = None
    ) -> Iterator[PictureEncoder]:
        if max(picture.height, picture.width) > MAX_SIDE:
            raise InputError(f"sides must lie in 1..{MAX_SIDE} pixels")
        self.limits.check_pixels(picture.width, picture.height)
        grid = options.grid(picture.height, picture.width)
        rounds = options.rounds if self._coder.searches else 0
        wanted = min(self._threads, len(grid))
        closes_loop = options.closes_loop and self._coder.closes_loop
        count = self.limits.workers(
            grid, grid.whole, wanted, rounds > 0, self._coder.by_error, closes_loop
        )
        with workers(count) as mapper:
            yield PictureEncoder(
                self._coder,
                picture,
                grid,
                mapper,
                self.weights.short_id,
                rounds,
                closes_loop,
                options.has_target,
                progress,
            )

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
        if isinstance(data, bytes | bytearray | memoryview):
            data = BytesIO(data)
        file = data if isinstance(data, ContainerFile) else ContainerFile(data, self.limits)
        header, grid = file.header, file.grid
        self.limits.check_pixels(header.width, header.height)
        area = region_box(grid.whole, region)
        count = self.limits.workers(grid, area, min(self._threads, len(grid)))
        if header.model_id != self.weights.short_id:
            raise WeightsError(
                f"made with model {header.model_id.hex()}, but {self.weights.name} "
                f"({self.weights.short_id.hex()}) was given; name the right one with --model"
            )
        header.check_fits(self.weights.config)
        if len(header.restoration) > self._coder.kernels:
            raise DamagedFileError("damaged: more weights of a filter than its model has kernels")
        shown = header.level if levels is None else _level_of(levels, header)
        coded_alpha: dict[int, bytes] = {}

        def fetch(number: int) -> NDArray[np.float32]:
            tile = file.read_tile(number)
            coded_alpha[number] = tile.alpha
            return self._coder.decode(tile, grid.box(number), header.level, shown)

        @lru_cache(maxsize=1)
        def plane(number: int) -> Plane:
            tile = grid.box(number)
            return decode_alpha(coded_alpha[number], tile.height, tile.width)

        def alpha_of(box: Box) -> Plane | None:
            if not header.alpha:
                return None
            (number,) = grid.touched(box)  # windows never straddle tiles
            rows, columns = box.relative_to(grid.box(number)).slices
            return plane(number)[rows, columns]

        def synthesise(y_hat: NDArray[np.float32]) -> NDArray[np.float32]:
            return self._coder.synthesise(y_hat, shown, header.restoration)

        metadata = file.read_metadata()
        with workers(count) as mapper:
            halo = self._coder.synthesis_halo
            image = Image.new(header.mode, (area.width, area.height))
            done = 0
            for box, samples in windows(grid, area, halo, fetch, synthesise, mapper):
                part = to_image(samples, header.grey, alpha_of(box))
                image.paste(part, (box.left - area.left, box.top - area.top))
                done += box.area
                if progress:
                    progress(done, area.area)
        image.info.update(_info(metadata))
        return image

    def decompress_array(
        self,
        data: bytes | bytearray | memoryview | BinaryIO,
        region: tuple[int, int, int, int] | None = None,
    ) -> NDArray[np.uint8]:
        """As `decompress`, as samples [H, W] of a grey picture, else [H, W, 2..4]."""
        return np.array(self.decompress(data, region))


def metadata_of(image: Image.Image) -> Metadata:
    """What `decompress` has put into an image's `info`."""
    info = image.info
    exif = info.get("exif", b"").removeprefix(PREFIX)
    return Metadata(info.get("icc_profile", b""), exif, info.get("xmp", b""))


def _level_of(levels: int, header: Header) -> int:
    """Level that shows the first `levels` residual levels of a file."""
    if header.levels is None:
        raise InputError("only files of models that round to centres have levels to choose from")
    if not 1 <= levels <= header.levels:
        raise InputError(f"the file has {header.levels} levels; show 1 to {header.levels} of them")
    return (levels - 1) << LEVEL_BITS


def _info(metadata: Metadata) -> dict[str, bytes]:
    exif = PREFIX + metadata.exif if metadata.exif else b""
    info = {"icc_profile": metadata.icc, "exif": exif, "xmp": metadata.xmp}
    return {name: content for name, content in info.items() if content}


def cached_codec(path: Path, device: str = "cpu", limits: Limits | None = None) -> Codec:
    """A codec that stays loaded in this process, until its weights file is another one."""
    path = path.resolve()
    status = path.stat()
    return _loaded(path, (status.st_ino, status.st_size, status.st_mtime_ns), device, limits)


@lru_cache(maxsize=2)
def _loaded(path: Path, version: tuple[int, ...], device: str, limits: Limits | None) -> Codec:
    """One for each version of a file."""
    return Codec(path, device, limits=limits)


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
    data: bytes,
    model: str | Path | None = None,
    region: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """Decompress with the released model that the file names, or with a given one.

    See `Codec.decompress`.
    """
    file = ContainerFile(BytesIO(data), Limits())
    path = find_by_id(file.header.model_id) if model is None else find_weights(str(model))
    return cached_codec(path).decompress(file, region)
