from __future__ import annotations

import re
import struct
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codec.errors import InputError, LimitError
from codec.limits import Limits
from codec.picture.formats import INPUT_SUFFIXES
from codec.picture.metadata import KINDS
from codec.picture.pixels import from_image
from codec.picture.reading import READABLE
from tests.pictures import exif_of, file_of, opened, png, png_of_16_bits, read, reread, tiff

EXIF = b"Exif\0\0" + exif_of((0x112, 3, 1, b"\6\0\0\0"), (0x10F, 2, 4, b"Cam\0"))


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
def test_deep_tiff_is_as_bright_as_viewers_display_it(
    depth: int, photometric: int, row: bytes, grey: list[int]
) -> None:
    data = tiff(4, depth, photometric, row)
    with pytest.raises(InputError, match="to_8bit"):
        read(data)
    assert from_image(read(data, to_8bit=True), to_8bit=True).samples[0, :, 0].tolist() == grey


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize(
    ("depth", "row", "grey"),
    [
        (1, b"\x60", [0, 255, 255, 0]),
        (2, b"\x1b", [0, 85, 170, 255]),
        (4, b"\x0f\x1e", [0, 255, 17, 238]),
        (8, b"\x00\x01\x7f\xff", [0, 1, 127, 255]),
        (16, b"\0\0\1\1\x7f\x7f\xff\xff", [0, 1, 127, 255]),
    ],
)
def test_one_sample_a_pixel_is_one_plane(
    depth: int, photometric: int, row: bytes, grey: list[int]
) -> None:
    """Of a single separate plane Pillow makes a negative, or cannot decode it."""
    expected = grey if photometric else [255 - sample for sample in grey]
    for planes in (1, 2):
        image = read(tiff(4, depth, photometric, row, planes), to_8bit=True)
        assert from_image(image, to_8bit=True).samples[0, :, 0].tolist() == expected


def test_separate_alpha_is_told() -> None:
    data = bytearray(file_of(Image.new("LA", (8, 8)), "TIFF"))
    at = data.index(struct.pack("<HHIH", 284, 3, 1, 1)) + 8
    data[at] = 2
    with pytest.raises(InputError, match="8 bits per sample in separate planes"):
        read(bytes(data))


def test_a_jpeg_with_a_second_picture_is_its_first(city: Image.Image) -> None:
    image = reread(city, "MPO", save_all=True, append_images=[city.resize((8, 8))])
    assert image.format == "MPO"
    assert from_image(image).width == city.width


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_pictures_raise_nothing_else(data: st.DataObject) -> None:
    formats = ["PNG", "JPEG", "MPO", "WEBP", "AVIF", "BMP", "PPM", "TIFF", "GIF", "QOI"]
    file_format = data.draw(st.sampled_from(formats))
    image = Image.new("RGB", (9, 7), (1, 200, 3))
    options: dict[str, object] = {"exif": EXIF, "xmp": b"<x/>"} if data.draw(st.booleans()) else {}
    if file_format == "MPO":
        options |= {"save_all": True, "append_images": [image]}
    picture = bytearray(file_of(image, file_format, **options))
    for _ in range(data.draw(st.integers(1, 6))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        limits = Limits(max_pixels=1 << 20)
        from_image(read(bytes(picture), limits), keep=data.draw(st.sampled_from([(), KINDS])))


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


def test_suffixes_are_those_of_the_formats() -> None:
    """All that Pillow knows of what is read; but .pfm, whose samples are floating-point."""
    Image.init()
    formats = {*READABLE, "MPO", "DIB"}
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in formats}
    assert known - {".pfm"} | {".jif"} == INPUT_SUFFIXES


