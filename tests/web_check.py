"""The reader for web pages against the one in Python, at length.

    python -m tests.web_check [KODAK]

Makes some 200 files of all models, sizes, kinds and qualities, all the files that the tests of this
repository refuse, and forged metadata, alpha planes and patches; and has them read in Node and in
those of Chromium and Firefox that are there. With a folder of photographs it tells times, too.
"""

from __future__ import annotations

import itertools
import random
import shutil
import struct
import sys
import tempfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image, ImageDraw

from codec.codec import Codec
from codec.encoder.model import EncoderModel
from codec.encoder.options import EncoderOptions
from codec.encoder.picture import PictureEncoder
from codec.encoder.plan import Plan
from codec.errors import CodecError
from codec.format.container import ContainerFile
from codec.format.directory import Tile
from codec.format.header import MAGIC
from codec.format.writing import write
from codec.picture.pixels import from_image
from codec.tiles import Box, Grid
from codec.web.reader_weights import write_models
from codec.weights.released import released_models
from tests.helpers import DATA, TINY, TINY_VQ
from tests.make_golden import photograph, uneven, with_alpha, with_metadata
from tests.web_cases import WEB, Cases, in_browser, in_node

SIZES = [(1, 1), (17, 33), (64, 48), (300, 3), (5, 290), (129, 97)]
QUALITIES = [0, 37.5, 70, 100]
MODES = ["RGB", "L", "RGBA", "LA"]
REFUSING = ["alpha", "container", "level_map", "lossless", "patches", "pipeline", "restoration"]
REFUSING += ["tiled_files", "vq_files"]
"""Modules of tests that refuse files."""
DAMAGED = ["golden/odd-q50", "golden/grey-lossless", "golden/grey-map-q90", "golden/alpha-q50"]
DAMAGED += ["golden_vq/odd-2", "golden_vq/patches-2"]
"""Files of which every bit is flipped."""
MUTATIONS = 1500
"""Patches with changed bytes."""
LARGEST = 1 << 21
"""Bytes of the largest file that is taken from tests,"""
MOST_PIXELS = 1 << 16
"""and pixels of the largest one that is no error."""


def picture(width: int, height: int, mode: str, number: int) -> Image.Image:
    """A part of a photograph with metadata, of any mode."""
    image = photograph(number * 7 % 60, number * 11 % 60, width, height)
    if mode.startswith("L"):
        image = image.convert("L")
    return with_metadata(with_alpha(image) if mode.endswith("A") else image)


