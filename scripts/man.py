"""Manual pages of all commands, from their help.

python scripts/man.py FOLDER
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import click
from click_man.core import write_man_pages

from codec.cli.main import cli


def main(folder: Path) -> None:
    """Write one page per command."""
    folder.mkdir(parents=True, exist_ok=True)
    context = click.Context(cli)
    for name in cli.list_commands(context):  # which are otherwise imported only when they run
        if command := cli.get_command(context, name):
            cli.add_command(command, name)
    write_man_pages("vqcodec", cli, version=version("vqcodec"), target_dir=str(folder))
    print(*sorted(str(page) for page in folder.glob("*.1")), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/man.py FOLDER")
    main(Path(sys.argv[1]))
