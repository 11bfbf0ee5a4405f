from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from codec.evaluation.published import KODAK
from tests.helpers import DATA, TINY, TINY_VQ, Run, fails


@pytest.fixture
def pictures(tmp_path: Path, city: Image.Image) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    city.crop((0, 0, 64, 64)).save(folder / "a.png")
    city.crop((64, 0, 164, 70)).convert("L").save(folder / "b.webp", lossless=True)
    return folder


@pytest.fixture
def options(tmp_path: Path) -> list[object]:
    return ["--model", TINY, "--cache", tmp_path / "cache"]


def test_tables(run: Run, pictures: Path, options: list[object]) -> None:
    status, out, err = run("evaluate", pictures, "-q", 20, "-q", 80, "--against", "jpeg", *options)
    assert status == 0
    assert not err
    assert "2 pictures; " in out
    assert "| vqcodec tiny | 20 |" in out
    assert "| vqcodec tiny | jpeg |" in out
    assert out.count("\n| jpeg | ") == 2 * 10  # means, worst pictures
    assert "-log2 P" in out
    assert "vtm" not in out


def test_json(run: Run, pictures: Path, options: list[object]) -> None:
    peers = ["--against", "webp,jpeg"]
    status, out, _ = run("evaluate", pictures, "-q", 20, *peers, "--json", *options)
    assert status == 0
    found = json.loads(out)
    assert found["pictures"] == {"a": [64, 64], "b": [100, 70]}
    assert {m["codec"] for m in found["measurements"]} == {"vqcodec tiny", "webp", "jpeg"}
    ours = [m for m in found["measurements"] if m["model"]]
    assert [m["setting"] for m in ours] == [20, 20]
    assert {rate["against"] for rate in found["bd_rates"]} == {"webp", "jpeg"}


@pytest.mark.slow
def test_every_format_and_the_smallest_size(
    run: Run, tmp_path: Path, options: list[object], city: Image.Image
) -> None:
    folder = tmp_path / "formats"
    folder.mkdir()
    suffixes = ("png", "jpg", "webp", "avif", "tiff", "gif", "bmp", "ppm", "qoi")
    for suffix in suffixes:
        city.crop((0, 0, 40, 24)).save(folder / f"{suffix}.{suffix}")
    city.crop((0, 0, 1, 1)).save(folder / "one.png")
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK"):
        image = city.crop((0, 0, 24, 40)).convert(mode)
        if mode.endswith("A"):
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(folder / f"{mode}.tiff")
    peers = ["--against", "webp,avif,jpeg2000"]
    status, out, err = run("evaluate", folder, "-q", 20, "-q", 80, *peers, "--json", *options)
    assert status == 0
    assert not err
    found = json.loads(out)
    assert len(found["pictures"]) == len(suffixes) + 7
    assert {m["codec"] for m in found["measurements"]} >= {"vqcodec tiny", "webp", "avif"}


@pytest.mark.slow
def test_several_models(run: Run, pictures: Path, options: list[object]) -> None:
    models = [*options, "--model", TINY_VQ]
    status, out, _ = run("evaluate", pictures, "--against", "none", *models)
    assert status == 0
    assert "| vqcodec tiny-vq | vqcodec tiny |" in out
    assert "| vqcodec tiny | vqcodec tiny-vq |" in out
    shutil.copy(TINY, pictures.parent / "copy.safetensors")
    twice = [*options, "--model", pictures.parent / "copy.safetensors", "-q", 20]
    _, again, _ = run("evaluate", pictures, "--against", "none", *twice)
    # One row of rates, one of worst pictures, one of theory.
    assert again.count("| vqcodec tiny | 20 |") == 3


@pytest.mark.slow
def test_several_efforts(run: Run, pictures: Path, options: list[object]) -> None:
    efforts = ["--effort", 0, "--effort", 4]
    # Above quality 60 the tiny model shows the second picture worse, not better.
    command = ["evaluate", pictures, "-q", 20, "-q", 40, "-q", 60, "--against", "none"]
    status, out, _ = run(*command, *efforts, *options, "--json")
    assert status == 0
    rates = {rate["codec"]: rate["psnr"] for rate in json.loads(out)["bd_rates"]}
    assert rates["vqcodec tiny effort 4"] < 0 < rates["vqcodec tiny effort 0"]


