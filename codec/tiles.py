"""Geometry of tiles and halos: integers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index

from codec.errors import InputError

LATENT_STRIDE = 16
"""Pixels in a row or column of y."""
HYPER_STRIDE = 4
"""Positions of y in a row or column of z."""
TILE_UNIT = LATENT_STRIDE * HYPER_STRIDE
"""Tile sides are multiples of this, so that neither y (1/16) nor z (1/64) straddles tiles."""
WINDOW = 1024
"""Side of the windows that transforms process, where a file's tiles do not say otherwise."""
UNTILED_PIXELS = 2 * WINDOW**2
"""Pictures up to this are one tile and one window: streams that depend on nothing cost rate."""
MIN_TILE = 256
MAX_TILE = 65_535 // TILE_UNIT * TILE_UNIT


def check_tile_size(side: int) -> None:
    """Check the side of tiles in pixels; 0 stands for no tiles.

    Raises:
        InputError: no file has tiles of this side.
    """
    if side and (side % TILE_UNIT or not MIN_TILE <= side <= MAX_TILE):
        raise InputError(f"tile sizes are multiples of {TILE_UNIT} in {MIN_TILE}..{MAX_TILE}")


@dataclass(frozen=True)
class Box:
    """A half-open rectangle of pixels or latent positions."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        return self.width * self.height

    def __and__(self, other: Box) -> Box:
        """Intersection; of no area if they do not meet."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(left, top, max(left, right), max(top, bottom))

    def grown(self, margin: int, within: Box) -> Box:
        """This box with a margin on every side, cut at the border of `within`."""
        left, top = self.left - margin, self.top - margin
        return Box(left, top, self.right + margin, self.bottom + margin) & within

    def relative_to(self, outer: Box) -> Box:
        """The same place, counted from the corner of `outer`."""
        left, top = self.left - outer.left, self.top - outer.top
        return Box(left, top, left + self.width, top + self.height)

    def shrunk(self, stride: int) -> Box:
        """The positions, one per `stride` pixels, that cover this box."""
        right, bottom = -(-self.right // stride), -(-self.bottom // stride)
        return Box(self.left // stride, self.top // stride, right, bottom)

    def enlarged(self, stride: int) -> Box:
        """The pixels that positions, one per `stride` pixels, stand for."""
        left, top = self.left * stride, self.top * stride
        return Box(left, top, self.right * stride, self.bottom * stride)

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), as Pillow crops."""
        return self.left, self.top, self.right, self.bottom

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the latents of a picture."""
    return -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)


@dataclass(frozen=True)
class Grid:
    """A picture cut into square tiles, numbered row by row.

    `side` 0 means one tile, the whole picture.
    """

    height: int
    width: int
    side: int = 0

    @property
    def rows(self) -> int:
        return -(-self.height // self.side) if self.side else 1

    @property
    def columns(self) -> int:
        return -(-self.width // self.side) if self.side else 1

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def whole(self) -> Box:
        return Box(0, 0, self.width, self.height)

    def box(self, number: int) -> Box:
        """Pixels of a tile."""
        row, column = divmod(number, self.columns)
        left, top = column * self.side, row * self.side
        right = left + (self.side or self.width)
        return Box(left, top, right, top + (self.side or self.height)) & self.whole

    def boxes(self) -> Iterator[Box]:
        """Pixels of all tiles, in order."""
        return map(self.box, range(len(self)))

    def touched(self, box: Box) -> Iterator[int]:
        """Tiles that share pixels with a box inside the picture."""
        side = self.side or max(self.height, self.width)
        for row in range(box.top // side, -(-box.bottom // side)):
            for column in range(box.left // side, -(-box.right // side)):
                yield row * self.columns + column


def region_box(whole: Box, region: tuple[int, int, int, int] | None) -> Box:
    """Box of a region (x, y, width, height); the whole picture for None.

    Raises:
        InputError: it is empty or not inside the picture.
    """
    if region is None:
        return whole
    try:
        left, top, width, height = (index(number) for number in region)
    except (TypeError, ValueError):
        raise InputError("a region is (x, y, width, height) in whole pixels") from None
    box = Box(left, top, left + width, top + height)
    if width < 1 or height < 1 or box & whole != box:
        raise InputError(
            f"region {left},{top},{width},{height} does not lie in the picture, which has "
            f"{whole.width}x{whole.height} pixels"
        )
    return box
