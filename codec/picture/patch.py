"""Samples without loss, as lossless WebP (VP8L) through Pillow, and where they are shown.

A patch is stored without the 25 bytes that begin a WebP file: size and kind of the picture are
known, and a reader that writes these bytes by itself cannot be led to decode anything else, such as
an animation, a lossy picture or one of another size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, WebPImagePlugin

from codec.errors import DamagedFileError, InputError, LimitError
from codec.picture.alpha import Plane
from codec.tiles import LATENT_STRIDE, Box

PATCH_BYTES = 24
"""Memory that decoding a patch takes, per pixel of it; 20 were measured, and 24 of grey
ones with alpha."""
ENCODING_BYTES = 64
"""Memory that encoding a patch takes, per pixel of it; 61 were measured of a photograph."""

METHOD, QUALITY = 6, 90
"""Effort of libwebp's encoder without loss. Bytes and CPU seconds per megapixel of four photographs
of Kodak and of four drawn screenshots:

    method, quality   photographs       screenshots
    0, 50             2,267,098  0.10   917,092  0.04
    2, 50             2,135,468  0.46   895,684  0.25
    4, 50             2,105,602  0.80   895,684  0.26
    4, 80             2,106,052  0.94   785,400  0.32   (Pillow's own)
    6, 75             2,086,704  1.31   763,690  0.70
    6, 90             2,085,954  1.51   749,596  0.79
    6, 100            2,075,700  31.2   748,434  5.24
"""
OTHER = 4, 80
"""Pillow's own effort, which is tried too of small patches: of these its files are sometimes the
smaller ones."""
SMALL_PIXELS = 1 << 18
"""Largest area of such patches."""
QUICK = 0, 50
"""Least effort; of photographs it takes 8 % more bytes."""

_HEADER = struct.Struct("<4sI8sIBI")
"""RIFF, bytes that follow, name of the chunk, bytes of it, signature, and size and kind."""
_OUTSIDE = 8
"""Bytes of a RIFF file before those that it counts."""
_CHUNK_START = 20
"""Bytes of a WebP file before the content of its first chunk."""
_SIGNATURE = 0x2F
_HEIGHT_BIT, _ALPHA_BIT = 14, 28


class Cover:
    """Which pixels of a picture patches cover.

    Args:
        boxes: of pixels, disjoint, on the lattice of latent positions and inside the picture.
        whole: all pixels of the picture.
    """

    def __init__(self, boxes: Iterable[Box], whole: Box) -> None:
        self._whole = whole
        lattice = whole.shrunk(LATENT_STRIDE)
        self._positions = np.zeros((lattice.height, lattice.width), np.bool_)
        for box in boxes:
            self._positions[box.shrunk(LATENT_STRIDE).slices] = True

    def area(self, box: Box) -> int:
        """Number of the pixels of a box inside the picture that are covered."""
        at = box.shrunk(LATENT_STRIDE)
        rows = np.arange(at.top, at.bottom + 1) * LATENT_STRIDE
        columns = np.arange(at.left, at.right + 1) * LATENT_STRIDE
        heights: NDArray[np.int64] = np.diff(rows.clip(box.top, box.bottom))
        widths: NDArray[np.int64] = np.diff(columns.clip(box.left, box.right))
        return int(heights @ self._positions[at.slices] @ widths)

    def hides(self, box: Box) -> bool:
        """Whether all pixels of a box inside the picture are covered."""
        return bool(self._positions[box.shrunk(LATENT_STRIDE).slices].all())

    def mask(self, box: Box) -> NDArray[np.bool_] | None:
        """Which pixels of a box inside the picture are covered, [height, width]; None if none."""
        at = box.shrunk(LATENT_STRIDE)
        positions = self._positions[at.slices]
        if not positions.any():
            return None
        pixels = positions.repeat(LATENT_STRIDE, axis=0).repeat(LATENT_STRIDE, axis=1)
        return pixels[box.relative_to(at.enlarged(LATENT_STRIDE)).slices]


def encode_patch(
    samples: NDArray[np.uint8], alpha: Plane | None = None, exact: bool = False
) -> bytes:
    """Stored form of samples without loss.

    Args:
        samples: [H, W, 3], both sides at most 16,383; of a grey picture three equal channels.
        alpha: plane [H, W] of a picture with alpha.
        exact: whether to keep the colours of fully transparent pixels.

    Raises:
        InputError: Pillow was built without WebP.
    """
    _check_support()
    image = _image_of(samples, alpha)
    efforts = [(METHOD, QUALITY)]
    if image.width * image.height <= SMALL_PIXELS:
        efforts.append(OTHER)
    return min((_stream(image, exact, *effort) for effort in efforts), key=len)


def quick_size(samples: NDArray[np.uint8], alpha: Plane | None = None) -> int:
    """Bytes of samples without loss at the least effort; arguments and errors as of
    `encode_patch`."""
    _check_support()
    return len(_stream(_image_of(samples, alpha), False, *QUICK))


def _image_of(samples: NDArray[np.uint8], alpha: Plane | None) -> Image.Image:
    planes = samples if alpha is None else np.dstack([samples, alpha])
    return Image.fromarray(np.ascontiguousarray(planes))


def _stream(image: Image.Image, exact: bool, method: int, quality: int) -> bytes:
    """VP8L stream of an image, without the bytes that begin a WebP file."""
    target = BytesIO()
    image.save(target, "WEBP", lossless=True, exact=exact, method=method, quality=quality)
    data = target.getvalue()
    (length,) = struct.unpack_from("<I", data, _CHUNK_START - 4)
    return data[_HEADER.size : _CHUNK_START + length]


def decode_patch(data: bytes, width: int, height: int, mode: str) -> Image.Image:
    """Inverse of `encode_patch`.

    Args:
        data: the stored form.
        width: of the patch in pixels, at most 16,383.
        height: likewise.
        mode: of the picture, L, LA, RGB or RGBA.

    Raises:
        DamagedFileError: the data cannot be decoded.
        LimitError: Pillow's own limit, which the program has lowered, forbids it.
        InputError: Pillow was built without WebP.
    """
    _check_support()
    length = len(data) + _HEADER.size - _CHUNK_START
    padding = length % 2
    kind = width - 1 | height - 1 << _HEIGHT_BIT | mode.endswith("A") << _ALPHA_BIT
    riff = _CHUNK_START + length + padding - _OUTSIDE
    head = _HEADER.pack(b"RIFF", riff, b"WEBPVP8L", length, _SIGNATURE, kind)
    try:
        # Not by `Image.open`, whose limits and warnings are for files of strangers.
        with WebPImagePlugin.WebPImageFile(BytesIO(head + data + bytes(padding))) as image:
            image.load()
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise LimitError("a patch is above the limit PIL.Image.MAX_IMAGE_PIXELS") from error
    except Exception as error:  # a decoder raises whatever a broken stream leads it to
        raise DamagedFileError("damaged: a patch cannot be decoded") from error
    if not mode.startswith("L"):
        return image
    bands = image.split()  # of which all colours are equal
    return Image.merge(mode, bands[1:2] + bands[3:])


def _check_support() -> None:
    if not WebPImagePlugin.SUPPORTED:
        raise InputError("pictures without loss need a Pillow with WebP, such as Pillow's wheels")
