"""What an evaluation finds: plain records, kept as JSON and shown by the report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

SIZE_TOLERANCE = 0.003
STREAM_SLACK_BYTES = 16
"""A coded stream may exceed -log2 P by 0.3 % + 16 bytes: the last words, table precision."""


@dataclass(frozen=True)
class ModelBits:
    """What the model says of a file of ours, in bits."""

    z: float
    """-log2 P of the hyper-latents by the integer tables; 0 with rounding to centres."""
    passes: tuple[float, ...]
    """Of each pass of y; of all indices with rounding to centres."""
    container: float
    """Of the file beyond its coded streams and the weights of a restoration filter."""
    noisy: float | None
    """-log2 of the density of noisy latents, the prior seeing noise too: in the mean an upper bound
    on the mutual information of picture and noisy latents. None with rounding to centres."""
    streams: int = 1
    """Coded streams of the file: its tiles."""
    restoration: float = 0.0
    """Of the weights of a restoration filter: 8 for each and for their number."""

    @property
    def rounded(self) -> float:
        """-log2 P of all rounded latents."""
        return self.z + sum(self.passes)

    @property
    def content(self) -> float:
        """-log2 P of all rounded latents, and the weights."""
        return self.rounded + self.restoration


@dataclass(frozen=True)
class Measurement:
    """One picture, encoded to a whole file by one codec at one setting, and decoded from it."""

    picture: str
    """Name of the picture, unique in the evaluation."""
    codec: str
    """Name of the codec."""
    setting: float
    """The codec's own scale: quality, distance or quantiser."""
    pixels: int
    size: int
    """Bytes of the whole file."""
    psnr: float
    """Of the decoded 8-bit samples, dB over all visible colours; inf if they are equal."""
    ms_ssim: float | None
    """0..1, mean of the colours; None for pictures of less than 161 pixels a side."""
    encode_seconds: float
    """From samples to bytes."""
    decode_seconds: float
    """From bytes to samples."""
    model: ModelBits | None = None
    """Ours only."""

    @property
    def bpp(self) -> float:
        return 8 * self.size / self.pixels

    @property
    def excess(self) -> float:
        """Bytes of the file beyond -log2 P and the weights of a restoration filter, whose part the
        container is; nan for others."""
        return self.size - self.model.content / 8 if self.model else math.nan

    @property
    def coding_excess(self) -> float:
        """Bytes of the coded streams beyond -log2 P; nan for others."""
        return self.excess - self.model.container / 8 if self.model else math.nan

    @property
    def honest_size(self) -> bool:
        """Whether a file of ours is as long as the model says, within the documented slack."""
        if self.model is None:
            return True
        slack = SIZE_TOLERANCE * self.model.rounded / 8 + STREAM_SLACK_BYTES * self.model.streams
        return abs(self.coding_excess) <= slack

    @classmethod
    def from_dict(cls, values: Any) -> Measurement:
        """Inverse of `dataclasses.asdict`.

        Raises:
            TypeError: the values are others.
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
    """None if any picture has none."""
    encode_seconds: float
    decode_seconds: float


def mean_points(measurements: Iterable[Measurement]) -> list[RatePoint]:
    """One point per codec and setting, codecs as they come, each by rising rate."""
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
    """A published or measured mean rate-distortion curve of some codec."""

    name: str
    source: str
    """Where the points come from, for the reader."""
    bpp: tuple[float, ...]
    """Rising."""
    psnr: tuple[float, ...]
    ms_ssim: tuple[float, ...] | None


def curve_of(codec: str, means: Iterable[RatePoint]) -> Curve:
    """Mean curve of one of the codecs that were measured."""
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
    """Everything that one run of `vqcodec evaluate` knows."""

    command: str
    """The command line that gives it."""
    machine: str
    """Processor, threads and versions of the libraries that matter."""
    pictures: dict[str, tuple[int, int]]
    """Width and height by name."""
    measurements: list[Measurement]
    missing: dict[str, str]
    """Codecs that were asked for and left out, with the reason."""
    published: list[Curve] = field(default_factory=list)
    """Curves of others to plot beside."""
    failed: dict[str, str] = field(default_factory=dict)
    """Pictures that were left out, with the reason."""
    descriptions: dict[str, str] = field(default_factory=dict)
    """Encoder, version and choices of each codec."""

    @property
    def codecs(self) -> list[str]:
        """Names in order of first appearance; ours come first."""
        return list(dict.fromkeys(m.codec for m in self.measurements))

    @property
    def lossless(self) -> list[str]:
        """Pictures that have no finite PSNR with some codec at some setting."""
        return list(dict.fromkeys(m.picture for m in self.measurements if m.psnr == math.inf))

    @property
    def counted(self) -> list[Measurement]:
        """What means are over: pictures that nothing keeps without loss; all if there are none."""
        without = set(self.lossless)
        lossy = [m for m in self.measurements if m.picture not in without]
        return lossy or self.measurements

    @property
    def points(self) -> list[RatePoint]:
        """Means by codec and setting."""
        return mean_points(self.counted)

    def curve(self, codec: str) -> Curve:
        """Mean curve of one of the codecs that were measured."""
        return curve_of(codec, self.points)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
