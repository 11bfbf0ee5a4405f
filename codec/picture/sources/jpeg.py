"""JPEG: segments, and what follows the first picture."""

from __future__ import annotations

from typing import BinaryIO

from PIL.ImageFile import ImageFile

from codec.picture.sources.extras import Extras
from codec.picture.xmp import tells_of_gain_map, tells_of_video

_IPTC, _PATHS = 0x0404, range(2000, 2998)
"""Numbers of Photoshop's image resources."""
_PREVIEW = "Large Thumbnail"
"""First word of Pillow's names for pictures of a multi-picture file that repeat the first one."""
_INDEX_HEADER, _ENTRIES_TAG = b"MPF\0", 0xB002
_HEADER_BYTES = 1 << 20
_GAIN_MAP_XMP = (b"hdrgm:Version", b"HDRGainMap:HDRGainMapVersion")
_HEAD_BYTES = 1 << 16


def examine(image: ImageFile, file: BinaryIO, extras: Extras) -> None:
    """Name what is in a JPEG file and is not kept."""
    extras.drop("comment", image.info.get("comment"))
    drop_resources(image.info.get("photoshop", {}), extras)
    for name, segment in image.applist:  # type: ignore[attr-defined]
        extras.drop("extended xmp", segment.startswith(b"http://ns.adobe.com/xmp/extension/"))
        extras.drop("content credentials", name == "APP11" and b"c2pa" in segment[:256])
    extras.drop("gain map", tells_of_gain_map(extras.xmp))
    extras.drop("video", tells_of_video(extras.xmp))
    for offset, kind in _following(image, file):
        file.seek(offset)
        head = file.read(_HEAD_BYTES)
        if any(name in head for name in _GAIN_MAP_XMP):
            extras.drop("gain map")
        elif not kind.startswith(_PREVIEW) and "gain map" not in extras.dropped:
            extras.drop("second picture")


def drop_resources(resources: dict[int, object], extras: Extras) -> None:
    """Name what Photoshop's image resources have that is not kept."""
    extras.drop("iptc", _IPTC in resources)
    extras.drop("clip paths", any(number in _PATHS for number in resources))


def _following(image: ImageFile, file: BinaryIO) -> list[tuple[int, str]]:
    """Offset and type of the pictures after the first one."""
    index = getattr(image, "mpinfo", None) or {}
    file.seek(0)
    start = file.read(_HEADER_BYTES).find(_INDEX_HEADER) + len(_INDEX_HEADER)
    return [
        (start + entry["DataOffset"], entry["Attribute"]["MPType"])
        for entry in index.get(_ENTRIES_TAG, [])[1:]
    ]
