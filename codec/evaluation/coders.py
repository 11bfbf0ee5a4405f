"""Codecs to measure, ours and others, behind one small interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image


class Coder(Protocol):
    """A codec whose files are measured."""

    @property
    def name(self) -> str:
        """Short and unique, such as "vqcodec photo" or "avif"."""

    @property
    def description(self) -> str:
        """The encoder, its version and its choices: results are kept under it."""

    @property
    def settings(self) -> tuple[float, ...]:
        """What is measured by default, from the lowest rate to the highest."""

    @property
    def finer(self) -> tuple[float, ...]:
        """All settings that a search for a size may choose from, likewise by rising rate."""

    def encode(self, image: Image.Image, setting: float) -> bytes:
        """A whole file of a picture.

        Args:
            image: of mode L, LA, RGB or RGBA.
            setting: of the codec's own scale.

        Raises:
            CodecError: the codec cannot keep the picture as it is.
        """

    def decode(self, data: bytes) -> Image.Image:
        """The picture of a file, of mode L, LA, RGB or RGBA."""


@dataclass(frozen=True)
class Match:
    """The file of a codec that comes closest to a size from below."""

    setting: float
    data: bytes
    fits: bool
    """Whether it is within the size; if not, it is the smallest that the codec makes."""


def match_size(coder: Coder, image: Image.Image, size: int) -> Match:
    """The largest file of a codec that has at most `size` bytes; the smallest if none has.

    Bisects the settings, whose sizes are taken to rise.
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
