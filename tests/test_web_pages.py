"""Viewer, element and published folders in a real browser, without a network."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from playwright.sync_api import Browser, BrowserContext, Page, expect

from codec.cli.server import ViewerServer, serve
from codec.cli.site import (
    LIST,
    VIEWER,
    Content,
    built_files,
    model_files,
    picture_list,
    read_picture,
    write_site,
)
from codec.codec import Codec
from tests.helpers import DATA, TINY
from tests.web_build import build_reader

pytestmark = pytest.mark.slow
SIZE = (192, 128)
PATIENCE = 30_000
"""Milliseconds that a loaded machine may take for a step."""
expect.set_options(timeout=PATIENCE)
BLOB = re.compile("^blob:")
PHONE = {"width": 390, "height": 844}

DECODED = """async (image) => {
    const { host } = image.getRootNode(); // a <vqc-img>, which begins with empty room
    for (let i = 0; host && !host.complete && i < 600; i++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await image.decode();
}"""
SAMPLES = """image => {
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""));
}"""


class StaticServer:
    """A plain web server of a folder, which remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                asked.append(self.path)

        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Handler, directory=str(folder))
        )
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(PATIENCE)
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing goes wrong that is not expected."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: wrong.append(message.text) if "Policy" in message.text else None,
    )
    yield page
    assert not wrong


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_codec: Codec) -> Path:
    """A website: the reader, and pictures beside it."""
    folder = tmp_path_factory.mktemp("site")
    build_reader(folder / "reader", [TINY])
    with Image.open(DATA / "city.png") as image:
        city = image.convert("RGB")
    city.save(folder / "a.png")
    city.resize((60, 40)).save(folder / "small.png")
    (folder / "a.vqc").write_bytes(tiny_codec.compress(city, quality=40))
    (folder / "b.vqc").write_bytes(tiny_codec.compress(city.convert("L"), quality=40))
    broken = bytearray((folder / "a.vqc").read_bytes())
    broken[40] ^= 1
    (folder / "broken.vqc").write_bytes(broken)
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[StaticServer]:
    server = StaticServer(folder)
    yield server
    server.stop()


def samples(page: Page, selector: str) -> np.ndarray:
    """What the browser shows of an <img>, uint8 [height, width, 4]."""
    image = page.locator(selector)
    expect(image).to_have_attribute("src", BLOB)
    image.evaluate(DECODED)
    height, width = image.evaluate("image => [image.naturalHeight, image.naturalWidth]")
    data = base64.b64decode(image.evaluate(SAMPLES))
    return np.frombuffer(data, np.uint8).reshape(height, width, 4)


def check_shows(shown: np.ndarray, codec: Codec, data: bytes) -> None:
    decoded = np.asarray(codec.decompress(data).convert("RGBA")).astype(int)
    assert np.abs(shown - decoded).max() <= 1


def opened(page: Page, server: StaticServer, query: str = "") -> Page:
    page.goto(f"{server.address}/reader/viewer.html{query}")
    return page


def test_chosen_files_are_shown_beside_their_originals(
    page: Page, server: StaticServer, folder: Path, tiny_codec: Codec
) -> None:
    opened(page, server)
    expect(page.get_by_role("heading", name="Drop .vqc pictures here")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files([folder / name for name in ("a.png", "b.vqc", "a.vqc")])
    expect(page).to_have_title("a.vqc - vqcodec viewer")
    check_shows(samples(page, "#decoded img"), tiny_codec, (folder / "a.vqc").read_bytes())
    shown = samples(page, "#original img")
    with Image.open(folder / "a.png") as image:
        assert np.array_equal(shown, np.asarray(image.convert("RGBA")))
    expect(page.get_by_role("status")).to_have_text("a.vqc, 192 by 128 pixels, 1 of 2")
    line = page.get_by_role("slider", name="Dividing line")
    line.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(line).to_have_attribute("aria-valuetext", "53 % decoded, 47 % original")
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.53 * box["width"], box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 100)
    page.mouse.up()
    expect(line).to_have_attribute("aria-valuenow", "25")
    page.get_by_role("button", name="Next picture").click()
    expect(page.get_by_role("status")).to_have_text("b.vqc, 192 by 128 pixels, 2 of 2")
    expect(line).to_be_hidden()
    check_shows(samples(page, "#decoded img"), tiny_codec, (folder / "b.vqc").read_bytes())


