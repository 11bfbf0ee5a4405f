"""`lossless`: every sample of every kind of picture, without a model."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import codec.pillow_plugin  # noqa: F401 - registers the format
from codec.api import compress, decompress
from codec.codec import Codec
from codec.encoder.patch_boxes import WRITTEN_PIXELS, patches_over
from codec.errors import InputError, LimitError
from codec.format.container import ContainerFile
from codec.limits import ONNX_FOOTPRINT, Limits
from codec.picture.patch import ENCODING_BYTES
from codec.tiles import Grid
from tests.helpers import DATA, MODEL, TINY_VQ, Run, check_damage_is_found, fails
from tests.pictures import METADATA

SIDES = st.integers(1, 300)


@given(SIDES, SIDES, st.sampled_from(["L", "LA", "RGB", "RGBA"]), st.sampled_from([None, 256]))
@settings(max_examples=25)
def test_every_sample_comes_back(width: int, height: int, mode: str, side: int | None) -> None:
    """Colours under full transparency too."""
    rng = np.random.default_rng(width * height)
    samples = rng.integers(0, 3, (height, width, len(mode)), np.uint8) * 100
    image = Image.fromarray(samples.squeeze(2) if mode == "L" else samples, mode)
    data = compress(image, lossless=True, tile_size=side)
    decoded = decompress(data)
    opaque = mode.endswith("A") and samples[..., -1].min() == 255
    assert decoded.mode == (mode[:-1] if opaque else mode)
    assert np.array_equal(np.asarray(decoded.convert(mode)), np.asarray(image))
    left, top = width // 3, height // 4
    part = decompress(data, region=(left, top, width - left, height - top))
    assert np.array_equal(np.asarray(part), np.asarray(decoded)[top:, left:])


def test_a_codec_gives_the_same_file(tiny_codec: Codec, city: Image.Image) -> None:
    steps: list[tuple[int, int]] = []
    encoded = tiny_codec.encode(
        city, lossless=True, reconstruct=True, progress=lambda *step: steps.append(step)
    )
    assert encoded.psnr == math.inf
    assert encoded.reconstruction
    assert encoded.reconstruction.tobytes() == city.tobytes()
    assert tiny_codec.decompress(encoded.data).tobytes() == city.tobytes()
    assert encoded.patch_pixels == city.width * city.height
    assert steps == [(city.width * city.height,) * 2]
    assert encoded.bits == 8 * sum(patch.size for patch in encoded.patches)
    header = ContainerFile(BytesIO(encoded.data)).header
    assert (header.model_id, header.vq) == (tiny_codec.model.id, False)
    other = ContainerFile(BytesIO(compress(city, model=TINY_VQ, lossless=True))).header
    assert (other.vq, other.levels) == (True, 1)


def test_files_cost_little_beside_webp(city: Image.Image) -> None:
    plain = BytesIO()
    city.save(plain, "WEBP", lossless=True, method=6, quality=90)
    assert len(compress(city, lossless=True)) - len(plain.getvalue()) < 25
    assert len(compress(Image.new("RGB", (1, 1)), lossless=True)) < 60


def test_the_model_is_neither_loaded_nor_needed(city: Image.Image) -> None:
    code = (
        "import sys, codec\nfrom PIL import Image\n"
        "image = Image.open(sys.argv[1]).convert('RGB')\n"
        "data = codec.compress(image, lossless=True)\n"
        "assert codec.decompress(data).tobytes() == image.tobytes()\n"
        "assert not {'torch', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(DATA / "city.png")], check=True)
    data = bytearray(compress(city, lossless=True))
    data[14:18] = b"none"  # a model that nobody has
    data[39:43] = (0).to_bytes(4, "little")
    file = ContainerFile(BytesIO(resealed(bytes(data))))
    assert decompress(file).tobytes() == city.tobytes()


def resealed(data: bytes) -> bytes:
    """A file of one patch with the checksum of its directory made right."""
    import struct
    import zlib

    end = 18 + 3 + 2 + 16
    return data[:end] + struct.pack("<I", zlib.crc32(data[:end])) + data[end + 4 :]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"quality": 50}, "quality"),
        ({"lmbda": 0.01}, "lmbda"),
        ({"target_bpp": 1}, "target_bpp"),
        ({"target_size": 1000}, "target_size"),
        ({"target_psnr": 40}, "target_psnr"),
        ({"effort": 1}, "effort"),
        ({"patches": "never"}, "patches"),
    ],
)
def test_what_contradicts(city: Image.Image, options: dict[str, object], name: str) -> None:
    with pytest.raises(InputError, match=name):
        compress(city, lossless=True, **options)  # type: ignore[arg-type]


def test_sixteen_bits_are_refused_as_ever() -> None:
    deep = Image.fromarray(np.zeros((4, 4), np.uint16))
    with pytest.raises(InputError, match="to_8bit"):
        compress(deep, lossless=True)
    assert decompress(compress(deep, lossless=True, to_8bit=True)).mode == "L"


def test_metadata_are_kept(city: Image.Image) -> None:
    exif = b"Exif\0\0" + METADATA.exif
    info = {"icc_profile": METADATA.icc, "exif": exif, "xmp": METADATA.xmp}
    city.info.update(info)
    assert decompress(compress(city, lossless=True)).info == info
    assert decompress(compress(city, lossless=True, keep=[])).info == {}


def test_patches_are_few_and_stay_in_their_tiles() -> None:
    assert len(list(patches_over(Grid(1080, 1920)))) == 1
    assert len(list(patches_over(Grid(1, 65535)))) == 5
    assert len(list(patches_over(Grid(65535, 1)))) == 5
    grid = Grid(700, 600, 256)
    assert list(patches_over(grid)) == list(grid.boxes())
    large = list(patches_over(Grid(6000, 8000)))
    assert max(box.area for box in large) <= WRITTEN_PIXELS
    assert len(large) <= 25
    assert sum(box.area for box in large) == 6000 * 8000


@pytest.mark.parametrize("size", [(1, 65_535), (65_535, 1)])
def test_the_longest_pictures_are_small(size: tuple[int, int]) -> None:
    """The transforms would pad them to 16 pixels."""
    ramp = np.arange(65_535) // 64 % 256
    image = Image.fromarray(ramp.astype(np.uint8).reshape(size[::-1]))
    data = compress(image, lossless=True)
    assert len(data) < 3000
    assert decompress(data).tobytes() == image.tobytes()
    assert decompress(data, region=(0, 0, 1, 1)).size == (1, 1)


def test_memory_is_checked_by_the_largest_patch() -> None:
    picture = Image.new("RGB", (4000, 3000))
    least = ONNX_FOOTPRINT.base + picture.width * picture.height * 8
    enough = Limits(max_memory=least + ENCODING_BYTES * WRITTEN_PIXELS)
    data = compress(picture, lossless=True, limits=enough)
    with pytest.raises(LimitError, match="max_memory"):
        compress(picture, lossless=True, limits=Limits(max_memory=least + (1 << 20)))
    with pytest.raises(LimitError, match="max_memory"):
        decompress(data, limits=Limits(max_memory=least + (1 << 20)))
    with pytest.raises(LimitError, match="max_pixels"):
        decompress(data, limits=Limits(max_pixels=4000 * 3000 - 1))


def test_levels_are_of_models_that_have_them(city: Image.Image) -> None:
    with pytest.raises(InputError, match="levels"):
        decompress(compress(city, lossless=True), levels=1)


@pytest.mark.slow
def test_damage_is_never_a_picture(tiny_codec: Codec) -> None:
    """Every bit of a file without tiles, with alpha and metadata, and of one with both."""
    image = Image.linear_gradient("L").resize((40, 20))
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    image.info["xmp"] = b"<x/>"
    check_damage_is_found(tiny_codec, tiny_codec.compress(image, lossless=True))


def test_pillow_plugin(city: Image.Image) -> None:
    target = BytesIO()
    city.save(target, "VQC", lossless=True)
    assert Image.open(target).tobytes() == city.tobytes()
    with pytest.raises(OSError, match="quality"):
        city.save(BytesIO(), "VQC", lossless=True, quality=80)


def test_command_line(tmp_path: Path, run: Run) -> None:
    coded, back = tmp_path / "a.vqc", tmp_path / "a.png"
    status, out, err = run("compress", "--lossless", DATA / "city.png", coded, "--json", *MODEL)
    facts = json.loads(out)
    assert (status, err) == (0, "")
    assert (facts["lossless"], facts["patches"], facts["lambda"]) == (True, 1, None)
    assert run("decompress", coded, back, "-Q") == (0, "", "")
    with Image.open(back) as decoded, Image.open(DATA / "city.png") as image:
        assert decoded.tobytes() == image.convert("RGB").tobytes()
    status, out, _ = run("info", coded, "--check", "--json")
    facts = json.loads(out)
    assert (facts["lossless"], facts["patches"], facts["patch_pixels"]) == (True, 1, 192 * 128)
    assert facts["bytes"] == facts["patch_bytes"] + facts["container_bytes"]
    assert (facts["quality"], facts["level"]) == (None, None)
    status, out, _ = run("info", coded)
    assert "lossless, in 1 patch, 99." in out
    _, _, err = run("compress", "-f", "--lossless", DATA / "city.png", coded, *MODEL)
    assert "  lossless  " in err


@pytest.mark.parametrize(
    "options", [["-q", "5"], ["--effort", "3"], ["--patches", "never"], ["--target-psnr", "40"]]
)
def test_options_of_the_command_line_that_contradict(options: list[str], run: Run) -> None:
    status, out, err = run("compress", "--lossless", *options, DATA / "city.png", "-n")
    assert (status, out) == (2, "")
    assert "--lossless, not both" in err


def test_a_preferred_quality_gives_way(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQCODEC_COMPRESS_QUALITY", "20")
    monkeypatch.setenv("VQCODEC_COMPRESS_EFFORT", "2")
    assert run("compress", "--lossless", DATA / "city.png", tmp_path / "a.vqc", "-Q")[0] == 0


def test_sides_beyond_the_format(tmp_path: Path, run: Run) -> None:
    Image.new("L", (65_536, 1)).save(tmp_path / "a.png")
    fails(run("compress", "--lossless", tmp_path / "a.png", "-Q"), 1, "65535")
