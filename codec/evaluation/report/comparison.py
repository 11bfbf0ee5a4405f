"""A picture as our codec shows it, and as others do at the same file size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import CodecError
from codec.evaluation.coders import Coder, match_size
from codec.evaluation.measuring import Plan
from codec.evaluation.metrics import ms_ssim, psnr
from codec.evaluation.results import Evaluation
from codec.evaluation.subjects import read_subject
from codec.windows import Progress

BitMap = Callable[[bytes], NDArray[np.float64] | None]
GALLERY_BPP = 0.3
"""The gallery shows ours at the setting whose mean rate is nearest: low enough to see something."""
GALLERY_SIDE = 1024
"""Of larger pictures the gallery shows the middle, coded by itself."""


@dataclass(frozen=True)
class Shown:
    """A picture decoded from a whole file."""

    codec: str
    setting: float
    size: int
    """Bytes of the whole file."""
    bpp: float
    psnr: float
    """Against the original, dB over all visible colours; inf if they are equal."""
    ms_ssim: float | None
    """0..1, mean of the colours; None for pictures of less than 161 pixels a side."""
    image: Image.Image
    """Of mode L, LA, RGB or RGBA."""


@dataclass(frozen=True)
class Comparison:
    """One picture of the gallery."""

    name: str
    original: Image.Image
    """Of mode L, LA, RGB or RGBA."""
    ours: Shown
    peers: list[Shown]
    """Each with the largest file that is no larger than ours, or its smallest."""
    bit_map: NDArray[np.float64] | None
    """Bits that ours spent on each block of 16x16 pixels, [ceil(H/16), ceil(W/16)]."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Peers that cannot keep the picture as it is, with the reason."""


def compare(
    name: str,
    image: Image.Image,
    ours: Coder,
    setting: float,
    peers: Sequence[Coder],
    bit_map: BitMap,
) -> Comparison:
    """Encode a picture with ours, and with each peer to at most the same size.

    Args:
        name: of the picture, for the reader.
        image: of mode L, LA, RGB or RGBA.
        ours: our codec.
        setting: of ours.
        peers: others.
        bit_map: gives that of `Comparison` for a file of ours.

    Raises:
        CodecError: ours cannot code the picture.
    """
    data = ours.encode(image, setting)
    shown, left_out = [], {}
    for peer in peers:
        try:
            match = match_size(peer, image, len(data))
            shown.append(_show(image, peer, match.setting, match.data))
        except CodecError as error:
            left_out[peer.name] = str(error)
    return Comparison(
        name=name,
        original=image,
        ours=_show(image, ours, setting, data),
        peers=shown,
        bit_map=bit_map(data),
        left_out=left_out,
    )


def gallery_of(
    evaluation: Evaluation, plan: Plan, count: int, progress: Progress | None = None
) -> Iterator[Comparison]:
    """Comparisons of some of the pictures of an evaluation, evenly spread, made one by one.

    Args:
        evaluation: what was found.
        plan: what it was made by; the first of ours is shown.
        count: how many pictures at most.
        progress: told (pictures done, pictures in all).
    """
    ours = plan.ours[0]
    peers = [peer for peer in plan.peers if peer.name not in evaluation.missing]
    points = [p for p in evaluation.points if p.codec == ours.name]
    setting = min(points, key=lambda point: abs(point.bpp - GALLERY_BPP)).setting
    names = list(evaluation.pictures)
    count = min(count, len(names))
    for number in range(count):
        name = names[number * len(names) // count]
        image = read_subject(name, plan.pictures[name], plan.reading).image
        if image.width * image.height > 2 * GALLERY_SIDE**2:
            image, name = _middle(image), f"{name} (middle)"
        yield compare(name, image, ours, setting, peers, ours.position_bits)
        if progress:
            progress(number + 1, count)


def _middle(image: Image.Image) -> Image.Image:
    width, height = (min(side, GALLERY_SIDE) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _show(original: Image.Image, coder: Coder, setting: float, data: bytes) -> Shown:
    decoded = coder.decode(data)
    return Shown(
        codec=coder.name,
        setting=setting,
        size=len(data),
        bpp=8 * len(data) / (original.width * original.height),
        psnr=psnr(original, decoded),
        ms_ssim=ms_ssim(original, decoded),
        image=decoded,
    )
