"""`vqcodec register`: what tells a freedesktop.org desktop about .vqc files."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import click

from codec.cli.terminal import say
from codec.errors import InputError, OutputError
from codec.files import check_target, make_folder, write_file
from codec.format.header import MAGIC

MIME_TYPE = "image/x-vqc"
MARK = "Written by `vqcodec register`, which removes it too. SHA-256 of the rest: "
"""Begins the first line of each file, in a comment."""
THUMBNAIL = 'i=$1 o=$2; shift 2; exec "$@" --quiet --format png --size "$0" -- "$i" - >"$o"'
"""Shell script; its arguments are the size, the file, the thumbnail, and our command. Desktops may
hold the thumbnail's file open: it must be written into, not replaced."""
NOT_HERE = (
    "registers with the desktops of freedesktop.org (Linux, BSD), which are not on this system"
)
SANDBOXED = Path("/usr")
"""The only programs that GNOME's sandbox for thumbnailers contains lie below it."""


@dataclass(frozen=True)
class Entry:
    """A file that tells a desktop about a type of files."""

    path: Path
    content: bytes
    """Without the comment that begins it."""
    comment: tuple[str, str]
    """What a comment begins and ends with."""

    @property
    def marked(self) -> bytes:
        """The file, which says who wrote it."""
        return _marked(self.content, self.comment)

    def is_ours(self) -> bool:
        """Whether the file is one that was written here, of any version, and never altered."""
        data = self.path.read_bytes()
        _, _, content = data.partition(b"\n")
        return data == _marked(content, self.comment)


def _marked(content: bytes, comment: tuple[str, str]) -> bytes:
    begin, end = comment
    return f"{begin}{MARK}{hashlib.sha256(content).hexdigest()}{end}\n".encode() + content


def data_home() -> Path:
    """Folder of the user's data files.

    Raises:
        InputError: the system has no such desktops.
    """
    if sys.platform in ("win32", "darwin", "cygwin"):
        raise InputError(NOT_HERE)
    given = Path(os.environ.get("XDG_DATA_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".local" / "share"


def program() -> list[str]:
    """Command line that runs this program from anywhere."""
    script = Path(sysconfig.get_path("scripts"), "vqcodec")
    if os.access(script, os.X_OK):
        return [str(script)]
    return [sys.executable, "-m", "codec"]


def entries(home: Path, command: list[str]) -> list[Entry]:
    """The files below a user's folder of data.

    Args:
        home: that folder.
        command: that runs this program.
    """
    magic = "".join(f"\\x{byte:02x}" for byte in MAGIC)
    mime = f"""<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MIME_TYPE}">
    <comment>vqcodec image</comment>
    <generic-icon name="image-x-generic"/>
    <magic priority="60">
      <match type="string" offset="0" value="{magic}"/>
    </magic>
    <glob pattern="*.vqc"/>
  </mime-type>
</mime-info>
"""
    parts = [*(shlex.quote(part).replace("%", "%%") for part in command), "decompress"]
    thumbnailer = f"""[Thumbnailer Entry]
TryExec={_escaped(command[0])}
Exec={_escaped(f"sh -c {shlex.quote(THUMBNAIL)} %s %i %o {' '.join(parts)}")}
MimeType={MIME_TYPE};
"""
    viewer = f"""[Desktop Entry]
Type=Application
Name=vqcodec
GenericName=Image Viewer
Comment=Show vqcodec images in the browser
TryExec={_escaped(command[0])}
Exec={" ".join(map(_quoted, command))} view %F
Icon=image-x-generic
MimeType={MIME_TYPE};
Categories=Graphics;Viewer;
NoDisplay=true
Terminal=false
"""
    line = ("# ", "")
    return [
        Entry(home / "mime" / "packages" / "vqcodec.xml", mime.encode(), ("<!-- ", " -->")),
        Entry(home / "thumbnailers" / "vqcodec.thumbnailer", thumbnailer.encode(), line),
        Entry(home / "applications" / "vqcodec.desktop", viewer.encode(), line),
    ]


def _escaped(value: str) -> str:
    """A string as values of desktop entries are written."""
    return value.replace("\\", "\\\\")


def _quoted(argument: str) -> str:
    """An argument of the key Exec of a desktop entry."""
    quoted = re.sub(r'(["`$\\])', r"\\\1", argument.replace("%", "%%"))
    return _escaped(f'"{quoted}"' if re.search(r"[^\w@%+=:,./-]", quoted) else quoted)


@click.command()
@click.option("--undo", is_flag=True, help="Remove what was written.")
def register(undo: bool) -> None:
    """Show .vqc files on the desktop of this user.

    Writes a MIME type, a thumbnailer and a viewer below XDG_DATA_HOME (~/.local/share), for
    desktops that follow freedesktop.org, and tells which files. Files of others are never
    overwritten.
    """
    for line in remove_entries() if undo else write_entries():
        say(line)


def write_entries() -> list[str]:
    """Write the files and tell the desktop; gives lines on what was done.

    Nothing is written where one of them cannot be, as far as that is seen before.

    Raises:
        InputError: the system has no such desktops.
        OutputError: one of the files is there already and was not written here, or cannot be
            written.
    """
    home, command = data_home(), program()
    planned = entries(home, command)
    for entry in planned:
        if os.path.lexists(entry.path) and not (entry.path.is_file() and entry.is_ours()):
            raise OutputError(
                f"{entry.path}: exists, and was not written by this command or was altered; "
                "move it away"
            )
    for entry in planned:
        make_folder(entry.path.parent)
        check_target(entry.path, force=True)
    for entry in planned:
        write_file(entry.path, entry.marked, force=True)
    lines = [f"{entry.path} written" for entry in planned]
    lines += _update(home)
    if not Path(command[0]).resolve().is_relative_to(SANDBOXED):
        lines.append(
            f"GNOME's thumbnailers see only {SANDBOXED}, and {command[0]} lies elsewhere: Files of "
            "GNOME may show no thumbnails"
        )
    return lines


def remove_entries() -> list[str]:
    """Remove what `write_entries` wrote, and tell the desktop; gives lines on what was done.

    Raises:
        InputError: the system has no such desktops.
        OutputError: a file cannot be removed.
    """
    home = data_home()
    lines = []
    for entry in entries(home, program()):
        if not entry.path.is_file():
            lines.append(f"{entry.path} is not there")
        elif not entry.is_ours():
            lines.append(f"{entry.path} kept: not written by this command, or altered")
        else:
            try:
                entry.path.unlink()
            except OSError as error:
                raise OutputError(f"{entry.path}: {error.strerror}") from error
            lines.append(f"{entry.path} removed")
    return lines + _update(home)


def _update(home: Path) -> list[str]:
    """Let the desktop's own programs read the folders again, where there are such."""
    lines = []
    for name, folder in (
        ("update-mime-database", home / "mime"),
        ("update-desktop-database", home / "applications"),
    ):
        if not folder.is_dir():
            continue
        if not (found := shutil.which(name)):
            lines.append(f"{name} is not installed; desktops may need a new log-in")
            continue
        done = subprocess.run([found, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            lines.append(f"{name} failed: {reason}")
    return lines
