"""The report's page in a real browser, without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from codec.evaluation.report import write_report
from tests.evaluations import HOSTILE, comparison_of, evaluation_of

WIDTHS = [360, 1280]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = {HOSTILE: (200, 180), "b.png": (200, 180)}
    gallery = [comparison_of(HOSTILE, 200, 180), comparison_of("b.png", 770, 45)]
    return write_report(tmp_path_factory.mktemp("report"), evaluation_of(pictures), gallery, False)


def opened(context: BrowserContext, report: Path) -> tuple[Page, list[str]]:
    """The page, and a list of all that goes wrong on it."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url[:80]))
    page.goto(report.as_uri())
    allowed = (report.as_uri(), "data:")
    wrong[:] = [text for text in wrong if not text.startswith(allowed)]
    return page, wrong


@pytest.fixture(params=WIDTHS)
def page(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    with browser.new_context(viewport={"width": request.param, "height": 800}) as context:
        page, wrong = opened(context, report)
        yield page
        assert not wrong


def test_pages_do_not_scroll_sideways_but_wide_tables_do(page: Page) -> None:
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    outside = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((e) => !e.closest(".scroll, .skip, svg") && e.getClientRects().length)
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_all_pictures_can_be_shown(page: Page) -> None:
    assert page.evaluate(
        """() => Promise.all([...document.images].map((image) => image.decode()))
            .then((all) => all.length)"""
    ) == 2 * (5 + 2)


def test_the_line_moves_by_keyboard_and_by_mouse(page: Page) -> None:
    slider = page.get_by_label("Dividing line in b.png")
    stage = page.locator(".stage").nth(1)
    place = "stage => parseFloat(stage.style.getPropertyValue('--at'))"
    assert stage.evaluate(place) == 50
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert stage.evaluate(place) == 52
    assert slider.get_attribute("aria-valuetext") == "52 % vqcodec, 48 % avif"
    box = stage.bounding_box()
    assert box is not None
    slider.click(position={"x": box["width"] / 4, "y": 10})
    assert stage.evaluate(place) == pytest.approx(25, abs=1)


def test_sides_are_chosen_and_never_equal(page: Page) -> None:
    panel = page.locator(".comparison").nth(0)
    left, right = panel.get_by_label("Left"), panel.get_by_label("Right")
    captions = panel.locator("figcaption:visible b")
    assert captions.all_inner_texts() == ["vqcodec", "avif"]
    left.select_option(label="original")
    assert captions.all_inner_texts() == ["original", "avif"]
    right.select_option(label="original")
    assert left.evaluate("select => select.selectedOptions[0].text") == "avif"
    right.select_option(label="bits of vqcodec")
    assert sorted(captions.all_inner_texts()) == ["avif", "bits of vqcodec"]


def test_rate_axis_can_be_logarithmic(page: Page) -> None:
    def visible(kind: str) -> int:
        return page.locator(f".{kind} svg:visible").count()

    assert (visible("linear"), visible("logarithmic")) == (2, 0)
    page.get_by_label("Logarithmic rate axis").check()
    assert (visible("linear"), visible("logarithmic")) == (0, 2)


def test_a_blind_comparison_by_keyboard(page: Page) -> None:
    section = page.locator("#blind-section")
    status, captions = section.get_by_role("status"), section.locator("figcaption")
    section.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    chosen = []
    for number, key in enumerate(("ArrowLeft", "ArrowDown"), 1):
        assert status.inner_text().startswith(f"Picture {number} of 2: ")
        assert captions.all_inner_texts() == ["A", "original", "B"]
        assert not re.search(
            "vqcodec|avif", section.locator("img").first.get_attribute("alt") or ""
        )
        page.keyboard.press(key)
        first, _, second = captions.all_inner_texts()
        assert {first.split(",")[0], second.split(",")[0]} in (
            {"A: vqcodec", "B: avif"},
            {"A: avif", "B: vqcodec"},
        )
        assert status.inner_text().startswith("Your choice in ")
        chosen.append(first.split(",")[0][3:] if key == "ArrowLeft" else "no difference")
        page.keyboard.press("ArrowRight")  # is no second choice
        page.keyboard.press("Enter")
    counts = {name: chosen.count(name) for name in ("vqcodec", "avif", "no difference")}
    expected = ", ".join(f"{name}: {count}" for name, count in counts.items())
    assert sorted(status.inner_text().split(", ")) == sorted(expected.split(", "))
    listed = section.locator("li").all_inner_texts()
    assert [text.rsplit(": ", 1)[1] for text in listed] == chosen
    page.keyboard.press("Enter")
    assert status.inner_text().startswith("Picture 1 of 2: ")


@pytest.mark.parametrize(("draw", "first"), [(0.9, "A: vqcodec,"), (0.1, "A: avif,")])
def test_the_order_of_a_blind_comparison_is_drawn(page: Page, draw: float, first: str) -> None:
    page.evaluate(f"Math.random = () => {draw}")
    section = page.locator("#blind-section")
    section.get_by_role("button", name="Start").click()
    for button in ("No difference", "Next", "No difference"):
        section.get_by_role("button", name=button).click()
    assert section.locator("figcaption").first.inner_text().startswith(first)


def test_names_of_pictures_are_shown_as_they_are(page: Page) -> None:
    assert page.locator(".comparison h3").nth(0).inner_text() == HOSTILE


def test_everything_has_a_name_and_focus_is_seen(page: Page) -> None:
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("svg:not([aria-label])").count() == 0
    assert (
        page.evaluate(
            """() => [...document.querySelectorAll("input, select")]
            .filter((e) => !e.labels.length && !e.getAttribute("aria-label")).length"""
        )
        == 0
    )
    assert page.locator("table:not(:has(caption)), th:not([scope])").count() == 0
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((e) => +e.tagName[1])")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    stops = page.locator("a, input, select, .scroll").count()
    for _ in range(stops):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => {
                const e = document.activeElement.closest(".stage") ?? document.activeElement;
                return getComputedStyle(e).outlineStyle;
            }"""
        )
        assert seen == "solid"


CONTRAST = """() => {
    const colour = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = light(colour(getComputedStyle(document.body).backgroundColor));
    const ratio = (l) => (Math.max(l, ground) + 0.05) / (Math.min(l, ground) + 0.05);
    const texts = [...document.querySelectorAll("p, dt, dd, td, th, caption, h1, h2, strong")]
        .map((e) => ratio(light(colour(getComputedStyle(e).color))));
    const lines = [...document.querySelectorAll("svg path[style*='--curve']")]
        .map((e) => ratio(light(colour(getComputedStyle(e).stroke))));
    return [Math.min(...texts), Math.min(...lines), ground];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_have_contrast(browser: Browser, report: Path, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme) as context:  # type: ignore[arg-type]
        page, wrong = opened(context, report)
        text, line, ground = page.evaluate(CONTRAST)
    assert not wrong
    assert (ground < 0.05) == (scheme == "dark")
    assert text >= 4.5
    assert line >= 3


def test_without_scripts_all_versions_are_there(browser: Browser, report: Path) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page, wrong = opened(context, report)
        assert page.locator(".comparison figure:visible").count() == 2 * (4 + 1)
        assert page.locator("select:visible, input[type=range]:visible").count() == 0
        page.get_by_label("Logarithmic rate axis").check()
        assert page.locator(".logarithmic svg:visible").count() == 2
    assert not wrong


def test_print_shows_all_versions(browser: Browser, report: Path) -> None:
    with browser.new_context() as context:
        page, _ = opened(context, report)
        page.set_viewport_size({"width": 720, "height": 1000})
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("document.documentElement.scrollWidth") == 720
        assert page.locator(".comparison figure:visible").count() == 2 * (4 + 1)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") in (
            "rgb(255, 255, 255)"
        )
