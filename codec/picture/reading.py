"""Picture files: an explicit list of formats, and the refusal of what would be cut silently."""

from __future__ import annotations

import warnings
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from codec.errors import InputError, LimitError
from codec.limits import Limits
from codec.picture.pixels import DEEP

READABLE = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "QOI")
"""Pillow formats that are opened; rarer decoders stay closed to strangers' files."""

_TIFF_TAGS = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
}
"""What describes the photograph: TIFF has it among the tags that lay out the pixels."""

_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""What a step of a shallow sample is in 8 bits, by Pillow's name for what a file holds."""

_WHITE_IS_ZERO = 0
"""A value of TIFF's PhotometricInterpretation."""


def open_picture(
    file: BinaryIO, limits: Limits, frame: int | None = None, to_8bit: bool = False
) -> Image.Image:
    """Decode a picture file.

    Args:
        file: seekable.
        limits: on its pixels.
        frame: of an animation or of a file of several pages, counted from 0.
        to_8bit: cut pictures of 16 bits to 8 instead of refusing them.

    Raises:
        LimitError: too many pixels.
        InputError: not a picture, damaged, of a format that is not read, of more than 8 bits,
            or animated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders; size has its own limit below
        try:
            image = Image.open(file, formats=READABLE)
            _check(image, limits, to_8bit)
            _choose_frame(image, frame)
            exif = _exif_of_tiff(image) if image.format == "TIFF" else None
            _scale_transparency(image)
            ramp = _ramp_of_tiff(image) if image.format == "TIFF" else None
            image.load()
            if exif is not None:  # collected before, while the file's directories could be read
                image.info["exif"] = exif
            if ramp is None:
                return image
            scale, offset = ramp
            return image.point(lambda sample: sample * scale + offset)
        except InputError:
            raise
        except UnidentifiedImageError as error:
            raise InputError(f"not a picture of a known format ({', '.join(READABLE)})") from error
        except Image.DecompressionBombError as error:
            raise LimitError("too many pixels to be opened safely") from error
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever a broken file leads them to
            raise InputError(f"damaged or unreadable picture ({error})") from error


def _check(image: ImageFile.ImageFile, limits: Limits, to_8bit: bool) -> None:
    """Refuse what is known from the header to be unsupported."""
    limits.check_pixels(image.width, image.height)
    for tile in image.tile:  # where Pillow would cut 16-bit colours to 8 bits without a word
        raw_mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        deep = ";16" in str(raw_mode) or (image.format == "PPM" and rest and rest[0] > 255)
        if deep and not to_8bit:
            raise InputError(DEEP)


def _scale_transparency(image: ImageFile.ImageFile) -> None:
    """PNG names a transparent colour in units of its own depth; Pillow scales the others alone."""
    hidden = image.info.get("transparency")
    raw_mode = image.tile[0].args if image.tile else None
    if isinstance(hidden, int) and raw_mode in _GREY_STEPS:
        image.info["transparency"] = hidden * _GREY_STEPS[raw_mode]
    elif isinstance(hidden, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(sample >> 8 for sample in hidden)


def _choose_frame(image: ImageFile.ImageFile, frame: int | None) -> None:
    # A second picture in a JPEG (MPO) is a preview or a stereo view, not an animation.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frame is None and frames > 1:
        raise InputError(
            f"holds {frames} frames; animations are not supported, choose one with --frame"
        )
    if frame is not None and not 0 <= frame < frames:
        raise InputError(f"has no frame {frame}; frames are numbered 0..{frames - 1}")
    if frame:
        image.seek(frame)


def _ramp_of_tiff(image: ImageFile.ImageFile) -> tuple[float, float] | None:
    """Scale and offset to 16-bit grey of deep samples that Pillow leaves as the file has them."""
    if image.mode != "I;16":
        return None
    directory = image.tag_v2  # type: ignore[attr-defined]
    (depth,) = directory.get(ExifTags.Base.BitsPerSample, (16,))
    scale = 65535 / ((1 << depth) - 1)
    if directory.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO:
        return -scale, 65535
    return (scale, 0) if depth < 16 else None


def _exif_of_tiff(image: ImageFile.ImageFile) -> bytes:
    stored, chosen = image.getexif(), Image.Exif()
    for tag in _TIFF_TAGS & set(stored):
        chosen[tag] = stored[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if entries := stored.get_ifd(directory):
            chosen[directory] = dict(entries)
    return chosen.tobytes() if len(chosen) else b""
