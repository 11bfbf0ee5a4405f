"""Records of an evaluation: measurements, mean points, curves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

SIZE_TOLERANCE = 0.003
STREAM_SLACK_BYTES = 16
"""Allowed excess of a stream over -log2 P, 0.3 % + 16 bytes: last words, precision of tables."""


@dataclass(frozen=True)
class ModelBits:
    """Bits of a file of this codec by part."""

    z: float
    """-log2 P of the hyper-latents; 0 with rounding to centres."""
    passes: tuple[float, ...]
    """-log2 P of y by pass; of all indices with rounding to centres."""
    container: float
    """Bits of the file besides its streams, patches and the weights of the restoration filter."""
    noisy: float | None
    """-log2 of the density of noisy latents, see `codec.training.noisy_rate`. None with rounding to
    centres."""
    streams: int = 1
    """Number of streams, one for each tile."""
    restoration: float = 0.0
    """Bits of the weights of the restoration filter and of their number, 8 each."""
    patches: float = 0.0
    """Bits of the patches, which are stored without loss."""

    @property
    def rounded(self) -> float:
        """-log2 P of all rounded latents."""
        return self.z + sum(self.passes)

    @property
    def content(self) -> float:
        """-log2 P of all rounded latents, patches and the weights of the restoration filter."""
        return self.rounded + self.restoration + self.patches


@dataclass(frozen=True)
class Measurement:
    """One picture, encoded to a whole file by one codec at one setting, and decoded from it."""

    picture: str
    """Name of the picture, unique in the evaluation."""
    codec: str
    """Name of the codec."""
    setting: float
    """Value on the codec's own scale: quality, distance or quantiser."""
    pixels: int
    size: int
    """Bytes of the whole file."""
    psnr: float
    """PSNR in dB of 8-bit samples over all visible pixels and colours; inf if they are equal."""
    ms_ssim: float | None
    """MS-SSIM, 0..1, mean over colours; None if a side is shorter than 161 pixels."""
    encode_seconds: float
    """Time from samples to bytes."""
    decode_seconds: float
    """Time from bytes to samples."""
    model: ModelBits | None = None
    """Bits by part, for models of this codec only."""

    @property
    def bpp(self) -> float:
        return 8 * self.size / self.pixels

    @property
    def excess(self) -> float:
        """Bytes of the file beyond -log2 P, patches and the weights of the restoration filter,
        container included; nan for other codecs."""
        return self.size - self.model.content / 8 if self.model else math.nan

    @property
    def coding_excess(self) -> float:
        """Bytes of the streams beyond -log2 P; nan for other codecs."""
        return self.excess - self.model.container / 8 if self.model else math.nan

    @property
    def honest_size(self) -> bool:
        """Whether the streams are as long as -log2 P, within the allowed excess."""
        if self.model is None:
            return True
        slack = SIZE_TOLERANCE * self.model.rounded / 8 + STREAM_SLACK_BYTES * self.model.streams
        return abs(self.coding_excess) <= slack

    @classmethod
    def from_dict(cls, values: Any) -> Measurement:
        """Inverse of `dataclasses.asdict`.

        Raises:
            TypeError: the values are not those of a measurement.
        """
        if not isinstance(values, dict):
            raise TypeError("a measurement is an object")
        model = values.get("model")
        if model:
            model = ModelBits(**{**model, "passes": tuple(model["passes"])})
        return cls(**{**values, "model": model})


@dataclass(frozen=True)
class RatePoint:
    """Means over pictures at one setting of a codec, as the literature averages them."""

    codec: str
    setting: float
    bpp: float
    psnr: float
    ms_ssim: float | None
    """Mean MS-SSIM; None if any picture has none."""
    encode_seconds: float
    decode_seconds: float


def mean_points(measurements: Iterable[Measurement]) -> list[RatePoint]:
    """Mean points by codec, in order of appearance, and by rising rate."""
    groups: dict[tuple[str, float], list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault((measurement.codec, measurement.setting), []).append(measurement)
    codecs = list(dict.fromkeys(codec for codec, _ in groups))
    points = [_mean(group) for group in groups.values()]
    return sorted(points, key=lambda point: (codecs.index(point.codec), point.bpp))


def _mean(group: list[Measurement]) -> RatePoint:
    similarities = [m.ms_ssim for m in group if m.ms_ssim is not None]
    return RatePoint(
        codec=group[0].codec,
        setting=group[0].setting,
        bpp=fmean(m.bpp for m in group),
        psnr=fmean(m.psnr for m in group),
        ms_ssim=fmean(similarities) if len(similarities) == len(group) else None,
        encode_seconds=fmean(m.encode_seconds for m in group),
        decode_seconds=fmean(m.decode_seconds for m in group),
    )


@dataclass(frozen=True)
class Curve:
    """Mean rate-distortion curve of a codec, measured or published."""

    name: str
    source: str
    """Origin of the points, in words."""
    bpp: tuple[float, ...]
    """Bits per pixel, rising."""
    psnr: tuple[float, ...]
    ms_ssim: tuple[float, ...] | None


def curve_of(codec: str, means: Iterable[RatePoint]) -> Curve:
    """Mean curve of a measured codec."""
    points = [point for point in means if point.codec == codec]
    similarities = [point.ms_ssim for point in points if point.ms_ssim is not None]
    return Curve(
        name=codec,
        source="measured",
        bpp=tuple(point.bpp for point in points),
        psnr=tuple(point.psnr for point in points),
        ms_ssim=tuple(similarities) if len(similarities) == len(points) else None,
    )


@dataclass(frozen=True)
class Evaluation:
    """Results of one run of `vqcodec evaluate`."""

    command: str
    """Command line that reproduces it."""
    machine: str
    """Processor, threads and versions of libraries."""
    pictures: dict[str, tuple[int, int]]
    """Width and height by name."""
    measurements: list[Measurement]
    missing: dict[str, str]
    """Requested codecs that were left out, with the reason."""
    published: list[Curve] = field(default_factory=list)
    """Published curves to compare with."""
    failed: dict[str, str] = field(default_factory=dict)
    """Pictures that were left out, with the reason."""
    descriptions: dict[str, str] = field(default_factory=dict)
    """Encoder, version and options of each codec."""

    @property
    def codecs(self) -> list[str]:
        """Names of measured codecs in order of appearance; ours come first."""
        return list(dict.fromkeys(m.codec for m in self.measurements))

    @property
    def lossless(self) -> list[str]:
        """Pictures that some codec keeps without loss at some setting, though not all others."""
        lossy = {m.codec for m in self.measurements if m.psnr < math.inf}
        kept = (m.picture for m in self.measurements if m.psnr == math.inf and m.codec in lossy)
        return list(dict.fromkeys(kept))

    @property
    def counted(self) -> list[Measurement]:
        """Measurements of pictures not in `lossless`, or all, from which means are taken."""
        without = set(self.lossless)
        lossy = [m for m in self.measurements if m.picture not in without]
        return lossy or self.measurements

    @property
    def points(self) -> list[RatePoint]:
        """Mean points by codec and setting."""
        return mean_points(self.counted)

    def curve(self, codec: str) -> Curve:
        """Mean curve of a measured codec."""
        return curve_of(codec, self.points)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
