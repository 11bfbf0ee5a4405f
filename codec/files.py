"""Reading files, and writing them whole or not at all, on disks and in stores."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

from codec import remote
from codec.errors import InputError, OutputError, OutputExistsError, too_long
from codec.url import Place, Url

STANDARD = Path("-")
"""Stands for standard input or output."""
MAX_BYTES = 1 << 32
"""Length beyond which files are refused, where nobody says less."""
NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
"""What systems say on disks that have none, as FAT and some of networks."""
MAX_LINKS = 40
"""Links that are followed, as many as Linux follows."""

Times = tuple[int, int]
"""Access and modification time in nanoseconds."""


def open_file(path: Place, max_bytes: int = MAX_BYTES, parts: bool = False) -> BinaryIO:
    """A file open for reading and seeking; `-` and pipes are read to their end first.

    Args:
        path: the file.
        max_bytes: length beyond which it is refused.
        parts: whether only parts of it may be read; only these are fetched from a store.

    Raises:
        InputError: the file is missing, a folder or unreadable, or standard input is closed.
        LimitError: it is longer than `max_bytes`.
    """
    if isinstance(path, Url):
        return (
            remote.open_parts(path, max_bytes) if parts else BytesIO(remote.read(path, max_bytes))
        )
    try:
        if path == STANDARD:
            if sys.stdin is None:
                raise InputError("standard input is closed; name a file")
            return _slurp(sys.stdin.buffer, path, max_bytes)
        file = path.open("rb")
        if file.seekable() and path.is_file():
            if os.fstat(file.fileno()).st_size <= max_bytes:
                return file
            file.close()
            raise too_long(path, max_bytes)
        with file:
            return _slurp(file, path, max_bytes)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; name a file") from error
    except OSError as error:
        raise InputError(f"{path}: {not_read(error)}") from error


def _slurp(file: BinaryIO, path: Path, most: int) -> BytesIO:
    data = file.read(most + 1)
    if len(data) > most:
        raise too_long(path, most)
    return BytesIO(data)


def not_read(error: OSError) -> str:
    """Message for a file or folder that could not be read."""
    return f"cannot be read ({error.strerror})"


def is_folder(path: Place) -> bool:
    """Whether a path or URL names a folder.

    Raises:
        InputError: the disk or the store refuses to tell.
    """
    if isinstance(path, Url):
        return remote.kind_of(path) == "folder"
    try:
        return path.is_dir()
    except OSError as error:  # of a folder that may not be looked into, or too long a name
        raise InputError(f"{path}: {not_read(error)}") from error


def is_file(path: Place) -> bool:
    """Whether a path or URL names a file.

    Raises:
        InputError: the store refuses to tell.
    """
    return remote.kind_of(path) == "file" if isinstance(path, Url) else path.is_file()


P = TypeVar("P", Path, Url, Place)


def files_in(
    folder: P,
    suffixes: Collection[str],
    unread: list[OSError] | None = None,
    others: list[P] | None = None,
) -> Iterator[P]:
    """Files below a folder, folder by folder in order; links to folders are not followed.

    Args:
        folder: to search.
        suffixes: that count, in lower case.
        unread: gets an error for each folder that cannot be read, instead of the first being
            raised.
        others: gets the files whose suffixes do not count.

    Raises:
        InputError: a folder cannot be read, or a store refuses.
    """
    if isinstance(folder, Url):
        for url in remote.find(folder):
            if url.suffix.lower() in suffixes:
                yield url
            elif others is not None:
                others.append(url)
        return

    def failed(error: OSError) -> None:
        if unread is None:
            raise InputError(f"{error.filename}: {not_read(error)}") from error
        unread.append(error)

    for place, folders, names in os.walk(folder, onerror=failed):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in suffixes:
                if path.is_file():
                    yield path
            elif others is not None and path.is_file():
                others.append(path)


def relative(path: Place, folder: Place) -> PurePath:
    """Path from a folder to what was found in it."""
    if isinstance(path, Url):
        assert isinstance(folder, Url)
        return path.relative_to(folder)
    assert isinstance(folder, Path)
    return path.relative_to(folder)


def times_of(path: Path) -> Times:
    """Times of a file, for `write_file`.

    Raises:
        InputError: there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {not_read(error)}") from error
    return status.st_atime_ns, status.st_mtime_ns


