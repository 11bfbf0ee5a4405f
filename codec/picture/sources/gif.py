"""GIF: comments and the application extensions that hold XMP and a profile."""

from __future__ import annotations

from typing import BinaryIO

from PIL.ImageFile import ImageFile

from codec.picture.sources.extras import Extras

_XMP = b"!\xff\x0bXMP DataXMP"
_XMP_END = b"\x01\xff\xfe\xfd"
"""First of the bytes after XMP, which is not cut into blocks: they lead readers of blocks to its
end."""
_ICC = b"!\xff\x0bICCRGBG1012"


def examine(image: ImageFile, file: BinaryIO, extras: Extras) -> None:
    """Add what is in a GIF file to what Pillow tells."""
    file.seek(0)
    content = file.read()
    start = content.find(_XMP)
    end = content.find(_XMP_END, start)
    if 0 <= start < end:
        extras.xmp = content[start + len(_XMP) : end]
    extras.drop("icc", _ICC in content)
    extras.drop("comment", image.info.get("comment"))
