"""Colour management: samples mean what the file says, its ICC profile or else sRGB."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO

from PIL import Image, ImageCms

from codec.errors import InputError

Convert = Callable[[Image.Image], Image.Image]
"""Turns a part of a picture into mode L or RGB."""

GREY_MODES = {"L", "1", "LA"}
_PLAIN_MODES = {"RGB", "P", "PA", "RGBA", "YCbCr", "HSV", "RGBX"}
_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK", "LAB": "Lab "}


def colours_of(image: Image.Image, keep_profile: bool) -> tuple[Convert, bytes]:
    """How to convert the colours of an image, and the profile that the result needs.

    A profile that fits samples which are stored as they are is kept. Without it, and for
    colours that are not stored as such (CMYK, Lab), the profile takes them to sRGB. A profile
    that is damaged or of another colour space is ignored, as viewers do.

    Raises:
        InputError: images of this mode have no colours that we know of.
    """
    grey = image.mode in GREY_MODES
    if not grey and image.mode not in _PLAIN_MODES | {"CMYK", "LAB"}:
        raise InputError(f"pictures of mode {image.mode} are not supported; convert to RGB first")
    stored = "L" if grey else "RGB"
    source = image.mode if image.mode in ("CMYK", "LAB") else stored
    icc = image.info.get("icc_profile") or b""
    profile = _parse(icc, _SPACES[source])
    if profile and keep_profile and source == stored:
        return partial(_plain, mode=stored), icc
    if source == "LAB":  # has no conversion but this one
        profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    transform = _to_srgb(profile, source) if profile else None
    if transform is None:
        return partial(_plain, mode=stored), b""

    def convert(part: Image.Image) -> Image.Image:
        whole = _plain(part, source)
        converted = ImageCms.applyTransform(whole, transform)
        if converted is None:
            raise InputError("the colour profile cannot be applied; drop it first")
        return converted.getchannel(0) if grey else converted

    return convert, b""


def _plain(part: Image.Image, mode: str) -> Image.Image:
    if part.mode == "P":  # by way of RGBA, or Pillow warns of transparent colours
        part = part.convert("RGBA")
    return part.convert(mode)


def _parse(icc: bytes, space: str) -> ImageCms.ImageCmsProfile | None:
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc)) if icc else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return profile if profile and profile.profile.xcolor_space == space else None


def _to_srgb(profile: ImageCms.ImageCmsProfile, source: str) -> ImageCms.ImageCmsTransform | None:
    try:
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), source, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
