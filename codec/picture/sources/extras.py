"""What is found beside the pixels of a picture, and what of it is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from codec.picture.metadata import Metadata


@dataclass
class Extras:
    """What a picture holds beside its pixels."""

    icc: bytes = b""
    """A profile that fits the samples: the source's, or one made from what else it says."""
    exif: bytes = b""
    """Without prefix, as it was stored."""
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
