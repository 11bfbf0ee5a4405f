"""Many files: folders, jobs, collisions, and what becomes of the rest when one fails."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from codec.cli.plan import Job
from codec.cli.processes import in_processes
from tests.helpers import DATA, MODEL, Run, fails

VQCODEC = [sys.executable, "-m", "codec"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three pictures in two folders, and a file that is none."""
    top = tmp_path / "photos"
    (top / "sub").mkdir(parents=True)
    with Image.open(DATA / "city.png") as image:
        small = image.convert("RGB").crop((0, 0, 40, 30))
    small.save(top / "a.png")
    small.save(top / "b.JPG", "JPEG")
    small.save(top / "sub" / "a.webp")
    (top / "notes.txt").write_text("no picture")
    return top


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_folders_keep_their_sub_tree(tree: Path, run: Run) -> None:
    out, back = tree.with_name("out"), tree.with_name("back")
    status, stdout, err = run("compress", "-r", tree, "-d", out, *MODEL)
    assert (status, stdout) == (0, "")
    assert names(out) == ["a.vqc", "b.vqc", "sub/a.vqc"]
    assert "3 done, 0 skipped, 0 failed" in err
    assert run("decompress", "-r", out, "-d", back, "--format", "webp", *MODEL)[0] == 0
    assert names(back) == ["a.webp", "b.webp", "sub/a.webp"]


def test_without_an_output_dir_files_are_written_next_to_their_inputs(tree: Path, run: Run) -> None:
    assert run("compress", "-r", tree, *MODEL)[0] == 0
    assert {"a.vqc", "b.vqc", "sub/a.vqc"} <= set(names(tree))


def test_several_files(tree: Path, run: Run) -> None:
    out = tree.with_name("out")
    assert run("compress", tree / "a.png", tree / "b.JPG", "-d", out, *MODEL)[0] == 0
    assert names(out) == ["a.vqc", "b.vqc"]


def test_a_failure_does_not_stop_the_rest(tree: Path, run: Run) -> None:
    (tree / "aa.png").write_text("broken")
    out = tree.with_name("out")
    status, stdout, err = run("compress", "-r", tree, "-d", out, "--json", *MODEL)
    assert status == 1
    assert names(out) == ["a.vqc", "b.vqc", "sub/a.vqc"]
    lines = {Path(f["source"]).name: f for f in map(json.loads, stdout.splitlines())}
    assert {name: f["status"] for name, f in lines.items()} == {
        "a.png": "done",
        "aa.png": "failed",
        "b.JPG": "done",
        "a.webp": "done",
        "photos": "left out",
    }
    assert lines["aa.png"]["exit_code"] == 1
    assert "not a picture" in lines["aa.png"]["error"]
    assert err.count("\n") == 1
    assert lines["b.JPG"]["bytes"] == (out / "b.vqc").stat().st_size


def test_what_exists_is_kept_skipped_or_replaced(tree: Path, run: Run) -> None:
    out = tree.with_name("out")
    out.mkdir()
    (out / "a.vqc").write_bytes(b"mine")
    status, _, err = run("compress", "-r", tree, "-d", out, *MODEL)
    assert status == 1
    assert "a.vqc: exists already" in err
    assert names(out) == ["a.vqc", "b.vqc", "sub/a.vqc"]
    status, _, err = run("compress", "-r", tree, "-d", out, "--skip-existing", *MODEL)
    assert status == 0
    assert "0 done, 3 skipped" in err
    assert (out / "a.vqc").read_bytes() == b"mine"
    assert run("compress", "-r", tree, "-d", out, "-f", "-Q", *MODEL) == (0, "", "")
    assert (out / "a.vqc").read_bytes() != b"mine"


def test_dry_run_writes_nothing(tree: Path, run: Run) -> None:
    out = tree.with_name("out")
    status, stdout, err = run("compress", "-n", "-r", tree, "-d", out)
    assert (status, stdout) == (0, "")
    assert "sub/a.vqc" in err
    assert not out.exists()


def test_preserve_keeps_the_times(tree: Path, run: Run) -> None:
    source, coded, back = tree / "a.png", tree / "a.vqc", tree / "back.png"
    os.utime(source, (1_000_000_000, 1_100_000_000))
    assert run("compress", source, "--preserve", *MODEL)[0] == 0
    assert run("decompress", coded, back, "--preserve", *MODEL)[0] == 0
    assert coded.stat().st_mtime == back.stat().st_mtime == 1_100_000_000


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [2])
def test_jobs_give_the_same_files(tree: Path, run: Run, jobs: int) -> None:
    (tree / "aa.png").write_text("broken")
    one, many = tree.with_name("one"), tree.with_name("many")
    assert run("compress", "-r", tree, "-d", one, *MODEL)[0] == 1
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "codec",
            "compress",
            "-r",
            tree,
            "-d",
            many,
            "-j",
            str(jobs),
            *MODEL,
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "3 done, 0 skipped, 1 failed" in done.stderr
    assert names(one) == names(many)


