"""Options that commands share, and their value types."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from codec.errors import CodecError, InputError, one_line
from codec.limits import DEFAULT_MAX_MEMORY, DEFAULT_MAX_PIXELS
from codec.tiles import check_tile_size
from codec.url import Place, Url, place_of

if TYPE_CHECKING:
    from codec.cluster.connection import Cluster


class PlaceType(click.ParamType[Place]):
    """Paths and URLs. An unreadable file is an error of its own job, not of the command line.

    Args:
        exists: whether a path must exist; what a URL names is seen when it is opened.
    """

    name = "path"

    def __init__(self, exists: bool = False) -> None:
        self._exists = exists

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        if isinstance(value, Path | Url):
            return value
        text = os.fsdecode(value)
        try:
            place = place_of(text)
        except InputError as error:
            self.fail(str(error), param, ctx)
        if not isinstance(place, Path):
            return place
        if self._exists and not os.path.lexists(place):
            raise InputError(f"{text}: no such file or folder")
        if isinstance(param, click.Argument) and text.endswith(SEPARATORS) and not place.is_dir():
            self.fail(f"{text}: no such folder", param, ctx)
        return place

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return click.Path().shell_complete(ctx, param, incomplete)


PATH = PlaceType()
EXISTING_PATH = PlaceType(exists=True)
SUFFIX = ".vqc"
SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
"""What the name of a folder may end in."""
F = TypeVar("F", bound=Callable[..., Any])

FLAGS = {
    "effort": "--effort",
    "engine": "--engine",
    "force": "-f",
    "frame": "--frame",
    "keep": "--keep",
    "max_memory": "--max-memory",
    "max_pixels": "--max-pixels",
    "level_map": "--map",
    "lossless": "--lossless",
    "model": "--model",
    "scale": "--scale",
    "to_8bit": "--to-8bit",
}
"""Flags by the argument of the API that an error names in its `field`."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


