"""What a user's folders, links, names and preferences can hold out of the ordinary."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from codec.limits import DEFAULT_MAX_MEMORY
from codec.weights.released import find_weights, short_id_of
from tests.helpers import DATA, MODEL, TINY, TINY_VQ, Run, fails, resealed

CITY = DATA / "city.png"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    with Image.open(CITY) as image:
        image.convert("RGB").crop((0, 0, 48, 32)).save(path)
    return path


@pytest.fixture
def coded(picture: Path, run: Run) -> Path:
    assert run("compress", picture, *MODEL)[0] == 0
    return picture.with_suffix(".vqc")


@pytest.mark.slow
def test_standard_streams_with_many_jobs(picture: Path) -> None:
    """A process of its own would have no standard input."""
    command = [sys.executable, "-m", "codec", "compress", "-", "-", "-j", "2", *MODEL]
    done = subprocess.run(command, input=picture.read_bytes(), capture_output=True, check=True)
    assert done.stdout.startswith(b"\x89VQC")


def test_a_bad_folder_does_not_stop_the_rest(picture: Path, run: Run) -> None:
    empty, out = picture.with_name("empty"), picture.with_name("out")
    empty.mkdir()
    for options, reason in ((["-r"], "holds no file"), ([], "use -r")):
        status, stdout, err = run(
            "compress", *options, empty, picture, "-d", out, "-f", "--json", *MODEL
        )
        assert status == 1
        assert [json.loads(line)["status"] for line in stdout.splitlines()] == ["failed", "done"]
        assert reason in err
        assert (out / "a.vqc").is_file()


@pytest.fixture
def _closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders named "closed" cannot be read, not even by root."""
    scandir = os.scandir

    def refuse(path: object = ".") -> Iterator[os.DirEntry[str]]:
        if os.path.basename(os.fspath(str(path))) == "closed":  # noqa: PTH119
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)


@pytest.mark.usefixtures("_closed")
def test_folders_that_cannot_be_read_are_told(picture: Path, run: Run) -> None:
    folder, out = picture.parent, picture.with_name("out")
    (folder / "closed").mkdir()
    status, _, err = run("compress", "-r", folder, "-d", out, *MODEL)
    assert status == 1
    assert (out / "a.vqc").is_file()
    assert f"{folder / 'closed'}: cannot be read (Permission denied)" in err
    assert "1 done, 0 skipped, 1 failed" in err
    status, _, err = run("evaluate", folder, "--against", "none", *MODEL)
    assert status == 1
    assert "closed: cannot be read" in err


def test_folders_to_write_to_are_checked_first(picture: Path, run: Run) -> None:
    for options in ([], ["-n"]):
        fails(run("compress", picture, "-d", picture, *options, *MODEL), 1, "is no folder")
        fails(run("compress", picture, "-d", picture / "b", *options, *MODEL), 1, "is no folder")


def test_links_that_go_in_circles(picture: Path, run: Run) -> None:
    loop = picture.with_name("loop")
    loop.symlink_to("loop")
    fails(run("compress", picture, loop, *MODEL), 3, "exists already")
    fails(run("compress", picture, loop / "a.vqc", *MODEL), 1, "does not exist")
    for folder in (loop, loop / "b"):
        fails(run("compress", picture, "-d", folder, *MODEL), 1, "loop: is no folder")
    fails(run("compress", loop, *MODEL), 1, "loop")


