"""`vqcodec register` and its undo, with the desktop's own programs where they are installed."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from codec.cli import desktop
from codec.pillow_plugin import MIME
from tests.helpers import DATA, Run, fails

CODED = DATA / "conformance" / "photo-64x48.vqc"
NAMES = (
    "mime/packages/vqcodec.xml",
    "thumbnailers/vqcodec.thumbnailer",
    "applications/vqcodec.desktop",
)

pytestmark = pytest.mark.skipif(
    sys.platform in ("win32", "darwin"), reason="no desktop of freedesktop.org"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user's data"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def section(path: Path, name: str) -> dict[str, str]:
    """Keys of a section of a key file."""
    parser = configparser.RawConfigParser(delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return dict(parser[name])


def test_writes_and_removes_its_files(home: Path, run: Run) -> None:
    status, out, err = run("register")
    assert (status, err) == (0, "")
    for name in NAMES:
        assert f"{home / name} written" in out
        assert (home / name).is_file()
    before = {name: (home / name).read_bytes() for name in NAMES}
    assert run("register")[0] == 0
    assert before == {name: (home / name).read_bytes() for name in NAMES}
    other = home / "applications" / "other.desktop"
    other.write_text("[Desktop Entry]\n")
    status, out, _ = run("register", "--undo")
    assert status == 0
    assert not [name for name in NAMES if (home / name).exists()]
    assert other.exists()
    assert all(f"{home / name} removed" in out for name in NAMES)
    assert f"{home / NAMES[0]} is not there" in run("register", "--undo")[1]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_others_are_kept(home: Path, run: Run, name: str) -> None:
    foreign = home / name
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    fails(run("register"), 1, str(foreign), "move it away")
    assert [path for path in home.rglob("*") if path.is_file()] == [foreign]
    foreign.unlink()
    assert run("register")[0] == 0
    foreign.write_bytes(foreign.read_bytes() + b"# altered\n")
    assert f"{foreign} kept" in run("register", "--undo")[1]
    assert foreign.exists()
    foreign.unlink()
    foreign.symlink_to(home / "nowhere")
    fails(run("register"), 1, str(foreign), "move it away")


def test_nothing_is_written_where_a_folder_cannot_be_made(home: Path, run: Run) -> None:
    home.mkdir()
    (home / "applications").write_text("a file")
    fails(run("register"), 1, "applications: File exists")
    assert [path for path in home.rglob("*") if path.is_file()] == [home / "applications"]


def test_type_and_viewer(home: Path, run: Run) -> None:
    run("register")
    root = ElementTree.parse(home / NAMES[0]).getroot()
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (kind,) = root
    assert kind.attrib["type"] == desktop.MIME_TYPE == MIME
    (match,) = kind.iter(f"{space}match")
    assert match.attrib["value"].encode().decode("unicode_escape") == "\x89VQC\r\n"
    assert [glob.attrib["pattern"] for glob in kind.iter(f"{space}glob")] == ["*.vqc"]
    viewer = section(home / NAMES[2], "Desktop Entry")
    assert viewer["MimeType"] == "image/x-vqc;"
    assert viewer["Exec"] == f"{viewer['TryExec']} view %F"
    assert os.access(viewer["TryExec"], os.X_OK)


def test_names_with_special_characters(tmp_path: Path) -> None:
    """Of the folder that the program is in: both ways of quoting, undone as the desktops do."""
    command = ['/opt/a b/100%/$x "y" `z` \\/vqcodec', "-m", "codec"]
    _, thumbnailer, viewer = desktop.entries(tmp_path, command)

    def arguments(entry: desktop.Entry) -> list[str]:
        lines = dict(
            line.split("=", 1) for line in entry.content.decode().split("\n") if "=" in line
        )
        shell = "printf '%s\n' " + lines["Exec"].replace("\\\\", "\\")
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
        return done.stdout.replace("%%", "%").splitlines()

    assert arguments(viewer)[:3] == arguments(thumbnailer)[6:9] == command


def test_systems_without_such_desktops(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for system in ("win32", "darwin"):
        monkeypatch.setattr(sys, "platform", system)
        for undo in ((), ("--undo",)):
            fails(run("register", *undo), 1, "freedesktop.org")
    assert not home.exists()


def test_the_default_folder(
    home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "relative/folder"):  # which the specification says to ignore
        monkeypatch.setenv("XDG_DATA_HOME", given)
        assert desktop.data_home() == tmp_path / ".local" / "share"
    assert not home.exists()


def test_desktops_without_its_programs(
    home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, out, _ = run("register")
    assert status == 0
    assert "update-mime-database is not installed" in out
    failing = tmp_path / "update-mime-database"
    failing.write_text("#!/bin/sh\necho 'no room' >&2\nexit 3\n")
    failing.chmod(0o755)
    status, out, _ = run("register", "--undo")
    assert (status, "update-mime-database failed: no room" in out) == (0, True)


def test_the_thumbnailer_makes_thumbnails(home: Path, run: Run, tmp_path: Path) -> None:
    """Its command with what desktops put in; the output exists already and is open, as with
    tumbler."""
    run("register")
    entry = section(home / NAMES[1], "Thumbnailer Entry")
    assert entry["MimeType"] == "image/x-vqc;"
    source, target = tmp_path / "a 'photo'.vqc", tmp_path / "-.png"
    source.write_bytes(CODED.read_bytes())
    held = target.open("w+b")
    fields = {"%s": "32", "%i": str(source), "%o": str(target), "%u": source.as_uri()}
    command = [fields.get(part, part) for part in shlex.split(entry["Exec"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with held, Image.open(held) as image:
        assert (image.format, image.size) == ("PNG", (32, 24))


@needs("update-mime-database", "gio", "xdg-mime", "desktop-file-validate")
def test_desktops_know_the_files(
    home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CURRENT_DESKTOP", "X-Generic")
    run("register")
    named, unnamed, empty = tmp_path / "a.vqc", tmp_path / "unnamed", tmp_path / "empty.vqc"
    for path in (named, unnamed):
        path.write_bytes(CODED.read_bytes())
    empty.touch()

    def told(*command: str | Path) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def kind_of(path: Path) -> str:
        return told("gio", "info", "-a", "standard::content-type", path).split()[-1]

    assert [kind_of(path) for path in (named, unnamed)] == ["image/x-vqc"] * 2
    assert told("xdg-mime", "query", "filetype", named).strip() == "image/x-vqc"
    assert "vqcodec.desktop" in told("gio", "mime", "image/x-vqc")
    assert told("desktop-file-validate", home / NAMES[2]) == ""
    run("register", "--undo")
    assert kind_of(unnamed) != "image/x-vqc"
    assert "vqcodec.desktop" not in told("gio", "mime", "image/x-vqc")