def test_an_original_may_come_later_and_must_fit(
    page: Page, server: StaticServer, folder: Path
) -> None:
    opened(page, server, "?src=../a.vqc")
    samples(page, "#decoded img")
    page.set_input_files("#chooser", folder / "small.png")
    expect(page.get_by_role("alert")).to_have_text(
        "small.png: is 60 × 40 pixels, the picture is 192 × 128"  # noqa: RUF001
    )
    page.set_input_files("#chooser", folder / "a.png")
    expect(page.get_by_text("Original, 42.3 kB")).to_be_visible()
    page.locator("#stage").focus()
    page.keyboard.press("c")
    expect(page.get_by_role("slider")).to_be_hidden()


def test_addresses_are_shown_and_keys_work(page: Page, server: StaticServer) -> None:
    opened(page, server, "?src=../a.vqc&src=../b.vqc&original=../a.png#2")
    expect(page.get_by_role("status")).to_have_text("b.vqc, 192 by 128 pixels, 2 of 2")
    scale = page.locator("#actual")
    expect(scale).to_have_text("100 %")
    page.keyboard.press("+")
    expect(scale).to_have_text("125 %")
    page.keyboard.press("-")
    page.keyboard.press("-")
    expect(scale).to_have_text("100 %")  # no smaller than both whole and actual
    for _ in range(12):
        page.keyboard.press("+")
    moved = page.locator("#decoded img")
    before = moved.evaluate("image => image.style.transform")
    page.keyboard.press("ArrowRight")
    assert moved.evaluate("image => image.style.transform") != before
    page.keyboard.press("0")
    expect(scale).to_have_text("100 %")
    page.keyboard.press("i")
    panel = page.get_by_role("complementary", name="What the file holds")
    expect(panel).to_contain_text("Quality40")
    expect(panel).to_contain_text("tiny (fee8bdb7)")
    expect(panel).to_contain_text("192 × 128")  # noqa: RUF001
    expect(panel.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.locator("#stage").focus()
    page.keyboard.press("ArrowLeft")  # fits, so this steps
    expect(page.get_by_role("status")).to_have_text("a.vqc, 192 by 128 pixels, 1 of 2")
    expect(page.get_by_role("slider")).to_be_visible()
    assert page.url.endswith("#1")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_wheel_zooms_where_the_pointer_is(page: Page, server: StaticServer) -> None:
    opened(page, server, "?src=../a.vqc")
    image = page.locator("#decoded img")
    samples(page, "#decoded img")
    for _ in range(11):  # smaller pictures stay in the middle
        page.keyboard.press("+")
    before = image.bounding_box()
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -700)
    expect(page.locator("#actual")).to_have_text("4721 %")
    after = image.bounding_box()
    assert before
    assert after
    for axis, side, at in (("x", "width", 400), ("y", "height", 300)):
        share = (at - before[axis]) / before[side]  # type: ignore[literal-required]
        assert (at - after[axis]) / after[side] == pytest.approx(share)  # type: ignore[literal-required]


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("?src=../broken.vqc", "broken.vqc: damaged: the checksum does not match; "),
        ("?src=../none.vqc", "none.vqc: cannot be fetched: the server says 404"),
        ("?src=../a.png", "a.png: not a vqcodec file"),
        ("?src=javascript:alert(1)", "cannot be fetched: it is no web address"),
        ("?src=data:,x", "cannot be fetched: it is no web address"),
        ("?list=../a.png", "The pictures cannot be listed: the file is no list of pictures"),
        ("?list=../none.json", "The pictures cannot be fetched: the server says 404"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    page: Page, server: StaticServer, query: str, line: str
) -> None:
    opened(page, server, query)
    expect(page.get_by_role("alert")).to_contain_text(line)
    expect(page.locator("#waiting")).to_be_hidden()
    page.locator("#message").get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_be_hidden()


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA"])
def test_saved_pictures_lose_nothing(
    page: Page, server: StaticServer, tmp_path: Path, tiny_codec: Codec, mode: str
) -> None:
    rng = np.random.default_rng(0)
    samples_ = rng.integers(0, 256, (50, 700, 4), np.uint8)
    samples_[:20] //= 2
    image = Image.fromarray(samples_, "RGBA").convert(mode)
    image.info = {"exif": EXIF, "xmp": XMP}
    if mode.startswith("RGB"):
        image.info["icc_profile"] = PROFILE
    path = tmp_path / "x.vqc"
    path.write_bytes(tiny_codec.compress(image, lossless=True))
    opened(page, server)
    page.set_input_files("#chooser", path)
    samples(page, "#decoded img")
    page.locator("#info").click()
    panel = page.get_by_role("complementary", name="What the file holds")
    expect(panel).to_contain_text("Kept without lossAll pixels")
    if mode.startswith("RGB"):
        expect(panel).to_contain_text("sRGB built-in")
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "x.png"
    with Image.open(download.value.path()) as saved:
        assert saved.mode == mode
        decoded = tiny_codec.decompress(path.read_bytes())
        assert np.array_equal(np.asarray(saved), np.asarray(decoded))
        assert saved.info.get("icc_profile") == image.info.get("icc_profile")
        assert saved.info["exif"].removeprefix(b"Exif\0\0") == EXIF
        assert saved.info["xmp"] == XMP


