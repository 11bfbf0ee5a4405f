"""How much a picture may cost, decided from its header before anything is allocated.

The constants were measured with the released model (`make bench` prints peak memory);
they are upper bounds for models of its width, but for what `SEARCH_BYTES` says, and are not exact
for others.
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.errors import LimitError
from codec.tiles import Box, Grid

DEFAULT_MAX_PIXELS = 1 << 27
DEFAULT_MAX_MEMORY = 2 << 30

BASE_BYTES = 450 << 20
"""The interpreter, the libraries and a model."""
PICTURE_BYTES = 8
"""Per pixel of the picture: Pillow keeps 4 bytes, and turning it upright makes a copy."""
HELD_BYTES = 6
"""Per pixel of the tiles whose latents wait for the next line of tiles."""
CODING_BYTES = 60
"""Per pixel of a tile while its latents are coded."""
TRANSFORM_BYTES = 250
"""Per pixel of the window that goes through a transform."""
SEARCH_BYTES = 640
"""More, per pixel of a strip and its halo, while better symbols are searched for: derivatives need
what the layers of the synthesis have computed. A picture of 1024x1024 took 9 % more memory than is
reckoned, one of 1400x1400 4 % less, and 1 and 7 % less with the model for MS-SSIM."""
SIMILARITY_BYTES = 350
"""Per pixel of a tile while MS-SSIM is searched for, which is not of strips: at other times than
what strips need."""
LOOP_BYTES = 75
"""More, per pixel of a tile, while its latents make up for rounding, at other times than a search
wants the above: what is shown, and what was rounded first."""
SEARCH_PIXELS = 1 << 20
"""Of a strip."""
HALO = 128
"""Pixels around a window; the released model needs 128 for analysis and 96 for synthesis."""
WINDOW = 1024
"""Side of the windows that transforms see, where a file's tiles do not say otherwise."""


@dataclass(frozen=True)
class Limits:
    """What a caller grants to one picture.

    Args:
        max_pixels: width times height.
        max_memory: estimated peak of resident memory in bytes, everything included.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    max_memory: int = DEFAULT_MAX_MEMORY

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse pictures of too many pixels.

        Raises:
            LimitError: there are more than `max_pixels`.
        """
        if width * height > self.max_pixels:
            raise LimitError(
                f"{width}x{height} is {width * height} pixels, above the limit of "
                f"{self.max_pixels}; allow more with max_pixels",
                field="max_pixels",
            )

    def check_file(self, size: int) -> None:
        """Refuse files that alone, of whatever picture, need more memory than there may be.

        Raises:
            LimitError: they have more bytes than `max_memory`.
        """
        if size > self.max_memory:
            raise LimitError(
                f"the file has {size} bytes, above the limit of {self.max_memory >> 20} MiB; "
                "allow more with max_memory",
                field="max_memory",
            )

    def workers(
        self,
        grid: Grid,
        region: Box,
        wanted: int = 1,
        searching: bool = False,
        by_error: bool = True,
        closes_loop: bool = False,
    ) -> int:
        """Number of tiles, at most `wanted`, that may be in work at once.

        Args:
            grid: the picture's tiles.
            region: what is to be shown of it.
            wanted: upper bound of the answer.
            searching: whether the encoder looks for better symbols.
            by_error: whether that is for less squared error, not MS-SSIM.
            closes_loop: whether latents make up for rounding.

        Raises:
            LimitError: not even one fits into `max_memory`.
        """
        side = min(grid.side or WINDOW, max(grid.height, grid.width))
        window = min(grid.whole.area, (side + 2 * HALO) ** 2)
        tile = grid.box(0).area
        held = min(grid.whole.area, 3 * side * min(region.height, region.width)) + 2 * tile
        fixed = BASE_BYTES + region.area * PICTURE_BYTES + held * HELD_BYTES
        each = tile * CODING_BYTES + window * TRANSFORM_BYTES
        more = tile * LOOP_BYTES if closes_loop else 0
        if searching:
            across = min(grid.box(0).height, grid.box(0).width) + 2 * HALO
            strip = min(tile, SEARCH_PIXELS) + 2 * HALO * across
            derivatives = min(grid.whole.area, strip) * SEARCH_BYTES
            more = max(more, derivatives, 0 if by_error else tile * SIMILARITY_BYTES)
        each += more
        if fixed + each > self.max_memory:
            raise LimitError(
                f"needs about {(fixed + each) >> 20} MiB of memory, above the limit of "
                f"{self.max_memory >> 20} MiB; "
                + ("lower the effort, or " if searching else "")
                + "allow more with max_memory",
                field="max_memory",
            )
        return max(1, min(wanted, (self.max_memory - fixed) // each))
