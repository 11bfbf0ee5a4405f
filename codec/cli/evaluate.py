"""`vqcodec evaluate`: real files of ours and of others, measured."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.cli import interruption
from codec.cli.options import (
    EXISTING_PATH,
    QUALITY,
    cluster_of,
    with_cluster_options,
    with_machine_options,
)
from codec.cli.terminal import progress, say, tell
from codec.errors import InputError, one_line
from codec.files import check_folder, check_target, real
from codec.limits import Limits
from codec.url import Place

if TYPE_CHECKING:
    from codec.cluster.connection import Cluster
    from codec.evaluation.measuring import Measurer, OfPicture, Plan
    from codec.evaluation.results import Evaluation

DEFAULT_PEERS = "jpeg,webp,avif-iq,avif,jpeg2000,jxl"
DEFAULT_METRICS = "psnr,ms-ssim"
EXTRA = ("bjontegaard", "jinja2", "matplotlib", "platformdirs", "pytorch_msssim", "torch")
PAGE = "index.html"
INCOMPLETE = 1


def _names(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(name for name in text.lower().split(",") if name not in ("", "none"))
    )


@click.command()
@click.argument("photos", nargs=-1, required=True, type=EXISTING_PATH)
@click.option(
    "-q",
    "--quality",
    type=QUALITY,
    multiple=True,
    help="Of ours; may be given several times.  [default: 8 over the range]",
)
@click.option(
    "--model",
    multiple=True,
    default=("photo",),
    show_default=True,
    metavar="NAME|FILE",
    help="Released model or weights file; may be given several times.",
)
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    multiple=True,
    help="Of our encoder; may be given several times.  [default: that of compress]",
)
@click.option(
    "--against",
    default=DEFAULT_PEERS,
    show_default=True,
    callback=_names,
    metavar="NAMES",
    help="Codecs to compare with, of jpeg, jpegli, webp, webp-lossless, png, avif-iq, "
    "avif-ssimulacra2, avif-ssim, avif (tuned for PSNR), jpeg2000, jxl, cjxl, avifenc; or none.",
)
@click.option(
    "--metrics",
    default=DEFAULT_METRICS,
    show_default=True,
    callback=_names,
    metavar="NAMES",
    help="Metrics, of psnr, ms-ssim, ssimulacra2, butteraugli, lpips, cvvdp, guards; or all that "
    "are installed. PSNR is always measured.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write a page with curves, tables and pictures to DIR/index.html.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the curves of the first of --metrics as SVG.",
)
@click.option(
    "--gallery",
    type=click.IntRange(min=0),
    default=6,
    show_default=True,
    help="Pictures that the page shows.",
)
@click.option(
    "--gallery-bpp",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Bits per pixel of each of them.  [default: the quality whose mean is next to 0.3]",
)
@click.option(
    "--published",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Curves to show beside, as JSON; those of the 24 Kodak pictures are built in.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where measurements are kept, by content.  [default: the user's cache folder]",
)
@click.option("--fresh", is_flag=True, help="Measure anew what has been measured before.")
@click.option("--frame", type=click.IntRange(min=0), help="Of animations, counted from 0.")
@click.option("--to-8bit", is_flag=True, help="Accept pictures of 16 bits, cut to 8.")
@with_cluster_options
@with_machine_options
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing page or figure.")
@click.option("--json", is_flag=True, help="All measurements as JSON on stdout.")
@click.option("-Q", "--quiet", is_flag=True, help="No progress.")
def evaluate(**options: Any) -> int:
    """Measure rate and distortion on PHOTOS (files and folders of pictures).

    Every picture is compressed to a whole file and decompressed from it, by ours and by the
    codecs it is compared with. Tables go to standard output: means over the pictures, BD-rates
    (negative: ours needs fewer bits) of mean curves and by picture, worst pictures, and file sizes
    beside what the model says. A run that was cut off goes on where it ended: measurements are kept
    and looked up by content.
    """
    _check_extra()
    from PIL import Image

    from codec.evaluation.instruments import PSNR, find_instruments, metrics_of
    from codec.evaluation.measuring import evaluate as run
    from codec.evaluation.published import curves_beside, published_curves
    from codec.evaluation.subjects import find_pictures, printable

    Image.MAX_IMAGE_PIXELS = None  # --max-pixels is the limit here
    report: Path | None = options["report"]
    figure: Path | None = options["figure"]
    if report:
        check_folder(report)
        if figure and real(figure) == real(report / PAGE):
            raise click.UsageError(f"--figure {figure} would be the page; name another file")
        if report.is_dir():
            check_target(report / PAGE, options["force"])
    if figure and not _will_be_made(figure.parent, report):
        check_target(figure, options["force"])
    file: Path | None = options["published"]
    published = published_curves(file) if file else None
    absent = find_instruments(options["metrics"])[1]
    cluster = cluster_of(options)
    plan = _plan(options, find_pictures(options["photos"]))
    measurer = _measurer(options)
    command = printable(shlex.join(["vqcodec", *sys.argv[1:]]))
    interruption.check()
    with progress("measuring", not options["quiet"]) as show:
        elsewhere = _on_cluster(options, plan, cluster) if cluster else None
        evaluation = run(plan, measurer, command, show, elsewhere)
    if measurer.problem:
        tell(f"vqcodec: measurements are not kept: {measurer.problem}")
    if not evaluation.measurements:
        reasons = "; ".join(_reasons(evaluation, plan))
        raise InputError(f"nothing could be measured ({reasons})")
    evaluation = dataclasses.replace(evaluation, published=curves_beside(evaluation, published))
    if report:
        from codec.evaluation.report import gallery_of, write_report

        with progress("measuring", not options["quiet"]) as show:
            rate: float | None = options["gallery_bpp"]
            gallery = gallery_of(evaluation, plan, options["gallery"], show, rate)
            path = write_report(report, evaluation, gallery, options["force"])
        if not options["quiet"]:
            tell(str(path))
    if figure:
        from codec.evaluation.report import write_figure

        first = [name for name in options["metrics"][:1] if name != "all"]
        metric = next(iter(metrics_of(first)), PSNR)
        write_figure(figure, evaluation, metric, options["force"])
    for name, reason in absent.items():
        tell(f"vqcodec: {name} is not measured: {reason}")
    _print(evaluation, options["json"])  # last: it may be that nobody takes it
    return _warn(evaluation, plan)


def _will_be_made(folder: Path, report: Path | None) -> bool:
    """Whether a folder is that of the report, which is made when it is written."""
    return report is not None and not folder.exists() and real(folder) == real(report)


def _check_extra() -> None:
    """Refuse early if a library of the extra is missing."""
    absent = [name for name in EXTRA if not find_spec(name)]
    if absent:
        libraries = ", ".join(absent)
        raise InputError(f"{libraries} not installed; pip install 'vqcodec[evaluate]'")


class MeasurePicture:
    """The measurement of a picture in a worker, which keeps what it has loaded."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    @cached_property
    def _plan(self) -> Plan:
        return _plan(self._options, {})

    @cached_property
    def _measurer(self) -> Measurer:
        return _measurer(self._options)

    def __call__(self, picture: tuple[str, Place]) -> OfPicture:
        from PIL import Image

        from codec.evaluation.measuring import measure_picture

        Image.MAX_IMAGE_PIXELS = None
        plan = dataclasses.replace(self._plan, pictures=dict([picture]))
        return measure_picture(plan, self._measurer, picture[0])


