"""EXIF data: a TIFF header and what follows, as Pillow and the JPEG standard store it."""

from __future__ import annotations

import warnings

from PIL import Image

PREFIX = b"Exif\0\0"
"""What it begins with in a JPEG file, and in what Pillow gives and takes."""


def is_readable(exif: bytes) -> bool:
    """Whether Pillow can read it, which formats want that store it tag by tag.

    Args:
        exif: without the prefix.
    """
    tags = Image.Exif()  # of its own: one that has failed before does not fail again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that it leaves out
        try:
            tags.load(PREFIX + exif)
            tags.tobytes()
        except Exception:  # whatever garbage leads Pillow to
            return False
    return True
