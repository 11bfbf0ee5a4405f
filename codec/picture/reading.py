"""Picture files: an explicit list of formats, and the refusal of what would be cut silently."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from codec.errors import InputError, LimitError
from codec.limits import Limits
from codec.picture.exif import with_upright
from codec.picture.metadata import EXIF_PREFIX
from codec.picture.refusals import check_depth, decoding_error
from codec.picture.sources import avif, bmp, gif, jpeg, png, tiff
from codec.picture.sources.extras import Extras
from codec.picture.sources.pillow import drop_resolution, extras_of
from codec.picture.xmp import settled_xmp

READABLE = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "QOI")
"""Pillow formats that are opened; rarer decoders stay closed to strangers' files."""

_Examine = Callable[[ImageFile.ImageFile, BinaryIO, Extras], None]
_SOURCES: dict[str, _Examine] = {
    "PNG": png.examine,
    "JPEG": jpeg.examine,
    "MPO": jpeg.examine,
    "AVIF": avif.examine,
    "TIFF": tiff.examine,
    "BMP": bmp.examine,
    "GIF": gif.examine,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that turns a picture upright, by its EXIF orientation."""
_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Step of a sample of 2 or 4 bits on the scale of 8 bits, by Pillow's raw mode."""


@dataclass(frozen=True)
class Opened:
    """A picture file that was decoded."""

    image: Image.Image
    """Upright; what is kept of the metadata is in `info` as icc_profile, exif and xmp."""
    dropped: tuple[str, ...]
    """Names of what the file has beside and is not kept, such as "text" or "gain map"."""


def open_picture(
    file: BinaryIO, limits: Limits, frame: int | None = None, to_8bit: bool = False
) -> Opened:
    """Decode a picture file and turn it upright as its EXIF orientation says.

    Args:
        file: seekable.
        limits: on its pixels.
        frame: of an animation or of a file of several pages, counted from 0.
        to_8bit: cut pictures of more than 8 bits to 8 instead of refusing them.

    Raises:
        LimitError: too many pixels.
        InputError: not a picture, damaged, of a format that is not read, of more than 8 bits,
            of high dynamic range, or animated.
    """
    name = "picture"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders; size has its own limit below
        try:
            image = _open(file)
            name = _name_of(image)
            limits.check_pixels(image.width, image.height)
            image = _at_frame(image, file, frame)
            limits.check_pixels(image.width, image.height)
            _check_samples(image, file, to_8bit)
            return _decoded(image, file)
        except InputError:
            raise
        except Image.DecompressionBombError as error:
            raise LimitError("too many pixels to be opened safely") from error
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever a broken file leads them to
            raise decoding_error(error, name) from error


def _open(file: BinaryIO) -> ImageFile.ImageFile:
    try:
        return Image.open(file, formats=READABLE)
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise _unopened(file) from error


def _unopened(file: BinaryIO) -> InputError:
    """Why a file cannot be opened, by the format that its first bytes are of."""
    Image.init()  # a decoder that fails may be among those that Pillow loads first
    file.seek(0)
    prefix = file.read(16)
    formats = [(name, *Image.OPEN[name]) for name in READABLE if prefix]
    known = [(name, factory) for name, factory, accept in formats if accept and accept(prefix)]
    if not known:
        return InputError(f"not a picture of a known format ({', '.join(READABLE)})")
    name, factory = known[0]
    if name == "TIFF" and (kind := tiff.kind_of(file)):
        return InputError(f"this kind of TIFF ({kind}) is not supported, or the file is damaged")
    file.seek(0)
    error: Exception = EOFError()
    try:
        factory(file, "")
    except SyntaxError as reason:
        if reason.__cause__ is None:  # a decoder's own words, not what it stumbled over
            error = reason
    except Exception as reason:  # whatever a broken file leads it to
        error = reason
    return decoding_error(error, name)


def _name_of(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else str(image.format)


def _at_frame(image: ImageFile.ImageFile, file: BinaryIO, frame: int | None) -> ImageFile.ImageFile:
    """The image at the frame that is asked for, or at its only one.

    Frames are counted only where it matters, so that a broken one harms no other.
    """
    noun = "page" if image.format == "TIFF" else "frame"
    if frame is None:
        image, numbers = _frames(image, file)
        if len(numbers) > 1:
            raise InputError(
                f"holds {len(numbers)} {noun}s, of which only one can be compressed; "
                "choose it with frame",
                field="frame",
            )
        frame = numbers[0]
    if frame == 0:
        return image
    try:
        if frame < 0 or image.format == "MPO":
            raise EOFError
        image.seek(frame)
    except EOFError:
        _, numbers = _frames(image, file, every=True)
        raise InputError(
            f"has no {noun} {frame}; {noun}s are numbered 0..{numbers[-1]}", field="frame"
        ) from None
    return image


def _frames(
    image: ImageFile.ImageFile, file: BinaryIO, every: bool = False
) -> tuple[ImageFile.ImageFile, list[int]]:
    """The image at its first frame, and the numbers of its frames.

    Args:
        image: at its first frame.
        file: that it is read from.
        every: whether pages count that are no pictures of their own.
    """
    if isinstance(image, TiffImageFile):
        return image, tiff.pages(file, every)
    if image.format == "MPO":  # a second picture in a JPEG is a preview or a stereo view
        return image, [0]
    try:
        return image, list(range(getattr(image, "n_frames", 1)))
    except Exception:  # a broken frame, in whose middle the decoder is now
        return _open(file), [0]


def _check_samples(image: ImageFile.ImageFile, file: BinaryIO, to_8bit: bool) -> None:
    """Refuse what is known from the header to be unsupported, or to be cut by Pillow."""
    if isinstance(image, TiffImageFile):
        tiff.check(image, to_8bit)
    elif image.format == "AVIF":
        avif.check(file, to_8bit)
    elif image.format == "PNG":
        position = file.tell()  # where the decoder goes on
        png.check(file)
        file.seek(position)
    for tile in image.tile:
        raw_mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if ";16" in str(raw_mode) and image.format == "PNG":
            check_depth(16, to_8bit)
        if image.format == "PPM" and rest and isinstance(rest[0], int):
            check_depth(rest[0].bit_length(), to_8bit)


def _decoded(image: ImageFile.ImageFile, file: BinaryIO) -> Opened:
    """The image with its pixels upright, and with the metadata that are kept."""
    _scale_transparency(image)
    ramp = tiff.ramp_of(image)
    extras = extras_of(image)
    if examine := _SOURCES.get(str(image.format)):
        examine(image, file, extras)
    drop_resolution(image, extras)
    shown: Image.Image = image
    if ramp is not None:
        scale, offset = ramp
        shown = shown.point(lambda sample: sample * scale + offset)
    if extras.orientation in _TURNS:
        shown = shown.transpose(_TURNS[extras.orientation])
    exif = extras.exif and EXIF_PREFIX + with_upright(extras.exif)
    kept = {"icc_profile": extras.icc, "exif": exif, "xmp": settled_xmp(extras.xmp)}
    hidden = image.info.get("transparency")
    shown.info = {key: content for key, content in kept.items() if content}
    if hidden is not None:
        shown.info["transparency"] = hidden
    return Opened(shown, tuple(extras.dropped))


def _scale_transparency(image: ImageFile.ImageFile) -> None:
    """PNG names a transparent colour in units of its own depth; Pillow scales the others alone."""
    hidden = image.info.get("transparency")
    raw_mode = image.tile[0].args if image.tile else None
    if isinstance(hidden, int) and raw_mode in _GREY_STEPS:
        image.info["transparency"] = hidden * _GREY_STEPS[raw_mode]
    elif isinstance(hidden, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(sample >> 8 for sample in hidden)