@dataclass(frozen=True)
class Deadly:
    """A task that ends its process at some of its jobs."""

    done: Path

    def __call__(self, job: Job) -> dict[str, Any]:
        if "deadly" in str(job.source):
            os._exit(9)
        with (self.done / job.source.name).open("x") as file:
            file.write("done")
        return {}

    def line(self, facts: dict[str, Any]) -> str:
        return ""


@pytest.mark.slow
def test_a_process_that_dies_costs_its_own_file_alone(tmp_path: Path) -> None:
    listed = [f"{number}{'-deadly' * (number in (2, 3, 11))}" for number in range(12)]
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in listed]
    outcomes = list(in_processes(Deadly(tmp_path), jobs, 2))
    assert [outcome.job for outcome in outcomes] == jobs
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert [outcome.job.source.name for outcome in failed] == ["2-deadly", "3-deadly", "11-deadly"]
    assert all("its process died" in outcome.facts["error"] for outcome in failed)


def test_disks_that_ignore_case(tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "A.jpg").write_bytes((tree / "b.JPG").read_bytes())
    command = ("compress", "-r", tree, "-d", tree.with_name("out"), "-n", *MODEL)
    assert run(*command)[0] == 0
    monkeypatch.setattr(sys, "platform", "darwin")
    status, _, err = run(*command)
    assert status == 2
    assert "would both become" in err


def test_collisions_are_found_before_any_work(tree: Path, run: Run) -> None:
    out = tree.with_name("out")
    (tree / "a.jpg").write_bytes((tree / "a.png").read_bytes())
    status, _, err = run("compress", "-r", tree, "-d", out, *MODEL)
    assert status == 2
    assert "would both become" in err
    status, _, err = run("compress", tree / "a.png", tree / "sub" / "a.webp", "-d", out, *MODEL)
    assert status == 2
    assert not out.exists()


def test_collisions_are_all_told_with_a_way_out(tree: Path, run: Run) -> None:
    out = tree.with_name("out")
    for name in ("a.jpg", "a.gif", "b.png"):
        (tree / name).write_bytes((tree / "a.png").read_bytes())
    for options in ([], ["-n"]):
        status, _, err = run("compress", "-r", tree, "-d", out, *options, *MODEL)
        assert status == 2
        names_of_a = " and ".join(str(tree / f"a.{suffix}") for suffix in ("gif", "jpg", "png"))
        assert f"{names_of_a} would all become {out / 'a.vqc'}" in err
        assert f"{tree / 'b.JPG'} and {tree / 'b.png'} would both become {out / 'b.vqc'}" in err
        assert err.endswith("; give --keep-suffix\n")
    assert run("compress", "-r", tree, "-d", out, "--keep-suffix", *MODEL)[0] == 0
    expected = ["a.gif.vqc", "a.jpg.vqc", "a.png.vqc", "b.JPG.vqc", "b.png.vqc", "sub/a.webp.vqc"]
    assert names(out) == expected
    assert run("decompress", "-r", out, "-d", tree.with_name("back"), *MODEL)[0] == 0
    assert names(tree.with_name("back")) == [name.replace(".vqc", ".png") for name in expected]


def test_collisions_that_no_suffix_keeps_apart(tree: Path, run: Run) -> None:
    same = (tree / "a.png", tree / "sub" / "a.png")
    for options in ([], ["--keep-suffix"]):
        status, _, err = run("compress", *same, "-d", tree.with_name("out"), *options, *MODEL)
        assert status == 2
        assert "would both become" in err
        assert "give --keep-suffix" not in err
    coded = (tree / "a.vqc", tree / "sub" / "a.VQC")
    status, _, err = run("decompress", *coded, "-d", tree.with_name("out"), *MODEL)
    assert (status, "keep-suffix" in err) == (2, False)


def test_many_collisions_are_counted(tree: Path, run: Run) -> None:
    for number in range(7):
        for suffix in ("png", "jpg"):
            (tree / f"{number}.{suffix}").touch()
    _, _, err = run("compress", "-r", tree, *MODEL)
    assert err.count("would both become") == 5
    assert "2 other outputs" in err


