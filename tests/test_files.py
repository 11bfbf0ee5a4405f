from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from codec.errors import InputError, OutputError, OutputExistsError
from codec.files import MAX_BYTES, open_file, write_file


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    with open_file(path, max_bytes) as file:
        return file.read()


def entries(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_file(path, b"abc", force=False)
    assert read_file(path) == b"abc"
    assert entries(tmp_path) == ["a.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_existing_targets_are_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        write_file(path, b"new", force=False)
    assert path.read_bytes() == b"precious"
    write_file(path, b"new", force=True)
    assert path.read_bytes() == b"new"
    assert entries(tmp_path) == ["a.bin"]


def test_permissions_are_those_of_any_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask belongs to the whole process, so that no thread may change it for a moment."""
    before = os.umask(0o027)

    def changed(mask: int) -> int:
        raise AssertionError

    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", changed)
            write_file(tmp_path / "a.bin", b"abc", force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640


def test_a_symbolic_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"victim")
    link.symlink_to(victim)
    with pytest.raises(OutputExistsError):
        write_file(link, b"new", force=False)
    write_file(link, b"new", force=True)
    assert victim.read_bytes() == b"victim"
    assert not link.is_symlink()


def test_impossible_targets(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_file(tmp_path / "no" / "a.bin", b"", force=False)
    with pytest.raises(OutputError, match="is a folder"):
        write_file(tmp_path, b"", force=True)


def test_pipes_and_devices_are_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"  # as /dev/stdout is one
    link.symlink_to(pipe)
    for target in (pipe, link, Path("/dev/null")):
        with pytest.raises(OutputError, match="no regular file"):
            write_file(target, b"abc", force=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.readlink() == pipe
    assert entries(tmp_path) == ["link", "pipe"]


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_file(path, b"new", force=True)
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["a.bin"]


def test_writers_of_one_target_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    contents = [bytes([i]) * 50_000 for i in range(8)]
    writers = [threading.Thread(target=write_file, args=(path, data, True)) for data in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert entries(tmp_path) == ["a.bin"]


def test_unreadable_inputs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_file(tmp_path / "none")
    with pytest.raises(InputError, match="folder"):
        read_file(tmp_path)
    path = tmp_path / "long"
    path.write_bytes(bytes(100))
    with pytest.raises(InputError, match="longer"):
        read_file(path, max_bytes=99)


def test_closed_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(InputError, match="closed"):
        open_file(Path("-"))
    with pytest.raises(OutputError, match="closed"):
        write_file(Path("-"), b"abc", force=False)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EINVAL])
def test_disks_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.bin"
    write_file(path, b"abc", force=False)
    assert path.read_bytes() == b"abc"
    assert entries(tmp_path) == ["a.bin"]
    with pytest.raises(OutputExistsError):
        write_file(path, b"new", force=False)

    def fail(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="cannot be written"):
        write_file(tmp_path / "b.bin", b"abc", force=False)
    assert entries(tmp_path) == ["a.bin"]