def _on_cluster(
    options: dict[str, Any], plan: Plan, cluster: Cluster
) -> Iterator[tuple[str, OfPicture]]:
    from codec.cluster.execution import Lost, run
    from codec.evaluation.measuring import OfPicture

    for (name, _), result in run(MeasurePicture(options), list(plan.pictures.items()), cluster):
        yield name, OfPicture(failed=result.reason) if isinstance(result, Lost) else result


def _measurer(options: dict[str, Any]) -> Measurer:
    from codec.evaluation.instruments import find_instruments
    from codec.evaluation.measuring import Measurer

    instruments, _ = find_instruments(options["metrics"])
    folder = options["cache"] or _user_cache()
    return Measurer(folder, options["fresh"], instruments=instruments)


def _plan(options: dict[str, Any], pictures: Mapping[str, Place]) -> Plan:
    from codec.codec import Codec
    from codec.encoder.options import DEFAULT_EFFORT
    from codec.evaluation.measuring import Plan
    from codec.evaluation.ours import ModelCoder
    from codec.evaluation.peers import find_peers
    from codec.evaluation.subjects import Reading

    limits = Limits(options["max_pixels"], options["max_memory"])
    peers, missing = find_peers(options["against"])
    loaded = [
        Codec(
            model,
            options["device"],
            options["precision"],
            limits,
            engine=options["engine"],
        )
        for model in dict.fromkeys(options["model"])
    ]
    codecs = list({codec.weights.short_id: codec for codec in loaded}.values())
    efforts = dict.fromkeys(options["effort"] or (DEFAULT_EFFORT,))
    ours = [ModelCoder(codec, effort) for codec in codecs for effort in efforts]
    if len({coder.name for coder in ours}) < len(ours):
        ours = [
            ModelCoder(codec, effort, f"vqcodec {codec.weights.short_id.hex()} effort {effort}")
            for codec in codecs
            for effort in efforts
        ]
    qualities = tuple(sorted(set(options["quality"])))
    reading = Reading(limits, options["frame"], options["to_8bit"])
    return Plan(pictures, reading, ours, peers, missing, qualities)


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("vqcodec") / "evaluate"