def test_photographs_saved_are_as_small_as_png_is(
    page: Page, server: StaticServer, folder: Path
) -> None:
    opened(page, server, "?src=../a.vqc")
    samples(page, "#decoded img")
    with page.expect_download() as download:
        page.locator("#save").click()
    path = Path(download.value.path())
    best = BytesIO()
    with Image.open(path) as saved:
        saved.save(best, "PNG")
    assert path.stat().st_size <= 1.1 * len(best.getvalue())


def test_works_without_a_network_once_loaded(
    page: Page, server: StaticServer, folder: Path, tiny_codec: Codec
) -> None:
    opened(page, server, "?src=../a.vqc")
    samples(page, "#decoded img")
    page.wait_for_function("() => navigator.serviceWorker.controller !== null")
    before = len(server.asked)
    opened(page, server, "?src=../a.vqc")
    samples(page, "#decoded img")
    # The list of models may be another one while the rest stays.
    asked = {path.partition("?")[0] for path in server.asked[before:]}
    assert asked - {"/reader/sw.js", "/a.vqc"} == {"/reader/models/INDEX.json"}
    server.stop()
    opened(page, server)
    page.set_input_files("#chooser", folder / "b.vqc")
    check_shows(samples(page, "#decoded img"), tiny_codec, (folder / "b.vqc").read_bytes())


def test_the_command_ends_when_the_page_says_so(
    page: Page, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.cli.site.BUILT", folder / "reader")
    contents: dict[str, Content] = {**built_files(), **model_files([TINY], effort=0)}
    contents |= {"a.vqc": folder / "a.vqc", LIST: picture_list([{"src": "a.vqc"}], stop=True)}
    server = ViewerServer(contents)
    thread = threading.Thread(target=serve, args=(server,), daemon=True)
    thread.start()
    page.goto(server.address(f"{VIEWER}?list={LIST}"))
    samples(page, "#decoded img")
    assert page.evaluate("crossOriginIsolated")
    assert (
        page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
    )
    page.wait_for_function("() => caches.keys().then((names) => names.length === 0)")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("alert")).to_contain_text("has ended")
    thread.join(timeout=10)
    assert not thread.is_alive()


