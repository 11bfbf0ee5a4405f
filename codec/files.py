"""Reading whole files and writing them whole or not at all."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from pathlib import Path

from codec.errors import InputError, OutputError, OutputExistsError

STANDARD = Path("-")
"""Stands for standard input or output."""


def read_file(path: Path, max_bytes: int = 1 << 30) -> bytes:
    """Contents of a file, or of standard input for `-`.

    Raises:
        InputError: the file is missing, a folder, unreadable or longer than `max_bytes`.
    """
    try:
        if path == STANDARD:
            data = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with path.open("rb") as file:
                data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name a file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > max_bytes:
        raise InputError(f"{path}: longer than {max_bytes} bytes")
    return data


def check_target(path: Path, force: bool) -> None:
    """Fail early if a target cannot be written, before any work is done.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        OutputError: it is a folder, or its folder does not exist.
    """
    if path == STANDARD:
        return
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist")
    if not force and (path.exists() or path.is_symlink()):
        raise OutputExistsError(f"{path}: exists already; overwrite it with -f")


def write_file(path: Path, data: bytes, force: bool) -> None:
    """Write a file whole or not at all, or to standard output for `-`.

    The data goes to a temporary file beside the target, which then takes its name; a
    symbolic link is replaced, not followed. Without `force` an existing target is left
    alone even if it appeared in the meantime.

    Raises:
        OutputExistsError, OutputError: as `check_target`, or the disk refuses.
    """
    if path == STANDARD:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"standard output cannot be written ({error.strerror})") from error
        return
    check_target(path, force)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        if force:
            Path(name).replace(path)
        else:
            _rename_to_new(name, path)
    except FileExistsError as error:
        raise OutputExistsError(f"{path}: exists already; overwrite it with -f") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _rename_to_new(name: str, path: Path) -> None:
    """Give a file a name that must not exist yet."""
    try:
        os.link(name, path)  # unlike a rename, fails if the target exists
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # No hard links here (FAT, some network disks): claim the name, then rename onto it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        Path(name).replace(path)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
