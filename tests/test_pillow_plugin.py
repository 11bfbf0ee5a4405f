from __future__ import annotations

import copy
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import codec.pillow_plugin as plugin
from codec.limits import Limits
from tests.conftest import TINY
from tests.test_writing import METADATA


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MODEL", str(TINY))


def saved(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "VQC", **({"model": TINY} | options))
    return buffer.getvalue()


def test_round_trip_through_a_file(city: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "city.vqc"
    city.save(path, model=TINY, quality=90)
    with Image.open(path) as image:
        assert (image.format, image.size, image.mode) == ("VQC", city.size, "RGB")
        assert image.get_format_mimetype() == "image/x-vqc"
        image.load()
        image.load()
        difference = np.asarray(image).astype(int) - np.asarray(city)
    assert np.abs(difference).mean() < 20


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK"])
def test_modes(city: Image.Image, mode: str) -> None:
    image = city.copy()
    image.putalpha(100)
    image = image.convert(mode)
    shown = Image.open(BytesIO(saved(image)))
    expected = {"P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert (shown.mode, shown.size) == (expected, city.size)
    assert shown.load() is not None
    if mode.endswith("A"):
        assert shown.getchannel("A").getextrema() == (100, 100)


def test_transparent_colours_of_a_palette(city: Image.Image) -> None:
    image = city.convert("P")
    image.info["transparency"] = 0
    shown = Image.open(BytesIO(saved(image)))
    assert shown.mode == "RGBA"
    assert np.array_equal(np.asarray(shown)[:, :, 3], np.where(np.asarray(image) == 0, 0, 255))


def test_rates(city: Image.Image) -> None:
    small, large = saved(city, quality=5), saved(city, quality=95)
    assert len(small) < len(large)
    assert 590 <= len(saved(city, target_size=600)) <= 600
    assert saved(city, lmbda=0.0018) == saved(city, quality=0)
    with pytest.raises(OSError, match="quality"):
        saved(city, quality=101)
    with pytest.raises(OSError, match="not both"):
        saved(city, quality=10, target_bpp=1)


def test_opening_does_not_decode(city: Image.Image) -> None:
    code = (
        "import sys, codec.pillow_plugin\nfrom PIL import Image\n"
        "image = Image.open(sys.stdin.buffer)\nprint(image.size)\n"
        "sys.exit('torch' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, input=saved(city), capture_output=True, check=True)
    assert done.stdout.strip() == b"(192, 128)"


def test_metadata(city: Image.Image) -> None:
    exif = b"Exif\0\0" + METADATA.exif
    data = saved(city, icc_profile=METADATA.icc, exif=exif, xmp=METADATA.xmp)
    image = Image.open(BytesIO(data))
    assert image.info == {"icc_profile": METADATA.icc, "exif": exif, "xmp": METADATA.xmp}
    assert image.getexif()[0x010F] == "maker"
    again = Image.open(BytesIO(saved(image)))
    assert again.info == image.info
    assert Image.open(BytesIO(saved(image, exif=b"", xmp=b""))).info.keys() == {"icc_profile"}
    assert "exif" in Image.open(BytesIO(saved(city, exif=image.getexif()))).info


def test_pixels_are_saved_as_they_are(city: Image.Image) -> None:
    """Pillow keeps EXIF data over transpose and crop: its orientation is of other pixels."""
    tags = Image.Exif()
    tags[0x112] = 6
    source = BytesIO()
    city.save(source, "JPEG", exif=tags)
    image = Image.open(source)
    for turned in (image, image.transpose(Image.Transpose.ROTATE_270), image.crop((0, 0, 40, 20))):
        again = Image.open(BytesIO(saved(turned, exif=turned.info["exif"])))
        assert again.size == turned.size
        assert again.getexif()[0x112] == 1


def test_bombs_are_noticed_before_decoding(
    city: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(city)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(BytesIO(data))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(plugin, "LIMITS", Limits(max_memory=1 << 20))
    with pytest.raises(OSError, match="max-memory"):
        Image.open(BytesIO(data)).load()


def test_damage_is_an_os_error(city: Image.Image) -> None:
    data = saved(city)
    with pytest.raises(OSError, match="damaged"):
        Image.open(BytesIO(data[:20]))
    flipped = bytearray(data)
    flipped[40] ^= 1
    with pytest.raises(OSError, match="damaged"):
        Image.open(BytesIO(flipped))
    tiled = bytearray(saved(Image.new("RGBA", (300, 20), "#12345678"), tile_size=256))
    tiled[-1] ^= 1
    image = Image.open(BytesIO(tiled))
    with pytest.raises(OSError, match="damaged"):
        image.load()
    with pytest.raises(UnidentifiedImageError):
        Image.open(BytesIO(b"\x89VQX" + data[4:]))


def test_truncated_files_stay_errors(city: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(OSError, match="damaged"):
        Image.open(BytesIO(saved(city)[:-1])).load()


def test_copies_and_files(city: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "city.vqc"
    path.write_bytes(saved(city))
    image = Image.open(path)
    assert np.array_equal(np.asarray(copy.deepcopy(image)), np.asarray(image))
    assert image.fp is None  # closed after loading, as Pillow does with one frame
    with pytest.raises(OSError, match="sides"):
        Image.new("L", (70_000, 1)).save(path, model=TINY)


def test_registering_twice_changes_nothing() -> None:
    before = dict(Image.EXTENSION)
    plugin.register()
    assert before == Image.EXTENSION
    assert Image.EXTENSION[".vqc"] == "VQC"


def test_grey_of_16_bits() -> None:
    deep = Image.fromarray(np.full((30, 40), 128 * 257, np.uint16))
    with pytest.raises(OSError, match="8 bits"):
        saved(deep)
    assert Image.open(BytesIO(saved(deep, to_8bit=True))).mode == "L"
