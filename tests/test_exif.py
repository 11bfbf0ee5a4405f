from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from codec.picture.exif import orientation_of, usable_exif, with_upright
from codec.picture.pixels import from_image
from codec.picture.sources.png import profile_in_text
from tests.pictures import exif_of, file_of, opened, read, reread, with_chunks

BYTE, ASCII, SHORT, LONG, SSHORT, SLONG = 1, 2, 3, 4, 8, 9
PREFIX = b"Exif\0\0"
FORMATS = ["JPEG", "PNG", "WEBP"]


def orientation(value: int, kind: int = SHORT, order: str = "<") -> tuple[int, int, int, bytes]:
    form = {BYTE: "B3x", SHORT: "H2x", SSHORT: "h2x"}.get(kind, "I")
    return 0x112, kind, 1, struct.pack(order + form, value)


def photograph(value: int, order: str = "<") -> bytes:
    """As a camera writes: a name in UTF-8, maker notes, a thumbnail in a second directory."""
    entries = [orientation(value, order=order), (0x13B, ASCII, 5, b""), (0x8769, LONG, 1, b"")]
    at = 14 + 12 * len(entries)
    name, maker = b"Zo\xc3\xab\0\0", b"MAKER" + struct.pack(order + "I", at + 9) + bytes(range(200))
    notes_at = at + len(name) + 2 + 12 + 4
    sub = struct.pack(order + "HHHIII", 1, 0x927C, 7, len(maker), notes_at, 0)
    link_at = notes_at + len(maker)
    thumbnail = struct.pack(order + "HHHIII", 1, 0x201, LONG, 1, link_at + 18, 0) + b"\xff\xd8JPEG"
    entries[1] = (0x13B, ASCII, 5, struct.pack(order + "I", at))
    entries[2] = (0x8769, LONG, 1, struct.pack(order + "I", at + len(name)))
    exif = exif_of(*entries, order=order, more=name + sub + maker + thumbnail)
    return exif[: at - 4] + struct.pack(order + "I", link_at) + exif[at:]


def changed(one: bytes, other: bytes) -> list[int]:
    assert len(one) == len(other)
    return [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", range(1, 9))
def test_only_orientation_and_thumbnail_change(
    city: Image.Image, file_format: str, order: str, value: int
) -> None:
    exif = photograph(value, order)
    image = reread(city, file_format, exif=PREFIX + exif)
    kept = from_image(image).metadata.exif
    low_byte = 18 if order == "<" else 19
    link = range(10 + 36, 10 + 36 + 4)
    assert changed(exif, kept) == ([] if value == 1 else [low_byte, *changed_link(exif, link)])
    assert orientation_of(kept) == 1
    assert (image.width < image.height) == (value >= 5)
    assert b"Zo\xc3\xab\0" in kept


def changed_link(exif: bytes, link: range) -> list[int]:
    return [i for i in link if exif[i]]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG, SSHORT, SLONG])
@pytest.mark.parametrize("value", range(2, 9))
def test_every_kind_of_orientation_is_read(order: str, kind: int, value: int) -> None:
    exif = exif_of(orientation(value, kind, order), order=order)
    assert orientation_of(exif) == value
    assert with_upright(exif) == exif_of(orientation(1, kind, order), order=order)


@pytest.mark.parametrize("order", "<>")
def test_the_first_of_several_values_counts(order: str) -> None:
    """As exiftool and Pillow have it; others lie elsewhere, and are no orientation."""
    exif = exif_of((0x112, SHORT, 2, struct.pack(order + "HH", 6, 3)), order=order)
    assert orientation_of(exif) == 6
    assert orientation_of(with_upright(exif)) == 1
    for kind, number in ((SHORT, 0), (SHORT, 3), (LONG, 2), (ASCII, 1)):
        exif = exif_of((0x112, kind, number, struct.pack(order + "HH", 6, 6)), order=order)
        assert orientation_of(exif) == 1
        assert with_upright(exif) == exif


