"""Metadata of a picture: colour profile, EXIF, XMP, as opaque bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("icc", "exif", "xmp")
EXIF_PREFIX = b"Exif\0\0"
"""First bytes of EXIF in a JPEG file and in the `info` of a Pillow image."""
MAX_BYTES = 16 << 20
"""Largest size of each kind; more is refused in writing and counts as damage in reading."""


@dataclass(frozen=True)
class Metadata:
    """Each kind as its own standard lays it out; empty where there is none."""

    icc: bytes = b""
    """ICC profile of the samples."""
    exif: bytes = b""
    """A TIFF header and what follows; its orientation, if it has one, is 1."""
    xmp: bytes = b""
    """XML in UTF-8."""

    def only(self, kinds: Iterable[str]) -> Metadata:
        """The same metadata without the kinds that are not named."""
        dropped = {kind: b"" for kind in KINDS if kind not in set(kinds)}
        return dataclasses.replace(self, **dropped)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """(kind, bytes) of what is there."""
        for kind in KINDS:
            content: bytes = getattr(self, kind)
            if content:
                yield kind, content


def info_of(metadata: Metadata) -> dict[str, bytes]:
    """Metadata as the `info` of a Pillow image has it; without what is not there."""
    exif = EXIF_PREFIX + metadata.exif if metadata.exif else b""
    info = {"icc_profile": metadata.icc, "exif": exif, "xmp": metadata.xmp}
    return {name: content for name, content in info.items() if content}


def metadata_of(info: Mapping[Any, Any]) -> Metadata:
    """Inverse of `info_of`."""
    exif = info.get("exif", b"").removeprefix(EXIF_PREFIX)
    return Metadata(info.get("icc_profile", b""), exif, info.get("xmp", b""))
