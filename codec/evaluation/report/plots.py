"""Rate-distortion plots as inline SVG with the colours and fonts of the page.

matplotlib draws with placeholder colours, which are replaced by variables of the page's style
sheet. Text is not converted to paths.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from codec.evaluation.bd_rate import Points

INK, MUTED, RULE, PAGE = "#5eff01", "#5efe01", "#5efd01", "#5efc01"
"""Placeholder colours; those of curves are #5eNN02, NN being the number of the colour."""
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", PAGE: "--page"}
COLOURS = 10
"""Number of variables --curve-0 (ours) to --curve-9 of the style sheet."""
MARKERS = "osD^vPXph*<>8"
DASHES = ((5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 1.5), (9, 3), (5, 1.5, 1.5, 1.5, 1.5, 1.5))
RATE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
BEYOND_OURS = 1.15
"""Upper limit of the rate axis, relative to the highest rate of our curve."""
LABEL_GAP = 18.0
"""Distance of labels in units of the drawing."""
LONGEST_NAME = 22
"""Maximum number of characters of a name in a drawing."""
NEAR = 0.8
"""Share of the rate axis; curves that end before it have no line to their label."""
DPI = 72
"""Units per inch of matplotlib's SVG."""


@dataclass(frozen=True)
class PlottedCurve:
    """One curve of a plot."""

    name: str
    points: Points
    published: bool
    number: int
    """Number among all curves of the page, 0 for ours; determines colour, marker and dashes."""

    @property
    def style(self) -> dict[str, Any]:
        """Style as arguments of `Axes.plot`."""
        colour = f"#5e{self._colour:02x}02"
        return {
            "color": colour,
            "marker": MARKERS[self.number % len(MARKERS)],
            "markersize": 5.0 if self.published else 6.5 if self.number == 0 else 5.0,
            "markerfacecolor": PAGE if self.published else colour,
            "linewidth": 2.6 if self.number == 0 else 1.4,
            "dashes": DASHES[self.number % len(DASHES)] if self.published else (),
            "zorder": 3 if self.number == 0 else 2,
        }

    @property
    def _colour(self) -> int:
        return self.number if self.number < COLOURS else 1 + (self.number - 1) % (COLOURS - 1)


@dataclass(frozen=True)
class Layout:
    """Size of a drawing in CSS pixels."""

    name: str
    width: int
    height: int
    font: int
    labelled: bool
    """Whether names are at the ends of curves, rather than in a legend."""


WIDE = Layout("wide", 1040, 540, 13, True)
NARROW = Layout("narrow", 360, 300, 11, False)
LEGEND_ROW = 17.0
"""Height of a row of the legend, which has two columns, in units of the drawing."""


def draw(
    curves: Sequence[PlottedCurve], quality: str, unit: str, logarithmic: bool, layout: Layout
) -> Markup:
    """Plot quality against rate.

    Args:
        curves: curves of at least one point each.
        quality: metric of the vertical axis, such as "PSNR".
        unit: label of the vertical axis.
        logarithmic: whether the rate axis is logarithmic.
        layout: size and placement of names.

    Returns:
        An `svg` element.
    """
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "vqcodec",
            "font.size": layout.font,
            "text.parse_math": False,
            "text.color": INK,
        }
    ):
        figure, axes = _axes(layout, len(curves))
        limits = Limits.of(curves, logarithmic)
        _prepare(axes, limits, unit, logarithmic)
        lines = [
            axes.plot(*zip(*curve.points, strict=True), label=_short(curve.name), **curve.style)[0]
            for curve in curves
        ]
        for number, line in enumerate(lines):
            line.set_gid(f"line-{number}")
        if layout.labelled:
            _label(axes, curves, limits)
        else:
            figure.legend(
                handles=lines,
                loc="lower left",
                bbox_to_anchor=(0.0, 0.0),
                ncols=2,
                frameon=False,
                handlelength=3.0,
                borderaxespad=0.0,
            )
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True)
    scale = "log" if logarithmic else "linear"
    names = ", ".join(curve.name for curve in curves)
    summary = f"{quality} against bits per pixel ({scale} axis) of {names}"
    prefix = re.sub(r"\W", "", quality).lower() + f"-{scale}-{layout.name}-"
    return _inline(file.getvalue(), [c.name for c in curves], summary, layout.name, prefix)


