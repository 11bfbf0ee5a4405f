"""An evaluation as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from codec.evaluation.bd_rate import bd_rate, decibels
from codec.evaluation.results import Curve, Evaluation, Measurement, mean_points


def table(columns: str, rows: Iterable[Sequence[str]]) -> str:
    """Rows under columns whose names are separated by bars."""
    lines = [f"| {' | '.join(columns.split('|'))} |", "|" + "---|" * len(columns.split("|"))]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def points_table(evaluation: Evaluation) -> str:
    """Means over pictures by codec and setting."""
    return table(
        "codec|setting|bpp|PSNR|MS-SSIM|MS-SSIM dB|encode s|decode s",
        (
            (
                point.codec,
                f"{point.setting:.4g}",
                f"{point.bpp:.4f}",
                f"{point.psnr:.2f}",
                "" if point.ms_ssim is None else f"{point.ms_ssim:.5f}",
                "" if point.ms_ssim is None else f"{decibels(point.ms_ssim):.2f}",
                f"{point.encode_seconds:.3f}",
                f"{point.decode_seconds:.3f}",
            )
            for point in mean_points(evaluation.measurements)
        ),
    )


def comparisons(evaluation: Evaluation) -> Iterator[tuple[str, Curve, float | None, float | None]]:
    """(name of ours, anchor, BD-rate by PSNR, BD-rate by MS-SSIM) against all others."""
    codecs = evaluation.codecs
    ours = [name for name in codecs if _is_ours(evaluation, name)]
    for name in ours:
        test = evaluation.curve(name)
        anchors = [evaluation.curve(other) for other in codecs if other != name]
        for anchor in [*anchors, *evaluation.published]:
            yield name, anchor, bd_rate(anchor, test), bd_rate(anchor, test, "ms_ssim")


def _is_ours(evaluation: Evaluation, codec: str) -> bool:
    return any(m.model is not None for m in evaluation.measurements if m.codec == codec)


def per_cent(value: float | None) -> str:
    """A BD-rate for people; empty if there is none."""
    return "" if value is None else f"{value:+.1f} %"


def bd_table(evaluation: Evaluation) -> str:
    """BD-rates of ours against every other codec and published curve."""
    return table(
        "codec|against|BD-rate, PSNR|BD-rate, MS-SSIM",
        (
            (name, anchor.name, per_cent(by_psnr), per_cent(by_similarity))
            for name, anchor, by_psnr, by_similarity in comparisons(evaluation)
        ),
    )


def theory_table(evaluation: Evaluation) -> str:
    """Files of ours against what the model says: bytes summed over the pictures."""
    groups: dict[tuple[str, float], list[Measurement]] = {}
    for measurement in evaluation.measurements:
        if measurement.model:
            key = measurement.codec, measurement.setting
            groups.setdefault(key, []).append(measurement)
    return table(
        "codec|setting|bytes|-log2 P|z|pass 1|pass 2|container|longest excess|noisy / rounded",
        (_theory_row(*key, group) for key, group in groups.items()),
    )


def _theory_row(codec: str, setting: float, group: list[Measurement]) -> tuple[str, ...]:
    models = [m.model for m in group if m.model]
    rounded = sum(model.rounded for model in models)
    noisy = [model.noisy / model.rounded for model in models if model.noisy is not None]
    return (
        codec,
        f"{setting:.4g}",
        str(sum(m.size for m in group)),
        f"{rounded / 8:.0f}",
        f"{100 * sum(model.z for model in models) / rounded:.1f} %",
        f"{100 * sum(model.first for model in models) / rounded:.1f} %",
        f"{100 * sum(model.second for model in models) / rounded:.1f} %",
        f"{sum(model.container for model in models) / 8:.0f}",
        f"{max(m.excess for m in group):.1f}",
        f"{fmean(noisy):.3f}" if noisy else "",
    )
