"""Pictures and heat maps as data URIs of limited size."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from codec.evaluation.report.comparison import Comparison, Shown
from codec.picture.pixels import from_image, psnr
from codec.tiles import LATENT_STRIDE, Box

WINDOW = 768
"""Side in pixels of the part that is displayed of a larger picture."""
COPY_QUALITY = 92
COPY_OPTIONS = {"quality": COPY_QUALITY, "subsampling": "4:4:4", "speed": 8}
"""Options of the AVIF copies: full colour resolution, about a fifth of lossless bytes."""
BLIND_SIDE = 320
"""Side in pixels of the crops of the blind comparison."""
BLIND_STEP = 32
"""Step in pixels of the places that are tried for them."""
BLIND_PEER = "avif-iq"
"""Codec that ours is compared with first, where it was measured: what people get by default."""
LEAST_WIDTH = 256
"""Width in CSS pixels below which pictures are enlarged by a whole number."""
SHADES = 255
"""Number of colours of a heat map; one more of the palette is for outlines."""
COLOURS = "viridis"
"""Colour map, perceptually uniform and suitable for the colour-blind."""
OUTLINE = (255, 42, 109)
"""Colour of what is stored without loss, which the colour map lacks."""
LINE = 2
"""Width of its outline in pixels."""
TOP_PERCENTILE = 99.5
"""Percentile of bits per block at the end of the colour scale, to exclude outliers."""


@dataclass(frozen=True)
class Window:
    """Displayed part of a picture in pixels; left and top are multiples of 16."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.left + self.width, self.top + self.height


def window_of(width: int, height: int) -> Window:
    """Displayed part of a picture: all of it, or its middle."""
    (left, shown_width), (top, shown_height) = (_middle(side) for side in (width, height))
    return Window(left, top, shown_width, shown_height)


def _middle(side: int) -> tuple[int, int]:
    shown = min(side, WINDOW)
    return (side - shown) // 2 // LATENT_STRIDE * LATENT_STRIDE, shown


@dataclass(frozen=True)
class Version:
    """One of the displayed versions of a picture."""

    label: str
    """Label, unique in its panel."""
    uri: str
    shown: Shown | None
    """Reconstruction; None for the original and the heat map."""
    kind: str
    """Kind of version: "original", "ours", "peer" or "bits"."""


@dataclass(frozen=True)
class Scale:
    """Colour scale of a heat map."""

    uri: str
    top: float
    """Bits per block at the end of the scale; higher values are clipped."""
    most: float
    total: float
    """Sum of the bits of all blocks."""

    @property
    def top_per_pixel(self) -> float:
        return self.top / LATENT_STRIDE**2


@dataclass(frozen=True)
class Trial:
    """A picture of the blind comparison."""

    name: str
    ours: str
    ours_size: int
    """Bytes of our file."""
    rival: str
    rival_size: int
    rival_number: int
    """Number of the rival among the versions."""
    crop: tuple[int, int, int, int]
    """Left, top, width and height of the crop in the displayed part."""


@dataclass(frozen=True)
class Panel:
    """One picture of the gallery in its versions, as the page needs it."""

    name: str
    width: int
    """Width of the whole picture in pixels."""
    height: int
    window: Window
    enlarged: int
    """CSS pixels per pixel."""
    versions: list[Version]
    rival: int
    """Number of the version compared with ours initially: AVIF as most people get it, else the peer
    of the highest PSNR."""
    scale: Scale | None
    left_out: dict[str, str]
    """Peers that do not support the picture, with the reason."""
    fidelity: float
    """Lowest PSNR in dB of a copy on the page against its source."""
    patches: int = 0
    """Number of rectangles that our file stores without loss, which the heat map outlines."""
    trial: Trial | None = None
    """The blind comparison with the rival; None if there is none."""

    @property
    def cropped(self) -> bool:
        return (self.window.width, self.window.height) != (self.width, self.height)


