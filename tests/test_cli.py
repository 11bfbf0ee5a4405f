"""The command line as a user meets it: one line per failure, documented exit codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image

from codec.cli.coding import compress, decompress
from codec.cli.options import FLAGS, message_of
from codec.errors import InputError
from codec.format.directory import Tile
from codec.format.header import Header
from codec.format.writing import write
from codec.level import Level
from tests.helpers import DATA, MODEL, TINY, Run, fails, signalled_at_work


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "city.png").write_bytes((DATA / "city.png").read_bytes())
    return tmp_path


@pytest.fixture
def coded(folder: Path, run: Run) -> Path:
    target = folder / "city.vqc"
    assert run("compress", folder / "city.png", target, *MODEL)[0] == 0
    return target


def test_compress_and_decompress(folder: Path, run: Run) -> None:
    status, out, err = run("compress", folder / "city.png", "-q", 40, *MODEL)
    assert (status, out) == (0, "")
    assert "192x128" in err
    assert "bpp" in err
    assert err.count("\n") == 1
    status, out, err = run("decompress", folder / "city.vqc", folder / "back.png", *MODEL)
    assert (status, out, err.count("\n")) == (0, "", 1)
    with Image.open(folder / "back.png") as back:
        assert (back.size, back.mode) == ((192, 128), "RGB")


def test_lambda_picks_the_slope(folder: Path, run: Run) -> None:
    sizes = []
    for lmbda in (0.002, 0.15):
        run("compress", folder / "city.png", folder / "a.vqc", "--lambda", lmbda, "-f", *MODEL)
        sizes.append((folder / "a.vqc").stat().st_size)
    assert sizes[0] < sizes[1]


def test_json(folder: Path, run: Run) -> None:
    status, out, err = run("compress", folder / "city.png", "--json", *MODEL)
    facts = json.loads(out)
    assert (status, err) == (0, "")
    assert facts["bytes"] == (folder / "city.vqc").stat().st_size
    assert facts["source_bytes"] == (folder / "city.png").stat().st_size
    assert facts["larger"] is False
    assert facts["bpp"] == pytest.approx(8 * facts["bytes"] / (192 * 128))


def test_psnr_is_measured_on_demand(folder: Path, run: Run) -> None:
    command = ("compress", folder / "city.png", "-f", *MODEL)
    _, out, _ = run(*command, "--json")
    assert json.loads(out)["psnr"] is None
    assert " dB" not in run(*command)[2]
    _, out, _ = run(*command, "--json", "--measure")
    psnr = json.loads(out)["psnr"]
    assert run("decompress", folder / "city.vqc", folder / "back.png", *MODEL)[0] == 0
    with Image.open(folder / "city.png") as original, Image.open(folder / "back.png") as back:
        samples = [np.asarray(image.convert("RGB"), float) for image in (original, back)]
    assert psnr == pytest.approx(10 * np.log10(255**2 / np.square(np.subtract(*samples)).mean()))
    assert f"  {psnr:.2f} dB  " in run(*command, "--measure")[2]
    _, out, _ = run(*command, "--json", "--target-psnr", 20)
    assert json.loads(out)["psnr"] >= 20


def test_outputs_larger_than_inputs(folder: Path, run: Run) -> None:
    """A flat picture of a few bytes, which patches would make smaller."""
    rate = ("-q", 100, "--patches", "never", *MODEL)
    small = folder / "small.png"
    Image.new("1", (300, 200)).save(small)
    source = small.stat().st_size
    status, _, err = run("compress", small, *rate)
    coded = small.with_suffix(".vqc")
    size = coded.stat().st_size
    assert status == 0
    assert size > source
    assert f"  {source} -> {size} B  " in err
    assert err.endswith("larger than the input\n")
    coded.write_bytes(b"mine")
    options = (*rate, "--skip-larger")
    status, _, err = run("compress", small, "-f", *options)
    assert (status, err.endswith("larger than the input, skipped\n")) == (0, True)
    assert coded.read_bytes() == b"mine"
    pictures = (small, folder / "city.png")
    assert run("compress", small, "-f", "-q", 100, *MODEL)[0] == 0
    assert coded.stat().st_size < source
    status, out, _ = run("compress", *pictures, "-d", folder / "out", "--json", *options)
    assert status == 0
    first, second = map(json.loads, out.splitlines())
    assert (first["status"], first["larger"], first["bytes"]) == ("skipped", True, size)
    assert (second["status"], second["larger"]) == ("done", False)
    assert [path.name for path in (folder / "out").iterdir()] == ["city.vqc"]
    _, _, err = run("compress", *pictures, "-d", folder / "out", "-f", *rate)
    assert err.endswith("2 done, 0 skipped, 0 failed, 1 larger than the input\n")
    status, _, err = run("compress", small, "-", *options)
    assert (status, "standard output" in err) == (2, True)


def closing(*descriptors: int) -> Callable[[], None]:
    """What closes them in a new process before the program starts."""

    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_keep_nothing_from_being_done(folder: Path, closed: tuple[int]) -> None:
    """The last is what a daemon may have. Files must not get the descriptors of the streams."""
    (folder / "second.png").write_bytes((folder / "city.png").read_bytes())
    command: list[str | Path] = [sys.executable, "-m", "codec", "compress"]
    command += ["-r", folder, "-d", folder / "out", *MODEL]
    done = subprocess.run(command, preexec_fn=closing(*closed), check=False)
    assert done.returncode == 0
    assert {path.name for path in (folder / "out").iterdir()} == {"city.vqc", "second.vqc"}
    first = (folder / "out" / "city.vqc").read_bytes()
    assert first.startswith(b"\x89VQC")
    assert first == (folder / "out" / "second.vqc").read_bytes()


@pytest.mark.slow
def test_streams_that_cannot_be_written_to_do_not_stop_the_work(folder: Path) -> None:
    second = folder / "second.png"
    second.write_bytes((folder / "city.png").read_bytes())
    program: list[str | Path] = [sys.executable, "-m", "codec"]
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full, os.fdopen(writer, "wb", buffering=0) as broken:

        def status(*command: str | Path, **streams: IO[bytes]) -> int:
            return subprocess.run([*program, *command], check=False, **streams).returncode  # type: ignore[call-overload]

        def work(out: str, *options: str, **streams: IO[bytes]) -> int:
            pictures = (folder / "city.png", second, "-d", folder / out)
            found = status("compress", *pictures, *MODEL, *options, **streams)
            assert len(list((folder / out).iterdir())) == 2
            return found

        assert work("a", stderr=broken) == 0
        assert work("b", "--json", stdout=full) == 1  # the report is not whole
        assert work("c", "--json", stdout=broken) == 1
        for stream in (full, broken):
            assert status("info", folder / "none.vqc", stderr=stream) == 1
            assert status("info", "--nonsense", stderr=stream) == 2


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("compress", "-dash.png"),
        ("compress", "-x.JPG"),
        ("compress", "--x.webp"),
        ("decompress", "-dash.vqc"),
        ("info", "-x.vqc"),
    ],
)
def test_names_like_options_have_a_way_out(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    monkeypatch.chdir(folder)
    for names in ([name], ["city.png", name]):
        status, out, err = run(command, *names)
        assert (status, out) == (2, "")
        assert f"{name} would be read as options" in err
        assert "write -- before" in err
    assert [path.name for path in folder.iterdir()] == ["city.png"]
    fails(run(command, "--", name), 1, f"{name}: no such file")


@pytest.mark.parametrize("suffix", ["webp", "bmp", "ppm", "tiff"])
def test_output_format_follows_the_suffix(coded: Path, run: Run, suffix: str) -> None:
    target = coded.with_suffix(f".{suffix}")
    assert run("decompress", coded, target, *MODEL)[0] == 0
    with Image.open(target) as image:
        assert image.format == suffix.upper()


@pytest.mark.slow
def test_standard_input_and_output(folder: Path) -> None:
    vqcodec = [sys.executable, "-m", "codec"]
    picture = (folder / "city.png").read_bytes()
    coded = subprocess.run(
        [*vqcodec, "compress", "-", "-", "-Q", *MODEL],
        input=picture,
        capture_output=True,
        check=True,
    )
    assert coded.stdout.startswith(b"\x89VQC")
    shown = subprocess.run(
        [*vqcodec, "decompress", "-", *MODEL], input=coded.stdout, capture_output=True, check=True
    )
    assert shown.stdout.startswith(b"\x89PNG")


@pytest.mark.slow
def test_full_standard_output(coded: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "codec", "decompress", str(coded), "-", *MODEL],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    fails((done.returncode, "", done.stderr), 1, "standard output")


def test_info(coded: Path, run: Run) -> None:
    status, out, err = run("info", coded, "--json")
    facts = json.loads(out)
    assert (status, err) == (0, "")
    assert (facts["width"], facts["height"], facts["mode"]) == (192, 128, "RGB")
    assert facts["container_bytes"] <= 32
    assert facts["rounding"] == "integer"
    status, out, _ = run("info", coded)
    assert "192x128" in out
    assert facts["model_id"] in out


def test_models(run: Run) -> None:
    assert " for looks, " in run("models")[1]
    status, out, _ = run("models", "--json")
    assert status == 0
    assert "photo" in [json.loads(line)["model"] for line in out.splitlines()]


def test_bad_pictures(folder: Path, run: Run) -> None:
    target = folder / "out.vqc"
    (folder / "text.png").write_text("no picture")
    data = (folder / "city.png").read_bytes()
    (folder / "short.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").touch()
    Image.new("I;16", (4, 4)).save(folder / "deep.png")
    for name, word in {
        "none.png": "no such file",
        "text.png": "not a picture",
        "short.png": "damaged",
        "empty.png": "not a picture",
        "deep.png": "--to-8bit",
        ".": "folder",
    }.items():
        fails(run("compress", folder / name, target, *MODEL), 1, word)
        assert not target.exists()
    fails(run("compress", folder, *MODEL), 1, "folder")
    for device in ("nonsense", "meta"):
        fails(run("compress", folder / "city.png", "--device", device, *MODEL), 1, device)
    assert sorted(p.suffix for p in folder.iterdir()) == [".png"] * 5


def test_pillows_own_limit_is_not_ours(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert run("compress", folder / "city.png", *MODEL)[0] == 0


def test_what_cannot_be_read_fails_alone(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "secret.png").write_bytes((folder / "city.png").read_bytes())
    opened = Path.open

    def refuse(path: Path, *arguments: object) -> object:
        if path.name == "secret.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path).name != "secret.png")
    monkeypatch.setattr(Path, "open", refuse)
    pictures = [folder / name for name in ("secret.png", "city.png")]
    status, out, err = run("compress", *pictures, "-d", folder / "out", *MODEL)
    assert (status, out) == (1, "")
    assert err.startswith(f"vqcodec: {pictures[0]}: cannot be read (Permission denied)\n")
    assert [path.name for path in (folder / "out").iterdir()] == ["city.vqc"]


def test_bad_targets(folder: Path, run: Run) -> None:
    source = folder / "city.png"
    existing = folder / "there.vqc"
    existing.write_bytes(b"mine")
    fails(run("compress", source, existing, *MODEL), 3, "exists", "-f")
    assert existing.read_bytes() == b"mine"
    fails(run("compress", source, folder / "no" / "a.vqc", *MODEL), 1, "does not exist")
    fails(run("compress", source, folder, *MODEL), 1, "folder")
    (folder / "link.vqc").symlink_to(source)
    fails(run("compress", source, folder / "link.vqc", "-f", *MODEL), 1, "same file")
    assert run("compress", source, folder / "path.png", "-f", *MODEL)[0] == 2
    fails(run("compress", source, "/proc/a.vqc", *MODEL), 1, "/proc/a.vqc")
    fails(run("compress", source, folder / ("x" * 300), *MODEL), 1, "too long")
    assert run("compress", source, existing, "-f", *MODEL)[0] == 0
    assert existing.read_bytes() != b"mine"


def test_bad_files(coded: Path, run: Run) -> None:
    target = coded.with_name("out.png")
    data = coded.read_bytes()
    flipped = bytearray(data)
    flipped[30] ^= 1
    for content, word in {
        b"": "empty",
        b"some text that is no coded file": "not a vqcodec file",
        (DATA / "city.png").read_bytes(): "not a vqcodec file",
        data[:-1]: "damaged",
        data[:10]: "truncated",
        data + b"x": "damaged",
        bytes(flipped): "damaged",
        data[:6] + b"\7" + data[7:]: "version 7",
    }.items():
        bad = coded.with_name("bad.vqc")
        bad.write_bytes(content)
        fails(run("decompress", bad, target, *MODEL), 4, "bad.vqc", word)
        fails(run("info", bad), 4, "bad.vqc", word)
        assert not target.exists()
    fails(run("decompress", coded.with_name("none.vqc"), target), 1, "no such file")


def test_wrong_models(coded: Path, folder: Path, run: Run) -> None:
    target = coded.with_name("out.png")
    identifier = coded.read_bytes()[14:18].hex()
    fails(run("decompress", coded, target), 5, identifier, "--model")
    fails(run("decompress", coded, target, "--model", "photo"), 5, identifier)
    fails(run("decompress", coded, target, "--model", "none"), 5, "none", "photo")
    fails(run("compress", folder / "city.png", "-f", "--model", DATA / "city.png"), 5)
    broken = folder / "broken.safetensors"
    broken.write_bytes(TINY.read_bytes()[:-1])
    fails(run("decompress", coded, target, "--model", broken), 5, "broken.safetensors")
    assert not target.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress"],
        ["compress", "a.png", "-q", "101"],
        ["compress", "a.png", "-q", "1", "--lambda", "0.1"],
        ["compress", "a.png", "-", "--json"],
        ["decompress", "a.vqc", "a.xyz"],
        ["train", "tests", "--minutes", "1", "--steps", "1"],
        ["train", "tests", "--lambda", "0.1:0.01"],
        ["nonsense"],
        ["compress", "a.png", "--nonsense"],
    ],
)
def test_usage_errors(run: Run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Error" in err


def test_messages_name_flags_and_not_arguments() -> None:
    assert message_of(InputError("deep; cut it with to_8bit", field="to_8bit")) == (
        "deep; cut it with --to-8bit"
    )
    assert message_of(InputError("no page 7", field="frame")) == "no page 7; see --frame"
    assert message_of(InputError("a\nb", field="quality of mine")) == "a b"
    assert message_of(InputError("frame")) == "frame"
    known = {flag for command in (compress, decompress) for p in command.params for flag in p.opts}
    assert set(FLAGS.values()) <= known


def test_messages_of_limits(folder: Path, coded: Path, run: Run) -> None:
    source, target = folder / "city.png", folder / "b.vqc"
    pixels = ("--max-pixels", 1000)
    fails(run("compress", source, target, *pixels, *MODEL), 1, "allow more with --max-pixels\n")
    fails(run("decompress", coded, "-", *pixels, *MODEL), 1, "allow more with --max-pixels\n")
    memory = ("--max-memory", "1M")
    fails(run("compress", source, target, *memory, *MODEL), 1, "allow more with --max-memory\n")
    searching = ("--effort", 3, "--max-memory")
    remedy = "MiB; lower the effort, or allow more with --max-memory\n"
    fails(run("compress", source, target, *searching, "400M", *MODEL), 1, remedy)
    beyond = run("compress", source, target, *searching, "1M", *MODEL)  # that would not help
    fails(beyond, 1, "MiB; allow more with --max-memory\n")
    fails(run("compress", source, coded, *MODEL), 3, "exists already; overwrite it with -f\n")


def test_info_tells_the_version_of_the_file(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.format.header.VERSION", 2)
    header = Header(40, 30, grey=False, level=Level(0), model_id=b"none", version=2)
    (folder / "new.vqc").write_bytes(write(header, [Tile(b"", 0)]))
    assert json.loads(run("info", folder / "new.vqc", "--json")[1])["version"] == 2


def test_help_and_info_are_light(coded: Path) -> None:
    code = (
        "import sys\nfrom codec.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as exit_:\n"
        "    heavy = {'torch', 'numpy', 'PIL', 'constriction'} & set(sys.modules)\n"
        "    sys.exit(exit_.code or sorted(heavy) or 0)"
    )
    for arguments in (["--help"], ["--version"], ["info", str(coded)], ["models"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_help_lists_the_exit_codes(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert "130" in out
    for command in ("compress", "decompress", "info", "models", "train"):
        assert command in out
        assert run(command, "--help")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruption_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    large = folder / "large.png"
    Image.fromarray(np.zeros((3000, 3000, 3), np.uint8)).save(large)
    target = folder / "large.vqc"
    status, shown = signalled_at_work(number, "compress", large, target, "--patches", "never")
    assert status == 128 + number
    assert "Traceback" not in shown
    assert sorted(p.name for p in folder.iterdir()) == ["city.png", "large.png"]
