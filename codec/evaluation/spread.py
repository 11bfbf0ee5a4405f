"""What means hide: BD-rates by picture, worst pictures, worst blocks, colour shifts and meshes."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median

from codec.evaluation.bd_rate import bd_rate
from codec.evaluation.instruments import GUARDS, Metric
from codec.evaluation.metrics import Block
from codec.evaluation.results import Evaluation, Measurement, curve_of, mean_points
from codec.evaluation.summary import our_codecs


@dataclass(frozen=True)
class Spread:
    """BD-rates by picture of one of our codecs against another, by one metric."""

    codec: str
    against: str
    metric: Metric
    rates: dict[str, float]
    """Per cent by picture, where the curves overlap."""
    pictures: int
    """Number of pictures, with those whose curves do not."""

    @property
    def median(self) -> float:
        return median(self.rates.values())

    @property
    def worst(self) -> str:
        """Picture with the highest rate."""
        return max(self.rates, key=self.rates.__getitem__)


def spreads(evaluation: Evaluation) -> list[Spread]:
    """BD-rates by picture of our codecs against all other measured ones, where there are any."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for m in evaluation.counted:
        groups.setdefault((m.codec, m.picture), []).append(m)
    curves = {key: curve_of(key[0], mean_points(group)) for key, group in groups.items()}
    pictures = list(dict.fromkeys(picture for _, picture in groups))
    found = []
    for ours in our_codecs(evaluation):
        for other in evaluation.codecs:
            for metric in evaluation.metrics if other != ours else ():
                gaps = {
                    picture: bd_rate(
                        curves[other, picture].points(metric), curves[ours, picture].points(metric)
                    ).rate
                    for picture in pictures
                }
                rates = {name: rate for name, rate in gaps.items() if rate is not None}
                if rates:
                    found.append(Spread(ours, other, metric, rates, len(pictures)))
    return found


@dataclass(frozen=True)
class Worst:
    """Worst pictures of a codec at one setting."""

    codec: str
    setting: float
    values: dict[str, tuple[float, str]]
    """Worst value and its picture by name of metric."""
    block: tuple[Block, str] | None
    """Worst block by PSNR and its picture."""


def worst_pictures(evaluation: Evaluation) -> list[Worst]:
    """Worst pictures by codec and setting, in the order of the mean points."""
    found = []
    for codec, setting, group in _groups(evaluation):
        values = {}
        for metric in evaluation.metrics:
            known = {m.picture: v for m in group if (v := m.value(metric)) is not None}
            if known:
                picture = metric.worst(known)
                values[metric.name] = known[picture], picture
        blocks = [(m.worst_block, m.picture) for m in group if m.worst_block]
        block = min(blocks, key=lambda pair: pair[0].psnr, default=None)
        found.append(Worst(codec, setting, values, block))
    return found


@dataclass(frozen=True)
class Guarded:
    """Colour shifts and meshes of a codec at one setting; see `codec.evaluation.guards`."""

    codec: str
    setting: float
    shift: tuple[float, ...]
    """Means over the pictures of the shift of red, green and blue, in grey levels."""
    most: tuple[float, str]
    """Shift of any colour and picture with the largest magnitude, and the picture."""
    peaks: tuple[float, ...] | None
    """Means over the pictures with flat areas of the peaks at 1/2, 1/4 and 1/8 cycles per pixel, in
    dB; None if there are none."""


def guarded(evaluation: Evaluation) -> list[Guarded]:
    """Colour shifts and meshes by codec and setting; empty if they were not measured."""
    found = []
    for codec, setting, group in _groups(evaluation):
        rows = {
            m.picture: [m.values[name] for name in GUARDS] for m in group if GUARDS[0] in m.values
        }
        if not rows:
            continue
        shifts = {name: [v for v in row[:3] if v is not None] for name, row in rows.items()}
        most = max(((v, name) for name, row in shifts.items() for v in row), key=_magnitude)
        flat = [[v for v in row[3:] if v is not None] for row in rows.values() if None not in row]
        found.append(
            Guarded(
                codec,
                setting,
                tuple(map(fmean, zip(*shifts.values(), strict=True))),
                most,
                tuple(map(fmean, zip(*flat, strict=True))) if flat else None,
            )
        )
    return found


def _magnitude(pair: tuple[float, str]) -> float:
    return abs(pair[0])


def _groups(evaluation: Evaluation) -> list[tuple[str, float, list[Measurement]]]:
    groups: dict[tuple[str, float], list[Measurement]] = {}
    for m in evaluation.counted:
        groups.setdefault((m.codec, m.setting), []).append(m)
    return [(p.codec, p.setting, groups[p.codec, p.setting]) for p in evaluation.points]