ELEMENTS = """<!doctype html>
<script>
  window.made = 0;
  const make = URL.createObjectURL, revoke = URL.revokeObjectURL;
  URL.createObjectURL = (blob) => (window.made++, make.call(URL, blob));
  URL.revokeObjectURL = (url) => (window.made--, revoke.call(URL, url));
</script>
<script type="module" src="/reader/vqcodec-img.js"></script>
<p><img id="one" src="a.vqc" width="192" height="128" alt="One">
<img id="two" data-vqc="b.vqc" alt="Two"></p>
<p><vqc-img id="three" src="a.vqc" width="96" height="64" alt="Three"></vqc-img>
<vqc-img id="broken" src="broken.vqc" width="96" height="64" alt="Broken"></vqc-img>
<img id="none" data-vqc="none.vqc" width="96" height="64" alt="None">
<img id="instead" data-vqc="broken.vqc" src="small.png" alt="Instead">
<img id="other" src="a.png" alt="Other"></p>
<div style="height: 5000px"></div>
<p><vqc-img id="far" src="b.vqc?far" width="192" height="128" alt="Far"></vqc-img></p>
<script>
  window.events = [];
  for (const element of document.querySelectorAll("p > [id]")) {
    for (const type of ["load", "error"]) {
      element.addEventListener(type, () => events.push(`${element.id} ${type}`));
    }
  }
</script>
"""


def test_elements_show_pictures_as_any_image_does(
    page: Page, server: StaticServer, folder: Path, tiny_codec: Codec
) -> None:
    (folder / "page.html").write_text(ELEMENTS)
    page.goto(f"{server.address}/page.html")
    # The browser may find that it cannot show the first one before the element is there.
    page.wait_for_function("new Set(events.filter((text) => text !== 'one error')).size >= 7")
    assert sorted(set(page.evaluate("events")) - {"one error"}) == [
        "broken error",
        "instead load",
        "none error",
        "one load",
        "other load",
        "three load",
        "two load",
    ]
    a, b = ((folder / name).read_bytes() for name in ("a.vqc", "b.vqc"))
    check_shows(samples(page, "#one"), tiny_codec, a)
    check_shows(samples(page, "#two"), tiny_codec, b)
    check_shows(samples(page, "#three >> img"), tiny_codec, a)
    box = page.locator("#three").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (96, 64)
    assert page.get_by_role("img", name="Broken").count() == 1
    assert page.get_by_role("img", name="None").count() == 1
    assert not page.locator("#none").get_attribute("src")
    assert page.locator("#instead").get_attribute("src") == "small.png"
    assert page.locator("#one").get_attribute("data-vqc") == "a.vqc"
    assert [path for path in server.asked if "far" in path] == []
    page.locator("#far").scroll_into_view_if_needed()
    page.wait_for_function("events.includes('far load')")
    assert page.evaluate("made") == 4  # one for each picture that is shown
    for name in ("one", "three", "far", "two"):
        page.evaluate(f"document.querySelector('#{name}').remove()")
    page.wait_for_function("made === 0")


def test_layout_does_not_shift(page: Page, server: StaticServer, folder: Path) -> None:
    (folder / "shift.html").write_text(
        "<!doctype html><style>vqc-img, img { width: 50%; height: auto }</style>"
        '<script type="module" src="/reader/vqcodec-img.js"></script>'
        '<vqc-img id="one" src="a.vqc" width="192" height="128" alt="One"></vqc-img>'
        '<img id="two" data-vqc="a.vqc" width="192" height="128" alt="Two"><p id="end">End</p>'
    )
    page.goto(f"{server.address}/shift.html")
    page.evaluate("customElements.whenDefined('vqc-img').then(() => 0)")
    measure = (
        "['one', 'two', 'end'].map((id) => document.getElementById(id)"
        ".getBoundingClientRect()).map(({ top, width, height }) => [top, width, height])"
    )
    early = page.evaluate(measure)
    samples(page, "#two")
    page.wait_for_function("document.querySelector('#one').complete")
    page.wait_for_function("document.querySelector('#two').naturalWidth === 192")
    assert page.evaluate(measure) == early
    assert early[0][1] == pytest.approx(1.5 * early[0][2], abs=1)