def _axes(layout: Layout, count: int) -> tuple[Figure, Axes]:
    """Empty drawing with room for the names of `count` curves."""
    if layout.labelled:
        left, right, bottom, top, height = 46.0, 204.0, 44.0, 30.0, float(layout.height)
    else:
        rows = LEGEND_ROW * -(-count // 2)
        left, right, bottom, top, height = 34.0, 8.0, 40.0 + rows, 26.0, layout.height + rows
    width = layout.width
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    inner = (width - left - right) / width, (height - bottom - top) / height
    return figure, figure.add_axes((left / width, bottom / height, *inner))


def _short(name: str) -> str:
    return (
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


@dataclass(frozen=True)
class Limits:
    """Limits of the axes: around our curve, with at least one point of each other curve."""

    least_rate: float
    most_rate: float
    low: float
    high: float

    @classmethod
    def of(cls, curves: Sequence[PlottedCurve], logarithmic: bool) -> Limits:
        """Limits for curves of at least one point; the curve of the lowest number is ours."""
        first = min(curves, key=lambda curve: curve.number)
        rates, qualities = zip(*first.points, strict=True)
        starts = [min(curve.points) for curve in curves]
        most = max(BEYOND_OURS * max(rates), *(1.05 * rate for rate, _ in starts))
        inside = [[q for rate, q in curve.points if rate <= most] for curve in curves]
        span = (max(qualities) - min(qualities)) or 10.0
        low = max(min(qualities) - 0.3 * span, min(map(min, inside)) - 0.04 * span)
        high = min(max(qualities) + 0.15 * span, max(map(max, inside)) + 0.04 * span)
        return cls(
            least_rate=0.9 * min(rate for rate, _ in starts) if logarithmic else 0.0,
            most_rate=most,
            low=min(low, min(map(max, inside)) - 0.04 * span),
            high=max(high, max(map(min, inside)) + 0.04 * span),
        )

    def end(self, points: Points) -> tuple[float, float]:
        """Point where a curve ends or crosses the limits."""
        ordered = sorted(points)
        for (rate, quality), (next_rate, next_quality) in pairwise(ordered):
            if next_rate <= self.most_rate and next_quality <= self.high:
                continue
            part = (self.most_rate - rate) / (next_rate - rate) if next_rate > rate else 1.0
            if next_quality > quality:
                part = min(part, (self.high - quality) / (next_quality - quality))
            part = min(max(part, 0.0), 1.0)
            return rate + part * (next_rate - rate), quality + part * (next_quality - quality)
        return ordered[-1]


def _prepare(axes: Axes, limits: Limits, title: str, logarithmic: bool) -> None:
    least, most = limits.least_rate, limits.most_rate
    axes.set_xscale("log" if logarithmic else "linear")
    axes.set_xlim(least, most)
    axes.set_ylim(limits.low, limits.high)
    if logarithmic:
        axes.xaxis.set_major_locator(FixedLocator([t for t in RATE_TICKS if least <= t <= most]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.set_title(title, loc="left", fontsize="medium", color=INK, x=0, pad=12)
    axes.set_xlabel("bits per pixel", loc="right", color=INK)
    axes.tick_params(colors=MUTED, labelcolor=MUTED, length=3, width=0.8)
    axes.grid(axis="both", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.set_facecolor("none")


def _label(axes: Axes, curves: Sequence[PlottedCurve], limits: Limits) -> None:
    """Write names at the right of the axes, with lines to curves that end nearby."""
    ends = [limits.end(curve.points) for curve in curves]
    positions = axes.transData.transform(ends)  # in units of the drawing
    order = sorted(range(len(curves)), key=lambda number: float(positions[number][1]))
    frame = axes.bbox
    ideal = [float(positions[number][1]) for number in order]
    heights = spread(ideal, LABEL_GAP, frame.y0, frame.y1)
    start, end = frame.x1 + 16, frame.x1 + 44
    free: dict[str, Any] = {"transform": None, "clip_on": False}
    for number, height in zip(order, heights, strict=True):
        curve, (x, y) = curves[number], positions[number]
        style = curve.style | free
        if ends[number][0] > NEAR * limits.most_rate:
            thin = {"color": style["color"], "linewidth": 0.7, "zorder": 1}
            axes.plot([x, start], [y, height], **thin | free)
        axes.plot([start, end], [height, height], **style | {"marker": ""})
        axes.plot([(start + end) / 2], [height], **style)
        axes.annotate(
            _short(curve.name),
            (end + 7, height),
            xycoords="figure pixels",
            annotation_clip=False,
            verticalalignment="center_baseline",
            fontweight="bold" if curve.number == 0 else "normal",
        )


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move rising positions as little as possible to be a gap apart between two bounds.

    The gap is reduced if there is no room for all.

    Example:
        >>> spread([0.0, 1.0, 9.0], 2.0, -5.0, 9.0)
        [-0.5, 1.5, 9.0]
        >>> spread([0.0, 1.0, 9.0], 2.0, 0.0, 9.0)
        [0.0, 2.0, 9.0]
    """
    gap = min(gap, (high - low) / max(len(positions) - 1, 1))
    groups: list[tuple[float, int]] = []  # (middle, how many) of labels that touch

    def bounded(middle: float, count: int) -> float:
        half = gap * (count - 1) / 2
        return min(max(middle, low + half), high - half)

    for position in positions:
        groups.append((bounded(position, 1), 1))
        while len(groups) > 1:
            (one, few), (other, more) = groups[-2:]
            if other - one >= gap * (few + more) / 2:
                break
            middle = (one * few + other * more) / (few + more)
            groups[-2:] = [(bounded(middle, few + more), few + more)]
    return [
        middle + gap * (index - (count - 1) / 2)
        for middle, count in groups
        for index in range(count)
    ]


def _inline(svg: str, names: Sequence[str], summary: str, style: str, prefix: str) -> Markup:
    """Convert matplotlib's SVG to an element of the page, with a prefix to all ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{prefix}", svg)
    svg = re.sub(r"#5e(0[0-9])02", lambda found: f"var(--curve-{int(found[1])})", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    for number, name in enumerate(names):
        group = f'<g id="{prefix}line-{number}">'
        svg = svg.replace(group, f"{group}<title>{escape(name)}</title>")
    opening = f'<svg class="plot {style}" role="img" aria-label="{escape(summary)}" '
    svg = re.sub(r'(?<= )(width|height)="[\d.]+pt" ?', "", svg)
    return Markup(svg.replace("<svg ", opening, 1))