def test_metrics_are_chosen(run: Run, pictures: Path, options: list[object]) -> None:
    command = ["evaluate", pictures, "-q", 20, "-q", 60, "--against", "none", *options]
    command += ["--effort", 0, "--effort", 1]
    _, out, _ = run(*command, "--metrics", "guards")
    assert "| codec | setting | bpp | PSNR | encode s | decode s |" in out
    assert "| codec | setting | red | green | blue | most | 1/2 dB | 1/4 dB | 1/8 dB |" in out
    assert "\n| vqcodec tiny effort 0 | vqcodec tiny | PSNR | " in out
    assert "no MS-SSIM" not in out
    found = json.loads(run(*command, "--metrics", "psnr,guards", "--json")[1])
    assert found["instruments"] == {"psnr": "", "guards": ""}
    assert {len(m["values"]) for m in found["measurements"]} == {6}
    assert set(found["measurements"][0]["worst_block"]) == {"left", "top", "psnr"}
    assert {rate["metric"] for rate in found["bd_rates_by_picture"]} == {"psnr"}
    assert set(found["bd_rates"][0]) == {"codec", "against", "psnr"}

    status, _, err = run(*command, "--metrics", "vmaf")
    assert status == 1
    assert err.startswith("vqcodec: unknown metric 'vmaf'; known: psnr, ms-ssim, ")


