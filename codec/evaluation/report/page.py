"""The report as a self-contained HTML file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from codec.errors import InputError, OutputError
from codec.evaluation import summary
from codec.evaluation.bd_rate import decibels
from codec.evaluation.instruments import PSNR, Metric
from codec.evaluation.metrics import WHOLE_PIXELS
from codec.evaluation.report.comparison import Comparison
from codec.evaluation.report.pictures import COPY_QUALITY, panel
from codec.evaluation.report.plots import NARROW, WIDE, PlottedCurve, draw
from codec.evaluation.results import Evaluation, RatePoint
from codec.evaluation.tables import Table, guards_table, spread_table, worst_table
from codec.files import check_target, write_file

PAGE = "index.html"
MINUS, NO_BREAK, INFINITY = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}", "\N{INFINITY}"


def write_report(
    folder: Path, evaluation: Evaluation, gallery: Iterable[Comparison], force: bool
) -> Path:
    """Write the page `index.html` into a folder, which is created if needed.

    Args:
        folder: folder of the page.
        evaluation: results.
        gallery: comparisons of pictures.
        force: whether an existing page may be replaced.

    Returns:
        Path of the page.

    Raises:
        OutputExistsError: there is a page and `force` is not set.
        OutputError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    path = folder / PAGE
    check_target(path, force)
    write_file(path, render(evaluation, gallery).encode(), force)
    return path


def write_figure(path: Path, evaluation: Evaluation, metric: Metric, force: bool) -> None:
    """Write the curves of a metric as an SVG file that follows the viewer's light or dark scheme.

    Args:
        path: path of the file.
        evaluation: results.
        metric: that was measured.
        force: whether an existing file may be replaced.

    Raises:
        OutputExistsError: there is one and `force` is not set.
        OutputError: it cannot be written.
        InputError: no measurement has a finite value.
    """
    plots = [plot for plot in _plots(evaluation) if plot.title == metric.title]
    if not plots:
        raise InputError(
            f"{path}: there is no {metric.title} to draw; the pictures were kept without loss, or "
            "are too small for it"
        )
    svg = plots[0].linear[0]
    style = _environment().get_template("figure.css").render()
    opening = svg.index(">") + 1
    text = f"{svg[:opening]}<style>{style}</style>{svg[opening:]}"
    write_file(path, text.encode(), force)


def render(evaluation: Evaluation, gallery: Iterable[Comparison]) -> str:
    """HTML of the page."""
    panels = [panel(comparison) for comparison in gallery]
    ours = summary.our_codecs(evaluation)
    differences = {name: summary.differences(evaluation, name) for name in ours}
    theory = {name: summary.theory(evaluation, name) for name in ours}
    return (
        _environment()
        .get_template("page.html")
        .render(
            evaluation=evaluation,
            remarks=summary.remarks(evaluation),
            others=[metric for metric in evaluation.metrics if metric != PSNR],
            by_picture=_by_picture(evaluation),
            trials=[(n, p.trial) for n, p in enumerate(panels, 1) if p.trial],
            ours=ours,
            sizes=set(evaluation.pictures.values()),
            megapixels=sum(width * height for width, height in evaluation.pictures.values()) / 1e6,
            headline=_headline(differences[ours[0]]) if ours else [],
            differences={name: rows for name, rows in differences.items() if rows},
            widest=_widest(differences),
            plots=_plots(evaluation),
            points=_points_by_codec(evaluation),
            times=summary.times(evaluation),
            theory={name: rows for name, rows in theory.items() if rows},
            panels=panels,
            fidelity=min((p.fidelity for p in panels), default=math.inf),
            copy_quality=COPY_QUALITY,
            windowed=any(w * h > WHOLE_PIXELS for w, h in evaluation.pictures.values()),
        )
    )