def real(path: P) -> P:
    """Where a path leads through all links; `Path.resolve` raises if they go in circles."""
    return path if isinstance(path, Url) else Path(os.path.realpath(path))


def check_target(path: Place, force: bool) -> None:
    """Fail early if a target cannot be written, before any work is done.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        OutputError: it is a folder, a device, a pipe, an open file of a process, as /dev/stdout
            is, or a link to one, its folder does not exist, or a store refuses.
    """
    if path == STANDARD:
        return
    if isinstance(path, Url):
        remote.check_writable(path)
        kind = None if force else remote.kind_of(path, OutputError)
        if kind == "file":
            raise remote.exists_already(path)
        return
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if _is_descriptor(path) or (path.exists() and not path.is_file()):
        raise OutputError(f"{path}: is no regular file; name one, or - for standard output")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {path.parent} cannot be written to")
    if not force and (path.exists() or path.is_symlink()):
        raise OutputExistsError(f"{path}: exists already; overwrite it with force", field="force")


def _is_descriptor(path: Path) -> bool:
    """Tell whether a path leads to an open file of a process, as /dev/stdout does: a file written
    under another name and renamed would replace the link."""
    for _ in range(MAX_LINKS):
        if real(path.parent).is_relative_to("/proc"):
            return True
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return False


def check_folder(path: Place) -> None:
    """Fail early if a folder can neither be written to nor be made.

    Raises:
        OutputError: it or what it would lie in is no folder, or not to be written to.
    """
    if isinstance(path, Url):
        remote.check_writable(path)
        return
    while not os.path.lexists(path):
        path = path.parent
    if not path.is_dir():
        raise OutputError(f"{path}: is no folder; name one")
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be written to (permission denied)")


def make_folder(path: Place) -> None:
    """Make a folder and those that it lies in; stores need none.

    Raises:
        OutputError: the disk refuses.
    """
    if isinstance(path, Url):
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error


def holds(path: Place, content: bytes | Callable[[BinaryIO], None]) -> bool:
    """Whether a file has this content."""
    buffer = BytesIO()
    _write_to(buffer, content)
    with open_file(path) as file:
        return file.read() == buffer.getvalue()


def write_file(
    path: Place,
    content: bytes | Callable[[BinaryIO], None],
    force: bool,
    times: Times | None = None,
) -> None:
    """Write a file whole or not at all, or to standard output for `-`.

    The data goes to a temporary file next to the target, which then takes its name, or to a store
    as one upload; a symbolic link is replaced, not followed. Without `force` an existing target is
    left alone even if it appeared in the meantime.

    Args:
        path: the target.
        content: all bytes, or what writes them to a file.
        force: whether an existing target may be replaced.
        times: to give the file, which stores do not take; None for now.

    Raises:
        OutputExistsError, OutputError: as `check_target`, or the disk refuses.
    """
    if path == STANDARD:
        _write_standard(content)
        return
    if isinstance(path, Url):
        buffer = BytesIO()
        _write_to(buffer, content)
        remote.write(path, buffer.getvalue(), force)
        return
    check_target(path, force)
    partial = path.with_name(f".vqcodec.{os.urandom(8).hex()}")
    try:
        opened = partial.open("xb")  # with the permissions that any new file gets
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with opened as file:
            _write_to(file, content)
            file.flush()
            os.fsync(file.fileno())
        if times:
            os.utime(partial, ns=times)
        if force:
            partial.replace(path)
        else:
            _rename_to_new(partial, path)
    except FileExistsError as error:
        raise OutputExistsError(
            f"{path}: exists already; overwrite it with force", field="force"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_to(file: BinaryIO, content: bytes | Callable[[BinaryIO], None]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content)


def _write_standard(content: bytes | Callable[[BinaryIO], None]) -> None:
    if sys.stdout is None:
        raise OutputError("standard output is closed; name a file")
    buffer = BytesIO()  # whoever writes may want to seek
    _write_to(buffer, content)
    try:
        sys.stdout.buffer.write(buffer.getbuffer())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written ({error.strerror})") from error


def _rename_to_new(partial: Path, path: Path) -> None:
    """Give a file a name that must not exist yet."""
    try:
        os.link(partial, path)  # unlike a rename, fails if the target exists
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))  # claim the name, then rename onto it
        try:
            partial.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
