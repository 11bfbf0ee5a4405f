"""Summary of an evaluation: BD-rates, times, and bytes of files against -log2 P."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import fmean

from codec.evaluation.bd_rate import Gap, bd_rate
from codec.evaluation.instruments import MS_SSIM, PSNR, Metric
from codec.evaluation.results import Curve, Evaluation, Measurement, ModelBits
from codec.weights.config import MS_SSIM_SIDE

NAMED = 5
"""Number of pictures that a remark names."""


def remarks(evaluation: Evaluation) -> list[str]:
    """Pictures that the means leave out, in words."""
    found = []
    counted = list(dict.fromkeys(m.picture for m in evaluation.counted))
    if len(counted) < len(evaluation.pictures):
        found.append(
            "left out of all means, since a codec kept them without loss: "
            + _named(evaluation.lossless)
        )
    small = [name for name in counted if min(evaluation.pictures[name]) < MS_SSIM_SIDE]
    if small and MS_SSIM in evaluation.metrics:
        found.append(f"no MS-SSIM, which needs {MS_SSIM_SIDE} pixels a side: {_named(small)}")
    return found


def _named(pictures: Collection[str]) -> str:
    names = ", ".join(list(pictures)[:NAMED])
    more = len(pictures) - NAMED
    return f"{names} and {more} more" if more > 0 else names


def our_codecs(evaluation: Evaluation) -> list[str]:
    """Codecs whose measurements have bits by part; the first codec if there are none."""
    modelled = {m.codec for m in evaluation.measurements if m.model is not None}
    return [codec for codec in evaluation.codecs if codec in modelled] or evaluation.codecs[:1]


def all_curves(evaluation: Evaluation) -> list[Curve]:
    """All curves: measured ones, ours first, then published ones."""
    ours = our_codecs(evaluation)
    names = sorted(evaluation.codecs, key=lambda name: name not in ours)
    return [evaluation.curve(name) for name in names] + evaluation.published


@dataclass(frozen=True)
class Difference:
    """BD-rates of one of our codecs against another curve."""

    name: str
    source: str
    """Description of the measured codec, or origin of published points."""
    measured: bool
    peer: bool
    """Whether the curve was measured and is of another codec."""
    gaps: dict[str, Gap]
    """BD-rates by name of metric, PSNR first, for those that both curves have."""

    @property
    def psnr(self) -> Gap:
        return self.gaps[PSNR.name]

    def rate(self, metric: Metric) -> float | None:
        """BD-rate in per cent; None if it is undefined."""
        gap = self.gaps.get(metric.name)
        return gap.rate if gap else None


def differences(evaluation: Evaluation, name: str) -> list[Difference]:
    """BD-rates of one of our codecs against all other curves, measured ones first."""
    ours = evaluation.curve(name)
    others = [
        (evaluation.curve(codec), True, evaluation.descriptions.get(codec, "measured"))
        for codec in evaluation.codecs
        if codec != name
    ]
    others += [(curve, False, curve.source) for curve in evaluation.published]
    own = our_codecs(evaluation)
    found = []
    for curve, measured, source in others:
        gaps = {}
        for metric in evaluation.metrics:
            anchor, test = curve.points(metric), ours.points(metric)
            if metric == PSNR or (anchor and test):
                gaps[metric.name] = bd_rate(anchor, test)
        found.append(
            Difference(
                name=curve.name,
                source=source,
                measured=measured,
                peer=measured and curve.name not in own,
                gaps=gaps,
            )
        )
    return found


@dataclass(frozen=True)
class Times:
    """Mean times of a codec in seconds."""

    codec: str
    files: int
    encode: float
    """Seconds per picture."""
    decode: float
    encode_megapixel: float
    """Seconds per million pixels."""
    decode_megapixel: float


def times(evaluation: Evaluation) -> list[Times]:
    """Mean times of all codecs."""
    rows = []
    for codec in evaluation.codecs:
        group = [m for m in evaluation.counted if m.codec == codec]
        files, megapixels = len(group), sum(m.pixels for m in group) / 1e6
        encode = sum(m.encode_seconds for m in group)
        decode = sum(m.decode_seconds for m in group)
        rows.append(
            Times(
                codec,
                files,
                encode=encode / files,
                decode=decode / files,
                encode_megapixel=encode / megapixels,
                decode_megapixel=decode / megapixels,
            )
        )
    return rows


@dataclass(frozen=True)
class TheoryRow:
    """Mean bytes per picture by part at one setting, and -log2 P."""

    setting: float
    z: float
    """-log2 P of the hyper-latents in bytes, as all sizes below."""
    passes: tuple[float, ...]
    container: float
    size: float
    """Size of the files."""
    rounded_bpp: float
    """-log2 P of all rounded latents, in bits per pixel."""
    noisy_bpp: float | None
    """-log2 of the density of noisy latents, an upper bound on the mutual information, likewise:
    noise where files round and in what the prior sees, and the trained densities, not the tables
    of files, see `codec.training.noisy_rate`."""
    restoration: float
    """Weights of the restoration filter."""
    patches: float
    """Patches, which are stored without loss."""

    @property
    def rounded(self) -> float:
        return self.z + sum(self.passes)

    @property
    def coder(self) -> float:
        """Bytes of the streams beyond -log2 P."""
        return self.size - self.rounded - self.restoration - self.patches - self.container

    @property
    def excess(self) -> float:
        """Excess of the file over -log2 P, in per cent."""
        return 100 * (self.size / self.rounded - 1) if self.rounded else math.nan

    @property
    def noise_gap(self) -> float | None:
        """Excess of the noisy rate over the rounded one, in per cent."""
        if self.noisy_bpp is None or not self.rounded_bpp:
            return None
        return 100 * (self.noisy_bpp / self.rounded_bpp - 1)


def theory(evaluation: Evaluation, name: str) -> list[TheoryRow]:
    """Rows of one of our codecs by rising size; empty without bits by part."""
    groups: dict[float, list[tuple[Measurement, ModelBits]]] = {}
    for m in evaluation.counted:
        if m.codec == name and m.model is not None:
            groups.setdefault(m.setting, []).append((m, m.model))
    rows = [_theory_row(setting, group) for setting, group in groups.items()]
    return sorted(rows, key=lambda row: row.size)


def _theory_row(setting: float, group: list[tuple[Measurement, ModelBits]]) -> TheoryRow:
    noisy = [bits.noisy / m.pixels for m, bits in group if bits.noisy is not None]
    return TheoryRow(
        setting=setting,
        z=fmean(bits.z for _, bits in group) / 8,
        passes=tuple(
            fmean(sizes) / 8 for sizes in zip(*(bits.passes for _, bits in group), strict=True)
        ),
        container=fmean(bits.container for _, bits in group) / 8,
        size=fmean(m.size for m, _ in group),
        rounded_bpp=fmean(bits.rounded / m.pixels for m, bits in group),
        noisy_bpp=fmean(noisy) if len(noisy) == len(group) else None,
        restoration=fmean(bits.restoration for _, bits in group) / 8,
        patches=fmean(bits.patches for _, bits in group) / 8,
    )
