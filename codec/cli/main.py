"""The command group: commands are imported when they are asked for, errors become one line."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from codec.cli import interruption
from codec.cli.options import SUFFIX, message_of
from codec.cli.terminal import open_closed_streams, silence, tell, telling
from codec.errors import CodecError, one_line
from codec.picture.formats import INPUT_SUFFIXES, OUTPUT_SUFFIXES

COMMANDS = {
    "compress": ("codec.cli.coding", "compress"),
    "decompress": ("codec.cli.coding", "decompress"),
    "info": ("codec.cli.inspection", "info"),
    "models": ("codec.cli.inspection", "models"),
    "view": ("codec.cli.web", "view"),
    "web": ("codec.cli.web", "web"),
    "register": ("codec.cli.desktop", "register"),
    "evaluate": ("codec.cli.evaluate", "evaluate"),
    "train": ("codec.cli.train", "train"),
}
INTERRUPTED = 130
COLLECT_AFTER = 50_000
"""Objects after which Python looks for garbage; 700 or 2000 by default."""
PICTURES = INPUT_SUFFIXES | OUTPUT_SUFFIXES.keys() | {SUFFIX}

EPILOG = """\b
Exit status:
  0    done
  1    the input or output failed
  2    wrong usage
  3    the output exists (use -f)
  4    the file is damaged, or not of this format
  5    the model is missing, damaged or another one
  130  interrupted (143 by SIGTERM)
"""


class Group(click.Group):
    """A group whose commands are imported lazily."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing:
            _check_names(args)
        return super().resolve_command(ctx, args)


def _check_names(arguments: list[str]) -> None:
    """Refuse names of pictures that would be taken for options, as by `compress *.png`.

    Raises:
        click.UsageError: there is one before `--`.
    """
    for argument in takewhile(lambda argument: argument != "--", arguments):
        looks_like_one = Path(argument).suffix.lower() in PICTURES and "=" not in argument
        if argument.startswith("-") and looks_like_one:
            raise click.UsageError(
                f"{argument} would be read as options; a name that begins with - ? "
                "write -- before the names"
            )


def _print_versions(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    from codec.evaluation.provenance import versions
    from codec.weights.released import released_models, short_id_of

    click.echo(f"vqcodec {version('vqcodec')}")
    models = ", ".join(f"{path.stem} ({short_id_of(path).hex()})" for path in released_models())
    click.echo(f"  models: {models}")
    click.echo(f"  {versions()}")
    ctx.exit()


@click.group(
    cls=Group,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "VQCODEC"},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    allow_from_autoenv=False,
    callback=_print_versions,
    help="Versions of this program, its models and the libraries that matter.",
)
def cli() -> None:
    """Learned image codec: photographs smaller than with JPEG, WebP or JPEG XL.

    \b
    vqcodec compress photo.png photo.vqc
    vqcodec decompress photo.vqc photo.png
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the documented status."""
    interruption.listen()
    # The exact prior's matrices are so small that a second BLAS thread hardly helps; but it goes on
    # waiting busily, on the very cores that the transforms want: with one a picture decodes in 0.8
    # of the time (768x512, two cores).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports make many objects and no garbage: looking for it as often as by default takes 3 % of
    # the time of a small picture, and looking at all of them again at the end another 4 %.
    own_process = arguments is None
    if own_process:
        gc.set_threshold(COLLECT_AFTER)
    open_closed_streams()
    try:
        result: Any = cli.main(arguments, prog_name="vqcodec", standalone_mode=False)
        status = result if isinstance(result, int) else 0
    except Exception as error:
        status = _status_of(error)
    except KeyboardInterrupt:
        status = _fail("interrupted", INTERRUPTED)
    if own_process:
        gc.freeze()
    sys.exit(status)


def _status_of(error: Exception) -> int:
    """Tell what has gone wrong; returns the exit status."""
    number = interruption.received()
    if number == signal.SIGINT or isinstance(error, click.Abort):
        return _fail("interrupted", INTERRUPTED)
    if number is not None:
        return 128 + number
    if isinstance(error, CodecError):
        return _fail(message_of(error), error.exit_code)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.UsageError):
        with telling():
            error.show()
        return error.exit_code
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), error.exit_code)
    if isinstance(error, BrokenPipeError):
        silence(sys.stdout)
        return 1
    if isinstance(error, MemoryError):
        return _fail("out of memory; try a smaller picture", 1)
    if isinstance(error, OSError):
        return _fail(f"{error.filename or 'input or output'}: {error.strerror}", 1)
    raise error


def _fail(message: str, status: int) -> int:
    tell(f"vqcodec: {one_line(message)}")
    return status
