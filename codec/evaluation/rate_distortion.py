"""Rate and distortion of real files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from codec.bitstream.container import OVERHEAD
from codec.files import open_file
from codec.limits import Limits
from codec.picture.pixels import from_image, psnr
from codec.picture.reading import open_picture
from codec.pipeline import Codec

SIZE_TOLERANCE = 0.003
SIZE_SLACK_BYTES = 48
"""A file may exceed -log2 P by 0.3 % + 48 bytes: container, last word, table precision."""


@dataclass(frozen=True)
class Measurement:
    """One picture at one quality, encoded to bytes and decoded from them."""

    picture: str
    quality: float
    pixels: int
    size: int
    """Bytes of the whole file."""
    model_bytes: float
    """-log2 P of the rounded latents, in bytes."""
    psnr: float
    """Of the decoded 8-bit picture, dB over all colours."""
    difference: int
    """Largest difference between the decoded picture and the encoder's reconstruction."""
    encode_seconds: float
    decode_seconds: float

    @property
    def bpp(self) -> float:
        return 8 * self.size / self.pixels

    @property
    def honest_size(self) -> bool:
        """Whether the file is as long as the model says, within the documented slack."""
        excess = abs(self.size - self.model_bytes)
        return excess <= SIZE_TOLERANCE * self.model_bytes + SIZE_SLACK_BYTES

    @property
    def container_bytes(self) -> int:
        return OVERHEAD


def measure(codec: Codec, picture: Path, quality: float) -> Measurement:
    """Compress and decompress one picture.

    Raises:
        CodecError: the picture cannot be coded.
    """
    with open_file(picture) as file:
        image = open_picture(file, Limits())
    began = time.perf_counter()
    coded = codec.encode(image, quality)
    encoded = time.perf_counter()
    decoded = codec.decompress(coded.data)
    finished = time.perf_counter()
    samples = np.asarray(decoded.convert("RGB"))
    shown = np.asarray(coded.reconstruction.convert("RGB")).astype(int)
    return Measurement(
        picture=picture.name,
        quality=quality,
        pixels=decoded.width * decoded.height,
        size=len(coded.data),
        model_bytes=coded.bits / 8,
        psnr=psnr(from_image(image).samples, samples),
        difference=int(np.abs(shown - samples).max()),
        encode_seconds=encoded - began,
        decode_seconds=finished - encoded,
    )


@dataclass(frozen=True)
class RatePoint:
    """Means over pictures at one quality, as the literature averages them."""

    quality: float
    bpp: float
    psnr: float


def mean_points(measurements: Iterable[Measurement]) -> list[RatePoint]:
    """One point per quality, by rising quality."""
    by_quality: dict[float, list[Measurement]] = {}
    for measurement in measurements:
        by_quality.setdefault(measurement.quality, []).append(measurement)
    return [
        RatePoint(quality, fmean(m.bpp for m in group), fmean(m.psnr for m in group))
        for quality, group in sorted(by_quality.items())
    ]


def curve(points: Sequence[RatePoint]) -> list[tuple[float, float]]:
    """(bpp, PSNR) pairs for `bd_rate`."""
    return [(point.bpp, point.psnr) for point in points]
