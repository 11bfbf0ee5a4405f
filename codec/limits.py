"""Limits on pixels and memory, checked from the header before anything is allocated.

The constants were measured with the released models (`make bench` prints peak memory);
they are upper bounds for models of their width, and are not exact for others. MiB on Linux x86-64,
torch from its CUDA build, of which the import alone takes 650:

    pixels    command                engine  threads  estimate   peak
    0.39 MP   effort 1               onnx          1       351    232
    0.39 MP   decode                 onnx          1       323    160
    1.96 MP   effort 1               onnx          1       781    685
    1.96 MP   decode                 onnx          1       605    377
    4.05 MP   effort 1               onnx          2      1067    832
    6.76 MP   effort 1               onnx          1       718    611
    6.76 MP   effort 1, one tile     onnx          1      1913   1594
    6.76 MP   decode, one tile       onnx          1       999    545
    12.0 MP   effort 1               onnx          1       772    618
    12.0 MP   decode                 onnx          1       661    388
    100.1 MP  effort 1               onnx          2      1920   1291
    100.1 MP  decode                 onnx          2      1698   1001
    0.39 MP   effort 1               torch         1       915    815
    0.39 MP   decode                 torch         1       886    761
    1.96 MP   effort 1               torch         1      1452   1141
    1.96 MP   effort 2, one tile     both          1      4007   3750
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.errors import LimitError
from codec.tiles import WINDOW, Box, Grid

DEFAULT_MAX_PIXELS = 1 << 27
DEFAULT_MAX_MEMORY = 3 << 30
"""Enough for efforts 2 to 9 up to some thirty million pixels, in tiles."""

PICTURE_BYTES = 8
"""Per pixel of the picture: Pillow keeps 4 bytes, and turning it upright makes a copy."""
HELD_BYTES = 6
"""Per pixel of the tiles whose latents wait for the next line of tiles."""
CODING_BYTES = 60
"""Per pixel of a tile while its latents are coded."""
STRIP_PIXELS = 1 << 20
"""Pixels that go through the synthesis at once where a tile may be cut into strips."""


@dataclass(frozen=True)
class Footprint:
    """Memory that an engine takes, in bytes."""

    base: int
    """The interpreter, the libraries and a model."""
    transform: int
    """Per pixel of the window that goes through a transform."""


ONNX_FOOTPRINT = Footprint(230 << 20, 160)
TORCH_FOOTPRINT = Footprint(760 << 20, 250)


@dataclass(frozen=True)
class Work:
    """Memory of the work on a picture, in bytes."""

    fixed: int
    """What is there all the time."""
    tile: int
    """For each tile in work."""


@dataclass(frozen=True)
class Limits:
    """Limits on the pixels and the memory of one picture.

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

    def allow(self, work: Work) -> bool:
        """Whether there is memory for one tile at a time."""
        return work.fixed + work.tile <= self.max_memory

    def at_once(self, work: Work, most: int = 1, remedy: str = "") -> int:
        """Number of tiles that may be in work at once.

        Args:
            work: on the picture.
            most: upper bound of the answer.
            remedy: what else than a higher limit would help, such as "lower the effort, or ".

        Raises:
            LimitError: not even one fits into `max_memory`.
        """
        self._check_memory(work.fixed + work.tile, remedy)
        return max(1, min(most, (self.max_memory - work.fixed) // work.tile))

    def check_patches(self, region: Box, largest: int, reduction: int = 1) -> None:
        """Refuse what needs more memory than there may be, of a picture stored without loss.

        Args:
            region: of the picture that is decoded or encoded.
            largest: bytes that its largest patch needs.
            reduction: side of the squares that become a pixel each.

        Raises:
            LimitError: it does not fit into `max_memory`.
        """
        base = ONNX_FOOTPRINT.base
        picture = region.shrunk(reduction).area * PICTURE_BYTES
        self._check_memory(base + picture + largest)

    def _check_memory(self, needed: int, remedy: str = "") -> None:
        if needed > self.max_memory:
            raise LimitError(
                f"needs about {needed >> 20} MiB of memory, above the limit of "
                f"{self.max_memory >> 20} MiB; "
                f"{remedy}allow more with max_memory",
                field="max_memory",
            )


def tile_work(
    grid: Grid,
    region: Box,
    halo: int,
    footprint: Footprint = ONNX_FOOTPRINT,
    *,
    extra: int = 0,
    kept: int = 0,
    instead: int = 0,
    analyses: bool = False,
    reduction: int = 1,
) -> Work:
    """Memory of the work on the tiles of a picture.

    Args:
        grid: the picture's tiles.
        region: of the picture that is reconstructed.
        halo: pixels around a window that a transform sees.
        footprint: memory of the engine; the least by default.
        extra: bytes that a tile in work needs beyond coding and transforms.
        kept: bytes of what is kept of all tiles until the picture is done.
        instead: bytes of other work that may be done in place of that on a tile.
        analyses: whether whole tiles go through a transform, as in an encoder.
        reduction: side of the squares that become a pixel each.
    """
    side = min(grid.side or WINDOW, max(grid.height, grid.width))
    window = min(grid.whole.area, (side + 2 * halo) ** 2)
    height, width = grid.box(0).height, grid.box(0).width
    tile = height * width
    analysed = min(grid.whole.area, (height + 2 * halo) * (width + 2 * halo)) * analyses
    held = min(grid.whole.area, 3 * side * min(region.height, region.width)) + 2 * tile
    picture = region.shrunk(reduction).area * PICTURE_BYTES
    coding = tile * CODING_BYTES + window * footprint.transform
    return Work(
        footprint.base + picture + held * HELD_BYTES + kept,
        max(max(coding, analysed * footprint.transform) + extra, instead),
    )