def in_planes(depth: int, kind: int, planes: int, separate: bool = True) -> bytes:
    """A TIFF file of 6x4 pixels with a strip for each plane, of depths that Pillow cannot write."""
    samples = (np.arange(24, dtype=np.uint32) * 9 << (depth - 8)).astype(f"<u{depth // 8}")
    plane = samples.tobytes() if separate else np.repeat(samples, planes).tobytes()
    strips = planes if separate else 1
    start = 8 + 2 + 12 * 11 + 4
    more = struct.pack(f"<{planes}H", *[depth] * planes)
    at = start + len(more)
    data_at = at + 8 * strips
    offsets = [data_at + i * len(plane) for i in range(strips)]
    entries = [
        (256, 4, 1, 6),
        (257, 4, 1, 4),
        (258, 3, planes, start),
        (259, 3, 1, 1),
        (262, 3, 1, kind),
        (273, 4, strips, at if strips > 1 else data_at),
        (277, 3, 1, planes),
        (278, 4, 1, 4),
        (279, 4, strips, at + 4 * strips if strips > 1 else len(plane)),
        (284, 3, 1, 2 if separate else 1),
        (296, 3, 1, 1),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    lists = struct.pack(f"<{2 * strips}I", *offsets, *[len(plane)] * strips)
    return b"II*\0" + struct.pack("<IH", 8, 11) + table + bytes(4) + more + lists + plane * strips


@pytest.mark.parametrize(("kind", "planes"), [(2, 3), (5, 4)])
def test_deep_planes_are_refused(kind: int, planes: int) -> None:
    """Pillow would read them as twice as many samples of 8 bits."""
    data = in_planes(16, kind, planes)
    for to_8bit in (False, True):
        with pytest.raises(InputError, match="16 bits per sample in separate planes"):
            read(data, to_8bit=to_8bit)
    together = in_planes(16, kind, planes, separate=False)
    with pytest.raises(InputError, match="here 16") as refused:
        read(together)
    assert refused.value.field == "to_8bit"
    shallow = from_image(read(in_planes(8, kind, planes))).samples
    deep = from_image(read(together, to_8bit=True), to_8bit=True).samples
    assert np.array_equal(deep, shallow)
    if kind == 2:
        assert shallow[..., 1].ravel().tolist() == [9 * i for i in range(24)]


def test_bmp_of_16_bits_a_pixel_has_not_more_than_8_a_sample() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    pixels = struct.pack("<HH", 0xF800, 0x07E0)
    name = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66)
    assert from_image(read(name + header + masks + pixels)).samples.tolist() == [
        [[255, 0, 0], [0, 255, 0]]
    ]


def tiff_pages(*kinds: tuple[int, int], last: int = 0) -> bytes:
    """Pages of 4x4 grey pixels of value 10, 20, ...; each has the tag and value of its kind, and
    the last one a link to another place."""
    data = b"II*\0" + struct.pack("<I", 8)
    for number, (tag, value) in enumerate(kinds, 1):
        at = len(data)
        entries = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 277: 1, 278: 4, 279: 16, tag: value}
        size = 2 + 12 * (len(entries) + 1) + 4
        entries[273] = at + size
        table = (struct.pack("<HHII", t, 4, 1, v) for t, v in sorted(entries.items()))
        link = at + size + 16 if number < len(kinds) else last
        data += struct.pack("<H", len(entries)) + b"".join(table) + struct.pack("<I", link)
        data += bytes([10 * number]) * 16
    return data


@pytest.mark.parametrize(
    ("kinds", "page"),
    [
        ([(254, 0), (254, 1), (254, 1)], 10),
        ([(254, 0), (254, 5), (254, 1)], 10),
        ([(254, 0), (255, 2)], 10),
        ([(254, 1), (254, 0)], 20),
        ([(254, 1)], 10),
        ([(254, 1), (254, 1)], 10),
        ([(254, 0)], 10),
    ],
)
def test_reduced_pages_are_no_animation(kinds: list[tuple[int, int]], page: int) -> None:
    assert (from_image(read(tiff_pages(*kinds))).samples == page).all()


@pytest.mark.parametrize("kinds", [[(254, 0)] * 3, [(254, 2)] * 3, [(254, 0), (254, 0), (255, 1)]])
def test_pages_are_to_be_chosen(kinds: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError, match="holds 3 pages"):
        read(tiff_pages(*kinds, (254, 1)))
    for number in range(4):
        image = read(tiff_pages(*kinds, (254, 1)), frame=number)
        assert (from_image(image).samples == 10 * number + 10).all()
    with pytest.raises(InputError, match=r"no page 4; pages are numbered 0\.\.3"):
        read(tiff_pages(*kinds, (254, 1)), frame=4)


