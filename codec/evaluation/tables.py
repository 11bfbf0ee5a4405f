"""An evaluation as tables of text, in Markdown on the command line and in HTML on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from codec.evaluation.bd_rate import Gap, decibels
from codec.evaluation.instruments import MS_SSIM, PSNR, Metric
from codec.evaluation.metrics import Block
from codec.evaluation.results import Evaluation, RatePoint
from codec.evaluation.spread import guarded, spreads, worst_pictures
from codec.evaluation.summary import TheoryRow, differences, our_codecs, theory

NOISY = (
    "noisy bpp: with noise where files round, also in what the prior sees, and with the trained "
    "densities instead of the tables of files; an upper bound on the mutual information"
)
"""What the rate of noisy latents is, below the table that has it beside that of files."""


@dataclass(frozen=True)
class Table:
    """Cells of text under named columns."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[str] = frozenset()
    """Columns of numbers, which the page aligns to the right."""

    @property
    def markdown(self) -> str:
        return table("|".join(self.columns), self.rows)


def table(columns: str, rows: Iterable[Sequence[str]]) -> str:
    """Table in Markdown.

    Args:
        columns: names of the columns, separated by bars.
        rows: cells.
    """
    lines = [f"| {' | '.join(columns.split('|'))} |", "|" + "---|" * len(columns.split("|"))]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def points_table(evaluation: Evaluation) -> str:
    """Table of mean points by codec and setting."""
    titles = [title for metric in evaluation.metrics for title in _titles(metric)]
    return table(
        "|".join(["codec", "setting", "bpp", *titles, "encode s", "decode s"]),
        (
            (
                point.codec,
                f"{point.setting:.4g}",
                f"{point.bpp:.4f}",
                *(cell for metric in evaluation.metrics for cell in _cells(point, metric)),
                f"{point.encode_seconds:.3f}",
                f"{point.decode_seconds:.3f}",
            )
            for point in evaluation.points
        ),
    )


def _titles(metric: Metric) -> tuple[str, ...]:
    return (metric.title, f"{metric.title} dB") if metric == MS_SSIM else (metric.title,)


def _cells(point: RatePoint, metric: Metric) -> tuple[str, ...]:
    value = point.value(metric)
    if value is None:
        return ("",) * len(_titles(metric))
    shown = f"{value:.{metric.digits}f}"
    return (shown, f"{decibels(value):.2f}") if metric == MS_SSIM else (shown,)


def bd_table(evaluation: Evaluation) -> str:
    """Table of BD-rates of our codecs against all other codecs and published curves."""
    others = [metric for metric in evaluation.metrics if metric != PSNR]
    titles = [f"BD-rate, {metric.title}" for metric in others]
    return table(
        "|".join(["codec", "against", "BD-rate, PSNR", "over dB", *titles]),
        (
            (
                ours,
                other.name,
                per_cent(other.psnr),
                _range(other.psnr),
                *(per_cent(other.gaps.get(metric.name)) for metric in others),
            )
            for ours in our_codecs(evaluation)
            for other in differences(evaluation, ours)
        ),
    )


def per_cent(gap: Gap | None) -> str:
    """BD-rate as text; empty if there is none."""
    return "" if gap is None or gap.rate is None else _signed(gap.rate)


def _signed(rate: float) -> str:
    return f"{rate:+.1f} %"


def _range(gap: Gap) -> str:
    return "" if gap.rate is None else f"{gap.low:.1f} to {gap.high:.1f}"


def spread_table(evaluation: Evaluation) -> Table:
    """Table of medians over the pictures of their BD-rates, with the worst picture."""
    rows = [
        (
            spread.codec,
            spread.against,
            spread.metric.title,
            _signed(spread.median),
            _signed(spread.rates[spread.worst]),
            spread.worst,
            f"{len(spread.rates)} of {spread.pictures}",
        )
        for spread in spreads(evaluation)
    ]
    columns = ("codec", "against", "metric", "median", "worst", "its picture", "pictures")
    return Table(columns, rows, frozenset({"median", "worst"}))


def worst_table(evaluation: Evaluation) -> Table:
    """Table of the worst value of each metric, its picture, and the worst block by PSNR."""
    titles = [metric.title for metric in evaluation.metrics]
    rows = []
    for worst in worst_pictures(evaluation):
        values = [worst.values.get(metric.name) for metric in evaluation.metrics]
        shown = [
            f"{_fixed(value[0], metric.digits)} {value[1]}" if value else ""
            for metric, value in zip(evaluation.metrics, values, strict=True)
        ]
        block = _block(*worst.block) if worst.block else ""
        rows.append((worst.codec, f"{worst.setting:.4g}", block, *shown))
    columns = ("codec", "setting", "64x64 block, PSNR", *titles)
    return Table(columns, rows, frozenset({"setting"}))


def _block(block: Block, picture: str) -> str:
    return f"{_fixed(block.psnr, 2)} {picture} at {block.left},{block.top}"


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "\N{INFINITY}"


def guards_table(evaluation: Evaluation) -> Table:
    """Table of colour shifts in grey levels and of spectral peaks in dB; see `guards`."""
    rows = [
        (
            row.codec,
            f"{row.setting:.4g}",
            *(f"{shift:+.2f}" for shift in row.shift),
            f"{row.most[0]:+.2f} {row.most[1]}",
            *(f"{peak:+.1f}" for peak in row.peaks or ()),
            *("" for _ in range(0 if row.peaks else 3)),
        )
        for row in guarded(evaluation)
    ]
    peaks = ("1/2 dB", "1/4 dB", "1/8 dB")
    numbers = ("setting", "red", "green", "blue", *peaks)
    columns = ("codec", "setting", "red", "green", "blue", "most", *peaks)
    return Table(columns, rows, frozenset(numbers))


def theory_table(evaluation: Evaluation) -> str:
    """Table of mean bytes per picture by part against -log2 P, for our codecs.

    A line below tells what the noisy rate is, where there is one.
    """
    rows = [(ours, row) for ours in our_codecs(evaluation) for row in theory(evaluation, ours)]
    most = max((len(row.passes) for _, row in rows), default=0)
    passes = "".join(f"pass {number}|" for number in range(1, most + 1))
    text = table(
        f"codec|setting|file, bytes|-log2 P|z|{passes}filter|patches|container|coder|"
        "noisy bpp|rounded bpp",
        _theory_rows(rows, most),
    )
    noisy = any(row.noisy_bpp is not None for _, row in rows)
    return f"{text}\n\n{NOISY}" if noisy else text


def _theory_rows(rows: list[tuple[str, TheoryRow]], passes: int) -> Iterator[tuple[str, ...]]:
    for ours, row in rows:
        yield (
            ours,
            f"{row.setting:.4g}",
            *(f"{size:.0f}" for size in (row.size, row.rounded, row.z, *row.passes)),
            *("" for _ in range(passes - len(row.passes))),
            f"{row.restoration:.1f}",
            f"{row.patches:.1f}",
            f"{row.container:.1f}",
            f"{row.coder:.1f}",
            "" if row.noisy_bpp is None else f"{row.noisy_bpp:.4f}",
            f"{row.rounded_bpp:.4f}",
        )
