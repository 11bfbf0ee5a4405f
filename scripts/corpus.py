"""Pictures that no model was trained for, drawn from scratch: `python -m scripts.corpus OUT`.

Text in saturated pairs of colours, dark themes, screenshots with and without photographs, palette
art, dithers, line art, scans, maps, plots, codes to be scanned, gradients, stripes, mosaics, noise,
and the extremes of size. Tests and tables of the encoder's patches run over them. They are the
same for the same version of Pillow, whose built-in font they are written in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

PHOTOS = Path(__file__).parent.parent / "tests" / "data"
"""Folder of the photographs `flowers.png`, `path.png` and `city.png`."""
PAIRS = {
    "red on green": ("#f00", "#0f0"),
    "green on red": ("#0f0", "#f00"),
    "red on blue": ("#f00", "#00f"),
    "blue on red": ("#00f", "#f00"),
    "magenta on green": ("#f0f", "#0f0"),
    "green on magenta": ("#0f0", "#f0f"),
    "cyan on red": ("#0ff", "#f00"),
    "yellow on blue": ("#ff0", "#00f"),
    "blue on green": ("#00f", "#0f0"),
    "magenta on cyan": ("#f0f", "#0ff"),
    "red on black": ("#f00", "#000"),
    "green on white": ("#0f0", "#fff"),
}
"""Ink and ground of text."""
SENTENCE = "The quick brown fox jumps over the lazy dog, 0123456789. "
CODE = (
    "def reconstruct(self, y_hat, level):",
    "    # latents to samples, window by window",
    '    """Samples [3, H, W], about 0..1."""',
    "    for box, part in windows(self.grid):",
    "        if part.size > 1024:",
    '            raise ValueError("too large")',
    "        yield box, 0.5 + part / 255",
    "    return None",
)

Pixels = NDArray[np.uint8]


class Drawn(NamedTuple):
    """A picture of the corpus."""

    kind: str
    name: str
    """Unique; letters, digits and hyphens."""
    image: Image.Image


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


def photo(name: str, width: int, height: int) -> Image.Image:
    """One of the photographs, cropped from its corner or scaled to a size."""
    image = Image.open(PHOTOS / f"{name}.png").convert("RGB")
    if width <= image.width and height <= image.height:
        return image.crop((0, 0, width, height))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def write(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], size: float, ink: str) -> None:
    """Fill a box with lines of words."""
    left, top, right, bottom = box
    shift = 0
    face = font(size)
    while top + size <= bottom:
        words = (SENTENCE * 3)[shift : shift + 100]
        words = words[: int(len(words) * (right - left) / draw.textlength(words, face))]
        draw.text((left, top), words, ink, face)
        top += round(1.4 * size)
        shift = (shift + 17) % len(SENTENCE)


def texts() -> Iterator[Drawn]:
    """Pages of text in two sizes of type, every other pair of colours without smooth edges."""
    for number, (name, (ink, ground)) in enumerate(PAIRS.items()):
        for size in (10, 22):
            image = Image.new("RGB", (288, 176), ground)
            draw = ImageDraw.Draw(image)
            draw.fontmode = "1" if number % 2 else "L"
            write(draw, (8, 6, 280, 174), size, ink)
            yield Drawn("text", f"text-{name.replace(' ', '-')}-{size}", image)
    page = Image.new("L", (320, 240), 255)
    write(ImageDraw.Draw(page), (10, 8, 310, 236), 11, "black")
    yield Drawn("text", "text-grey-11", page)


def dark_themes() -> Iterator[Drawn]:
    """An editor, a terminal and a chat."""
    inks = ("#ff7b72", "#8b949e", "#a5d6ff", "#d2a8ff", "#c9d1d9", "#7ee787", "#79c0ff", "#ffa657")
    editor = Image.new("RGB", (384, 256), "#0d1117")
    draw = ImageDraw.Draw(editor)
    draw.rectangle((0, 0, 27, 255), "#161b22")
    for row in range(17):
        draw.text((6, 4 + 15 * row), f"{row + 1:2}", "#6e7681", font(10))
        line = CODE[row % len(CODE)]
        left = 34.0
        for number, word in enumerate(line.split(" ")):
            draw.text((left, 4 + 15 * row), word, inks[(row + number) % len(inks)], font(11))
            left += draw.textlength(word + " ", font(11))
    yield Drawn("dark theme", "dark-editor", editor)
    terminal = Image.new("RGB", (320, 240), "black")
    draw = ImageDraw.Draw(terminal)
    draw.fontmode = "1"
    for row, ink in enumerate(("#00ff00", "#ff5555", "#ffff55", "#5555ff", "#ff55ff") * 4):
        draw.text((4, 2 + 12 * row), f"$ make test | grep -c {SENTENCE[row : row + 24]}", ink)
    yield Drawn("dark theme", "dark-terminal", terminal)
    chat = Image.new("RGB", (256, 320), "#1e1f22")
    draw = ImageDraw.Draw(chat)
    for row in range(5):
        left, top = 10 + 60 * (row % 2), 8 + 62 * row
        draw.rounded_rectangle((left, top, left + 170, top + 52), 10, "#5865f2", None)
        write(draw, (left + 8, top + 5, left + 165, top + 50), 10, "#f2f3f5")
    yield Drawn("dark theme", "dark-chat", chat)


def _window(width: int, height: int, title: str) -> Image.Image:
    """An empty window with a bar of title and buttons."""
    image = Image.new("RGB", (width, height), "#f0f0f0")
    draw = ImageDraw.Draw(image)
    for row in range(24):
        draw.line((0, row, width, row), (60 + 2 * row, 110 + 2 * row, 200 + row))
    draw.text((8, 5), title, "white", font(12))
    for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        draw.ellipse((width - 20 - 18 * number, 6, width - 9 - 18 * number, 17), colour)
    return image


def dialog() -> Image.Image:
    """A window of buttons, boxes, bars and fields."""
    image = _window(384, 288, "Preferences")
    draw = ImageDraw.Draw(image)
    for row in range(6):
        top = 36 + 26 * row
        draw.rectangle((14, top, 26, top + 12), "white", "#707070")
        if row % 2:
            draw.line((16, top + 6, 19, top + 10, 25, top + 2), "#0060c0", 2)
        draw.text((34, top), SENTENCE[4 * row : 4 * row + 18], "black", font(11))
        draw.ellipse((190, top, 202, top + 12), "white", "#707070")
        draw.rectangle((216, top - 2, 368, top + 14), "white", "#a0a0a0")
        draw.text((220, top), SENTENCE[6 * row : 6 * row + 20], "#202020", font(10))
    draw.rectangle((14, 200, 368, 214), "#d8d8d8", "#808080")
    draw.rectangle((15, 201, 220, 213), "#06b025")
    for number, label in enumerate(("Apply", "Cancel", "OK")):
        left = 140 + 80 * number
        draw.rounded_rectangle((left, 248, left + 68, 272), 4, "#e1e1e1", "#adadad")
        draw.text((left + 16, 253), label, "black", font(11))
    return image


def viewer() -> Image.Image:
    """A window with a photograph of 256x192 at (96, 48) and text around it."""
    image = _window(448, 320, "Photographs")
    draw = ImageDraw.Draw(image)
    write(draw, (8, 30, 88, 310), 10, "black")
    write(draw, (104, 252, 440, 318), 12, "#c00000")
    image.paste(photo("path", 256, 192), (96, 48))
    return image


def page() -> Image.Image:
    """A web page with two photographs."""
    image = Image.new("RGB", (512, 384), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 512, 30), "#24292f")
    draw.text((10, 6), "The Daily Latent", "white", font(16))
    for number, label in enumerate(("News", "Sport", "Maths")):
        draw.text((300 + 64 * number, 8), label, "#58a6ff", font(12))
    image.paste(photo("city", 192, 128), (16, 48))
    write(draw, (224, 44, 500, 180), 12, "#1f2328")
    write(draw, (16, 196, 260, 376), 11, "#1f2328")
    image.paste(photo("flowers", 224, 176), (272, 196))
    return image


def spreadsheet() -> Image.Image:
    """Cells of numbers."""
    image = Image.new("RGB", (384, 256), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 384, 16), "#e6e6e6")
    draw.rectangle((80, 49, 160, 65), "#fff2cc")
    for row in range(16):
        draw.line((0, 16 * row, 384, 16 * row), "#d4d4d4")
        for column in range(5):
            text = f"{(row + 3) ** 3 * (column + 7) % 99991 / 100:.2f}"
            draw.text((80 * column + 28, 16 * row + 2), text, "black", font(10))
    for column in range(5):
        draw.line((80 * column, 0, 80 * column, 256), "#d4d4d4")
    return image


def desktop() -> Image.Image:
    """A photograph behind a window, icons and a bar."""
    image = photo("flowers", 384, 288)
    draw = ImageDraw.Draw(image)
    for number, colour in enumerate(("#e81123", "#0078d7", "#107c10")):
        draw.rounded_rectangle((10, 10 + 56 * number, 42, 42 + 56 * number), 6, colour, "white")
        draw.text((10, 44 + 56 * number), f"disk {number}", "white", font(10))
    draw.rectangle((0, 264, 384, 288), "#1c1c1c")
    draw.text((320, 269), "12:34", "white", font(12))
    small = _window(208, 144, "Notes")
    write(ImageDraw.Draw(small), (8, 30, 200, 140), 11, "black")
    image.paste(small, (128, 80))
    return image


def screenshots() -> Iterator[Drawn]:
    """Windows, with and without photographs."""
    for draw in (dialog, viewer, page, spreadsheet, desktop):
        yield Drawn("screenshot", f"screenshot-{draw.__name__}", draw())


def palette_art() -> Iterator[Drawn]:
    """Sprites of large pixels, a picture of 16 flat colours, and an icon with holes."""
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 256, (16, 3), dtype=np.uint8)
    half = rng.integers(0, 6, (8, 8, 16, 8)) * (rng.random((8, 8, 1, 1)) < 0.7)
    sprites = np.concatenate([half, half[..., ::-1]], 3).transpose(0, 2, 1, 3).reshape(128, 128)
    pixels = colours[sprites].repeat(2, 0).repeat(2, 1)
    yield Drawn("palette art", "palette-sprites", Image.fromarray(pixels))
    few = photo("flowers", 384, 288).filter(ImageFilter.ModeFilter(7))
    yield Drawn("palette art", "palette-poster", few.quantize(16, dither=Image.Dither.NONE))
    icon = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
    draw = ImageDraw.Draw(icon)
    draw.ellipse((8, 8, 120, 120), "#0078d7", "#003a6b", 6)
    draw.polygon(((40, 96), (64, 24), (88, 96)), (255, 255, 0, 160))
    draw.text((44, 60), "vqc", "#ff0000", font(22))
    yield Drawn("palette art", "palette-icon-alpha", icon)


def dithers() -> Iterator[Drawn]:
    """Photographs of 2 and of 16 colours, by error diffusion and by Bayer's pattern."""
    picture = photo("flowers", 240, 160)
    yield Drawn("dither", "dither-1-bit", picture.convert("1"))
    pattern = np.zeros((1, 1))
    for _ in range(2):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    threshold = np.tile((pattern + 0.5) * 16, (40, 60))
    ordered = np.asarray(picture.convert("L")) > threshold
    yield Drawn("dither", "dither-1-bit-ordered", Image.fromarray(ordered))
    table = Image.new("P", (1, 1))
    table.putpalette([17 * grey for grey in range(16) for _ in range(3)])
    greys = picture.convert("L").convert("RGB").quantize(palette=table)
    yield Drawn("dither", "dither-4-bits-grey", greys)
    table.putpalette([c for n in range(16) for c in (255 * (n & 1), 85 * (n >> 2), 127 * (n & 2))])
    yield Drawn("dither", "dither-4-bits-colours", picture.quantize(palette=table))


