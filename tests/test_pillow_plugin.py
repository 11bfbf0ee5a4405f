from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

import codec.pillow_plugin as plugin
from codec.encoder.options import RATES
from codec.limits import Limits
from tests.helpers import TINY
from tests.pictures import METADATA

TURNED = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


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
    assert Image.open(BytesIO(saved(image, icc_profile=b""))).info == {}
    assert Image.open(BytesIO(saved(image, icc_profile=None))).info == {}
    assert "exif" in Image.open(BytesIO(saved(city, exif=image.getexif()))).info


def from_camera(image: Image.Image, file_format: str = "JPEG") -> Image.Image:
    """A file of a photograph that is to be turned and tells where it was taken."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    file = BytesIO()
    image.save(file, file_format, exif=exif, xmp=TURNED, icc_profile=METADATA.icc)
    return Image.open(file)


@pytest.mark.parametrize("file_format", ["PNG", "AVIF", "TIFF"])
def test_only_the_profile_is_written_unasked(city: Image.Image, file_format: str) -> None:
    photo = from_camera(city)
    assert photo.info.keys() >= {"exif", "xmp", "icc_profile"}
    shown = Image.open(BytesIO(saved(photo)))
    assert shown.info == {"icc_profile": METADATA.icc}
    assert shown.getexif().get_ifd(ExifTags.IFD.GPSInfo) == {}
    other = BytesIO()
    photo.save(other, file_format)
    other_info = Image.open(other).info
    assert {"icc_profile", "exif", "xmp"} & other_info.keys() == shown.info.keys()


def test_pixels_are_written_as_they_are(city: Image.Image) -> None:
    photo = from_camera(city)
    assert Image.open(BytesIO(saved(photo))).size == photo.size
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    assert Image.open(BytesIO(saved(upright))).size == (128, 192)
    part = photo.crop((0, 0, 100, 50))
    assert Image.open(BytesIO(saved(part))).size == (100, 50)
    assert saved(part) == saved(part, exif=None, xmp=None)
    avif = from_camera(city, "AVIF")
    assert Image.open(BytesIO(saved(avif))).size == avif.size == city.size
    raw = BytesIO()
    notes = PngInfo()
    notes.add_text("Raw profile type exif", "\nexif\n14\n" + photo.info["exif"].hex())
    city.save(raw, "PNG", pnginfo=notes)
    turned = Image.open(raw)
    assert turned.getexif()[ExifTags.Base.Orientation] == 6
    assert Image.open(BytesIO(saved(turned))).size == city.size


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


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"exif": b"junk"}, "exif is damaged"),
        ({"exif": 5}, "exif must be bytes, not int"),
        ({"xmp": 5}, "xmp must be bytes, not int"),
        ({"icc_profile": b"junk"}, "icc_profile is damaged"),
    ],
)
def test_unusable_metadata_are_refused(
    city: Image.Image, options: dict[str, object], word: str
) -> None:
    with pytest.raises(OSError, match=word):
        saved(city, **options)


def test_options_are_those_of_the_encoder(city: Image.Image) -> None:
    assert plugin._RATES == RATES
    assert Image.open(BytesIO(saved(city, model=None))).size == city.size


def test_bombs_are_noticed_before_decoding(
    city: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(city)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(BytesIO(data))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(plugin, "LIMITS", Limits(max_memory=1 << 20))
    with pytest.raises(OSError, match="max_memory"):
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


def test_verify_finds_what_opening_does_not(city: Image.Image, tmp_path: Path) -> None:
    city.putalpha(100)
    data = saved(city, icc_profile=METADATA.icc)
    path = tmp_path / "city.vqc"
    for position in range(len(data) - 40, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(OSError, match="checksum"):
            Image.open(BytesIO(damaged)).verify()
    path.write_bytes(data)
    image = Image.open(path)
    image.verify()
    assert image.fp is None
    with pytest.raises(RuntimeError, match="directly after open"):
        image.verify()


def test_threads_may_load_one_image(city: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "city.vqc"
    city.save(path, model=TINY)
    expected = np.asarray(Image.open(path))
    for _ in range(3):
        image = Image.open(path)
        start = threading.Barrier(4)

        def load(_: int, image: Image.Image = image, start: threading.Barrier = start) -> bytes:
            start.wait()
            return image.tobytes()

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(load, range(4))) == [expected.tobytes()] * 4
        again = pickle.loads(pickle.dumps(image))
        assert again.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("refused", "options"),
    [
        (Image.new("F", (40, 30)), {}),
        (Image.new("I;16", (40, 30)), {}),
        (Image.new("L", (40, 30)), {"target_size": 1}),
        (Image.new("L", (40, 30)), {"model": "none"}),
    ],
    ids=["float", "deep", "target", "model"],
)
def test_what_is_refused_leaves_no_file(
    tmp_path: Path, refused: Image.Image, options: dict[str, object]
) -> None:
    with pytest.raises(OSError, match="cannot be written as VQC"):
        refused.save(tmp_path / "new.vqc", **({"model": TINY} | options))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    buffer = BytesIO()
    with pytest.raises(OSError, match="cannot be written as VQC"):
        refused.save(buffer, "VQC", **({"model": TINY} | options))
    assert buffer.getvalue() == b""


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