def drawn(width: int, height: int) -> Image.Image:
    """A photograph with text, which is stored without loss."""
    image = photograph(0, 0, width, height)
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, width // 2, height // 2), "green")
    for row in range(20, height // 2 - 10, 12):
        draw.text((24, row), "Red text on green, as small as it is set. " * 3, "red")
    return image


def add_pictures(cases: Cases) -> None:
    """Files of all models, sizes, modes and qualities, some of them read in part."""
    paths = [*released_models(), TINY, TINY_VQ]
    number = 0
    for path, (width, height) in itertools.product(paths, SIZES):
        codec = Codec(path)
        for quality, mode in zip(QUALITIES, MODES, strict=True):
            image = picture(width, height, MODES[(MODES.index(mode) + number) % 4], number)
            data = codec.compress(image, quality, effort=number % 2)
            cases.add(f"{path.stem}-{width}x{height}-{quality}-{mode}", data)
            number += 1
    for path in paths:
        codec = Codec(path)
        vq = codec.weights.config.rounding == "vq"
        masks = [None] if vq else [None, uneven(330, 300)]
        for mode, mask in itertools.product(["RGB", "RGBA"], masks):
            image = picture(330, 300, mode, number)
            data = codec.compress(image, 60, tile_size=256, level_map=mask, effort=1)
            name = f"tiles-{path.stem}-{mode}-{'map' if mask is not None else 'even'}"
            cases.add(name, data)
            cases.add(f"{name}-part", data, (200, 10, 130, 250))
        cases.add(f"text-{path.stem}", codec.compress(drawn(400, 200), 50))
        cases.add(f"text-{path.stem}-part", codec.compress(drawn(400, 200), 50), (10, 5, 60, 180))
        cases.add(f"boxes-{path.stem}", with_boxes(codec, picture(300, 280, "RGBA", number)))
    large = picture(300, 280, "RGBA", 1).resize((2300, 1000))  # which several workers decode
    cases.add("large", Codec(TINY).compress(large, 50, tile_size=256, patches="never"))
    for mode in MODES:
        cases.add(
            f"lossless-{mode}", Codec(TINY).compress(picture(130, 70, mode, 3), lossless=True)
        )


def with_boxes(codec: Codec, image: Image.Image) -> bytes:
    """A file of tiles with patches, of which one covers a tile."""
    found, grid = from_image(image), Grid(image.height, image.width, 256)
    boxes = [Box(16, 32, 80, 64), Box(256, 0, image.width, 256)]
    plan = Plan.of(EncoderModel(codec.model), EncoderOptions(effort=0))
    encoder = PictureEncoder(plan, found, grid, map, boxes=boxes)
    return encoder.encode(codec.level_of(60)).data


class Recorder:
    """A plugin of pytest that keeps all the files that tests open."""

    def __init__(self) -> None:
        self.files: set[bytes] = set()

    @pytest.fixture(autouse=True)
    def _record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened, files = ContainerFile.__init__, self.files

        def record(file: ContainerFile, source: Any, *options: Any) -> None:
            if isinstance(source, BytesIO) and source.getbuffer().nbytes <= LARGEST:
                files.add(source.getvalue())
            opened(file, source, *options)

        monkeypatch.setattr(ContainerFile, "__init__", record)


def add_refused(cases: Cases) -> None:
    """All files that tests refuse, or read."""
    recorder = Recorder()
    modules = [str(DATA.parent / f"test_{name}.py") for name in REFUSING]
    options = ["-q", "-p", "no:cacheprovider", "-n", "0", "-m", "not slow"]
    pytest.main([*modules, *options], plugins=[recorder])
    files = sorted(filter(is_small, recorder.files))
    assert len(files) > 1000
    cases.add_many("tests", files)
    click.echo(f"{len(files)} files of tests")
    for name in DAMAGED:
        cases.add_damage(name, (DATA / f"{name}.vqc").read_bytes())


def is_small(data: bytes) -> bool:
    """Whether reading a file takes little."""
    try:
        return ContainerFile(BytesIO(data)).header.pixels <= MOST_PIXELS
    except CodecError:
        return True


def assembled(chunks: list[tuple[bytes, bytes]], patch: bytes, side: int = 32) -> bytes:
    """A square of one patch with chunks, whose checksums are right."""
    head = struct.pack("<6sBBHHH4s", MAGIC, 1, 0x24, side, side, 0, bytes(4))
    head += struct.pack("<HBH", 0, len(chunks), 1)
    for kind, content in chunks:
        head += struct.pack("<4sII", kind, len(content), zlib.crc32(content))
    units = side // 16
    head += struct.pack("<HHHHII", 0, 0, units, units, len(patch), zlib.crc32(patch))
    content = b"".join(content for _, content in chunks)
    return head + struct.pack("<I", zlib.crc32(head)) + content + patch


def only_patch(image: Image.Image) -> bytes:
    """Bytes of a picture as a patch."""
    return ContainerFile(BytesIO(Codec(TINY).compress(image, lossless=True))).read_patch(0)


def add_forged(cases: Cases) -> None:
    """Metadata, alpha planes and patches that were made wrong on purpose."""
    chance = random.Random(0)
    patch = only_patch(photograph(40, 40, 32, 32))
    whole = zlib.compress(b"II*\0" + bytes(100))
    dictionary = zlib.compressobj(zdict=b"II*\0")
    preset = dictionary.compress(b"II*\0") + dictionary.flush()
    streams = [whole, whole + b"x", whole[2:-4], preset, b"", b"II*\0", zlib.compress(b"")]
    streams += [whole[:length] for length in range(len(whole))]
    streams += [zlib.compress(bytes(size)) for size in (1 << 24, (1 << 24) + 1, 1 << 28)]
    files = [assembled([(b"exif", stream)], patch) for stream in streams]
    files += [assembled([(kind, whole)] * 2, patch) for kind in (b"new ", b"NEW ", b"xmp ")]
    cases.add_many("metadata", files)

    golden = ContainerFile(BytesIO((DATA / "golden" / "alpha-q50.vqc").read_bytes()))
    tile, header = golden.read_tile(0), golden.header
    pixels = header.pixels
    planes = [b"", b"\0", b"\4" + zlib.compress(bytes(pixels)), tile.alpha[:-1], tile.alpha + b"x"]
    for kind, size in itertools.product(range(4), (pixels - 1, pixels, pixels + 1)):
        planes.append(bytes([kind]) + zlib.compress(chance.randbytes(size)))
    alphas = [Tile(tile.stream, tile.symbol_checksum, plane) for plane in planes]
    for number, forged in enumerate(alphas):
        cases.add_any(f"alpha-{number}", write(header, [forged]))

    sources = [
        photograph(40, 40, 32, 32),
        Image.effect_noise((32, 32), 40).convert("RGB"),
        photograph(90, 90, 32, 32).quantize(7).convert("RGB"),
        drawn(400, 200).crop((20, 20, 52, 52)),
        Image.new("RGB", (32, 32), "orange"),
    ]
    patches = [only_patch(image) for image in sources]
    files = []
    for _ in range(MUTATIONS):
        forged_patch = bytearray(chance.choice(patches))
        for _ in range(chance.choice([1, 1, 2, 5])):
            at = min(len(forged_patch) - 1, int(chance.expovariate(1 / 12)))
            at = chance.choice([at, chance.randrange(len(forged_patch))])
            forged_patch[at] ^= 1 << chance.randrange(8)
        cut = chance.choice([None, None, None, chance.randrange(len(forged_patch))])
        files.append(assembled([], bytes(forged_patch[:cut])))
    cases.add_many("patches", files)


def add_timed(cases: Cases, folder: Path) -> None:
    """Photographs, and one of 12 megapixels made of them."""
    images = []
    for path in sorted(folder.glob("*.png"))[:6]:
        with Image.open(path) as opened:
            images.append(opened.convert("RGB"))
    for number, image in enumerate(images[:3]):
        cases.add(f"timed-{number}", Codec(find("photo")).compress(image, 50))
    large = Image.new("RGB", (4032, 3024))
    for column, row in itertools.product(range(6), range(6)):
        large.paste(images[(column + row) % len(images)], (768 * column, 512 * row))
    cases.add("timed-large", Codec(find("photo")).compress(large, 50))


def find(name: str) -> Path:
    return next(path for path in released_models() if path.stem == name)


def summary(results: list[dict[str, Any]]) -> str:
    wrong = [f"{result['name']}: {result['wrong']}" for result in results if result["wrong"]]
    differing = sum(result.get("differing", 0) for result in results)
    samples = sum(result.get("samples", 0) for result in results)
    most = max(result.get("most", 0) for result in results)
    timed = [f"{r['name']} {r['milliseconds']} ms" for r in results if "timed" in r["name"]]
    lines = [f"{len(results)} cases, {len(wrong)} of them wrong", *wrong[:30]]
    lines.append(f"{differing} of {samples} samples differ, by {most} at most")
    return "\n  ".join([*lines, *timed])


@click.command()
@click.argument("kodak", required=False, type=click.Path(exists=True, path_type=Path))
def main(kodak: Path | None) -> None:
    """Check the built reader."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(WEB / "dist", folder / "dist", ignore=shutil.ignore_patterns("models"))
        shutil.copytree(WEB / "test", folder / "test")
        write_models(folder / "dist" / "models", [*released_models(), TINY, TINY_VQ])
        cases = Cases(folder / "cases")
        add_pictures(cases)
        click.echo(f"{len(cases.cases)} files of all kinds")
        add_refused(cases)
        add_forged(cases)
        if kodak:
            add_timed(cases, kodak)
        cases.write()
        wrong = 0
        readers = {"node": in_node} | {
            program: lambda folder, program=program: in_browser(folder, program)
            for program in ("chromium", "firefox-esr", "firefox")
            if shutil.which(program)
        }
        for reader, read in readers.items():
            results = read(folder)
            wrong += sum(bool(result["wrong"]) for result in results)
            click.echo(f"{reader}: {summary(results)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