def test_files_left_out_are_counted(tree: Path, run: Run) -> None:
    for name in ("c.heic", "d.heic", "sub/e.HEIC", "sub/README"):
        (tree / name).touch()
    told = "5 other files left out, by suffix: 3 .heic, 1 .txt, 1 without one\n"
    status, _, err = run("compress", "-r", tree, "-n", *MODEL)
    assert (status, err.endswith(told)) == (0, True)
    status, _, err = run("compress", "-r", tree, *MODEL)
    assert (status, err.endswith(told)) == (0, True)
    status, _, err = run("compress", "-r", tree, "--skip-existing", *MODEL)
    assert err.endswith(told)  # what has been made does not count
    status, out, err = run("compress", "-r", tree, tree, "-f", "-n", "--json", *MODEL)
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[-1]) == {
        "source": str(tree),
        "status": "left out",
        "files": 5,
        "suffixes": {".heic": 3, ".txt": 1, "": 1},
    }
    assert run("compress", "-r", tree, "-f", "-Q", *MODEL) == (0, "", "")
    status, _, err = run("compress", "-r", tree / "sub", tree, "-f", "-n", *MODEL)
    assert (status, err.endswith(told)) == (0, True)  # once, though one folder holds the other
    (tree / "sub" / "README").unlink()
    status, _, err = run("compress", "-r", tree / "sub", "-f", *MODEL)
    assert err.endswith("1 other file left out, by suffix: 1 .heic\n")
    (tree / "none").mkdir()
    (tree / "none" / "x.heic").touch()
    status, _, err = run("compress", "-r", tree / "none", *MODEL)
    assert status == 1
    assert err.endswith("1 other file left out, by suffix: 1 .heic\n")


def test_paths_that_lead_out_are_refused(tree: Path, run: Run, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / "sub").symlink_to(outside)
    status, _, err = run("compress", "-r", tree, "-d", out, *MODEL)
    assert status == 2
    assert "lies outside" in err
    assert names(outside) == []
    (out / "sub").unlink()
    source = tree / "sub" / ".." / "a.png"
    assert run("compress", source, "-d", out, *MODEL)[0] == 0
    assert names(out) == ["a.vqc"]


def test_linked_folders_are_not_followed(tree: Path, run: Run) -> None:
    (tree / "loop").symlink_to(tree)
    out = tree.with_name("out")
    assert run("compress", "-r", tree, "-d", out, "-Q", *MODEL)[0] == 0
    assert names(out) == ["a.vqc", "b.vqc", "sub/a.vqc"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["a.png", "b.png", "c.png"], "-d DIR"),
        (["a.png", "b.png"], "-d DIR"),
        (["-", "-d", "out"], "standard input"),
        (["a.png", "-f", "--skip-existing"], "not both"),
        (["a.png", "--strip", "--keep", "icc"], "not both"),
        (["a.png", "--target-size", "1k", "--target-bpp", "1"], "not both"),
        (["a.png", "--target-size", "lots"], "50k"),
        (["a.png", "--target-size", "0"], "less than 1"),
        (["a.png", "--tile-size", "100"], "multiples of 64"),
        (["a.png", "--keep", "gps"], "icc, exif, xmp"),
        (["a.png", "-j", "0"], "-j"),
    ],
)
def test_usage_errors_say_what_to_do(run: Run, arguments: list[str], word: str) -> None:
    status, out, err = run("compress", *arguments)
    assert (status, out) == (2, "")
    assert word in err