@pytest.mark.parametrize("value", [0, 1, 9, 65535])
def test_other_values_turn_nothing(city: Image.Image, value: int) -> None:
    image = reread(city, exif=PREFIX + exif_of(orientation(value)))
    assert image.size == city.size
    assert orientation_of(from_image(image).metadata.exif) == 1
    assert from_image(image).metadata.exif == exif_of(orientation(1))


ODD = exif_of((0x10F, ASCII, 4, b"Cam\0"), (0x11A, ASCII, 4, b"300\0"), (0x13B, ASCII, 4, b"Joe\0"))


@pytest.mark.parametrize("file_format", [*FORMATS, "AVIF"])
def test_odd_tags_are_no_reason_to_drop_the_others(city: Image.Image, file_format: str) -> None:
    result = opened(file_of(city, file_format, exif=PREFIX + ODD))
    assert from_image(result.image).metadata.exif == ODD
    assert result.dropped == ()


def test_exif_of_a_turned_avif_is_as_stored(city: Image.Image) -> None:
    """Pillow writes the orientation as a property, and again in EXIF of its own making."""
    turned = Image.Exif()
    turned.load(PREFIX + photograph(6))
    data = file_of(city, "AVIF", exif=turned)
    image = read(data)
    assert image.size == city.size[::-1]
    kept = from_image(image).metadata.exif
    assert len(kept) > 100
    assert kept in data