def test_camera_raw_is_not_taken_for_its_thumbnail() -> None:
    data = tiff_pages((254, 1))
    at = data.index(struct.pack("<HHI", 279, 4, 1))  # which Pillow does not need
    with pytest.raises(InputError, match="camera raw"):
        read(data[:at] + struct.pack("<HHII", 330, 4, 1, 8) + data[at + 12 :])


def test_masks_of_tiff_are_told() -> None:
    assert opened(tiff_pages((254, 0), (254, 4))).dropped == ("transparency mask",)


@pytest.mark.parametrize("last", [0xFFFF, 1, 8, 3, 0xFFFFFFFF])
@pytest.mark.parametrize("frame", [None, 0])
def test_a_broken_second_page_harms_not_the_first(last: int, frame: int | None) -> None:
    assert (from_image(read(tiff_pages((254, 0), last=last), frame=frame)).samples == 10).all()


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("frame", [None, 0])
def test_a_broken_second_frame_harms_not_the_first(file_format: str, frame: int | None) -> None:
    frames = [Image.new("RGB", (64, 64), (i * 80, 0, 0)) for i in range(3)]
    data = file_of(frames[0], file_format, save_all=True, append_images=frames[1:])
    count = 0
    for length in range(len(data) // 3, len(data)):
        with suppress(InputError):  # of several frames, or too short for the first one
            assert from_image(read(data[:length], frame=frame)).samples.max() <= 4
            count += 1
    assert count or frame is None or file_format == "WEBP"  # whose decoder wants the whole file


def test_frames_that_cannot_be_counted_are_one() -> None:
    """An extension of the second frame without content: Pillow stumbles over it."""
    first = file_of(Image.new("L", (4, 4), 7), "GIF")
    data = first.removesuffix(b";") + b"!\xf9\x01\x01"
    for frame in (None, 0):
        assert (from_image(read(data, frame=frame)).samples == 7).all()
    with pytest.raises(InputError, match="GIF"):
        read(data, frame=1)


@pytest.mark.parametrize(
    ("depth", "photometric", "words"),
    [
        (10, 1, "this kind of TIFF .10 bits per sample"),
        (24, 1, "24 bits per sample"),
        (64, 1, "64 bits per sample"),
        (8, 9999, "photometric interpretation 9999"),
    ],
)
def test_kinds_of_tiff_are_told(depth: int, photometric: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tiff(4, depth, photometric, bytes(40)))


def test_compression_of_tiff_is_told() -> None:
    data = bytearray(tiff(4, 8, 1, bytes(4)))
    at = data.index(struct.pack("<HHI", 259, 4, 1)) + 8
    struct.pack_into("<I", data, at, 12345)
    with pytest.raises(InputError, match="compression 12345"):
        read(bytes(data))


def test_floating_point_is_told() -> None:
    data = file_of(Image.new("F", (4, 4), 0.5), "TIFF")
    with pytest.raises(InputError, match="floating-point"):
        read(data)
    with pytest.raises(InputError, match="floating-point"):
        from_image(read(b"Pf 2 1 -1.0\n" + bytes(8)))


@pytest.mark.parametrize(
    "file_format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "QOI"]
)
def test_truncated_files_are_told_so(city: Image.Image, file_format: str) -> None:
    """With the name of their format, and never in Python's own words."""
    data = file_of(city, file_format)
    for length in (20, 30, 40, 100, 200, len(data) // 2):
        with pytest.raises(InputError) as refused:
            read(data[:length])
        message = str(refused.value)
        assert file_format in message
        assert re.search("truncated|damaged|this kind", message)
        assert "known format" not in message
        assert not re.search("index|object|argument|unpack|buffer|NoneType|byte string", message)


def test_the_first_file_of_a_process_is_told_like_any_other(city: Image.Image) -> None:
    """Pillow knows all formats only when it has been asked for a rare one."""
    source = "from tests.pictures import *; opened(sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {source}"],
        input=file_of(city, "JPEG")[:100],
        capture_output=True,
        check=False,
    )
    assert b"InputError: truncated or damaged JPEG file" in done.stderr


def test_jpeg_of_12_bits_is_told(city: Image.Image) -> None:
    data = file_of(city, "JPEG")
    at = data.index(b"\xff\xc0") + 4
    with pytest.raises(InputError, match=r"JPEG .*12-bit"):
        read(data[:at] + b"\x0c" + data[at + 1 :])
