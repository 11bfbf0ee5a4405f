"""Where a picture may be drawn rather than photographed: a cheap test of blocks of 16x16 pixels.

Text, widgets, dithers and palette art have few colours in a block, with a hard edge among them, or
one colour that covers much of it; sensors and JPEG leave hardly a block like that. Blocks are
classified by their colours, sorted, where every fourth pixel lets expect few: a photograph costs a
look at a quarter of its samples.

    drawn    a hard edge, and few colours, or fewer than the contrast allows and one that prevails
    loud     neighbours differ much, or their colours do, as in noise and in mosaics of a sensor;
             counts as drawn where a good part of the picture is like that
    plain    few colours, which may lie around what is drawn
    other    the rest, as in photographs

The map of blocks is cut into rectangles like a page into columns (X-Y cut; Nagy and Seth 1984),
here where it makes both sides purest, as for a decision tree. The tree is kept, since a patch over
two rectangles may be cheaper than two patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.picture.pixels import Picture, Samples
from codec.tiles import LATENT_STRIDE, Box

Kind = TypeVar("Kind", bound=np.generic)

BLOCK = LATENT_STRIDE
STRIP_PIXELS = 1 << 19
"""Pixels that are classified together; they take some 50 bytes each."""
SAMPLING = 2
"""Stride of the pixels whose colours the first look counts,"""
ROWS_APART = 16
"""and of the rows in which it compares neighbours."""


@dataclass(frozen=True)
class DetectorTuning:
    """Thresholds of the detector.

    Shares of blocks that are drawn by these: 0.1 to 0.3 % in 24 and 118 photographs, up to 0.9 %
    in their grey versions and after JPEG of quality 75 or 40, where none and one of 568 had a
    rectangle to propose; 75 to 99 % in pages of text.
    """

    few: int = 16
    """Colours of a block that are few."""
    edge: int = 32
    """Difference of neighbours that is a hard edge among few colours,"""
    contrast_edge: int = 64
    """and where one colour prevails over more of them."""
    prevailing: int = 96
    """Pixels of a block, of 256, that a prevailing colour has at least."""
    levels_per_colour: float = 2.0
    """Least range of samples per colour where one prevails."""
    plain: int = 16
    """Most colours among every fourth pixel of a plain block."""
    loud: float = 64.0
    """Mean difference of neighbours in a loud block,"""
    loud_colour: float = 32.0
    """or of their differences of red or blue against green,"""
    least_loud: float = 0.25
    """and the share of a picture's blocks from which on they count; 0.11 in a photograph, the most
    of 142."""
    pure: float = 0.1
    """Share of other blocks in a rectangle that needs no cut."""
    least_drawn: int = 6
    """Drawn blocks that a rectangle has at least, or a quarter of the blocks of a small picture: a
    patch costs some 50 bytes by itself,"""
    least_share: float = 0.1
    """their share of it,"""
    least_side: int = 2
    """and blocks of its shorter side, if the picture has them: dark frames around scanned
    photographs and clipped skies are narrow,"""
    least_of_picture: float = 1 / 64
    """and the drawn blocks in all rectangles, as a share of the picture's blocks."""
    depth: int = 12
    """Cuts one after the other, at most."""
    all_plain: float = 0.95
    """Share of plain and drawn blocks of a picture of which all may be drawn."""
    small: int = 1024
    """Pixels of a picture that is small enough to be tried without a reason."""


TUNING = DetectorTuning()


@dataclass(frozen=True)
class Region:
    """A rectangle that may be a patch, and the smaller ones in it that may be instead."""

    box: Box
    """Pixels; the corners lie on the lattice of blocks or at the picture's border."""
    parts: tuple[Region, ...] = ()

    def leaves(self) -> Iterator[Region]:
        """Regions without parts."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


@dataclass(frozen=True)
class _Bounds:
    """Least rectangles of a picture, in blocks."""

    side: int
    drawn: int


@dataclass(frozen=True)
class BlockMap:
    """Classes of a picture's blocks, [rows, columns] each."""

    drawn: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    """Few colours; may be drawn at once."""


def propose(picture: Picture) -> Region | None:
    """The picture as a region, with those in it that may be drawn; None if nothing is.

    Args:
        picture: of any size; takes memory for some rows of it.
    """
    whole = Region(picture.whole)
    if picture.whole.area <= TUNING.small:
        return whole
    blocks = classify(picture)
    found = _drawn_regions(blocks)
    if found is None:
        calm = np.mean(blocks.plain | blocks.drawn) >= TUNING.all_plain
        return whole if calm else None
    return Region(picture.whole, (_in_pixels(found, picture.whole),))


