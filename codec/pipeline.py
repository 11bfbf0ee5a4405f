"""The whole flow on one screen: picture to bytes and back.

picture -> pixels -> g_a, gain -> y -> h_a -> z -> [exact prior, range coder] -> container
picture <- pixels <- g_s, gain^-1 <- y^  <-  [exact prior, range coder]  <- container
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from codec.bitstream import container
from codec.bitstream.container import DEFAULT_MAX_PIXELS, Container, Header
from codec.bitstream.latents import CodedLatents, LatentCoder
from codec.errors import DamagedFileError, InputError, WeightsError
from codec.model.config import LEVEL_BITS
from codec.picture.pixels import Pixels, from_image, latent_size, psnr, to_image
from codec.runtime.released import DEFAULT_MODEL, find_by_id, find_weights
from codec.runtime.torch_engine import Precision, TorchEngine
from codec.runtime.weights import Weights, load_weights

DEFAULT_QUALITY = 50.0


@dataclass(frozen=True)
class Compressed:
    """A file in memory and what the encoder knows about it."""

    data: bytes
    bits: float
    """-log2 P of the rounded latents by the model."""
    reconstruction: Image.Image
    """What the decoder will show."""
    psnr: float
    """Of the reconstruction, in dB over all colours."""


class Codec:
    """A model kept loaded for many pictures.

    Args:
        model: name of a released model, path of a weights file, or loaded weights.
        device: where the transforms run, such as "cpu" or "cuda".
        precision: of the transforms, "float32" or "bfloat16".

    Raises:
        WeightsError: the weights are missing, damaged or unsound.

    Example:
        >>> from PIL import Image
        >>> codec = Codec()
        >>> data = codec.compress(Image.new("RGB", (40, 30), "teal"), quality=30)
        >>> codec.decompress(data).size
        (40, 30)
    """

    def __init__(
        self,
        model: str | Path | Weights = DEFAULT_MODEL,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        loaded = model if isinstance(model, Weights) else load_weights(find_weights(str(model)))
        self.weights = loaded
        self._engine = TorchEngine(loaded, device, precision)
        self._coder = LatentCoder(loaded)

    def level_of(self, quality: float | None = None, lmbda: float | None = None) -> int:
        """Level in units of 2^-12 for a quality 0..100 or a lambda; lambda wins.

        Raises:
            InputError: a value is outside what the model was trained for.
        """
        config = self.weights.config
        if lmbda is not None:
            low, high = config.lambda_min, config.lambda_max
            if not low * 0.9999 <= lmbda <= high * 1.0001:
                raise InputError(f"lambda must lie in {low:g}..{high:g} for this model")
            position = config.level_of(min(max(lmbda, low), high))
        else:
            quality = DEFAULT_QUALITY if quality is None else quality
            if not 0 <= quality <= 100:
                raise InputError("quality must lie in 0..100")
            position = quality / 100 * (config.anchors - 1)
        return round(position * (1 << LEVEL_BITS))

    def encode(
        self, image: Image.Image, quality: float | None = None, lmbda: float | None = None
    ) -> Compressed:
        """Compress, and keep what is known about the result.

        Args:
            image: RGB or greyscale of 8 bits; palettes and CMYK are converted.
            quality: 0..100, log-linear in lambda; 50 if neither is given.
            lmbda: slope of the objective bits/pixel + lambda 255^2 MSE.

        Raises:
            InputError: the picture or a value is not supported.
        """
        level = self.level_of(quality, lmbda)
        pixels = from_image(image)
        data, coded = self._encode(pixels, level)
        samples = self._engine.synthesise(coded.y_hat, level)
        shown = to_image(samples, pixels.height, pixels.width, pixels.grey)
        distortion = psnr(pixels.samples, np.asarray(shown.convert("RGB")))
        return Compressed(data, coded.bits, shown, distortion)

    def _encode(self, pixels: Pixels, level: int) -> tuple[bytes, CodedLatents]:
        """The file, and what its latents are; no synthesis."""
        sides = (pixels.height, pixels.width)
        if min(sides) < 1 or max(sides) > container.MAX_SIDE:
            raise InputError(f"sides must lie in 1..{container.MAX_SIDE} pixels")
        y, z = self._engine.analyse(pixels.padded(), level)
        coded = self._coder.encode(y, z, level)
        header = Header(pixels.width, pixels.height, pixels.grey, level, self.weights.short_id)
        return container.write(Container(header, coded.stream, coded.checksum)), coded

    def compress(
        self, image: Image.Image, quality: float | None = None, lmbda: float | None = None
    ) -> bytes:
        """The file of `encode(...)` alone, which spares the synthesis."""
        return self._encode(from_image(image), self.level_of(quality, lmbda))[0]

    def decompress(self, data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
        """Picture of a compressed file.

        Raises:
            FileFormatError: not a vqcodec file, damaged, or of a newer version.
            WeightsError: the file was made with another model.
            InputError: more than `max_pixels` pixels.
        """
        parsed = container.read(data)
        header = parsed.header
        header.check_pixels(max_pixels)
        if header.model_id != self.weights.short_id:
            raise WeightsError(
                f"made with model {header.model_id.hex()}, but {self.weights.name} "
                f"({self.weights.short_id.hex()}) was given; name the right one with --model"
            )
        if header.level > (self.weights.config.anchors - 1) << LEVEL_BITS:
            raise DamagedFileError("damaged: the rate level is outside the model's range")
        size = latent_size(header.height, header.width)
        y_hat, checksum = self._coder.decode(parsed.stream, *size, header.level)
        if checksum != parsed.symbol_checksum:
            raise DamagedFileError("damaged: the decoded symbols fail their checksum")
        samples = self._engine.synthesise(y_hat, header.level)
        return to_image(samples, header.height, header.width, header.grey)


@lru_cache(maxsize=2)
def _codec(path: Path) -> Codec:
    return Codec(path)


def compress(
    image: Image.Image,
    quality: float | None = None,
    lmbda: float | None = None,
    model: str | Path = DEFAULT_MODEL,
) -> bytes:
    """Compress a Pillow image with a released model; see `Codec.encode`."""
    return _codec(find_weights(str(model))).compress(image, quality, lmbda)


def decompress(
    data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, model: str | Path | None = None
) -> Image.Image:
    """Decompress with the released model that the file names, or with a given one.

    See `Codec.decompress`.
    """
    header = container.read_header(data)
    header.check_pixels(max_pixels)
    path = find_by_id(header.model_id) if model is None else find_weights(str(model))
    return _codec(path).decompress(data, max_pixels)
