"""Whole pictures without loss: patches over everything, and no tile."""

from __future__ import annotations

import math

from PIL import Image

from codec.encoder.encoded import Encoded
from codec.encoder.patch_boxes import checked_boxes, patches_over
from codec.errors import InputError
from codec.format.header import Header
from codec.format.patch_table import MAX_PATCHES, Patch
from codec.format.writing import write
from codec.level import Level
from codec.limits import Limits
from codec.picture.patch import ENCODING_BYTES, encode_patch
from codec.picture.pixels import Picture
from codec.pool import Progress
from codec.tiles import Grid


def encode_lossless(
    picture: Picture,
    grid: Grid,
    model_id: bytes,
    rounding: str,
    limits: Limits,
    reconstruct: bool = False,
    progress: Progress | None = None,
) -> Encoded:
    """Store a picture without loss, colours under full transparency included.

    Args:
        picture: to be stored.
        grid: tiles whose borders no patch crosses.
        model_id: of the model that the file names, though it needs none.
        rounding: of that model.
        limits: on memory.
        reconstruct: whether to give the picture that the decoder gives.
        progress: called with (pixels done, pixels in all) after each patch.

    Raises:
        InputError: there are too many tiles.
        LimitError: it takes more memory than `limits` allow.
    """
    boxes = list(patches_over(grid))
    if len(boxes) > MAX_PATCHES:
        raise InputError(f"takes more than {MAX_PATCHES} patches; choose larger tiles")
    largest = max(box.area for box in boxes)
    limits.check_patches(grid.whole, ENCODING_BYTES * largest)
    patches: list[Patch] = []
    done = 0
    for box in checked_boxes(boxes, grid.whole):
        patches.append(Patch(box, encode_patch(*picture.original(box), exact=True)))
        done += box.area
        if progress:
            progress(done, grid.whole.area)
    header = Header(
        width=picture.width,
        height=picture.height,
        grey=picture.grey,
        level=Level(0),
        model_id=model_id,
        alpha=picture.alpha,
        vq=rounding == "vq",
    )
    data = write(header, [], grid.side, picture.metadata, patches)
    shown = _shown(picture, header.mode) if reconstruct else None
    bits = 8.0 * sum(patch.size for patch in patches)
    return Encoded(data, header, bits, math.inf, shown, tuple(patches))


def _shown(picture: Picture, mode: str) -> Image.Image:
    samples, alpha = picture.original(picture.whole)
    image = Image.fromarray(samples).convert(mode.removesuffix("A"))
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image