def panel(comparison: Comparison) -> Panel:
    """Make the panel of a comparison, with copies of all its pictures."""
    original = comparison.original
    window = window_of(original.width, original.height)
    shown = [comparison.ours, *comparison.peers]
    copies = [_copy(image.crop(window.box)) for image in (original, *(s.image for s in shown))]
    versions = [Version("original", copies[0][0], None, "original")]
    for number, (one, (uri, _)) in enumerate(zip(shown, copies[1:], strict=True)):
        versions.append(Version(one.codec, uri, one, "peer" if number else "ours"))
    scale = None
    if comparison.bit_map is not None:
        uri, scale = heat_map(comparison.bit_map, window, comparison.patches)
        versions.append(Version(f"bits of {comparison.ours.codec}", uri, None, "bits"))
    rival = _rival(versions)
    return Panel(
        name=comparison.name,
        width=original.width,
        height=original.height,
        window=window,
        enlarged=max(1, math.ceil(LEAST_WIDTH / window.width)),
        versions=versions,
        rival=rival,
        scale=scale,
        left_out=comparison.left_out,
        fidelity=min(quality for _, quality in copies),
        patches=len(comparison.patches),
        trial=_trial(comparison, rival, window) if rival else None,
    )


def _rival(versions: list[Version]) -> int:
    """Number of `BLIND_PEER` or else of the peer of the highest PSNR; of the original if alone."""
    peers = [
        (v.label == BLIND_PEER, v.shown.psnr, n)
        for n, v in enumerate(versions)
        if v.kind == "peer" and v.shown
    ]
    return max(peers)[2] if peers else 0


def _trial(comparison: Comparison, rival: int, window: Window) -> Trial:
    ours, other = comparison.ours, comparison.peers[rival - 2]
    return Trial(
        name=comparison.name,
        ours=ours.codec,
        ours_size=ours.size,
        rival=other.codec,
        rival_size=other.size,
        rival_number=rival,
        crop=_crop(ours.image.crop(window.box), other.image.crop(window.box)),
    )


def _crop(one: Image.Image, other: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, width and height of the part in which two pictures differ most."""
    first, second = (np.asarray(image.convert("L"), np.float64) for image in (one, other))
    sums = np.pad(np.abs(first - second), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    height, width = (min(side, BLIND_SIDE) for side in first.shape)
    starts = [
        sorted({*range(0, whole - side + 1, BLIND_STEP), whole - side})
        for whole, side in zip(first.shape, (height, width), strict=True)
    ]

    def difference(place: tuple[int, int]) -> float:
        top, left = place
        bottom, right = top + height, left + width
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    top, left = max(((y, x) for y in starts[0] for x in starts[1]), key=difference)
    return left, top, width, height


def _copy(image: Image.Image) -> tuple[str, float]:
    """Copy as a data URI, and its PSNR in dB."""
    plain = image.convert("RGBA" if image.mode in ("LA", "RGBA") else "RGB")
    buffer = BytesIO()
    plain.save(buffer, "AVIF", **COPY_OPTIONS)
    with Image.open(buffer) as copy:
        quality = psnr(from_image(plain).samples, from_image(copy).samples)
    return _data_uri("avif", buffer.getvalue()), quality


def heat_map(
    bit_map: NDArray[np.floating], window: Window, patches: Sequence[Box] = ()
) -> tuple[str, Scale]:
    """Draw bits per block as a picture of the window, with its colour scale.

    Args:
        bit_map: bits per block of 16x16 pixels of the whole picture, [rows, columns].
        window: displayed part.
        patches: boxes of pixels to outline.
    """
    top = float(np.percentile(bit_map, TOP_PERCENTILE)) or 1.0
    indices = np.rint((SHADES - 1) * np.clip(bit_map / top, 0, 1)).astype(np.uint8)
    pixels = np.kron(indices, np.ones((LATENT_STRIDE, LATENT_STRIDE), np.uint8))
    whole = Image.fromarray(pixels)
    for box in patches:
        inner = (box.left, box.top, box.right - 1, box.bottom - 1)
        ImageDraw.Draw(whole).rectangle(inner, outline=SHADES, width=LINE)
    image = whole.crop(window.box)
    ramp = Image.fromarray(np.arange(SHADES, dtype=np.uint8)[None])
    scale = Scale(_coloured(ramp), top, float(bit_map.max()), float(bit_map.sum()))
    return _coloured(image), scale


def _coloured(indices: Image.Image) -> str:
    """Palette PNG, as a data URI, of shades and of the outline's number after them."""
    shades = colormaps[COLOURS](np.linspace(0, 1, SHADES), bytes=True)[:, :3]
    palette = shades.tobytes() + bytes(OUTLINE)
    image = indices.copy()
    image.putpalette(palette)
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _data_uri("png", buffer.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