def line_art() -> Iterator[Drawn]:
    """Curves of black ink, without and with smooth edges."""
    for name, scale in (("hard", 1), ("smooth", 4)):
        side = 256 * scale
        image = Image.new("L", (side, side), 255)
        draw = ImageDraw.Draw(image)
        for turn in range(24):
            points = [
                (
                    scale * (128 + (20 + 4.5 * turn) * math.cos(angle / 20 + turn)),
                    scale * (128 + (20 + 4 * turn) * math.sin(angle / 20 * (1 + turn % 3))),
                )
                for angle in range(126)
            ]
            draw.line(points, 0, scale)
        image = image.resize((256, 256), Image.Resampling.BOX)
        yield Drawn("line art", f"lines-{name}", image)


def scans() -> Iterator[Drawn]:
    """A page of text as a scanner sees it, and the same in black and white."""
    rng = np.random.default_rng(2)
    sheet = Image.new("L", (384, 288), 235)
    write(ImageDraw.Draw(sheet), (24, 20, 364, 274), 13, "#282828")
    turned = sheet.rotate(0.7, Image.Resampling.BICUBIC, fillcolor=235)
    noisy = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.7))) + rng.normal(0, 4, (288, 384))
    yield Drawn("scan", "scan-grey", Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    yield Drawn("scan", "scan-1-bit", Image.fromarray(noisy > 150))


def maps() -> Iterator[Drawn]:
    """Streets and names over flat land and water, and a relief of flat shades."""
    rng = np.random.default_rng(3)
    streets = Image.new("RGB", (320, 256), "#f2efe9")
    draw = ImageDraw.Draw(streets)
    draw.polygon(((0, 180), (120, 150), (220, 256), (0, 256)), "#aad3df")
    draw.ellipse((200, 20, 300, 100), "#c8facc")
    for _ in range(18):
        ends = [(int(x), int(y)) for x, y in rng.integers(0, 320, (3, 2))]
        draw.line(ends, "#c0a080", 6)
        draw.line(ends, "#ffffff", 4)
    for _ in range(14):
        left, top = (int(v) for v in rng.integers(0, (270, 240)))
        draw.text((left, top), "Oak St", "#404040", font(9))
    yield Drawn("map", "map-streets", streets)
    rows, columns = np.indices((256, 256)) / 256
    height = np.sin(9 * rows + 3 * np.sin(7 * columns)) + np.cos(8 * columns - 4 * rows)
    shades = np.linspace((20, 90, 40), (250, 240, 220), 12).astype(np.uint8)
    relief = shades[((height + 2) * 2.99).astype(int)]
    yield Drawn("map", "map-relief", Image.fromarray(relief))


def plots() -> Iterator[Drawn]:
    """Lines with smooth edges over a grid, and bars."""
    large = Image.new("RGB", (1152, 864), "white")
    draw = ImageDraw.Draw(large)
    for step in range(10):
        draw.line((120, 90 * step + 30, 1120, 90 * step + 30), "#dddddd", 3)
        draw.line((120 + 110 * step, 30, 120 + 110 * step, 800), "#dddddd", 3)
    for number, colour in enumerate(("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")):
        points = [
            (120 + x, 415 - 350 * math.sin(x / 100 + number) / (1 + x / 500)) for x in range(1000)
        ]
        draw.line(points, colour, 6)
    lines = large.resize((384, 288), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(lines)
    for step in range(9):
        draw.text((12, 30 * step + 2), f"{4 - step}.0", "black", font(10))
    yield Drawn("plot", "plot-lines", lines)
    bars = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(bars)
    for number in range(12):
        height = 30 + number * 47 % 170
        box = (20 + 24 * number, 220 - height, 38 + 24 * number, 220)
        draw.rectangle(box, ("#4e79a7", "#f28e2b", "#e15759")[number % 3])
        draw.text((22 + 24 * number, 205 - height), str(height), "black", font(9))
    draw.line((16, 220, 312, 220), "black")
    yield Drawn("plot", "plot-bars", bars)


def codes() -> Iterator[Drawn]:
    """Codes to be scanned, with three finders each, in modules of 4 and of 7 pixels."""
    rng = np.random.default_rng(4)
    for side in (4, 7):
        modules = rng.random((37, 37)) < 0.5
        finder = np.zeros((9, 9), bool)
        finder[1:8, 1:8] = True
        finder[2:7, 2:7] = False
        finder[3:6, 3:6] = True
        modules[:8, :8], modules[:8, -8:] = finder[1:, 1:], finder[1:, :8]
        modules[-8:, :8] = finder[:8, 1:]
        light = np.pad(~modules, 4, constant_values=True).repeat(side, 0).repeat(side, 1)
        yield Drawn("code", f"code-{side}", Image.fromarray(light))


def gradients() -> Iterator[Drawn]:
    """A ramp of grey, a wheel of hues, and a glow with transparency."""
    ramp = np.broadcast_to(np.linspace(0, 255, 256).astype(np.uint8), (128, 256))
    yield Drawn("gradient", "gradient-grey", Image.fromarray(np.ascontiguousarray(ramp)))
    rows, columns = np.indices((256, 256)) - 127.5
    hue = ((np.arctan2(rows, columns) / np.pi + 1) * 127.5).astype(np.uint8)
    far = np.hypot(rows, columns).clip(0, 180) * (255 / 180)
    wheel = np.stack([hue, far.astype(np.uint8), np.full_like(hue, 255)], 2)
    yield Drawn("gradient", "gradient-hues", Image.fromarray(wheel, "HSV").convert("RGB"))
    glow = np.full((192, 192, 4), (255, 180, 40, 0), np.uint8)
    glow[..., 3] = (255 - 2 * np.hypot(*(np.indices((192, 192)) - 95.5))).clip(0, 255)
    glow[..., 2] += np.arange(192, dtype=np.uint8)
    yield Drawn("gradient", "gradient-alpha", Image.fromarray(glow))


def stripes() -> Iterator[Drawn]:
    """Stripes of 1 to 8 pixels in saturated pairs of colours, upright and lying in turn."""
    pairs = (("#f00", "#0f0"), ("#f0f", "#0f0"), ("#000", "#fff"), ("#f00", "#00f"))
    for width in range(1, 9):
        colours = [Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in pairs[width % 4]]
        where = np.indices((160, 192))[width % 2] // width % 2
        pixels = np.array(colours, np.uint8)[where]
        yield Drawn("stripes", f"stripes-{width}", Image.fromarray(pixels))


def mosaics() -> Iterator[Drawn]:
    """What a sensor sees, a colour at each pixel, in its colour and in grey."""
    pixels = np.asarray(photo("path", 256, 192))
    seen = np.zeros_like(pixels)
    for top, left, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        seen[top::2, left::2, colour] = pixels[top::2, left::2, colour]
    yield Drawn("mosaic", "mosaic-colour", Image.fromarray(seen))
    yield Drawn("mosaic", "mosaic-grey", Image.fromarray(seen.max(2)))


def noises() -> Iterator[Drawn]:
    """Uniform noise in colour and in grey, two colours at random, and a noisy photograph."""
    rng = np.random.default_rng(5)
    colour = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)
    yield Drawn("noise", "noise-colour", Image.fromarray(colour))
    yield Drawn("noise", "noise-grey", Image.fromarray(colour[..., 0]))
    two = np.array([(255, 0, 0), (0, 160, 0)], np.uint8)[rng.integers(0, 2, (160, 160))]
    yield Drawn("noise", "noise-two-colours", Image.fromarray(two))
    noisy = np.asarray(photo("city", 192, 128)) + rng.normal(0, 40, (128, 192, 3))
    yield Drawn("noise", "noise-photo", Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))


