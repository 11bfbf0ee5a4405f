from __future__ import annotations

import dataclasses
import re
from importlib import resources
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from codec.errors import InputError, OutputError, OutputExistsError
from codec.evaluation.report import compare, write_report
from codec.evaluation.report.page import percent, render
from codec.tiles import Box
from tests.evaluations import HOSTILE, comparison_of, evaluation_of


@pytest.fixture(scope="module")
def page() -> str:
    return render(
        evaluation_of({HOSTILE: (200, 180), "b.png": (200, 180)}),
        [comparison_of(HOSTILE, 200, 180), comparison_of("b.png", 77, 45)],
    )


def text_of(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", "", body).split())


@pytest.mark.slow
def test_the_page_says_what_was_measured(page: str) -> None:
    text = text_of(page)
    assert "vqcodec measured on 2 pictures" in text
    assert re.search(r"needs 1\d\.\d % fewer bits than jpeg and 3\d\.\d % fewer than avif\.", text)
    assert "30 encoded, read back" in text
    assert "vqcodec evaluate photos --report out" in text
    assert "one core, numpy 2" in text
    assert "model tiny (01234567)" in text
    assert "cjxl is not installed" in text
    assert "a table in a paper" in text
    assert "its smallest file" in text  # of avif, which has more bytes than ours
    assert "AVIF copies (4:4:4, quality 92)" in text


def test_names_are_text(page: str) -> None:
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(" in page
    assert "libjpeg-turbo &lt;3.1&gt;" in page
    assert ' onerror="' not in page


def test_the_page_needs_no_other_file(page: str) -> None:
    names = re.findall(r"https?://[^\"'\s<]*", page)
    assert set(names) <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    assert {source[:5] for source in re.findall(r'\bsrc="([^"]*)', page)} == {"data:"}
    for reference in re.findall(r'\bhref="([^"]*)', page):
        assert reference.startswith(("#", "data:"))
    assert "url(" not in re.sub(r"url\(#", "", page)
    assert "@import" not in page


def test_ids_are_unique_and_references_lead_somewhere(page: str) -> None:
    check_ids(page)


def check_ids(page: str) -> None:
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    wanted = re.findall(r'(?:href="#|url\(#|for="|aria-labelledby=")([^")]*)', page)
    assert set(wanted) <= set(ids)


@pytest.mark.slow
def test_the_same_evaluation_gives_the_same_page(page: str) -> None:
    again = render(
        evaluation_of({HOSTILE: (200, 180), "b.png": (200, 180)}),
        [comparison_of(HOSTILE, 200, 180), comparison_of("b.png", 77, 45)],
    )
    assert again == page


def test_a_codec_without_peers_and_without_ms_ssim() -> None:
    evaluation = evaluation_of({"a.png": (80, 60)}, peers=(), similar=False, published=False)
    page = render(evaluation, [comparison_of("a.png", 80, 60, peers=0)])
    text = text_of(page)
    assert "vqcodec measured on 1 picture" in text
    assert "There is no other curve to compare with." in text
    assert 'id="bd-rates"' not in page
    assert page.count("<h3>MS-SSIM</h3>") == 0
    assert page.count("<h3>PSNR</h3>") == 1


@pytest.mark.slow
def test_two_models_of_ours_and_what_was_left_out() -> None:
    evaluation = evaluation_of({"a.png": (80, 60)})
    second = [
        dataclasses.replace(m, codec="vqcodec vq")
        for m in evaluation.measurements
        if m.codec == "vqcodec"
    ]
    evaluation = dataclasses.replace(
        evaluation,
        measurements=[*second, *evaluation.measurements],
        failed={"<b>.png": "no picture"},
    )
    comparison = dataclasses.replace(
        comparison_of("a.png", 80, 60), left_out={"webp": "keeps no such picture"}
    )
    page = render(evaluation, [comparison])
    text = text_of(page)
    assert "vqcodec vq and vqcodec measured on 1 picture" in text
    assert "Files of vqcodec vq against" in text
    assert "Files of vqcodec against" in text
    assert "webp is left out: keeps no such picture" in text
    assert "Pictures left out &lt;b&gt;.pngno picture" in text
    check_ids(page)


def test_nothing_measured_is_said() -> None:
    evaluation = dataclasses.replace(evaluation_of({}), measurements=[])
    text = text_of(render(evaluation, []))
    assert "No codec could be measured." in text
    assert "cjxl is not installed" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height", "mode"),
    [(1, 1, "RGB"), (17, 33, "L"), (800, 90, "RGB"), (40, 50, "RGBA"), (40, 50, "LA")],
)
def test_pictures_of_any_size_and_mode(width: int, height: int, mode: str) -> None:
    evaluation = evaluation_of({"odd.png": (width, height)})
    text = text_of(render(evaluation, [comparison_of("odd.png", width, height, mode=mode)]))
    assert ("shown is the middle" in text) == (width > 768)


@pytest.mark.slow
def test_a_gallery_may_lack_a_bit_map() -> None:
    comparison = dataclasses.replace(comparison_of("a.png", 40, 40), bit_map=None)
    assert 'class="heat"' not in render(evaluation_of({"a.png": (40, 40)}), [comparison])


@pytest.mark.slow
def test_a_gallery_tells_what_is_stored_without_loss() -> None:
    comparison = comparison_of("a.png", 40, 40)
    evaluation = evaluation_of({"a.png": (40, 40)})
    assert "stored without loss" not in render(evaluation, [comparison])
    patched = dataclasses.replace(comparison, patches=[Box(0, 0, 16, 40)])
    assert "Outlined: 1 rectangle stored without loss" in render(evaluation, [patched])


@pytest.mark.slow
def test_lossless_files_are_infinitely_good_and_not_plotted() -> None:
    evaluation = evaluation_of({"a.png": (80, 60)})
    equal = dataclasses.replace(
        evaluation.measurements[4], psnr=float("inf"), ms_ssim=1.0, setting=100.0
    )
    evaluation.measurements.append(equal)
    page = render(evaluation, [])
    assert "\N{INFINITY}" in page
    assert not re.search(r"\b(inf|nan)\b", text_of(page))


@pytest.mark.slow
def test_an_existing_page_stays(tmp_path: Path) -> None:
    evaluation = evaluation_of({"a.png": (80, 60)})
    folder = tmp_path / "new" / "folder"
    path = write_report(folder, evaluation, [], force=False)
    assert path == folder / "index.html"
    assert path.read_text("utf-8").endswith("</html>\n")
    path.write_text("mine")
    with pytest.raises(OutputExistsError):
        write_report(folder, evaluation, [], force=False)
    assert path.read_text() == "mine"
    write_report(folder, evaluation, [], force=True)
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert [p.name for p in folder.iterdir()] == ["index.html"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        write_report(tmp_path / "file" / "report", evaluation_of({}), [], force=True)


def test_the_template_is_part_of_the_package() -> None:
    folder = resources.files("codec.evaluation.report").joinpath("template")
    names = {entry.name for entry in folder.iterdir()}
    styles = {"palette.css", "style.css", "figure.css"}
    assert names == {"page.html", "panel.html", "macros.html", "script.js"} | styles


def test_signs() -> None:
    assert percent(-12.34) == "\N{MINUS SIGN}12.3\N{NO-BREAK SPACE}%"
    assert percent(12.36) == "+12.4\N{NO-BREAK SPACE}%"
    assert percent(12.36, signed=False) == "12.4\N{NO-BREAK SPACE}%"
    assert percent(None) == "n/a"


class Jpeg:
    """A codec of this test."""

    name = "jpeg"
    description = "Pillow"
    settings = (20.0, 80.0)
    finer: tuple[float, ...] = tuple(float(q) for q in range(5, 96))

    def encode(self, image: Image.Image, setting: float) -> bytes:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=int(setting))
        return buffer.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        image = Image.open(BytesIO(data))
        image.load()
        return image


class NoJpeg(Jpeg):
    """Keeps no picture."""

    name = "none"

    def encode(self, image: Image.Image, setting: float) -> bytes:
        raise InputError("keeps nothing")


class BestJpeg(Jpeg):
    """Makes no small files."""

    name = "best"
    finer: tuple[float, ...] = (95.0,)


def test_peers_get_the_bytes_of_ours(city: Image.Image) -> None:
    found = compare("city", city, Jpeg(), 50.0, [Jpeg(), NoJpeg(), BestJpeg()], lambda data: None)
    assert found.ours.size == len(Jpeg().encode(city, 50))
    assert found.left_out == {"none": "keeps nothing"}
    same, larger = found.peers
    assert same == dataclasses.replace(found.ours, image=same.image)
    assert larger.size > found.ours.size
    assert larger.psnr > found.ours.psnr > 25
    assert found.ours.bpp == pytest.approx(8 * found.ours.size / (192 * 128))
    assert found.ours.ms_ssim is None  # a side of less than 161