def test_metrics_that_are_not_installed(
    run: Run, pictures: Path, options: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pycvvdp", "frame_analytics"):
        monkeypatch.setitem(sys.modules, module, None)  # as if they were not installed
    monkeypatch.setenv("PATH", "")
    command = ["evaluate", pictures, "-q", 20, "--against", "none", *options, "--metrics"]
    status, out, err = run(*command, "all")
    assert status == 0
    assert err.splitlines() == [
        "vqcodec: ssimulacra2 is not measured: frame-analytics not installed; "
        "pip install 'vqcodec[evaluate]'",
        "vqcodec: butteraugli is not measured: butteraugli_main not installed; it comes with "
        "libjxl (Debian: apt-get install libjxl-devtools)",
        "vqcodec: lpips is not measured: frame-analytics not installed; "
        "pip install 'vqcodec[evaluate]'",
        "vqcodec: cvvdp is not measured: cvvdp not installed; pip install 'vqcodec[evaluate]'",
    ]
    status, out, err = run(*command, "psnr,lpips")
    assert (status, out) == (1, "")
    assert err.startswith("vqcodec: lpips cannot be measured: frame-analytics not installed; pip")


def test_what_fails_is_told_and_the_rest_measured(
    run: Run, pictures: Path, options: list[object], city: Image.Image
) -> None:
    (pictures / "c.png").write_text("no picture")
    clear = city.copy()
    clear.putalpha(Image.linear_gradient("L").resize(city.size))
    clear.save(pictures / "d.png")
    status, out, err = run("evaluate", pictures, "-q", 20, "--against", "jpeg,webp", *options)
    assert status == 1
    assert "vqcodec: jpeg is left out: d: keeps no transparency\n" in err
    assert f"vqcodec: {pictures / 'c.png'}: not a picture" in err
    assert "| webp | " in out
    assert "3 pictures; " in out


def test_nothing_to_measure_is_an_error(run: Run, tmp_path: Path, options: list[object]) -> None:
    (tmp_path / "x.png").write_text("no picture")
    status, out, err = run("evaluate", tmp_path / "x.png", "--against", "none", *options)
    assert status == 1
    assert not out
    assert f"nothing could be measured ({tmp_path / 'x.png'}: not a picture" in err
    fails(run("evaluate", tmp_path / "missing", *options), 1, "missing: no such file or folder")
    status, _, err = run("evaluate", DATA / "city.png", "--against", "bpg", *options)
    assert status == 1
    assert "unknown codec 'bpg'" in err


def test_published_curves(run: Run, tmp_path: Path, options: list[object]) -> None:
    folder = tmp_path / "kodak"
    folder.mkdir()
    with Image.open(DATA / "city.png") as image:
        image.convert("RGB").crop((0, 0, 32, 32)).save(folder / "kodim01.png")
    for name in KODAK - {"kodim01"}:
        shutil.copy(folder / "kodim01.png", folder / f"{name}.png")
    command = ["evaluate", folder, "-q", 0, "-q", 100, *options, "--against"]
    _, out, _ = run(*command, "none")
    assert "| vqcodec tiny | vtm |" in out
    assert "| vqcodec tiny | jpeg, reference |" in out
    _, out, _ = run(*command, "jpeg")  # measured, so that its reference is of no use
    assert "| vqcodec tiny | jpeg |" in out
    assert "jpeg, reference" not in out

    curves = tmp_path / "curves.json"
    curves.write_text(json.dumps([{"name": "x", "source": "", "bpp": [1, 2], "psnr": [9, 30]}]))
    _, out, _ = run(*command, "none", "--published", curves)
    assert "| vqcodec tiny | x |" in out
    assert "vtm" not in out


def test_a_reference_stays_where_its_peer_drops_out(
    run: Run, tmp_path: Path, options: list[object], city: Image.Image
) -> None:
    clear = city.crop((0, 0, 32, 32))
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    for name in KODAK:
        clear.save(tmp_path / f"{name}.png")
    command = ["evaluate", tmp_path, "-q", 0, "-q", 100, *options, "--against", "jpeg"]
    status, out, err = run(*command)
    assert status == 0
    assert "jpeg is left out" in err
    assert "| vqcodec tiny | jpeg, reference |" in out


@pytest.mark.parametrize("quality", ["nan", "inf", "-1", "101"])
def test_no_such_quality(run: Run, pictures: Path, options: list[object], quality: str) -> None:
    status, _, err = run("evaluate", pictures, "-q", quality, "--against", "none", *options)
    assert status == 2
    assert quality in err


def test_what_the_means_leave_out_is_told(
    run: Run, tmp_path: Path, options: list[object], city: Image.Image
) -> None:
    Image.new("RGB", (40, 40), "white").save(tmp_path / "flat.png")
    city.crop((0, 0, 64, 64)).save(tmp_path / "city.png")
    command = ["evaluate", tmp_path, "-q", 20, "-q", 80, "--against", "jpeg", *options]
    status, out, _ = run(*command)
    assert status == 0
    assert "\nleft out of all means, since a codec kept them without loss: flat\n" in out
    assert "\nno MS-SSIM, which needs 161 pixels a side: city\n" in out
    assert "| inf |" not in out
    assert json.loads(run(*command, "--json")[1])["remarks"]


def test_a_folder_that_keeps_nothing_stops_nothing(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    options = ["--model", TINY, "--cache", tmp_path / "file" / "cache"]
    status, out, err = run("evaluate", pictures, "-q", 20, "--against", "none", *options)
    assert status == 0
    assert "| vqcodec tiny | 20 |" in out
    assert "vqcodec: measurements are not kept: " in err


@pytest.mark.slow
def test_report(run: Run, pictures: Path, options: list[object], tmp_path: Path) -> None:
    with Image.open(DATA / "flowers.png") as image:
        image.convert("RGB").save(pictures / "c.png")
    command = ["evaluate", pictures, "-q", 20, "-q", 80, "--against", "jpeg,webp", *options]
    report = [*command, "--report", tmp_path / "report", "--gallery", 2, "--gallery-bpp", 0.35]
    status, _, err = run(*report)
    assert status == 0
    assert err == f"{tmp_path / 'report' / 'index.html'}\n"
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count('<input type="range"') == 2
    rates = re.findall(r"<b>vqcodec tiny</b> ([\d.]+) bpp", page)
    assert len(rates) == 2
    assert all(0.3 < float(rate) <= 0.35 for rate in rates)
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]

    status, out, err = run(*report)
    assert status == 3
    assert not out
    assert "-f" in err
    assert run(*report, "-f", "-Q")[0] == 0


@pytest.mark.slow
def test_pages_are_written_though_nobody_takes_the_tables(
    pictures: Path, options: list[object], tmp_path: Path
) -> None:
    command = ["evaluate", pictures, "-q", 20, "--against", "none", "--gallery", 0, *options]
    command += ["--report", tmp_path / "r", "--figure", tmp_path / "f.svg"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "codec", *map(str, command)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert (tmp_path / "r" / "index.html").is_file()
    assert (tmp_path / "f.svg").is_file()


@pytest.mark.slow
def test_figure(run: Run, pictures: Path, options: list[object], tmp_path: Path) -> None:
    figure = tmp_path / "curves.svg"
    command = ["evaluate", pictures, "-q", 20, "-q", 80, "--against", "jpeg", *options]
    assert run(*command, "--figure", figure)[0] == 0
    root = ElementTree.parse(figure).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = {"".join(e.itertext()).strip() for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"vqcodec tiny", "jpeg", "bits per pixel"} <= texts
    variables = set(re.findall(r"var\((--[\w-]+)\)", figure.read_text()))
    assert all(f"{name}:" in figure.read_text() for name in variables)
    assert run(*command, "--figure", figure)[0] == 3
    assert "PSNR in dB" in texts
    assert run(*command, "--metrics", "ssimulacra2,psnr", "--figure", figure, "-f")[0] == 0
    assert "SSIMULACRA 2" in figure.read_text()
    assert "PSNR in dB" not in figure.read_text()
    folder = tmp_path / "new"
    assert run(*command, "--report", folder, "--figure", folder / "curves.svg", "-Q")[0] == 0
    assert {path.name for path in folder.iterdir()} == {"index.html", "curves.svg"}


@pytest.mark.slow
def test_the_gallery_shows_the_middle_of_large_pictures(
    run: Run, options: list[object], tmp_path: Path
) -> None:
    with Image.open(DATA / "flowers.png") as image:
        image.convert("RGB").resize((1800, 1300)).save(tmp_path / "large.png")
    command = ["evaluate", tmp_path / "large.png", "-q", 0, "--against", "jpeg", *options]
    status, out, _ = run(*command, "--report", tmp_path / "report")
    assert status == 0
    assert "| vqcodec tiny | 0 |" in out
    assert "large (middle)" in (tmp_path / "report" / "index.html").read_text()


def test_missing_libraries_are_named(
    run: Run, pictures: Path, options: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "platformdirs", None)  # as if it were not installed
    status, _, err = run("evaluate", pictures, *options)
    assert status == 1
    assert err == "vqcodec: platformdirs not installed; pip install 'vqcodec[evaluate]'\n"


@pytest.mark.slow
def test_json_has_no_infinity(run: Run, options: list[object], tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), "white").save(tmp_path / "flat.png")
    command = ["evaluate", tmp_path / "flat.png", "-q", 50, "--against", "webp", *options]
    status, out, _ = run(*command, "--json")
    assert status == 0

    def refuse(text: str) -> float:
        raise AssertionError(text)

    found = json.loads(out, parse_constant=refuse)
    assert None in {m["psnr"] for m in found["measurements"]}


@pytest.mark.slow
def test_names_that_are_not_utf8(
    run: Run, options: list[object], tmp_path: Path, city: Image.Image
) -> None:
    name = os.fsdecode(b"bad\xff.png")
    city.crop((0, 0, 64, 64)).save(tmp_path / name)
    command = ["evaluate", tmp_path, "-q", 50, "--against", "none", *options]
    assert run(*command, "--report", tmp_path / "report")[0] == 0
    assert "bad\N{REPLACEMENT CHARACTER}" in (tmp_path / "report" / "index.html").read_text()