def _by_picture(evaluation: Evaluation) -> list[tuple[str, Table]]:
    """Tables of what means hide, with their captions."""
    tables = [
        (
            "Medians over the pictures of their BD-rates, and the picture with the highest; "
            "pictures whose curves do not overlap are left out.",
            spread_table(evaluation),
        ),
        (
            "The worst block of 64 \N{MULTIPLICATION SIGN} 64 pixels by PSNR in dB, with its "
            "corner, and the worst picture by each metric.",
            worst_table(evaluation),
        ),
        (
            "Mean shift of each colour in grey levels, the largest of any picture, and peaks of "
            "the error's spectrum in flat areas at 1/2, 1/4 and 1/8 cycles per pixel over what is "
            "nearby.",
            guards_table(evaluation),
        ),
    ]
    return [(caption, table) for caption, table in tables if table.rows]


def _headline(differences: list[summary.Difference]) -> list[summary.Difference]:
    """Differences to peers, or to all if there are none."""
    known = [d for d in differences if d.psnr.rate is not None]
    return [d for d in known if d.peer] or known


def _widest(differences: dict[str, list[summary.Difference]]) -> float:
    """Largest magnitude of a BD-rate in per cent, the scale of the bars."""
    rates = [d.psnr.rate for rows in differences.values() for d in rows]
    return max((abs(rate) for rate in rates if rate is not None), default=1.0)


def _points_by_codec(evaluation: Evaluation) -> dict[str, list[RatePoint]]:
    groups: dict[str, list[RatePoint]] = {}
    for point in evaluation.points:
        groups.setdefault(point.codec, []).append(point)
    return groups


@dataclass(frozen=True)
class Plot:
    """Drawings of one metric against rate, one for each width of the page."""

    title: str
    linear: list[Markup]
    logarithmic: list[Markup]


def _plots(evaluation: Evaluation) -> list[Plot]:
    """Plots of all metrics of which there are values, PSNR first."""
    published = {id(curve) for curve in evaluation.published}
    curves = list(enumerate(summary.all_curves(evaluation)))
    found = []
    for metric in evaluation.metrics:
        plotted = [
            PlottedCurve(curve.name, points, id(curve) in published, number)
            for number, curve in curves
            if (points := curve.points(metric))
        ]
        if any(not curve.published for curve in plotted):
            linear, logarithmic = (
                [
                    draw(plotted, metric.title, metric.axis, scale, layout)
                    for layout in (WIDE, NARROW)
                ]
                for scale in (False, True)
            )
            found.append(Plot(metric.title, linear, logarithmic))
    return found


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("codec.evaluation.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": fixed,
        "percent": percent,
        "count": lambda value: f"{value:,.0f}",
        "seconds": seconds,
        "plain": lambda value: f"{value:.4g}",
        "decibels": similarity,
        "minus": lambda text: re.sub(r"(?<!\S)-(?=\d)", MINUS, text),
    }
    return environment


def fixed(value: float | None, digits: int) -> str:
    """Format a number with `digits` decimals.

    Example:
        >>> fixed(3.14159, 2), fixed(None, 2)
        ('3.14', 'n/a')
    """
    if value is None or math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return INFINITY
    return f"{value:.{digits}f}".replace("-", MINUS)


def similarity(value: float | None) -> float | None:
    """Convert MS-SSIM to dB for `fixed`; inf for equal pictures."""
    if value is None:
        return None
    return decibels(value) if value < 1 else math.inf


def percent(value: float | None, signed: bool = True, digits: int = 1) -> str:
    """Format per cent, with a plus sign if `signed`."""
    if value is None or math.isnan(value):
        return "n/a"
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{value:.{digits}f}{NO_BREAK}%".replace("-", MINUS)


def seconds(value: float) -> str:
    """Format seconds to three figures, and to at most 0.1 ms.

    Example:
        >>> [seconds(s) for s in (0.00123, 0.0456, 1.234, 123.4)]
        ['0.0012', '0.0456', '1.23', '123']
    """
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{4 if value < 0.1 else digits}f}"