class FiniteRange(click.FloatRange):
    """A range of numbers without `nan` and `inf`, which compare with nothing or end nowhere."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number that can be used", param, ctx)
        return number


QUALITY = FiniteRange(0, 100)
POSITIVE = FiniteRange(min=0, min_open=True)


class Bytes(click.ParamType[int]):
    """A number of bytes with an optional unit: k, M, G (powers of 1000), Ki, Mi, Gi (1024)."""

    name = "BYTES"

    def __init__(self, minimum: int = 0) -> None:
        self._minimum = minimum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?)b?", str(value).strip().lower())
        if not match or match[2] not in _UNITS:
            self.fail(f"{value!r} is no number of bytes; examples: 50000, 50k, 1.5G, 800Mi")
        count = float(match[1]) * _UNITS[match[2]]
        if not math.isfinite(count):
            self.fail(f"{value} is no number that can be used", param, ctx)
        if count < self._minimum:
            self.fail(f"{value} is less than {self._minimum}", param, ctx)
        return int(count)


class TileSize(click.ParamType[int]):
    """Side of tiles in pixels, or 0."""

    name = "PIXELS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        side = click.INT.convert(value, param, ctx)
        try:
            check_tile_size(side)
        except InputError as error:
            self.fail(message_of(error), param, ctx)
        return int(side)


class Region(click.ParamType[tuple[int, int, int, int]]):
    """X,Y,W,H in pixels."""

    name = "X,Y,W,H"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"\d{1,9}(,\d{1,9}){3}", str(value)):
            self.fail(f"{value!r} is no region; give X,Y,W,H in pixels, such as 100,50,640,480")
        left, top, width, height = map(int, str(value).split(","))
        return left, top, width, height


class Kinds(click.ParamType[tuple[str, ...]]):
    """Names of metadata, separated by commas."""

    name = "icc,exif,xmp"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        kinds = tuple(part for part in str(value).lower().split(",") if part)
        unknown = set(kinds) - {"icc", "exif", "xmp"}
        if unknown:
            self.fail(f"unknown metadata {', '.join(sorted(unknown))}; known: icc, exif, xmp")
        return kinds


model_option = click.option("--model", metavar="NAME|FILE", help="Released model or weights file.")
_DEVICE = [
    click.option(
        "--engine",
        type=click.Choice(["auto", "onnx", "torch"]),
        default="auto",
        show_default=True,
        help="What runs the transforms; auto: ONNX Runtime unless PyTorch is needed.",
    ),
    click.option("--device", default="cpu", show_default=True, help="Device of the transforms."),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the transforms; never affects whether a file decodes.",
    ),
]
max_memory_option = click.option(
    "--max-memory",
    type=Bytes(),
    default=DEFAULT_MAX_MEMORY,
    show_default=f"{DEFAULT_MAX_MEMORY >> 30}Gi",
    help="Refuse what would need more, for each of the jobs.",
)
_LIMITS = [
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=DEFAULT_MAX_PIXELS,
        show_default=True,
        help="Refuse larger pictures.",
    ),
    max_memory_option,
]
_CLUSTER = [
    click.option(
        "--cluster",
        metavar="ADDRESS|local",
        help="Work on a Ray cluster, or on one that is started here; -j is then the number of "
        "workers, by default as many as there is room for.",
    ),
    click.option(
        "--cluster-cpus",
        type=POSITIVE,
        default=1.0,
        show_default=True,
        help="Processors that a worker takes.",
    ),
    click.option(
        "--cluster-gpus",
        type=POSITIVE,
        help="Share of a GPU that a worker takes.  [default: 1 with --device cuda]",
    ),
]
_JOBS = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Files in work at once, each in a process with its share of the CPU's threads.",
)
_WORKERS = click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=1, help="Workers of the cluster."
)
_SHARED = [
    click.option(
        "-d", "--output-dir", type=PATH, metavar="DIR", help="Write into DIR; any number of IN."
    ),
    click.option("-r", "--recursive", is_flag=True, help="Search folders; keep their sub-trees."),
    click.option("-f", "--force", is_flag=True, help="Overwrite existing output."),
    click.option("--skip-existing", is_flag=True, help="Leave out what has its output already."),
    click.option("-n", "--dry-run", is_flag=True, help="Tell what would be done, write nothing."),
    click.option("--preserve", is_flag=True, help="Give the output the times of the input."),
    _JOBS,
    *_CLUSTER,
    model_option,
    *_DEVICE,
    *_LIMITS,
    click.option("--json", is_flag=True, help="A JSON line per file on stdout."),
    click.option("-Q", "--quiet", is_flag=True, help="Print nothing but errors."),
]


def message_of(error: CodecError) -> str:
    """An error in one line, in which the argument that would help is called by its flag."""
    message = one_line(str(error))
    if error.field is None or error.field not in FLAGS:
        return message
    flag = FLAGS[error.field]
    start = message.removesuffix(error.field)
    return f"{message}; see {flag}" if start == message else start + flag


def only_one(options: dict[str, Any], flags: Mapping[str, str]) -> dict[str, Any]:
    """Options without those that gave way to another.

    One of the command line goes before what an environment variable prefers.

    Args:
        options: of the present command.
        flags: by their names those that exclude each other, as they are typed.

    Raises:
        click.UsageError: several were typed, or several are preferred and none was typed.
    """
    context = click.get_current_context()
    given = [name for name in flags if options[name] is not None and options[name] is not False]
    typed = [n for n in given if context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    chosen = typed or given
    if len(chosen) > 1:
        raise click.UsageError(f"give {' or '.join(flags[name] for name in chosen)}, not both")
    dropped = set(given) - set(chosen)
    return options | {name: False if options[name] is True else None for name in dropped}


def cluster_of(options: dict[str, Any]) -> Cluster | None:
    """The cluster that options name, if they name one.

    Raises:
        click.UsageError: there is no folder for its outputs.
    """
    if options["cluster"] is None:
        return None
    if options.get("output_dir", "") is None:
        raise click.UsageError("--cluster needs -d DIR to write to")
    from codec.cluster.connection import Cluster

    source = click.get_current_context().get_parameter_source("jobs")
    workers = None if source is ParameterSource.DEFAULT else options["jobs"]
    gpus = options["cluster_gpus"] or float(options["device"].startswith("cuda"))
    return Cluster(options["cluster"], workers, options["cluster_cpus"], gpus)


def with_shared_options(command: F) -> F:
    """Add the options that `compress` and `decompress` share."""
    return _with(_SHARED, command)


def with_cluster_options(command: F) -> F:
    """Add the options on a cluster."""
    return _with([_WORKERS, *_CLUSTER], command)


def with_machine_options(command: F) -> F:
    """Add the options on device and limits."""
    return _with([*_DEVICE, *_LIMITS], command)


def _with(options: Sequence[Callable[[F], F]], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command