def test_folders_without_pictures(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    fails(run("compress", "-r", tmp_path / "empty", "-d", tmp_path / "out"), 1, "holds no file")
    fails(run("compress", tmp_path / "empty", "-d", tmp_path / "out"), 1, "-r")


@pytest.mark.slow
def test_targets_and_metadata_on_the_command_line(run: Run, tmp_path: Path) -> None:
    source, coded = DATA / "city.png", tmp_path / "a.vqc"
    assert run("compress", source, coded, "--target-size", "0.9k", *MODEL)[0] == 0
    assert 885 <= coded.stat().st_size <= 900
    fails(run("compress", source, coded, "-f", "--target-size", 50, *MODEL), 1, "no file of 50")
    fails(run("compress", source, coded, "-f", "--target-psnr", 90, *MODEL), 1, "--lossless")
    with Image.open(source) as image:
        image.save(tmp_path / "b.webp", xmp=b"<x/>", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    for options, kinds in (([], {"exif", "xmp"}), (["--strip"], set()), (["--keep=xmp"], {"xmp"})):
        run("compress", tmp_path / "b.webp", coded, "-f", *options, *MODEL)
        facts = json.loads(run("info", coded, "--json")[1])
        assert set(facts["metadata_bytes"]) == kinds


def test_what_is_not_kept_is_told(run: Run, tmp_path: Path) -> None:
    source, coded = tmp_path / "a.jpg", tmp_path / "a.vqc"
    with Image.open(DATA / "city.png") as image:
        image.save(source, comment=b"by hand", dpi=(300, 300))
    status, _, err = run("compress", source, coded, *MODEL)
    assert (status, "without comment, dpi" in err) == (0, True)
    facts = json.loads(run("compress", source, coded, "-f", "--json", *MODEL)[1])
    assert facts["left_out"] == ["comment", "dpi"]


def test_regions_and_tiles_on_the_command_line(run: Run, tmp_path: Path) -> None:
    coded, part = tmp_path / "a.vqc", tmp_path / "part.png"
    assert run("compress", DATA / "flowers.png", coded, "--tile-size", 256, *MODEL)[0] == 0
    status, out, _ = run("decompress", coded, part, "--region", "300,10,50,60", "--json", *MODEL)
    facts = json.loads(out)
    assert status == 0
    assert (facts["width"], facts["height"]) == (50, 60)
    assert facts["tiles_read"] < facts["tiles"] == 4
    assert facts["bytes_read"] < facts["bytes"]
    with Image.open(part) as image:
        assert image.size == (50, 60)
    status, _, err = run("decompress", coded, part, "-f", "--region", "300,10,50,60", *MODEL)
    assert "of 4 tiles" in err
    fails(run("decompress", coded, part, "-f", "--region", "300,10,500,60", *MODEL), 1, "384x288")
    assert run("decompress", coded, part, "--region", "1,2,3")[0] == 2
    status, out, _ = run("info", coded, "--check")
    assert "4 tiles of 256 pixels" in out
    assert "all checksums match" in out


def test_frames_and_depths_on_the_command_line(run: Run, tmp_path: Path) -> None:
    animation, deep, coded = tmp_path / "a.gif", tmp_path / "b.png", tmp_path / "a.vqc"
    frames = [Image.new("RGB", (8, 8), (i * 80, 0, 0)) for i in range(3)]
    frames[0].save(animation, save_all=True, append_images=frames[1:])
    Image.new("I;16", (8, 8), 300).save(deep)
    fails(run("compress", animation, coded, *MODEL), 1, "--frame")
    assert run("compress", animation, coded, "--frame", 1, *MODEL)[0] == 0
    fails(run("compress", deep, coded, "-f", *MODEL), 1, "--to-8bit")
    assert run("compress", deep, coded, "-f", "--to-8bit", *MODEL)[0] == 0


def test_unknown_suffixes_are_appended_to(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "photo.v2"
    source.write_bytes((DATA / "city.png").read_bytes())
    assert run("compress", source, *MODEL)[0] == 0
    assert run("decompress", tmp_path / "photo.v2.vqc", *MODEL)[0] == 0
    assert names(tmp_path) == ["photo.v2", "photo.v2.png", "photo.v2.vqc"]


def test_versions(run: Run) -> None:
    status, out, _ = run("--version")
    assert status == 0
    for word in ("vqcodec 0.", "photo", "onnxruntime", "numpy", "pillow", "constriction", "Python"):
        assert word in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    environment = os.environ | {"_VQCODEC_COMPLETE": f"{shell}_source"}
    done = subprocess.run(VQCODEC, env=environment, capture_output=True, text=True, check=True)
    assert "vqcodec" in done.stdout


@pytest.mark.slow
def test_a_bomb_costs_nothing(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that claims a huge picture: no model is loaded, no array made."""
    coded = tmp_path / "bomb.vqc"
    data = bytearray((DATA / "golden" / "pixel-q0.vqc").read_bytes())
    data[8:12] = b"\xff\xff\xff\xff"
    coded.write_bytes(data[:-4] + struct.pack("<I", zlib.crc32(data[:-4])))
    code = (
        "import sys, resource\nfrom codec.cli.main import main\n"
        "import codec.cli.coding, codec.cli.batch\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as exit_:\n"
        "    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "    heavy = {'torch', 'numpy', 'PIL'} & set(sys.modules)\n"
        "    print(exit_.code, grown < 20_000, sorted(heavy))"
    )
    for options in ([], ["--max-pixels", str(1 << 33)]):
        command = [sys.executable, "-c", code, "decompress", str(coded), *options, *MODEL]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "1 True []\n", done.stderr
