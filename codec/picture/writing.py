"""Picture files that `decompress` writes."""

from __future__ import annotations

import struct
import warnings
from typing import Any, BinaryIO, cast

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from codec.errors import OutputError
from codec.picture.exif import is_readable
from codec.picture.metadata import EXIF_PREFIX, KINDS, Metadata

JPEG_QUALITY = 95
PNG_LEVEL = 1
"""Of compression: a quarter of the time of Pillow's 6, two thirds of that of 3. Photographs (Kodak)
become 3 % larger than with 6, upscaled ones 10 %."""
JPEG_SEGMENT = 65_500
"""Room for EXIF or XMP in a JPEG file, which has it in one segment."""
LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels a side that libjpeg and WebP write."""
_ALPHA_FORMATS = {"PNG", "WEBP", "TIFF"}
_XMP_TAG = 700
_ICC_SPACE = slice(16, 20)
"""Where a profile names the colour space of the samples."""


def left_out(metadata: Metadata, file_format: str) -> list[str]:
    """Kinds of metadata that a file of this format cannot hold."""
    if file_format in ("BMP", "PPM"):
        return [kind for kind, _ in metadata]
    if file_format == "JPEG":
        return [k for k, content in metadata if k != "icc" and len(content) > JPEG_SEGMENT]
    if file_format == "WEBP" and metadata.icc[_ICC_SPACE] == b"GRAY":  # its samples are RGB
        return ["icc"]
    if file_format == "TIFF" and not is_readable(metadata.exif):  # it has all tags in a directory
        return ["exif"]
    return []


def write_picture(
    image: Image.Image, file: BinaryIO, file_format: str, metadata: Metadata | None = None
) -> None:
    """Encode a picture, without loss but for JPEG (quality 95, full colour resolution).

    Metadata that the format cannot hold is left out, see `left_out`.

    Raises:
        OutputError: the format cannot hold the picture.
    """
    if image.mode in ("LA", "RGBA") and file_format not in _ALPHA_FORMATS:
        raise OutputError(f"{file_format} holds no transparency; write png, webp or tiff")
    longest, most = max(image.size), LONGEST.get(file_format, image.width + image.height)
    if longest > most:
        raise OutputError(
            f"{file_format} holds at most {most} pixels a side, not {longest}; write png or tiff"
        )
    metadata = metadata or Metadata()
    kept = metadata.only(set(KINDS) - set(left_out(metadata, file_format)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of EXIF tags that are damaged
            image.save(cast(BinaryIO, _Plain(file)), file_format, **_options(kept, file_format))
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the encoder
            raise
        raise OutputError(f"cannot be written as {file_format} ({error})") from error
    except (ValueError, OverflowError, struct.error) as error:
        raise OutputError(f"cannot be written as {file_format} ({error})") from error


class _Plain:
    """A file without a descriptor: Pillow writes to descriptors by itself, and then a full disk
    is no more than an "encoder error"."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write
        self.seek = file.seek
        self.tell = file.tell
        self.flush = file.flush


def _options(metadata: Metadata, file_format: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if file_format == "WEBP":
        options = {"lossless": True, "exact": True}
    elif file_format == "PNG":
        options = {"compress_level": PNG_LEVEL}
    elif file_format == "JPEG":
        options = {"quality": JPEG_QUALITY, "subsampling": 0}
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.xmp and file_format == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    elif metadata.xmp and file_format == "TIFF":
        options["exif"] = Image.Exif()
        options["exif"].load(metadata.exif)
        options["exif"][_XMP_TAG] = metadata.xmp
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options