def test_a_moved_element_keeps_its_picture_and_a_new_source_replaces_it(
    page: Page, server: StaticServer, folder: Path, tiny_codec: Codec
) -> None:
    (folder / "moved.html").write_text(
        '<!doctype html><script type="module" src="/reader/vqcodec-img.js"></script>'
        '<div></div><vqc-img src="a.vqc" alt=""></vqc-img>'
    )
    page.goto(f"{server.address}/moved.html")
    page.wait_for_function("document.querySelector('vqc-img').complete")
    asked = len(server.asked)
    page.evaluate("document.querySelector('div').append(document.querySelector('vqc-img'))")
    check_shows(samples(page, "vqc-img >> img"), tiny_codec, (folder / "a.vqc").read_bytes())
    assert len(server.asked) == asked
    page.evaluate("document.querySelector('vqc-img').src = 'b.vqc'")
    page.wait_for_function("document.querySelector('vqc-img').complete")
    check_shows(samples(page, "vqc-img >> img"), tiny_codec, (folder / "b.vqc").read_bytes())


def test_a_published_folder_in_a_subfolder(
    page: Page, folder: Path, tmp_path: Path, tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.cli.site.BUILT", folder / "reader")
    pictures = [read_picture(folder / name, f"sub/{name}") for name in ("a.vqc", "b.vqc")]
    write_site(pictures, tmp_path / "some" / "where", "Ours", force=False, model=str(TINY))
    server = StaticServer(tmp_path)
    try:
        page.goto(f"{server.address}/some/where/")
        expect(page.get_by_role("heading", name="Ours")).to_be_visible()
        check_shows(
            samples(page, "vqc-img >> nth=1 >> img"), tiny_codec, (folder / "b.vqc").read_bytes()
        )
        page.get_by_role("link", name="sub/b").click()
        expect(page.get_by_role("status")).to_have_text("sub/b.vqc, 192 by 128 pixels, 2 of 2")
        assert not [path for path in server.asked if not path.startswith("/some/where/")]
    finally:
        server.stop()


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (1280, "dark")])
def test_everything_fits_has_a_name_and_contrast(
    browser: Browser, server: StaticServer, width: int, scheme: str
) -> None:
    with browser.new_context(
        viewport={"width": width, "height": 700},
        color_scheme=scheme,  # type: ignore[arg-type]
    ) as context:
        page = opened(context.new_page(), server, "?src=../a.vqc&src=../b.vqc&original=../a.png")
        samples(page, "#original img")
        page.locator("#info").click()
        outside = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
                .filter((e) => e.checkVisibility() && !e.closest("svg, .unseen, .pane, span"))
                .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
                .map((e) => e.outerHTML.slice(0, 80))"""
        )
        assert outside == []
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, [tabindex]")]
                .filter((e) => e.checkVisibility())
                .filter((e) => !(e.textContent.trim() || e.ariaLabel)).map((e) => e.id)"""
        )
        assert nameless == []
        text, ground = page.evaluate(CONTRAST)
    assert (ground < 0.05) == (scheme == "dark")
    assert text >= 4.5


CONTRAST = """() => {
    const colour = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = light(colour(getComputedStyle(document.body).backgroundColor));
    const ratio = (l) => (Math.max(l, ground) + 0.05) / (Math.min(l, ground) + 0.05);
    const texts = [...document.querySelectorAll("h1, h2, dt, dd, button")]
        .filter((e) => e.checkVisibility())
        .map((e) => ratio(light(colour(getComputedStyle(e).color))));
    return [Math.min(...texts), ground];
}"""


def test_touch_zooms_and_steps(browser: Browser, server: StaticServer) -> None:
    with browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:  # type: ignore[arg-type]
        page = opened(context.new_page(), server, "?src=../a.vqc&src=../b.vqc")
        status = page.get_by_role("status")
        expect(status).to_have_text("a.vqc, 192 by 128 pixels, 1 of 2")
        devtools = context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[int, int]) -> None:
            devtools.send(
                "Input.dispatchTouchEvent",
                {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]},
            )

        touch("touchStart", (300, 400))
        touch("touchMove", (200, 400))
        touch("touchEnd")
        expect(status).to_have_text("b.vqc, 192 by 128 pixels, 2 of 2")
        touch("touchStart", (180, 400), (220, 400))
        touch("touchMove", (140, 400), (260, 400))
        touch("touchEnd")
        expect(page.locator("#actual")).to_have_text("300 %")
