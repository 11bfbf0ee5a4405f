"""A picture as our codec shows it, and as others do at the same file size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import CodecError
from codec.evaluation.coders import Coder, match_size
from codec.evaluation.metrics import ms_ssim, psnr


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
    bit_map: NDArray[np.float64] | None,
) -> Comparison:
    """Encode a picture with ours, and with each peer to at most the same size.

    Args:
        name: of the picture, for the reader.
        image: of mode L, LA, RGB or RGBA.
        ours: our codec.
        setting: of ours.
        peers: others.
        bit_map: as in `Comparison`, of the same picture and setting.

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
        bit_map=bit_map,
        left_out=left_out,
    )


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