def test_folders_that_are_read_only_are_told_first(
    picture: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write to them, so that this one is made up."""
    locked = picture.with_name("locked")
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)
    for options in ([], ["-n"]):
        command = ("compress", picture, "-d", locked / "b", *options, *MODEL)
        fails(run(*command), 1, f"{locked}: cannot be written to (permission denied)")
    assert list(locked.iterdir()) == []


def test_a_folder_is_no_existing_output(picture: Path, run: Run) -> None:
    out = picture.with_name("out")
    (out / "a.vqc").mkdir(parents=True)
    fails(run("compress", picture, "-d", out, "--skip-existing", *MODEL), 1, "is a folder")


def test_names_keep_their_spaces(picture: Path, run: Run) -> None:
    fails(run("compress", picture.with_name("two  spaces.png"), *MODEL), 1, "two  spaces.png")
    fails(run("compress", picture.with_name("line\nbreak.png"), *MODEL), 1, "line break.png")


def test_names_with_line_breaks_are_told_in_one_line(picture: Path, run: Run) -> None:
    source = picture.rename(picture.with_name("a\nb.png"))
    for options in (["-n"], [], ["--skip-existing"]):
        status, _, err = run("compress", source, *options, *MODEL)
        assert status == 0
        assert len(err.splitlines()) == 1
        assert "a b.vqc" in err
    assert source.with_name("a\nb.vqc").is_file()


def test_names_as_long_as_there_can_be(picture: Path, run: Run) -> None:
    long = picture.with_name("\N{GRINNING FACE}" * 62 + "abc.vqc")
    assert len(os.fsencode(long.name)) == 255
    assert run("compress", picture, long, *MODEL)[0] == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files have no names here")
def test_names_of_open_files_are_refused(picture: Path) -> None:
    """With standard output in a file /dev/stdout leads to a regular file, and is a link itself."""
    link, result = picture.with_name("stdout"), picture.with_name("result")
    link.symlink_to("/proc/self/fd/1")
    for target in (link, Path("/dev/stdout")):
        with result.open("wb") as file:
            command = [sys.executable, "-m", "codec", "compress", str(picture), str(target), "-f"]
            command += MODEL
            done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1
        assert b"no regular file" in done.stderr
    assert link.is_symlink()
    assert result.read_bytes() == b""


def test_garbage_for_exif_is_left_out(picture: Path, run: Run) -> None:
    photo, coded = picture.with_name("b.jpg"), picture.with_name("b.vqc")
    with Image.open(picture) as image:
        image.save(photo, exif=b"Exif\0\0garbage")
    assert run("compress", photo, coded, *MODEL)[0] == 0
    assert json.loads(run("info", coded, "--json")[1])["metadata_bytes"] == {}


def test_pgm_is_for_grey_pictures(coded: Path, run: Run) -> None:
    target = coded.with_suffix(".pgm")
    fails(run("decompress", coded, target, *MODEL), 1, "colour", ".ppm")
    assert not target.exists()
    with Image.open(CITY) as image:
        image.convert("L").crop((0, 0, 16, 16)).save(coded.with_name("g.png"))
    assert run("compress", coded.with_name("g.png"), *MODEL)[0] == 0
    assert run("decompress", coded.with_name("g.vqc"), target, *MODEL)[0] == 0
    assert target.read_bytes().startswith(b"P5")


def test_no_more_is_read_than_there_is(coded: Path, run: Run) -> None:
    target = coded.with_name("part.png")
    out = run("decompress", coded, target, "--region", "40,3,8,8", "--json", *MODEL)[1]
    facts = json.loads(out)
    assert facts["bytes_read"] == facts["bytes"] == coded.stat().st_size


@pytest.mark.parametrize("changes", [{"level": 65535}, {"vq": True}], ids=["level", "vq"])
def test_info_knows_what_a_model_cannot_say(
    tmp_path: Path, run: Run, changes: dict[str, int]
) -> None:
    altered = tmp_path / "altered.vqc"
    released = short_id_of(find_weights("photo"))
    altered.write_bytes(resealed("city-q20", model_id=released, **changes))
    fails(run("info", "--check", altered), 4, "damaged")
    fails(run("decompress", altered, tmp_path / "b.png"), 4, "damaged")


def test_info_tells_of_every_file_in_json(coded: Path, run: Run) -> None:
    missing = coded.with_name("none.vqc")
    status, out, err = run("info", "--json", missing, coded)
    first, second = map(json.loads, out.splitlines())
    assert (status, err.count("\n")) == (1, 1)
    assert (first["file"], first["exit_code"]) == (str(missing), 1)
    assert "no such file" in first["error"]
    assert second["bytes"] == coded.stat().st_size


def preferring(
    monkeypatch: pytest.MonkeyPatch, run: Run, *arguments: object, **preferences: str
) -> tuple[int, str, str]:
    with monkeypatch.context() as patch:
        for name, value in preferences.items():
            patch.setenv(f"VQCODEC_{name}", value)
        return run(*arguments)


def test_preferences_are_named_like_options(
    picture: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bytes_with(**preferences: str) -> int:
        command = ("compress", picture, "-f", *MODEL)
        status, out, _ = preferring(monkeypatch, run, *command, COMPRESS_JSON="1", **preferences)
        assert status == 0
        return int(json.loads(out)["bytes"])

    assert bytes_with(COMPRESS_LAMBDA="0.0018") == bytes_with(COMPRESS_QUALITY="0")
    assert bytes_with(COMPRESS_LAMBDA="0.0018") < bytes_with()
    target = picture.with_name("b")
    command = ("decompress", picture.with_suffix(".vqc"), target, *MODEL)
    assert preferring(monkeypatch, run, *command, DECOMPRESS_FORMAT="webp")[0] == 0
    with Image.open(io.BytesIO(target.read_bytes())) as image:
        assert image.format == "WEBP"


def test_what_is_typed_goes_before_preferences(
    picture: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = picture.with_suffix(".vqc")
    target = ("--target-size", 400)
    command = ("compress", picture, coded, *MODEL)
    assert preferring(monkeypatch, run, *command, *target, COMPRESS_QUALITY="30")[0] == 0
    assert coded.stat().st_size <= 400
    assert preferring(monkeypatch, run, *command, "-f", COMPRESS_SKIP_EXISTING="1")[0] == 0
    both = {"COMPRESS_QUALITY": "30", "COMPRESS_TARGET_SIZE": "400"}
    status, _, err = preferring(monkeypatch, run, *command, "-f", **both)
    assert status == 2
    assert "not both" in err


def test_no_preference_asks_for_the_version(
    coded: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = preferring(monkeypatch, run, "info", coded, VERSION="1")
    assert status == 0
    assert str(coded) in out


def test_pictures_are_no_folders(picture: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "d.png").mkdir()
    cache = ("--cache", tmp_path / "cache", "--against", "none", "-q", 0, "-Q")
    status, out, _ = run("evaluate", tmp_path, *cache, "--model", TINY)
    assert status == 0
    assert out.count("1 pictures") == 1


def test_files_longer_than_the_memory_there_may_be(coded: Path, run: Run, tmp_path: Path) -> None:
    """A header of few pixels is no excuse; nothing but it is read."""
    huge = tmp_path / "huge.vqc"
    with huge.open("wb") as file:
        file.write(coded.read_bytes()[:18])
        file.truncate(600 << 20)
    options = ["--max-memory", "500Mi", *MODEL]
    fails(run("decompress", huge, tmp_path / "out.png", *options), 1, "--max-memory")
    assert run("decompress", coded, tmp_path / "out.png", *options)[0] == 0


def test_reports_that_could_not_be_written(picture: Path, run: Run, tmp_path: Path) -> None:
    """Told before anything is measured; a figure is never in the page's place."""
    options = ["-q", 20, "--against", "none", "--cache", tmp_path / "cache", *MODEL]
    fails(run("evaluate", picture, *options, "--report", picture / "x"), 1, "no folder")
    page = ["--report", tmp_path / "r", "--figure", tmp_path / "r" / "index.html"]
    status, _, err = run("evaluate", picture, *options, *page)
    assert (status, "name another file" in err) == (2, True)
    nested = tmp_path / "nested.json"
    nested.write_text("[" * 100_000)
    fails(run("evaluate", picture, *options, "--published", nested), 1, "not a list of curves")
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_a_command_of_any_bytes_is_reported(
    picture: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"dir\xfe")
    folder.mkdir()
    monkeypatch.setattr(sys, "argv", ["vqcodec", "evaluate", str(folder)])
    picture.rename(folder / "a.png")
    options = ["-q", 20, "--against", "none", "--cache", tmp_path / "cache", *MODEL]
    status, _, err = run("evaluate", folder, *options, "-Q", "--report", tmp_path / "r")
    assert (status, err) == (0, "")
    assert "vqcodec evaluate" in (tmp_path / "r" / "index.html").read_text("utf-8")


def test_another_model_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models stay loaded, but not those of another folder, or of before."""
    import codec

    picture = Image.new("RGB", (32, 32), "teal")
    ids = []
    for name, model in (("first", TINY), ("second", TINY_VQ)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "m.safetensors").write_bytes(model.read_bytes())
        monkeypatch.chdir(folder)
        ids.append(codec.compress(picture, model="m.safetensors")[14:18])
    (tmp_path / "second" / "m.safetensors").write_bytes(TINY.read_bytes())
    ids.append(codec.compress(picture, model="m.safetensors")[14:18])
    assert ids == [short_id_of(TINY), short_id_of(TINY_VQ), short_id_of(TINY)]


def test_help_tells_the_limit_that_holds(run: Run) -> None:
    _, out, _ = run("compress", "--help")
    told = re.search(r"--max-memory.{,90}\[default: \((\d+)Gi", " ".join(out.split()))
    assert told
    assert int(told[1]) << 30 == DEFAULT_MAX_MEMORY


def test_compressed_files_are_no_outputs_of_decompress(
    coded: Path, run: Run, tmp_path: Path
) -> None:
    """As of `*.vqc` that is two of them."""
    other = tmp_path / "b.vqc"
    other.write_bytes(b"mine")
    status, _, err = run("decompress", "--format", "png", "-f", coded, other, *MODEL)
    assert (status, "b.vqc looks like a compressed file" in err) == (2, True)
    assert other.read_bytes() == b"mine"


def test_no_output_is_the_input_of_another_job(coded: Path, run: Run, tmp_path: Path) -> None:
    first, second = tmp_path / "x", tmp_path / "x.png"
    for path in (first, second):
        path.write_bytes(coded.read_bytes())
    options = ("-f", "--format", "png", "-d", tmp_path)
    status, _, err = run("decompress", *options, first, second, coded, *MODEL)
    assert (status, f"would overwrite the input {second}" in err) == (2, True)
    assert second.read_bytes() == coded.read_bytes()
    same = run("decompress", f"local://{coded}", coded, "-f", *MODEL)
    assert same[0] in (1, 2)
    assert coded.read_bytes() == first.read_bytes()


def test_the_same_input_twice_is_done_once(picture: Path, run: Run, tmp_path: Path) -> None:
    again = f"{picture.parent}/../{picture.parent.name}/a.png"
    status, out, _ = run("compress", picture, again, "-d", tmp_path / "o", "--json", *MODEL)
    assert (status, out.count("\n")) == (0, 1)
    status, out, _ = run("compress", "-r", tmp_path, tmp_path, "-d", tmp_path / "p", *MODEL)
    assert status == 0


def test_paths_that_cannot_be_looked_at_do_not_stop_the_rest(
    picture: Path, run: Run, tmp_path: Path
) -> None:
    long = tmp_path / ("a" * 300 + ".png")
    status, out, err = run("compress", long, picture, "-d", tmp_path / "o", "--json", *MODEL)
    assert status == 1
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["failed", "done"]
    assert "cannot be read (File name too long)" in err


def test_an_output_that_goes_with_no_folder(picture: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "b.vqc"
    for options in (("-d", tmp_path / "o"), ("-r",)):
        status, _, err = run("compress", picture, out, *options, *MODEL)
        assert (status, "b.vqc looks like OUT" in err) == (2, True)
    assert not out.exists()


def test_a_map_may_be_preferred(
    picture: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("compress", picture, "-f", *MODEL)
    assert preferring(monkeypatch, run, *command, COMPRESS_MAP=str(picture))[0] == 0
    assert json.loads(run("info", "--json", tmp_path / "a.vqc")[1])["map_bytes"] > 0
    missing = preferring(monkeypatch, run, *command, COMPRESS_MAP=str(tmp_path / "none"))
    fails(missing, 1, "none: no such file")


@pytest.mark.parametrize("kinds", ["", ","])
def test_keeping_no_metadata(kinds: str, run: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.new("RGB", (32, 32)).save(tmp_path / "a.jpg", exif=exif)
    coded = tmp_path / "a.vqc"
    for options, count in (((), 1), (("--keep", kinds), 0)):
        assert run("compress", tmp_path / "a.jpg", "-f", *options, *MODEL)[0] == 0
        assert len(json.loads(run("info", "--json", coded)[1])["metadata_bytes"]) == count


def test_a_format_that_contradicts_the_name(
    coded: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.jpg"
    status, _, err = run("decompress", coded, out, "--format", "png", *MODEL)
    assert (status, "--format png contradicts the suffix" in err) == (2, True)
    assert not out.exists()
    command = ("decompress", coded, out, *MODEL)
    assert preferring(monkeypatch, run, *command, DECOMPRESS_FORMAT="webp")[0] == 0
    with Image.open(out) as image:
        assert image.format == "JPEG"


def test_names_that_are_none(picture: Path, run: Run, tmp_path: Path) -> None:
    for arguments in (("",), (picture, "-d", ""), ("-r", ""), (picture, "--map", "")):
        status, _, err = run("compress", *arguments, *MODEL)
        assert (status, "an empty name" in err) == (2, True)
    status, _, err = run("compress", picture, f"{tmp_path}/new/", *MODEL)
    assert (status, "new/: no such folder" in err) == (2, True)
    status, _, err = run("compress", "file://elsewhere/a.png", *MODEL)
    assert (status, "file of another machine" in err) == (2, True)
    assert not (tmp_path / "new").exists()


def test_names_without_a_code_are_escaped(coded: Path) -> None:
    odd = coded.with_name(os.fsdecode(b"b\xff\n.vqc"))
    odd.write_bytes(coded.read_bytes())
    command = [sys.executable, "-m", "codec", "info", str(odd), str(coded)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert done.stdout.count(b": vqcodec version") == 2
    assert rb"b\udcff" in done.stdout.splitlines()[0]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told on Linux")
def test_endless_input_is_refused(tmp_path: Path) -> None:
    """Of a device here; a pipe is read in the same way."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom codec.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    for command, *target in (("compress", "a.vqc"), ("decompress", "a.png"), ("info",)):
        outputs = [str(tmp_path / name) for name in target]
        options = [command, "/dev/zero", *outputs, "--max-memory", "40Mi"]
        done = subprocess.run(
            [sys.executable, "-c", code, *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "longer than 41943040 bytes; allow more with --max-memory" in done.stderr
        assert int(done.stdout) < 300 << 10  # KiB


def test_closed_output_is_told(coded: Path) -> None:
    command = f'exec "{sys.executable}" -m codec info "{coded}" >&-'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "vqcodec: standard output is closed\n")