def _print(evaluation: Evaluation, as_json: bool) -> None:
    from codec.evaluation.spread import spreads
    from codec.evaluation.summary import differences, our_codecs, remarks
    from codec.evaluation.tables import (
        bd_table,
        guards_table,
        points_table,
        spread_table,
        theory_table,
        worst_table,
    )

    if as_json:
        rates = [
            {"codec": ours, "against": other.name}
            | {metric.name: other.rate(metric) for metric in evaluation.metrics}
            for ours in our_codecs(evaluation)
            for other in differences(evaluation, ours)
        ]
        by_picture = [
            {"codec": spread.codec, "against": spread.against, "metric": spread.metric.name}
            | {"median": spread.median, "rates": spread.rates}
            for spread in spreads(evaluation)
        ]
        extra = {
            "bd_rates": rates,
            "bd_rates_by_picture": by_picture,
            "remarks": remarks(evaluation),
        }
        say(json.dumps(_finite(evaluation.to_dict() | extra), allow_nan=False))
        return
    say(f"{evaluation.command}\n\n{len(evaluation.pictures)} pictures; {evaluation.machine}")
    for remark in remarks(evaluation):
        say(remark)
    tables = [points_table(evaluation), bd_table(evaluation)]
    for more in (spread_table, worst_table, guards_table):
        found = more(evaluation)
        tables += [found.markdown] if found.rows else []
    for text in (*tables, theory_table(evaluation)):
        say(f"\n{text}")


def _finite(value: Any) -> Any:
    """JSON knows no infinity: the PSNR of equal pictures becomes null."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _reasons(evaluation: Evaluation, plan: Plan) -> Iterator[str]:
    """Why pictures failed, each with where it is."""
    for name, reason in evaluation.failed.items():
        yield f"{plan.pictures.get(name, name)}: {reason}"


def _warn(evaluation: Evaluation, plan: Plan) -> int:
    """Tell what is missing; returns the exit status."""
    for name, reason in evaluation.missing.items():
        tell(f"vqcodec: {name} is left out: {reason}")
    for reason in _reasons(evaluation, plan):
        tell(f"vqcodec: {one_line(reason)}")
    dishonest = [m for m in evaluation.measurements if not m.honest_size]
    for m in dishonest:
        where = f"{m.picture}, {m.codec} at {m.setting:g}"
        message = f"{where}: coded streams are {m.coding_excess:+.0f} bytes off -log2 P"
        tell(f"vqcodec: {message}")
    return INCOMPLETE if evaluation.failed or dishonest else 0
