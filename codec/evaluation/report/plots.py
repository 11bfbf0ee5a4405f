"""Rate-distortion plots as inline SVG, whose colours and fonts are those of the page.

matplotlib draws with stand-ins for colours, which become variables of the page's style sheet;
text stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from codec.evaluation.report.tables import Points

INK, MUTED, RULE, PAGE = "#5eff01", "#5efe01", "#5efd01", "#5efc01"
"""Stand-ins; those of curves are #5eNN02, NN being the number of the colour."""
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", PAGE: "--page"}
COLOURS = 10
"""Variables --curve-0 (ours) to --curve-9 of the style sheet."""
MARKERS = "osD^vPXph*<>8"
DASHES = ((5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 1.5), (9, 3), (5, 1.5, 1.5, 1.5, 1.5, 1.5))
RATE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
BEYOND_OURS = 1.15
"""How far the rate axis goes on beyond the last point of ours."""
LABEL_GAP = 18.0
"""Units of the drawing between lines of labels."""
DPI = 72
"""Of SVG as matplotlib writes it: a unit is a point."""


@dataclass(frozen=True)
class PlottedCurve:
    """One curve of a plot."""

    name: str
    points: Points
    published: bool
    number: int
    """Among all curves of the page; fixes colour, marker and dashes. Ours is 0."""

    @property
    def style(self) -> dict[str, Any]:
        """Arguments of `Axes.plot`."""
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
    """Size of a drawing in units of the page at its natural size."""

    name: str
    width: int
    height: int
    font: int
    labelled: bool
    """Whether the names stand at the ends of the curves; otherwise in a legend."""


WIDE = Layout("wide", 1040, 540, 13, True)
NARROW = Layout("narrow", 360, 380, 11, False)


def draw(
    curves: Sequence[PlottedCurve], quality: str, unit: str, logarithmic: bool, layout: Layout
) -> Markup:
    """A plot of quality against rate.

    Args:
        curves: each with a point at least.
        quality: what is on the vertical axis, such as "PSNR".
        unit: of it, for the top of the axis.
        logarithmic: whether the rate axis is.
        layout: for which width of the page.

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
        figure = Figure(figsize=(layout.width / DPI, layout.height / DPI), dpi=DPI)
        axes = figure.add_axes(_frame(layout, len(curves)))
        limits = _limits(curves, logarithmic)
        _prepare(axes, limits, unit, logarithmic)
        lines = [
            axes.plot(*zip(*curve.points, strict=True), label=curve.name, **curve.style)[0]
            for curve in curves
        ]
        for number, line in enumerate(lines):
            line.set_gid(f"line-{number}")
        if layout.labelled:
            _label(axes, curves, limits[1])
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


def _frame(layout: Layout, count: int) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of the axes as parts of the drawing."""
    if layout.labelled:
        left, right, bottom, top = 46.0, 190.0, 44.0, 30.0
    else:
        left, right, top = 34.0, 8.0, 26.0
        bottom = 40.0 + 17.0 * -(-count // 2)
    width, height = layout.width, layout.height
    return (
        left / width,
        bottom / height,
        (width - left - right) / width,
        (height - bottom - top) / height,
    )


def _limits(curves: Sequence[PlottedCurve], logarithmic: bool) -> tuple[float, float, float, float]:
    """(least rate, most rate, least quality, most quality) of what is shown.

    Shown is the range of rates of ours and a little more, with all that others do there.
    """
    first = min(curves, key=lambda curve: curve.number)
    most = BEYOND_OURS * max(rate for rate, _ in first.points)
    shown = [list(_inside(curve.points, most)) for curve in curves]
    points = [point for part in shown for point in part]
    least = 0.9 * min(rate for rate, _ in points) if logarithmic else 0.0
    qualities = [value for _, value in points]
    margin = 0.04 * (max(qualities) - min(qualities)) or 1.0
    return least, most, min(qualities) - margin, max(qualities) + margin


def _inside(points: Points, most: float) -> Iterator[tuple[float, float]]:
    """The part of a curve up to a rate, and where it crosses it."""
    ordered = sorted(points)
    yield from (point for point in ordered if point[0] <= most)
    rates, values = zip(*ordered, strict=True)
    if rates[0] < most < rates[-1]:
        yield most, float(np.interp(most, rates, values))


def _prepare(
    axes: Axes, limits: tuple[float, float, float, float], title: str, logarithmic: bool
) -> None:
    least, most, low, high = limits
    axes.set_xlim(least, most)
    axes.set_ylim(low, high)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(least, most)
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


def _label(axes: Axes, curves: Sequence[PlottedCurve], most: float) -> None:
    """Names at the right of the axes, each joined to the end of its curve."""
    ends = [list(_inside(curve.points, most))[-1] for curve in curves]
    places = axes.transData.transform(ends)  # in units of the drawing
    order = sorted(range(len(curves)), key=lambda number: float(places[number][1]))
    heights = spread([float(places[number][1]) for number in order], LABEL_GAP)
    start, end = axes.bbox.x1 + 16, axes.bbox.x1 + 44
    free: dict[str, Any] = {"transform": None, "clip_on": False}
    for number, height in zip(order, heights, strict=True):
        curve, (x, y) = curves[number], places[number]
        style = curve.style | free
        axes.plot([x, start], [y, height], color=style["color"], linewidth=0.7, zorder=1, **free)
        axes.plot([start, end], [height, height], **style | {"marker": ""})
        axes.plot([(start + end) / 2], [height], **style)
        axes.annotate(
            curve.name,
            (end + 7, height),
            xycoords="figure pixels",
            annotation_clip=False,
            verticalalignment="center_baseline",
            fontweight="bold" if curve.number == 0 else "normal",
        )


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Rising positions moved as little as need be to lie a gap apart, about their mean.

    Example:
        >>> spread([0.0, 1.0, 9.0], 2.0)
        [-0.5, 1.5, 9.0]
    """
    groups: list[tuple[float, int]] = []  # (middle, how many) of labels that touch
    for position in positions:
        groups.append((position, 1))
        while len(groups) > 1:
            (one, few), (other, more) = groups[-2:]
            if other - one >= gap * (few + more) / 2:
                break
            groups[-2:] = [((one * few + other * more) / (few + more), few + more)]
    return [
        middle + gap * (index - (count - 1) / 2)
        for middle, count in groups
        for index in range(count)
    ]


def _inline(svg: str, names: Sequence[str], summary: str, style: str, prefix: str) -> Markup:
    """An SVG file of matplotlib as an element of the page, all ids made its own by a prefix."""
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
