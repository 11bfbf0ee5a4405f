"""The choice of patches: which rectangles of a picture to store without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.level import Level
from codec.tiles import Box

if TYPE_CHECKING:
    from codec.encoder.picture import PictureEncoder


def propose(encoder: PictureEncoder, level: Level) -> tuple[Box, ...]:
    """Patches with which a picture's file is better, at one level.

    Args:
        encoder: of the picture, without patches; `with_patches` gives it with others.
        level: of the file.

    Returns:
        Boxes of pixels as `PictureEncoder` takes them; none if patches do not pay.
    """
    return ()
