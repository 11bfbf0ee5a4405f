"""Reconstructions of a picture by our codec and by others at the same file size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import CodecError
from codec.evaluation.coders import Coder, match_size
from codec.evaluation.instruments import INSTRUMENTS, Instrument, Values
from codec.evaluation.measuring import STANDARD, Plan, compared
from codec.evaluation.results import Evaluation
from codec.evaluation.subjects import read_subject
from codec.pool import Progress
from codec.tiles import Box

BitMap = Callable[[bytes], NDArray[np.float64] | None]
Patches = Callable[[bytes], Sequence[Box]]
GALLERY_BPP = 0.3
"""Target rate of the gallery, low enough for visible differences."""
GALLERY_SIDE = 1024
"""Side of the middle part that is coded instead of a larger picture."""


@dataclass(frozen=True)
class Shown:
    """A picture decoded from a whole file."""

    codec: str
    setting: float
    size: int
    """Bytes of the whole file."""
    bpp: float
    psnr: float
    """PSNR in dB over all visible pixels and colours; inf if lossless."""
    ms_ssim: float | None
    """MS-SSIM, 0..1, mean over colours; None if a side is shorter than 161 pixels."""
    image: Image.Image
    """Picture of mode L, LA, RGB or RGBA."""
    values: Values = field(default_factory=dict)
    """Results of other instruments by name."""


@dataclass(frozen=True)
class Comparison:
    """One picture of the gallery."""

    name: str
    original: Image.Image
    """Picture of mode L, LA, RGB or RGBA."""
    ours: Shown
    peers: list[Shown]
    """Peers with their largest file that is no larger than ours, or their smallest."""
    bit_map: NDArray[np.float64] | None
    """Bits of our file by latent position, [ceil(H/16), ceil(W/16)]."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Peers that do not support the picture, with the reason."""
    patches: Sequence[Box] = ()
    """Rectangles of pixels that our file stores without loss."""


def compare(
    name: str,
    image: Image.Image,
    ours: Coder,
    setting: float,
    peers: Sequence[Coder],
    bit_map: BitMap,
    instruments: Sequence[Instrument] = STANDARD,
    patches: Patches = lambda _: (),
) -> Comparison:
    """Encode a picture with ours, and with each peer to at most the same size.

    Args:
        name: name of the picture.
        image: picture of mode L, LA, RGB or RGBA.
        ours: our codec.
        setting: setting of our codec.
        peers: other codecs.
        bit_map: function from a file of ours to its bits by latent position.
        instruments: what compares, that of PSNR among them.
        patches: function from a file of ours to its rectangles without loss.

    Raises:
        CodecError: our codec cannot code the picture.
    """
    data = ours.encode(image, setting)
    shown, left_out = [], {}
    for peer in peers:
        try:
            match = match_size(peer, image, len(data))
            shown.append(_show(image, peer, match.setting, match.data, instruments))
        except CodecError as error:
            left_out[peer.name] = str(error)
    return Comparison(
        name=name,
        original=image,
        ours=_show(image, ours, setting, data, instruments),
        peers=shown,
        bit_map=bit_map(data),
        left_out=left_out,
        patches=patches(data),
    )


def gallery_of(
    evaluation: Evaluation,
    plan: Plan,
    count: int,
    progress: Progress | None = None,
    bpp: float | None = None,
) -> Iterator[Comparison]:
    """Make comparisons of some pictures of an evaluation, evenly spread, one by one.

    Args:
        evaluation: results.
        plan: plan of the evaluation, whose first model is compared.
        count: maximum number of pictures.
        progress: called with (pictures done, pictures in total).
        bpp: bits per pixel that our file of each picture has at most; None for the measured setting
            whose mean is nearest to `GALLERY_BPP`.
    """
    ours = plan.ours[0]
    peers = [peer for peer in plan.peers if peer.name not in evaluation.missing]
    points = [p for p in evaluation.points if p.codec == ours.name]
    nearest = min(points, key=lambda point: abs(point.bpp - GALLERY_BPP)).setting
    instruments = [INSTRUMENTS[name] for name in evaluation.instruments]
    names = list(evaluation.pictures)
    count = min(count, len(names))
    for number in range(count):
        name = names[number * len(names) // count]
        image = read_subject(name, plan.pictures[name], plan.reading).image
        if image.width * image.height > 2 * GALLERY_SIDE**2:
            image, name = _middle(image), f"{name} (middle)"
        setting = nearest
        if bpp is not None:
            size = int(bpp * image.width * image.height / 8)
            setting = match_size(ours, image, size).setting
        yield compare(
            name, image, ours, setting, peers, ours.position_bits, instruments, ours.patches
        )
        if progress:
            progress(number + 1, count)


def _middle(image: Image.Image) -> Image.Image:
    width, height = (min(side, GALLERY_SIDE) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _show(
    original: Image.Image,
    coder: Coder,
    setting: float,
    data: bytes,
    instruments: Sequence[Instrument],
) -> Shown:
    decoded = coder.decode(data)
    psnr, ms_ssim, values = compared(original, decoded, instruments)
    return Shown(
        codec=coder.name,
        setting=setting,
        size=len(data),
        bpp=8 * len(data) / (original.width * original.height),
        psnr=psnr,
        ms_ssim=ms_ssim,
        image=decoded,
        values=values,
    )
