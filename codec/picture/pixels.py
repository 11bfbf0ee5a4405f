"""Pillow images to sample arrays and back, and the refusal of what is not supported."""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from codec.errors import InputError

READABLE = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "PPM", "TIFF")
"""Pillow formats that are opened; rarer decoders stay closed to strangers' files."""
LATENT_STRIDE = 16
DEEP = "pictures of more than 8 bits are not supported; convert to 8 bits first"

_GREY_MODES = {"L", "1"}
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_DEEP_MODES = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


@dataclass(frozen=True)
class Pixels:
    """Samples of a picture."""

    samples: NDArray[np.uint8]
    """[height, width, 3]; a grey picture has three equal channels."""
    grey: bool

    @property
    def height(self) -> int:
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        return int(self.samples.shape[1])

    def padded(self) -> NDArray[np.uint8]:
        """Samples extended to multiples of 16 by repeating the last row and column."""
        below, right = -self.height % LATENT_STRIDE, -self.width % LATENT_STRIDE
        return np.pad(self.samples, ((0, below), (0, right), (0, 0)), mode="edge")


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the latents of a picture."""
    return -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)


def read_picture(data: bytes, max_pixels: int) -> Image.Image:
    """Decode a picture file.

    Raises:
        InputError: not a picture, damaged, of a format that is not read, of more than 8 bits,
            animated, or too large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders; size has its own limit below
        try:
            with Image.open(BytesIO(data), formats=READABLE) as image:
                _check(image, max_pixels)
                image.load()
                return image
        except InputError:
            raise
        except UnidentifiedImageError as error:
            raise InputError(f"not a picture of a known format ({', '.join(READABLE)})") from error
        except Image.DecompressionBombError as error:
            raise InputError("too many pixels to be opened safely") from error
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever a broken file leads them to
            raise InputError(f"damaged or unreadable picture ({error})") from error


def _check(image: ImageFile.ImageFile, max_pixels: int) -> None:
    """Refuse what is known from the header to be unsupported."""
    if image.width * image.height > max_pixels:
        raise InputError(
            f"{image.width}x{image.height} is above the limit of {max_pixels} pixels; raise it "
            "with --max-pixels if memory allows"
        )
    # A second picture in a JPEG (MPO) is a preview or a stereo view, not an animation.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise InputError("animations are not supported; extract one frame first")
    for tile in image.tile:  # where Pillow would cut 16-bit colours to 8 bits without a word
        raw_mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if ";16" in str(raw_mode) or (image.format == "PPM" and rest and rest[0] > 255):
            raise InputError(DEEP)


def picture_bytes(image: Image.Image, file_format: str) -> bytes:
    """Encode a picture without loss in a Pillow format."""
    buffer = BytesIO()
    options = {"lossless": True} if file_format == "WEBP" else {}
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def from_image(image: Image.Image) -> Pixels:
    """Samples of an image, turned upright as its EXIF orientation says, in sRGB.

    Raises:
        InputError: the image has alpha, more than 8 bits, or an unknown mode.
    """
    if image.mode in _DEEP_MODES:
        raise InputError(DEEP)
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        raise InputError("transparency is not supported; flatten the picture first")
    if image.mode not in _GREY_MODES | {"RGB", "P", "CMYK", "YCbCr", "LAB", "HSV"}:
        raise InputError(f"pictures of mode {image.mode} are not supported; convert to RGB first")
    grey = image.mode in _GREY_MODES
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # EXIF data that cannot be read turns nothing
        upright = image
    samples = np.asarray(upright.convert("L") if grey else _to_srgb(upright))
    if grey:
        samples = np.repeat(samples[:, :, None], 3, axis=2)
    return Pixels(samples, grey)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Colours as sRGB: through the image's ICC profile where it has a sound one."""
    profile = image.info.get("icc_profile")
    if profile:
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            if converted is not None:
                return converted
    return image.convert("RGB")


def to_image(samples: NDArray[np.float32], height: int, width: int, grey: bool) -> Image.Image:
    """Picture of decoded samples.

    Args:
        samples: [3, H, W] about 0..1, H and W at least the picture's.
    """
    visible = samples[:, :height, :width]
    if grey:
        visible = visible.mean(axis=0, keepdims=True)
    eight_bit = np.rint(np.clip(visible, 0, 1) * 255).astype(np.uint8)
    if grey:
        return Image.fromarray(eight_bit[0])
    return Image.fromarray(np.ascontiguousarray(eight_bit.transpose(1, 2, 0)))


def psnr(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit samples in dB, over all colours; inf if equal."""
    error = np.mean((original.astype(np.float64) - decoded) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else math.inf