def extremes() -> Iterator[Drawn]:
    """Flat pictures, a single pixel, and the longest lines that a file can hold."""
    yield Drawn("flat", "flat-blue", Image.new("RGB", (256, 256), "#0050a0"))
    yield Drawn("flat", "flat-grey", Image.new("L", (320, 200), 117))
    yield Drawn("extreme", "pixel-red", Image.new("RGB", (1, 1), "red"))
    rng = np.random.default_rng(6)
    line = np.cumsum(rng.integers(-2, 3, (65535, 3)), 0).astype(np.uint8)
    yield Drawn("extreme", "line-upright", Image.fromarray(line[:, None]))
    yield Drawn("extreme", "line-lying", Image.fromarray(np.ascontiguousarray(line[None, :, 0])))


def corpus() -> Iterator[Drawn]:
    """Draw all pictures."""
    for draw in (
        *(texts, dark_themes, screenshots, palette_art, dithers, line_art, scans, maps, plots),
        *(codes, gradients, stripes, mosaics, noises, extremes),
    ):
        yield from draw()


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(out: Path) -> None:
    """Draw the corpus into the folder OUT, as PNG files."""
    out.mkdir(parents=True, exist_ok=True)
    for drawn in corpus():
        drawn.image.save(out / f"{drawn.name}.png")


if __name__ == "__main__":
    main()