GARBAGE = [b"junk", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08", b"II+\0" + bytes(20)]


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("garbage", [*GARBAGE, b"II*\0\x08\0\0\0\x05\0", b"\0" * 30])
def test_garbage_is_dropped_and_told(city: Image.Image, file_format: str, garbage: bytes) -> None:
    result = opened(file_of(city, file_format, exif=PREFIX + garbage))
    assert result.dropped == ("exif",)
    picture = from_image(result.image)
    assert picture.metadata.exif == b""
    assert picture.samples.shape[:2] == (city.height, city.width)


def test_truncated_exif_is_kept_as_far_as_it_goes(city: Image.Image) -> None:
    whole = photograph(6)
    for length in (30, 40, 60, len(whole) - 3):
        image = reread(city, exif=PREFIX + whole[:length])
        assert image.size == city.size[::-1]
        assert len(from_image(image).metadata.exif) == length


@given(st.binary(max_size=80), st.sampled_from([b"", b"II*\0\x08\0\0\0\x03\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_are_read(rest: bytes, start: bytes) -> None:
    exif = usable_exif(start + rest)
    assert exif in (b"", start + rest)
    assert 1 <= orientation_of(exif) <= 8
    assert orientation_of(with_upright(exif)) == 1
    assert len(with_upright(exif)) == len(exif)


def test_prefixes_are_no_part_of_it() -> None:
    exif = exif_of(orientation(3))
    assert usable_exif(PREFIX + exif) == usable_exif(2 * PREFIX + exif) == exif


@pytest.mark.parametrize("value", range(1, 9))
def test_images_of_callers_are_not_turned(city: Image.Image, value: int) -> None:
    """Pillow keeps EXIF data over transpose and crop, so that it is of other pixels."""
    exif = photograph(value)
    with Image.open(BytesIO(file_of(city, exif=PREFIX + exif))) as image:
        images = [
            image.copy(),
            image.transpose(Image.Transpose.ROTATE_270),
            image.crop((0, 0, 9, 5)),
        ]
    for each in images:
        picture = from_image(each)
        assert np.array_equal(picture.samples, np.asarray(each))
        assert picture.metadata.exif == with_upright(exif)


def test_orientation_of_xmp_alone_turns_nothing(city: Image.Image) -> None:
    for form in ('tiff:Orientation="6"/>', "><tiff:Orientation>6</tiff:Orientation></r:D>"):
        xmp = f'<r:D xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {form}'.encode()
        for file_format in (*FORMATS, "TIFF"):
            options = {"tiffinfo": {700: xmp}} if file_format == "TIFF" else {"xmp": xmp}
            if file_format == "PNG":
                data = with_chunks(file_of(city), (b"iTXt", XMP_HEADER + xmp))
            else:
                data = file_of(city, file_format, **options)
            image = read(data)
            assert image.size == city.size
            assert from_image(image).metadata.xmp == xmp.replace(b"6", b"1")


XMP_HEADER = b"XML:com.adobe.xmp\0\0\0\0\0"


def raw_profile(kind: str, content: bytes, more: str = "", claimed: int | None = None) -> bytes:
    digits = content.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    length = len(content) if claimed is None else claimed
    return f"Raw profile type {kind}\0\n{kind}\n{length:8}\n{lines}{more}\n".encode()


@pytest.mark.parametrize("where", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("more", ["", "0000", "\n00", "zz", "\n\0"])
@pytest.mark.parametrize("kind", ["exif", "APP1"])
def test_exif_in_text_of_png(city: Image.Image, where: bytes, more: str, kind: str) -> None:
    exif = photograph(6)
    text = (b"tEXt", raw_profile(kind, PREFIX + exif, more))
    image = opened(with_chunks(file_of(city), text, before=where))
    assert image.dropped == ()
    assert image.image.size == city.size[::-1]
    assert from_image(image.image).metadata.exif == with_upright(exif)


@pytest.mark.parametrize("where", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("kind", ["xmp", "APP1"])
def test_xmp_in_text_of_png(city: Image.Image, where: bytes, kind: str) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    header = b"http://ns.adobe.com/xap/1.0/\0" if kind == "APP1" else b""
    text = (b"tEXt", raw_profile(kind, header + xmp, "0000"))
    result = opened(with_chunks(file_of(city), text, before=where))
    assert from_image(result.image).metadata.xmp == xmp
    assert result.dropped == ()
    plain = with_chunks(file_of(city), (b"iTXt", XMP_HEADER + xmp), before=where)
    assert from_image(read(plain)).metadata.xmp == xmp


def test_senseless_text_is_no_profile() -> None:
    for text in ("", "\nexif\nxx\n00", "\nexif\n 99999999999999999999\n00", "\nexif\n  3\n0"):
        content = profile_in_text({"Raw profile type exif": text}, "exif")
        assert content in (b"", b"\0")


def test_exif_after_the_pixels(city: Image.Image) -> None:
    exif = photograph(8)
    data = with_chunks(file_of(city), (b"eXIf", exif), before=b"IEND")
    image = read(data)
    assert image.size == city.size[::-1]
    assert from_image(image).metadata.exif == with_upright(exif)


def test_exif_of_tiff_is_kept_with_odd_tags(city: Image.Image) -> None:
    tags = Image.Exif()
    tags[0x10F], tags[0x13B], tags[0x112] = "Cam", "Joe", 6
    tags.get_ifd(0x8825)[1] = "N"
    data = bytearray(file_of(city, "TIFF", exif=tags.tobytes(), dpi=(300, 300)))
    image = read(bytes(data))
    assert image.size == city.size[::-1]
    kept = Image.Exif()
    kept.load(PREFIX + from_image(image).metadata.exif)
    assert (kept[0x10F], kept[0x13B], kept[0x11A], kept.get(0x112, 1)) == ("Cam", "Joe", 300, 1)
    assert kept.get_ifd(0x8825)[1] == "N"
    at = data.index(struct.pack("<HHI", 0x11A, 5, 1))  # the resolution becomes text
    data[at : at + 12] = struct.pack("<HHI4s", 0x11A, ASCII, 4, b"300\0")
    result = opened(bytes(data))
    kept.load(PREFIX + from_image(result.image).metadata.exif)
    assert kept[0x10F] == "Cam"
    assert 0x11A not in kept
    assert result.dropped == ("exif", "dpi")
