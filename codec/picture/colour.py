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
DEEP_MODES = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
"""Grey of more than 8 bits."""
_PLAIN_MODES = {"RGB", "P", "PA", "RGBA", "YCbCr", "HSV", "RGBX"}
_RAMP = Image.frombytes("L", (256, 1), bytes(range(256)))
_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK", "LAB": "Lab "}


def is_grey(image: Image.Image) -> bool:
    """Whether an image has no colours, by its mode."""
    return _source_of(image.mode) == "L"


def usable_profile(icc: bytes, mode: str) -> bytes:
    """An ICC profile if it can be read and is of the colour space of a mode, and else nothing."""
    return icc if _parse(icc, _SPACES[_source_of(mode)]) else b""


def colours_of(image: Image.Image, icc: bytes, keep_profile: bool) -> tuple[Convert, bytes]:
    """How to convert the colours of an image, and the profile that the result needs.

    A profile of samples that are stored as they are is kept. Without it, and for colours that
    are not stored as such (CMYK, Lab), the profile takes them to sRGB.

    Args:
        image: of 8 bits.
        icc: its profile, a usable one, or nothing.
        keep_profile: whether the result may have a profile.

    Raises:
        InputError: images of this mode have no colours that we know of.
    """
    grey = image.mode in GREY_MODES
    if not grey and image.mode not in _PLAIN_MODES | {"CMYK", "LAB"}:
        raise InputError(f"pictures of mode {image.mode} are not supported; convert to RGB first")
    stored = "L" if grey else "RGB"
    source = _source_of(image.mode)
    profile = _parse(icc, _SPACES[source])
    if profile and keep_profile and source == stored:
        return partial(_plain, mode=stored), icc
    if source == "LAB":  # has no conversion but this one
        profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    transform = _to_srgb(profile, source) if profile else None
    if transform is None:
        return partial(_plain, mode=stored), b""

    table = _applied(transform, _RAMP).getchannel(0).tobytes() if grey else b""

    def convert(part: Image.Image) -> Image.Image:
        whole = _plain(part, source)
        return whole.point(table) if table else _applied(transform, whole)

    return convert, b""


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise InputError("the colour profile cannot be applied; drop it first")
    return converted


def _source_of(mode: str) -> str:
    """The mode in which colours of a mode go through a profile."""
    if mode in ("CMYK", "LAB"):
        return mode
    return "L" if mode in GREY_MODES | DEEP_MODES | {"La"} else "RGB"


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
    # LittleCMS makes a coarse table of a grey curve: ten levels off where it is steep.
    flags = ImageCms.Flags.NOOPTIMIZE if source == "L" else ImageCms.Flags.NONE
    srgb = ImageCms.createProfile("sRGB")
    try:
        return ImageCms.buildTransform(profile, srgb, source, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
