"""Pillow images and arrays as samples, and samples as Pillow images.

A `Picture` hands out boxes, so that a huge picture is never converted as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import InputError
from codec.picture.alpha import OPAQUE, Plane, continue_plane, fill_hidden
from codec.picture.colour import DEEP_MODES, GREY_MODES, Convert, colours_of
from codec.picture.exif import with_upright
from codec.picture.metadata import KINDS, Metadata
from codec.picture.patch import Cover
from codec.picture.refusals import check_depth, decoding_error
from codec.picture.sources.pillow import extras_of
from codec.picture.xmp import settled_xmp
from codec.tiles import LATENT_STRIDE, Box

STRIP_ROWS = 512

_ALPHA_MODES = {"LA", "PA", "RGBA"}
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
Samples = NDArray[np.uint8]
Source = Image.Image | NDArray[Any]
"""A Pillow image, or uint8 samples [H, W] or [H, W, 1..4]."""


@dataclass(frozen=True)
class Picture:
    """A picture of 8 bits whose samples are taken box by box."""

    image: Image.Image
    grey: bool
    alpha: bool
    """Whether any pixel is not opaque."""
    metadata: Metadata
    convert: Convert
    cover: Cover | None = None
    """Pixels that are stored without loss, and so are not seen of what is coded."""

    @property
    def height(self) -> int:
        return self.image.height

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def whole(self) -> Box:
        return Box(0, 0, self.width, self.height)

    def crop(self, box: Box) -> tuple[Samples, Plane | None]:
        """Samples [height, width, 3] of a box, and a plane whose zeros are what nobody sees.

        The plane is None if all of it is seen, and the alpha of what is seen otherwise. A grey
        picture has three equal channels. Colours that are not seen are made up, so that they are
        cheap.
        """
        samples, alpha = self.original(box)
        hidden = None if self.cover is None else self.cover.mask(box)
        if hidden is not None:
            alpha = np.where(hidden, 0, OPAQUE if alpha is None else alpha).astype(np.uint8)
        return (samples if alpha is None else fill_hidden(samples, alpha)), alpha

    def original(self, box: Box) -> tuple[Samples, Plane | None]:
        """Samples [height, width, 3] of a box as they are, and its alpha plane, if there is any."""
        part = self.image
        if box != self.whole:
            part = part.crop(box.corners)
        alpha = _alpha_of(part) if self.alpha else None
        samples = np.asarray(self.convert(part))
        if self.grey:
            samples = np.repeat(samples[:, :, None], 3, axis=2)
        return samples, alpha

    def alpha_plane(self, box: Box) -> Plane | None:
        """Alpha plane [height, width] to be coded with a box; None of a picture without alpha.

        Alpha that patches show is made up, so that it is cheap.
        """
        _, alpha = self.original(box)
        hidden = None if self.cover is None or alpha is None else self.cover.mask(box)
        return alpha if alpha is None or hidden is None else continue_plane(alpha, hidden)

    def count_visible(self) -> int:
        """Number of pixels that are seen, neither fully transparent nor stored without loss."""
        if not self.alpha:
            return self.whole.area - (self.cover.area(self.whole) if self.cover else 0)
        count = 0
        for top in range(0, self.height, STRIP_ROWS):
            strip = Box(0, top, self.width, min(top + STRIP_ROWS, self.height))
            visible = _alpha_of(self.image.crop(strip.corners)) > 0
            hidden = None if self.cover is None else self.cover.mask(strip)
            count += int(np.count_nonzero(visible if hidden is None else visible & ~hidden))
        return count

    @property
    def samples(self) -> Samples:
        """Samples of the whole picture, [height, width, 3]."""
        return self.crop(self.whole)[0]


def pad_to_stride(samples: Samples) -> Samples:
    """Samples extended to multiples of 16 by repeating the last row and column."""
    below, right = -samples.shape[0] % LATENT_STRIDE, -samples.shape[1] % LATENT_STRIDE
    return np.pad(samples, ((0, below), (0, right), (0, 0)), mode="edge")


def from_image(source: Source, keep: Iterable[str] = KINDS, to_8bit: bool = False) -> Picture:
    """Picture of the pixels of an image, as they are.

    Pillow keeps EXIF data when it turns or crops, so that an orientation in it may be of other
    pixels than these: it is not applied, and 1 in what is kept. `PIL.ImageOps.exif_transpose`
    turns an image as it says.

    Args:
        source: a Pillow image, or uint8 samples [H, W] or [H, W, 1..4] (grey, grey and alpha,
            RGB, RGB and alpha). It is left as it is.
        keep: kinds of metadata to keep, of "icc", "exif", "xmp"; without "icc" colours become
            sRGB.
        to_8bit: accept 16-bit grey pictures, rounded to 8 bits.

    Raises:
        InputError: this is not an image, or it has no pixels, more than 8 bits, or an unknown
            mode, or cannot be decoded.
    """
    if not isinstance(source, Image.Image | np.ndarray):
        raise InputError(
            f"a picture cannot be of type {type(source).__name__}; give a Pillow image or an "
            "array of uint8, and open files with PIL.Image.open"
        )
    image = source if isinstance(source, Image.Image) else _from_array(source)
    if not (image.width and image.height):
        raise InputError("the picture has no pixels")
    if image.mode == "F":
        raise InputError("pictures of floating-point samples are not supported; scale to 8 bits")
    check_depth(16 if image.mode in DEEP_MODES else 8, to_8bit)
    try:
        extras = extras_of(image)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise decoding_error(error, image.format or "picture") from error
    if image.mode in DEEP_MODES:
        image = _to_8bit(image)
    if image.mode in _PREMULTIPLIED:  # which converts to nothing else
        image = image.convert(_PREMULTIPLIED[image.mode])
    convert, icc = colours_of(image, extras.icc, "icc" in set(keep))
    metadata = Metadata(icc, with_upright(extras.exif), settled_xmp(extras.xmp)).only(keep)
    return Picture(image, image.mode in GREY_MODES, _has_alpha(image), metadata, convert)


def squared_error(original: Samples, decoded: Samples, alpha: Plane | None) -> tuple[float, int]:
    """Sum of squared differences of visible samples [H, W, 3], and their number."""
    difference = original.astype(np.float64) - decoded
    if alpha is not None:
        difference = difference[alpha > 0]
    return float(np.square(difference).sum()), difference.size


def error_map(original: Samples, decoded: Samples, alpha: Plane | None) -> NDArray[np.float64]:
    """Sum of squared differences of visible samples [H, W, 3] by latent position."""
    squares = np.square(original.astype(np.float32) - decoded).sum(2)
    if alpha is not None:
        squares[alpha == 0] = 0
    rows = np.arange(0, squares.shape[0], LATENT_STRIDE)
    columns = np.arange(0, squares.shape[1], LATENT_STRIDE)
    by_row = np.add.reduceat(squares, rows, axis=0, dtype=np.float64)
    return np.add.reduceat(by_row, columns, axis=1)


def psnr_of(error: float, count: int) -> float:
    """Peak signal-to-noise ratio in dB of a sum of squared differences; inf if it is 0."""
    return 10 * math.log10(255**2 * count / error) if error else math.inf


def psnr(original: Samples, decoded: Samples) -> float:
    """Peak signal-to-noise ratio of 8-bit samples in dB, over all colours; inf if equal."""
    return psnr_of(*squared_error(original, decoded, None))


def _from_array(array: NDArray[Any]) -> Image.Image:
    fits = array.ndim == 2 or (array.ndim == 3 and 1 <= array.shape[2] <= 4)
    if array.dtype != np.uint8 or not fits:
        raise InputError(
            f"arrays must be uint8 [H, W] or [H, W, 1..4], not {array.dtype} {list(array.shape)}"
        )
    if not array.size:
        raise InputError("the picture has no pixels")
    squeezed = array[:, :, 0] if array.shape[2:] == (1,) else array
    return Image.fromarray(np.ascontiguousarray(squeezed))


def _to_8bit(image: Image.Image) -> Image.Image:
    """Grey samples of 16 bits rounded to 8, with what else the image holds.

    Raises:
        InputError: there are samples below 0 or above 65535.
    """
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:
        raise InputError("samples below 0 or above 65535 are not supported; scale to 8 bits")
    grey = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
    info = dict(image.info)
    hidden = info.pop("transparency", None)  # a sample of 16 bits, of which 8 would hide others too
    if isinstance(hidden, int):
        grey.putalpha(Image.fromarray(np.where(samples == hidden, 0, OPAQUE).astype(np.uint8)))
    grey.info = info
    return grey


def _alpha_of(part: Image.Image) -> Plane:
    return np.asarray(part.convert("RGBA").getchannel("A"))


def _has_alpha(image: Image.Image) -> bool:
    """Whether a pixel is not opaque."""
    if image.mode not in _ALPHA_MODES and "transparency" not in image.info:
        return False
    return any((strip < OPAQUE).any() for strip in _alpha_strips(image))


def _alpha_strips(image: Image.Image) -> Iterator[Plane]:
    for top in range(0, image.height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, image.height)
        yield _alpha_of(image.crop((0, top, image.width, bottom)))