def _drawn_regions(blocks: BlockMap) -> Region | None:
    """Regions of a picture that may be drawn, in blocks; None if they are too small a part."""
    least = TUNING.least_of_picture * blocks.drawn.size
    if np.count_nonzero(blocks.drawn) < least:
        return None
    height, width = blocks.drawn.shape
    bounds = _Bounds(
        side=min(TUNING.least_side, height, width),
        drawn=min(TUNING.least_drawn, -(-blocks.drawn.size // 4)),
    )
    found = _cut(blocks, Box(0, 0, width, height), bounds, TUNING.depth)
    boxes = [] if found is None else [leaf.box for leaf in found.leaves()]
    area = sum(np.count_nonzero(blocks.drawn[box.slices]) for box in boxes)
    return found if area >= least else None


def classify(picture: Picture) -> BlockMap:
    """Classes of all blocks; those at the border are filled up with their last row and column."""
    parts = []
    side = max(BLOCK, STRIP_PIXELS // picture.width // BLOCK * BLOCK)
    for top in range(0, picture.height, side):
        strip = Box(0, top, picture.width, min(top + side, picture.height))
        samples, alpha = picture.original(strip)
        hidden = None if alpha is None else alpha == 0
        parts.append(_classify(_padded(samples), None if hidden is None else _padded(hidden)))
    drawn, plain, loud = (np.concatenate(maps) for maps in zip(*parts, strict=True))
    if np.mean(loud) >= TUNING.least_loud:
        drawn |= loud
    return BlockMap(drawn, plain)


def _padded(plane: NDArray[Kind]) -> NDArray[Kind]:
    below, right = -plane.shape[0] % BLOCK, -plane.shape[1] % BLOCK
    if not (below or right):
        return plane
    return np.pad(plane, ((0, below), (0, right), *((0, 0),) * (plane.ndim - 2)), mode="edge")


def _classify(
    samples: Samples, hidden: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """(drawn, plain, loud) of the blocks of samples [H, W, 3], sides multiples of 16."""
    rows, columns = samples.shape[0] // BLOCK, samples.shape[1] // BLOCK
    some = _sampled(samples, hidden)
    number = _count(some)
    plain = number <= TUNING.plain
    suspect = (number <= TUNING.few) | _prevails(some, TUNING.prevailing // SAMPLING**2)
    found = np.flatnonzero(suspect)
    channels = some[found].view(np.uint8).reshape(-1, some.shape[1], 4)
    found = found[(np.ptp(channels, axis=1) >= TUNING.edge).any(1)]
    drawn = np.zeros(rows * columns, bool)
    at = np.divmod(found, columns)
    blocks = samples.reshape(rows, BLOCK, columns, BLOCK, 3)[at[0], :, at[1]]
    if hidden is None:
        drawn[found] = _is_drawn(blocks, None)
    else:
        masks = hidden.reshape(rows, BLOCK, columns, BLOCK)[at[0], :, at[1]]
        drawn[found] = _is_drawn(blocks, masks)
    shown = samples if hidden is None else np.where(hidden[..., None], np.uint8(128), samples)
    return drawn.reshape(rows, columns), plain.reshape(rows, columns), _is_loud(shown)


def _is_loud(samples: Samples) -> NDArray[np.bool_]:
    """Whether blocks of samples [H, W, 3] are loud, [H/16, W/16], by a row of each."""
    lines = samples[::ROWS_APART].astype(np.int16)
    rows, columns = samples.shape[0] // BLOCK, samples.shape[1] // BLOCK
    red, green, blue = lines[..., 0], lines[..., 1], lines[..., 2]

    def difference(plane: NDArray[np.int16]) -> NDArray[np.floating]:
        parts = plane.reshape(rows, BLOCK // ROWS_APART, columns, BLOCK)
        return np.abs(np.diff(parts, axis=3)).mean((1, 3))

    colour = np.maximum(difference(red - green), difference(blue - green))
    loud: NDArray[np.bool_] = colour >= TUNING.loud_colour
    return loud | (difference(green) >= TUNING.loud)


def _is_drawn(blocks: Samples, hidden: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Whether blocks [n, 16, 16, 3] are drawn, by all of their pixels."""
    colours = np.sort(_colours(blocks, hidden).reshape(-1, BLOCK * BLOCK), axis=1)
    number = _count(colours)
    values = blocks.astype(np.int16)
    if hidden is not None:  # colours under full transparency are made up
        middle = values.mean((1, 2), keepdims=True).astype(np.int16)
        values = np.where(hidden[..., None], middle, values)
    spread = np.ptp(values, axis=(1, 2)).max(1)
    edges = (np.abs(np.diff(values, axis=axis)).max((1, 2, 3)) for axis in (1, 2))
    edge = np.maximum(*edges)
    few = (number <= TUNING.few) & (edge >= TUNING.edge)
    prevails = _prevails(colours, TUNING.prevailing) & (edge >= TUNING.contrast_edge)
    drawn: NDArray[np.bool_] = few | (prevails & (number * TUNING.levels_per_colour <= spread))
    return drawn


def _colours(samples: Samples, hidden: NDArray[np.bool_] | None) -> NDArray[np.uint32]:
    """A number for each colour [..., 3]; the same for all that is hidden."""
    padded = np.zeros((*samples.shape[:-1], 4), np.uint8)
    padded[..., :3] = samples
    if hidden is not None:
        padded[..., 3] = hidden
        padded[hidden, :3] = 0
    return padded.view(np.uint32)[..., 0]


def _sampled(samples: Samples, hidden: NDArray[np.bool_] | None) -> NDArray[np.uint32]:
    """Colours of every fourth pixel by blocks, [blocks, 64], in order."""
    lattice = (slice(None, None, SAMPLING), slice(None, None, SAMPLING))
    colours = _colours(samples[lattice], None if hidden is None else hidden[lattice])
    side = BLOCK // SAMPLING
    rows, columns = colours.shape[0] // side, colours.shape[1] // side
    blocks = colours.reshape(rows, side, columns, side).transpose(0, 2, 1, 3)
    return np.sort(blocks.reshape(rows * columns, side * side), axis=1)


def _count(colours: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Number of different colours of each block [n, pixels], in order."""
    return 1 + np.count_nonzero(colours[:, 1:] != colours[:, :-1], axis=1)


def _prevails(colours: NDArray[np.uint32], pixels: int) -> NDArray[np.bool_]:
    """Whether so many pixels of a block [n, pixels], in order, have the same colour."""
    found: NDArray[np.bool_] = (colours[:, pixels - 1 :] == colours[:, : 1 - pixels]).any(1)
    return found


def _cut(blocks: BlockMap, box: Box, least: _Bounds, depth: int) -> Region | None:
    """Regions of a box, in blocks; None if too little is drawn there, or it is too narrow."""
    drawn = blocks.drawn[box.slices]
    if np.count_nonzero(drawn) < least.drawn:
        return None
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    left, top = box.left + int(columns[0]), box.top + int(rows[0])
    box = Box(left, top, box.left + int(columns[-1]) + 1, box.top + int(rows[-1]) + 1)
    if min(box.width, box.height) < least.side:
        return None
    drawn = blocks.drawn[box.slices]
    other = ~(drawn | blocks.plain[box.slices])
    share = np.mean(other)
    if share <= TUNING.pure and np.mean(drawn) >= TUNING.least_share:
        return Region(box)
    halves = _best_cut(box, other if share > TUNING.pure else ~drawn)
    parts = [_cut(blocks, half, least, depth - 1) for half in halves] if depth else []
    found = [part for part in parts if part]
    if not found:
        return None
    return found[0] if len(found) == 1 else Region(box, tuple(found))


def _best_cut(box: Box, other: NDArray[np.bool_]) -> list[Box]:
    """Both sides of the cut that leaves the least impurity, n p (1 - p) with p the share of others
    among the n blocks of a side; none if there is nothing to cut."""
    best: tuple[float, list[Box]] = (np.inf, [])
    for axis, length in ((0, box.height), (1, box.width)):
        if length < 2:
            continue
        across = other.shape[1 - axis]
        before = np.cumsum(other.sum(1 - axis))[:-1]
        after = other.sum() - before
        size = across * np.arange(1, length)
        rest = other.size - size
        impurity = before * (1 - before / size) + after * (1 - after / rest)
        at = int(np.argmin(impurity))
        if impurity[at] < best[0]:
            best = float(impurity[at]), _halves(box, axis, at + 1)
    return best[1]


def _halves(box: Box, axis: int, at: int) -> list[Box]:
    left, top, right, bottom = box.corners
    if axis == 0:
        return [Box(left, top, right, top + at), Box(left, top + at, right, bottom)]
    return [Box(left, top, left + at, bottom), Box(left + at, top, right, bottom)]


def _in_pixels(region: Region, whole: Box) -> Region:
    parts = tuple(_in_pixels(part, whole) for part in region.parts)
    return Region(region.box.enlarged(BLOCK) & whole, parts)
