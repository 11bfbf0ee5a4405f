"""Interface of a codec under measurement, and the search for a file of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image


class Coder(Protocol):
    """A codec under measurement."""

    @property
    def name(self) -> str:
        """Short unique name, such as "vqcodec photo" or "avif"."""

    @property
    def description(self) -> str:
        """Encoder, version and options; part of the key of cached results."""

    @property
    def settings(self) -> tuple[float, ...]:
        """Default settings, by rising rate."""

    @property
    def finer(self) -> tuple[float, ...]:
        """All settings that a search for a size may choose from, by rising rate."""

    def encode(self, image: Image.Image, setting: float) -> bytes:
        """Encode a picture to a whole file.

        Args:
            image: picture of mode L, LA, RGB or RGBA.
            setting: value on the codec's own scale.

        Raises:
            CodecError: the codec does not support the picture, such as its transparency.
        """

    def decode(self, data: bytes) -> Image.Image:
        """Decode a file to a picture of mode L, LA, RGB or RGBA."""


@dataclass(frozen=True)
class Match:
    """The largest file of a codec within a size."""

    setting: float
    data: bytes
    fits: bool
    """Whether the file is within the size; if not, it is the codec's smallest."""


def match_size(coder: Coder, image: Image.Image, size: int) -> Match:
    """Find the largest file of at most `size` bytes, or the smallest if none is.

    Bisects the settings, assuming that sizes rise.
    """
    low, high = 0, len(coder.finer) - 1
    best: Match | None = None
    while True:
        middle = (low + high) // 2
        data = coder.encode(image, coder.finer[middle])
        if len(data) <= size:
            best, low = Match(coder.finer[middle], data, True), middle + 1
        else:
            high = middle - 1
        if low > high:  # the last that was tried is the first setting if nothing fits
            return best or Match(coder.finer[middle], data, False)
