"""An evaluation as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from codec.evaluation.bd_rate import Gap, decibels
from codec.evaluation.results import Evaluation
from codec.evaluation.summary import TheoryRow, differences, our_codecs, theory


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
            for point in evaluation.points
        ),
    )


def bd_table(evaluation: Evaluation) -> str:
    """Table of BD-rates of our codecs against all other codecs and published curves."""
    return table(
        "codec|against|BD-rate, PSNR|over dB|BD-rate, MS-SSIM",
        (
            (ours, other.name, per_cent(other.psnr), _range(other.psnr), per_cent(other.ms_ssim))
            for ours in our_codecs(evaluation)
            for other in differences(evaluation, ours)
        ),
    )


def per_cent(gap: Gap | None) -> str:
    """BD-rate as text; empty if there is none."""
    return "" if gap is None or gap.rate is None else f"{gap.rate:+.1f} %"


def _range(gap: Gap) -> str:
    return "" if gap.rate is None else f"{gap.low:.1f} to {gap.high:.1f}"


def theory_table(evaluation: Evaluation) -> str:
    """Table of mean bytes per picture by part against -log2 P, for our codecs."""
    rows = [(ours, row) for ours in our_codecs(evaluation) for row in theory(evaluation, ours)]
    most = max((len(row.passes) for _, row in rows), default=0)
    passes = "".join(f"pass {number}|" for number in range(1, most + 1))
    return table(
        f"codec|setting|file, bytes|-log2 P|z|{passes}filter|patches|container|coder|"
        "noisy bpp|rounded bpp",
        _theory_rows(rows, most),
    )


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
