"""Metadata of a picture file, and the names of what is not kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from codec.picture.metadata import Metadata


@dataclass
class Extras:
    """Metadata of a picture file, kept and dropped."""

    icc: bytes = b""
    """A profile that fits the samples: the source's, or one made from what else it says."""
    exif: bytes = b""
    """EXIF as it was stored, without prefix."""
    xmp: bytes = b""
    orientation: int = 1
    """How the samples are to be turned, as EXIF counts."""
    dropped: list[str] = field(default_factory=list)
    """Names of what will not be kept."""

    @property
    def metadata(self) -> Metadata:
        return Metadata(self.icc, self.exif, self.xmp)

    def drop(self, name: str, found: object = True) -> None:
        """Name once what is not kept, if it was found."""
        if found and name not in self.dropped:
            self.dropped.append(name)
