"""The alpha plane: lossless bytes, and colours that cost nothing where nothing is seen.

A coded plane is one byte, the value of all samples; or a byte that names a filter and a zlib
stream of the filtered samples. Filters are differences modulo 256: bit 0 along rows, bit 1
along columns.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from codec.errors import DamagedFileError

OPAQUE = 255
FILTERS = range(4)
DAMAGED = "damaged: the alpha plane cannot be decoded"

Plane = NDArray[np.uint8]


def encode_alpha(plane: Plane) -> bytes:
    """Coded form of a plane [H, W]; the filter that gives the fewest bytes is taken."""
    first = int(plane[0, 0])
    if (plane == first).all():
        return bytes([first])
    candidates = []
    for number in FILTERS:
        filtered = plane
        if number & 1:
            filtered = np.diff(filtered, axis=1, prepend=np.uint8(0))
        if number & 2:
            filtered = np.diff(filtered, axis=0, prepend=np.uint8(0))
        candidates.append(bytes([number]) + zlib.compress(filtered.tobytes(), 9))
    return min(candidates, key=len)


def decode_alpha(data: bytes, height: int, width: int) -> Plane:
    """Inverse of `encode_alpha`.

    Raises:
        DamagedFileError: the data is not the coded form of a plane [height, width].
    """
    if len(data) == 1:
        return np.full((height, width), data[0], np.uint8)
    if not data or data[0] not in FILTERS:
        raise DamagedFileError(DAMAGED)
    decoder = zlib.decompressobj()
    try:
        samples = decoder.decompress(data[1:], height * width + 1)
    except zlib.error as error:
        raise DamagedFileError(DAMAGED) from error
    if len(samples) != height * width or not decoder.eof or decoder.unused_data:
        raise DamagedFileError(DAMAGED)
    plane = np.frombuffer(samples, np.uint8).reshape(height, width)
    if data[0] & 2:
        plane = np.cumsum(plane, axis=0, dtype=np.uint8)
    if data[0] & 1:
        plane = np.cumsum(plane, axis=1, dtype=np.uint8)
    return plane


def continue_plane(plane: Plane, hidden: NDArray[np.bool_]) -> Plane:
    """A plane [H, W] whose hidden samples repeat the last one of their row that is not hidden."""
    if hidden.all():
        return np.full_like(plane, OPAQUE)
    first = plane[~hidden][0]
    columns = np.maximum.accumulate(np.where(hidden, -1, np.arange(plane.shape[1])), axis=1)
    continued = np.take_along_axis(plane, np.maximum(columns, 0), axis=1)
    return np.where(columns < 0, first, continued).astype(np.uint8)


def fill_hidden(samples: NDArray[np.uint8], alpha: Plane) -> NDArray[np.uint8]:
    """Samples [H, W, 3] whose colours under full transparency continue the visible ones.

    Nobody sees them, so they should be cheap: each takes the mean of the visible colours in
    the smallest square of a pyramid that has any, interpolated between squares. Without the
    interpolation, holes of 64 pixels in photographs took 3 to 9 % more bytes of what is around.
    """
    visible = alpha > 0
    if visible.all():
        return samples
    filled = _fill(samples.astype(np.float32), visible.astype(np.float32))
    return np.where(visible[:, :, None], samples, np.rint(filled).astype(np.uint8))


def _fill(colours: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours [H, W, 3], of which those of weight 0 are replaced."""
    if weight.all():
        return colours
    height, width = weight.shape
    if height == width == 1:
        return np.full_like(colours, 128)
    even = ((0, height % 2), (0, width % 2))
    weights = np.pad(weight, even)
    sums = np.pad(colours * weight[:, :, None], (*even, (0, 0)))
    for axis in (0, 1):
        weights = np.add.reduceat(weights, np.arange(0, weights.shape[axis], 2), axis)
        sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], 2), axis)
    means = (sums / np.maximum(weights, 1)[:, :, None]).astype(np.float32)
    coarse = _fill(means, (weights > 0).astype(np.float32))
    spread = _doubled(_doubled(coarse, 0), 1)[:height, :width]
    return np.where(weight[:, :, None] > 0, colours, spread)


def _doubled(colours: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Colours [H, W, 3] at twice the rows (axis 0) or columns (axis 1), linearly interpolated."""
    count = colours.shape[axis]
    before = colours.take(np.maximum(np.arange(count) - 1, 0), axis)
    after = colours.take(np.minimum(np.arange(count) + 1, count - 1), axis)
    both = (3 * np.stack([colours] * 2, axis + 1) + np.stack([before, after], axis + 1)) / 4
    return both.reshape(*colours.shape[:axis], 2 * count, *colours.shape[axis + 1 :])
