from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from codec.errors import OutputError
from codec.picture.metadata import Metadata
from codec.picture.pixels import from_image
from codec.picture.profile import profile_of_code_points
from codec.picture.writing import left_out, write_picture
from tests.pictures import METADATA, read


def written(image: Image.Image, file_format: str, metadata: Metadata | None = None) -> bytes:
    buffer = BytesIO()
    write_picture(image, buffer, file_format, metadata)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "BMP", "PPM", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_output_formats_are_lossless(city: Image.Image, file_format: str, mode: str) -> None:
    image = city.convert(mode)
    again = read(written(image, file_format)).convert(mode)
    assert np.array_equal(np.asarray(again), np.asarray(image))


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_kept(file_format: str, mode: str) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    image = Image.fromarray(samples).convert(mode)
    again = read(written(image, file_format)).convert(mode)
    assert np.array_equal(np.asarray(again), np.asarray(image))


@pytest.mark.parametrize("file_format", ["BMP", "PPM", "JPEG"])
def test_formats_without_transparency_say_so(file_format: str) -> None:
    with pytest.raises(OutputError, match="transparency"):
        written(Image.new("RGBA", (4, 4)), file_format)


@pytest.mark.parametrize("exif", [b"garbage", b"I"])
@pytest.mark.parametrize("xmp", [b"", b"<x/>"])
def test_exif_that_cannot_be_read_goes_into_no_tiff(
    city: Image.Image, exif: bytes, xmp: bytes
) -> None:
    metadata = Metadata(b"", exif, xmp)
    assert left_out(metadata, "TIFF") == ["exif"]
    assert not left_out(METADATA, "TIFF")
    again = read(written(city, "TIFF", metadata))
    assert np.array_equal(np.asarray(again), np.asarray(city))


def test_damaged_exif_tags_are_no_reason_to_fail(city: Image.Image) -> None:
    metadata = Metadata(b"", b"II*\0\xff\xff\xff\xff", b"<x/>")
    assert read(written(city, "TIFF", metadata)).size == city.size


def test_jpeg_is_close(city: Image.Image) -> None:
    again = read(written(city, "JPEG"))
    difference = np.asarray(again).astype(int) - np.asarray(city)
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_metadata_goes_along(city: Image.Image, file_format: str) -> None:
    kept = from_image(read(written(city, file_format, METADATA))).metadata
    assert (kept.icc, kept.xmp) == (METADATA.icc, METADATA.xmp)
    exif = Image.Exif()
    exif.load(kept.exif)
    assert exif[0x010F] == "maker"
    assert left_out(METADATA, file_format) == []


def test_metadata_that_does_not_fit_is_named(city: Image.Image) -> None:
    assert left_out(METADATA, "BMP") == ["icc", "exif", "xmp"]
    assert written(city, "BMP", METADATA) == written(city, "BMP")
    long = Metadata(METADATA.icc, xmp=b"x" * 70_000)
    assert left_out(long, "JPEG") == ["xmp"]
    assert from_image(read(written(city, "JPEG", long))).metadata == Metadata(METADATA.icc)


def test_profiles_of_grey_go_into_no_webp(city: Image.Image) -> None:
    """Which has RGB samples only: no reader would use it."""
    metadata = Metadata(profile_of_code_points(1, 8, grey=True))
    assert left_out(metadata, "WEBP") == ["icc"]
    assert "icc_profile" not in read(written(city.convert("L"), "WEBP", metadata)).info
    for file_format in ("PNG", "TIFF", "JPEG"):
        again = read(written(city.convert("L"), file_format, metadata))
        assert again.info["icc_profile"] == metadata.icc


def test_what_a_format_cannot_hold() -> None:
    with pytest.raises(OutputError, match="WEBP"):
        written(Image.new("L", (16384, 1)), "WEBP")


def test_a_full_disk_is_an_error_of_the_disk(city: Image.Image) -> None:
    class Full(BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    for file_format in ("PNG", "TIFF", "BMP"):
        with pytest.raises(OSError, match="No space"):
            write_picture(city, Full(), file_format)
