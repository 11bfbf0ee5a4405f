from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codec.errors import InputError, LimitError
from codec.limits import Limits
from codec.picture.formats import INPUT_SUFFIXES
from codec.picture.pixels import from_image
from codec.picture.reading import READABLE
from tests.pictures import file_of, png, png_of_16_bits, read, reread, tiff


def test_16_bit_colours_are_not_cut_silently() -> None:
    for data in (png_of_16_bits(), b"P6 4 3 65535\n" + bytes(72)):
        with pytest.raises(InputError, match="to_8bit") as refused:
            read(data)
        assert refused.value.field == "to_8bit"
        assert from_image(read(data, to_8bit=True), to_8bit=True).samples.shape == (3, 4, 3)
    assert read(b"P6 4 3 100\n" + bytes(36)).size == (4, 3)


@pytest.mark.parametrize(
    ("depth", "kind", "row", "hidden"),
    [
        (1, 0, b"\xc0", b"\0\1"),
        (2, 0, b"\xf0", b"\0\3"),
        (4, 0, b"\xff\x11", b"\0\x0f"),
        (8, 0, b"\7\7\1\1", b"\0\7"),
        (16, 0, b"\x12\x34" * 2 + b"\x12\x35" * 2, b"\x12\x34"),
        (8, 2, b"\7\1\7" * 2 + b"\1\7\7" * 2, b"\0\7\0\1\0\7"),
        (16, 2, b"\x12\x34" * 6 + b"\xff\x34" * 6, b"\x12\x34" * 3),
    ],
)
def test_transparent_colours_of_any_depth(depth: int, kind: int, row: bytes, hidden: bytes) -> None:
    image = read(png(4, depth, kind, [row], hidden), to_8bit=True)
    picture = from_image(image, to_8bit=True)
    alpha = picture.crop(picture.whole)[1]
    assert alpha is not None
    assert alpha.tolist() == [[0, 0, 255, 255]]


@pytest.mark.parametrize(
    ("depth", "photometric", "row", "grey"),
    [
        (16, 1, b"\0\0\1\1\x7f\x7f\xff\xff", [0, 1, 127, 255]),
        (16, 0, b"\0\0\1\1\x7f\x7f\xff\xff", [255, 254, 128, 0]),
        (12, 1, b"\x00\x00\x10\x7f\x7f\xff", [0, 1, 127, 255]),
    ],
)
def test_deep_tiff_is_as_bright_as_shown(
    depth: int, photometric: int, row: bytes, grey: list[int]
) -> None:
    data = tiff(4, depth, photometric, row)
    with pytest.raises(InputError, match="to_8bit"):
        read(data)
    assert from_image(read(data, to_8bit=True), to_8bit=True).samples[0, :, 0].tolist() == grey


def test_a_jpeg_with_a_second_picture_is_its_first(city: Image.Image) -> None:
    image = reread(city, "MPO", save_all=True, append_images=[city.resize((8, 8))])
    assert image.format == "MPO"
    assert from_image(image).width == city.width


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_pictures_raise_nothing_else(data: st.DataObject) -> None:
    formats = ["PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF", "GIF", "QOI"]
    file_format = data.draw(st.sampled_from(formats))
    picture = bytearray(file_of(Image.new("RGB", (9, 7), (1, 200, 3)), file_format))
    for _ in range(data.draw(st.integers(1, 6))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        from_image(read(bytes(picture), Limits(max_pixels=1 << 20)))


@pytest.mark.parametrize("file_format", ["WEBP", "GIF", "PNG", "TIFF"])
def test_one_frame_of_an_animation(file_format: str) -> None:
    frames = [Image.new("RGB", (4, 4), (i * 80, 0, 0)) for i in range(3)]
    data = file_of(frames[0], file_format, save_all=True, append_images=frames[1:])
    noun = "page" if file_format == "TIFF" else "frame"
    with pytest.raises(InputError, match=rf"3 {noun}s.*frame") as refused:
        read(data)
    assert refused.value.field == "frame"
    for number in range(3):
        picture = from_image(read(data, frame=number))
        assert abs(int(picture.samples[0, 0, 0]) - 80 * number) <= 3
    with pytest.raises(InputError, match=f"no {noun} 3; {noun}s are numbered 0..2"):
        read(data, frame=3)


@pytest.mark.parametrize("data", [b"", b"just text", b"\x89PNG\r\n\x1a\nxx", b"GIF89a" + bytes(9)])
def test_what_is_not_a_picture(data: bytes) -> None:
    with pytest.raises(InputError):
        read(data)


def test_other_formats_stay_closed(city: Image.Image) -> None:
    with pytest.raises(InputError, match="known format"):
        reread(city, "PCX")


def test_truncated_pictures_are_refused(city: Image.Image) -> None:
    data = file_of(city)
    for length in (60, len(data) // 2, len(data) - 30):
        with pytest.raises(InputError):
            read(data[:length])


def test_large_pictures_are_refused_before_decoding() -> None:
    data = file_of(Image.new("L", (300, 200)))
    with pytest.raises(LimitError, match="300x200"):
        read(data, Limits(max_pixels=59_999))
    assert read(data, Limits(max_pixels=60_000)).size == (300, 200)


@pytest.mark.parametrize("file_format", READABLE)
def test_listed_formats_are_read(city: Image.Image, file_format: str) -> None:
    picture = from_image(reread(city, file_format))
    difference = picture.samples.astype(int) - np.asarray(city)
    assert np.abs(difference).mean() < 12
    suffix = {"JPEG": ".jpg"}.get(file_format, f".{file_format.lower()}")
    assert suffix in INPUT_SUFFIXES
