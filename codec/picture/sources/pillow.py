"""Metadata in the `info` of a Pillow image, from a file or from a caller."""

from __future__ import annotations

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from codec.picture.colour import usable_profile
from codec.picture.exif import has_resolution, orientation_of, usable_exif
from codec.picture.sources import png, tiff
from codec.picture.sources.extras import Extras

_UNKNOWN_RESOLUTIONS = (0, 1, 72, 96)
"""Dots per inch that programs write where nobody has told them any."""


def extras_of(image: Image.Image) -> Extras:
    """Metadata that Pillow finds in an image; decodes the image if needed."""
    extras = Extras()
    raw, info = b"", image.info
    if isinstance(image, TiffImageFile) and "exif" not in info:
        hidden = info.pop("xmp", None)  # by whose orientation Pillow would turn the picture
        raw, complete = tiff.exif_of(image)  # while the directories can be read
        extras.drop("exif", not complete)
        image.load()
        if hidden is not None:
            info["xmp"] = hidden
    image.load()
    raw = raw or _bytes(info.get("exif")) or png.profile_in_text(info, "exif")
    extras.exif = usable_exif(raw)
    extras.drop("exif", raw and not extras.exif)
    extras.orientation = orientation_of(extras.exif)
    extras.xmp = _bytes(info.get("xmp")) or png.profile_in_text(info, "xmp")
    icc = _bytes(info.get("icc_profile"))
    extras.icc = usable_profile(icc, image.mode)
    extras.drop("icc", "icc_profile" in info and not extras.icc)  # None if it cannot be inflated
    if not extras.icc:
        extras.icc = png.profile_of_chunks(image, extras)
    return extras


def drop_resolution(image: Image.Image, extras: Extras) -> None:
    """Name the resolution, and the shape of pixels that are not square, where EXIF has neither."""
    dots = _rounded(image.info.get("dpi"))
    known = dots and not (dots[0] == dots[1] and dots[0] in _UNKNOWN_RESOLUTIONS)
    extras.drop("dpi", known and not has_resolution(extras.exif))
    shape = _rounded(image.info.get("aspect"))
    if image.info.get("jfif_unit") == 0:
        shape = _rounded(image.info.get("jfif_density"))
    extras.drop("pixel aspect", shape and shape[0] != shape[1])


def _rounded(values: object) -> tuple[int, int] | None:
    """Two numbers of a header, if they are two and finite."""
    try:
        across, down = (round(float(value)) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return across, down


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""
