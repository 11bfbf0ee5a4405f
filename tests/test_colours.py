"""Colours that files name without an ICC profile, against the formulas of their standards."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from codec.errors import InputError
from codec.picture.pixels import from_image
from codec.picture.profile import (
    SRGB,
    SRGB_CURVE,
    Primaries,
    profile_of_code_points,
    profile_of_colours,
)
from codec.picture.sources import av1
from tests.helpers import DATA
from tests.pictures import file_of, opened, png, read, with_chunks

Floats = NDArray[np.float64]
D65 = (0.3127, 0.3290)
P3 = Primaries(D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
BT2020 = Primaries(D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
PAL = Primaries(D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06))
SWAPPED = Primaries(D65, SRGB.green, SRGB.red, SRGB.blue)
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def light(samples: NDArray[np.uint8], exponent: float | None) -> Floats:
    """Of 8-bit samples; None is for sRGB."""
    s = samples / 255
    if exponent:
        return s**exponent
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def to_xyz(primaries: Primaries) -> Floats:
    white, *columns = (np.array([x, y, 1 - x - y]) for x, y in primaries)
    matrix = np.stack(columns, axis=1)
    return matrix * np.linalg.solve(matrix, white / white[1])


def in_srgb(
    samples: NDArray[np.uint8], primaries: Primaries = SRGB, exponent: float | None = None
) -> Floats:
    """What samples [H, W, 3], or [H, W] of grey, look like, in 8-bit sRGB. The white is D65."""
    linear = light(samples, exponent)
    if samples.ndim == 3:
        linear = linear @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T
    linear = np.clip(linear, 0, 1)
    low, high = linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055
    return 255 * np.where(linear <= 0.0031308, low, high)


def check(data: bytes, samples: NDArray[np.uint8], expected: Floats | None) -> None:
    """A file holds the samples as they are, with a profile for them, or none if they are sRGB; and
    without a profile what they look like."""
    image = read(data)
    kept, shown = from_image(image), from_image(image, keep=())
    stored = samples if samples.ndim == 3 else np.repeat(samples[:, :, None], 3, axis=2)
    assert np.array_equal(kept.samples, stored)
    assert bool(kept.metadata.icc) == (expected is not None)
    assert not shown.metadata.icc
    if expected is None:
        assert np.array_equal(shown.samples, stored)
        return
    seen = shown.samples if samples.ndim == 3 else shown.samples[:, :, 0]
    assert np.abs(seen - expected).max() < 1.01


def colours(*chunks: tuple[bytes, bytes], samples: NDArray[np.uint8] = COLOURS) -> bytes:
    return with_chunks(file_of(Image.fromarray(samples)), *chunks)


def gamma(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def chromaticities(primaries: Primaries) -> tuple[bytes, bytes]:
    values = [round(100_000 * value) for point in primaries for value in point]
    return b"cHRM", struct.pack(">8I", *values)


def code_points(primaries: int, transfer: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, 0, 1])


@pytest.mark.parametrize(
    ("value", "exponent"),
    [(100_000, 1.0), (55_556, 1 / 0.55556), (35_000, 1 / 0.35), (70_000, 1 / 0.7), (250_000, 0.4)],
)
@pytest.mark.parametrize("samples", [COLOURS, GREYS], ids=["RGB", "grey"])
def test_gamma_of_png(value: int, exponent: float, samples: NDArray[np.uint8]) -> None:
    check(colours(gamma(value), samples=samples), samples, in_srgb(samples, exponent=exponent))


def test_gamma_of_grey_of_16_bits() -> None:
    row = b"".join(struct.pack(">H", 257 * int(sample)) for sample in GREYS[3])
    data = with_chunks(png(16, 16, 0, [row]), gamma(100_000))
    picture = from_image(read(data, to_8bit=True), keep=(), to_8bit=True)
    assert np.abs(picture.samples[0, :, 0] - in_srgb(GREYS[3:4], exponent=1.0)[0]).max() < 1.01


def test_gamma_of_palettes_and_transparency() -> None:
    image = Image.fromarray(COLOURS).quantize(16)
    expected = in_srgb(np.asarray(image.convert("RGB")), exponent=1.0)
    shown = from_image(read(with_chunks(file_of(image), gamma(100_000), before=b"PLTE")), keep=())
    assert np.abs(shown.samples - expected).max() < 1.01
    image = Image.fromarray(COLOURS)
    image.putalpha(77)
    shown = from_image(read(with_chunks(file_of(image), gamma(100_000))), keep=())
    assert np.abs(shown.samples - in_srgb(COLOURS, exponent=1.0)).max() < 1.01
    assert shown.alpha


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(45_455)],
        [gamma(45_000)],
        [gamma(100_000), (b"sRGB", b"\0")],
        [chromaticities(P3), (b"sRGB", b"\0")],
        [chromaticities(SRGB)],
        [gamma(45_455), chromaticities(SRGB)],
        [gamma(100_000), chromaticities(P3), code_points(1, 13)],
        [code_points(2, 2)],
        [code_points(1, 1)],
    ],
)
def test_srgb_stays_as_it_is(chunks: list[tuple[bytes, bytes]]) -> None:
    check(colours(*chunks), COLOURS, None)


@pytest.mark.parametrize("value", [0, 1, 4_000_000_000])
def test_senseless_gamma_is_told(value: int) -> None:
    result = opened(colours(gamma(value)))
    assert result.dropped == (("gAMA and cHRM",) if value else ())
    assert "icc_profile" not in result.image.info


@pytest.mark.parametrize("points", [(0,) * 8, (1, 0, 1, 1, 1, 1, 1, 1), (2**32 - 1,) * 8])
def test_senseless_chromaticities_are_told(points: tuple[int, ...]) -> None:
    result = opened(colours((b"cHRM", struct.pack(">8I", *points))))
    assert result.dropped == ("gAMA and cHRM",)
    assert "icc_profile" not in result.image.info


@pytest.mark.parametrize("primaries", [P3, BT2020, PAL, SWAPPED])
def test_primaries_of_png(primaries: Primaries) -> None:
    check(colours(chromaticities(primaries)), COLOURS, in_srgb(COLOURS, primaries))
    both = colours(gamma(100_000), chromaticities(primaries))
    check(both, COLOURS, in_srgb(COLOURS, primaries, 1.0))


def test_unspecified_code_points_overrule_nothing() -> None:
    data = colours(gamma(100_000), code_points(2, 2))
    check(data, COLOURS, in_srgb(COLOURS, exponent=1.0))


def test_primaries_mean_nothing_to_grey() -> None:
    check(colours(chromaticities(P3), samples=GREYS), GREYS, None)
    both = colours(chromaticities(P3), gamma(100_000), samples=GREYS)
    check(both, GREYS, in_srgb(GREYS, exponent=1.0))


CODES = {
    (12, 13): (P3, None),
    (9, 14): (BT2020, None),
    (9, 1): (BT2020, None),
    (5, 6): (PAL, None),
    (1, 8): (SRGB, 1.0),
    (1, 5): (SRGB, 2.8),
    (12, 8): (P3, 1.0),
    (12, 4): (P3, 2.2),
}


@pytest.mark.parametrize("codes", CODES)
def test_code_points_of_png(codes: tuple[int, int]) -> None:
    expected = in_srgb(COLOURS, *CODES[codes])
    check(colours(code_points(*codes)), COLOURS, expected)
    overruled = colours(gamma(250_000), chromaticities(PAL), code_points(*codes))
    check(overruled, COLOURS, expected)


def avif(primaries: int, transfer: int, image: Image.Image, **options: object) -> bytes:
    """With code points in its box of colours."""
    data = bytearray(file_of(image, "AVIF", quality=100, subsampling="4:4:4", **options))
    at = data.index(b"colrnclx") + 8
    struct.pack_into(">HH", data, at, primaries, transfer)
    return bytes(data)


@pytest.mark.parametrize("codes", CODES)
def test_code_points_of_avif(codes: tuple[int, int]) -> None:
    data = avif(*codes, Image.fromarray(COLOURS))
    image = read(data)
    samples = from_image(image).samples
    expected = in_srgb(samples, *CODES[codes])
    check(data, samples, expected)


def in_stream(data: bytes, *codes: int) -> bytes:
    """An AVIF file without a box of colours, whose stream has other code points."""
    plain = "".join(f"{code:08b}" for code in (1, 13, 6))
    head, box, rest = data.partition(b"mdat")
    size = 64  # the header is the first thing in there
    bits = "".join(f"{byte:08b}" for byte in rest[:size])
    assert bits.count(plain) == 1
    bits = bits.replace(plain, "".join(f"{code:08b}" for code in (*codes, 6)))
    stream = int(bits, 2).to_bytes(size, "big") + rest[size:]
    return head.replace(b"colrnclx", b"freenclx") + box + stream


@pytest.mark.parametrize("codes", CODES)
def test_code_points_of_the_stream_of_avif(codes: tuple[int, int]) -> None:
    data = file_of(Image.fromarray(COLOURS), "AVIF", quality=100, subsampling="4:4:4")
    data = in_stream(data, *codes)
    samples = from_image(read(data)).samples
    check(data, samples, in_srgb(samples, *CODES[codes]))


def test_streams_of_avif_that_say_nothing() -> None:
    data = file_of(Image.fromarray(COLOURS), "AVIF", quality=100)
    for codes in ((1, 13), (2, 2)):
        assert "icc_profile" not in read(in_stream(data, *codes)).info
    with pytest.raises(InputError, match=r"PQ.*tone mapping"):
        read(in_stream(data, 9, 16))
    header = data[data.index(b"mdat") + 4 :][:30]
    units = b"\x12\0" * (header[:1] != b"\x12")  # with a delimiter before it, as in videos
    assert av1.code_points(units + header) == (1, 13)
    for length in range(len(header)):
        with suppress(ValueError):
            assert av1.code_points(header[:length]) in (None, (1, 13))
    offset = data.index(b"iloc") + 4 + 8 + 6  # version, sizes and counts, then of the first item
    assert struct.unpack_from(">I", data, offset)[0] == data.index(b"mdat") + 4
    far = data.replace(b"colrnclx", b"freenclx")
    far = far[:offset] + b"\xff" * 4 + far[offset + 4 :]
    with pytest.raises(InputError):
        read(far)
    for stream in (b"", b"\x08", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff"):
        with suppress(ValueError):
            assert av1.code_points(stream) is None


def test_unspecified_primaries_of_png() -> None:
    """What the chunk leaves open, others may say: a profile, or primaries and gamma."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for codes in ((2, 13), (9, 2)):
        image = read(
            with_chunks(file_of(Image.fromarray(COLOURS), icc_profile=profile), code_points(*codes))
        )
        assert image.info["icc_profile"] == profile
        image = read(colours(gamma(100_000), code_points(*codes)))
        assert image.info["icc_profile"] == profile_of_colours(None, ((1.0,),) * 3, False)
    assert "icc_profile" not in read(colours(code_points(2, 13))).info
    assert read(colours(code_points(9, 2))).info["icc_profile"] == profile_of_code_points(
        9, 2, False
    )
    with pytest.raises(InputError, match="PQ"):
        read(colours(code_points(2, 16)))


def test_plain_avif_has_no_profile() -> None:
    for codes in ((1, 13), (2, 2), (1, 1), (1, 6)):
        assert "icc_profile" not in read(avif(*codes, Image.fromarray(COLOURS))).info
    grey = read(avif(9, 14, Image.fromarray(GREYS)))
    assert from_image(grey).grey == (grey.mode == "L")


def test_a_profile_overrules_code_points_of_avif() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = file_of(Image.fromarray(COLOURS), "AVIF", icc_profile=profile)
    assert read(data).info["icc_profile"] == profile


def test_code_points_of_a_sequence() -> None:
    frames = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    options = {"save_all": True, "append_images": frames[1:]}
    data = avif(1, 13, frames[0], **options).replace(
        b"colrnclx\0\x01\0\x0d", b"colrnclx\0\x0c\0\x0d"
    )
    assert from_image(read(data, frame=1)).metadata.icc == profile_of_code_points(12, 13, False)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (9, "logarithmic")])
def test_high_dynamic_range_is_refused(transfer: int, name: str) -> None:
    picture = Image.fromarray(COLOURS)
    narrow = colours((b"cICP", bytes([9, transfer, 0, 0])))
    for data in (colours(code_points(9, transfer)), narrow, avif(9, transfer, picture)):
        for to_8bit in (False, True):
            with pytest.raises(InputError, match=rf"{name}.*tone mapping"):
                read(data, to_8bit=to_8bit)


def test_avif_of_10_bits_is_not_cut_silently(tmp_path: Path) -> None:
    data = (DATA / "deep.avif").read_bytes()
    with pytest.raises(InputError, match="here 10") as refused:
        read(data)
    assert refused.value.field == "to_8bit"
    assert from_image(read(data, to_8bit=True)).samples.shape == (16, 24, 3)


def bmp(header: bytes, image: Image.Image, after: bytes = b"") -> bytes:
    """With what a header of version 4 or 5 has after its masks."""
    data = file_of(image, "BMP")
    width, height = image.size
    start = 14 + 40 + 16 + len(header)
    fixed = struct.pack("<IiiHHIIiiII", 40 + 16 + len(header), width, height, 1, 24, *[0] * 6)
    pixels = data[54:]
    name = struct.pack("<2sIHHI", b"BM", start + len(pixels) + len(after), 0, 0, start)
    return name + fixed + bytes(16) + header + pixels + after


def calibrated(primaries: Primaries, exponents: tuple[float, float, float]) -> bytes:
    columns = [round(value * (1 << 30)) for column in to_xyz(primaries).T for value in column]
    return struct.pack("<I9i3I", 0, *columns, *(round(e * 65536) for e in exponents))


def test_profile_of_bmp() -> None:
    profile = profile_of_code_points(12, 13, False)
    size = 3 * COLOURS.shape[0] * COLOURS.shape[1]
    header = b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + size, len(profile), 0)
    picture = Image.fromarray(COLOURS)
    check(bmp(header, picture, profile), COLOURS, in_srgb(COLOURS, P3))
    assert read(bmp(header, picture, profile)).info["icc_profile"] == profile
    assert opened(bmp(header, picture, b"junk")).dropped == ("icc",)
    assert opened(bmp(b"KNIL" + header[4:], picture, b"p3.icc\0")).dropped == ("icc",)
    assert opened(bmp(b"BGRs" + header[4:], picture, b"")).dropped == ()


def test_calibrated_bmp() -> None:
    picture = Image.fromarray(COLOURS)
    for primaries, exponent in ((P3, 1.8), (SRGB, 1.0), (BT2020, 2.2)):
        data = bmp(calibrated(primaries, (exponent,) * 3), picture)
        check(data, COLOURS, in_srgb(COLOURS, primaries, exponent))
    check(bmp(calibrated(SRGB, (2.2, 2.2, 2.2)), picture), COLOURS, None)
    check(bmp(bytes(4 + 36 + 12), picture), COLOURS, None)
    assert opened(bmp(bytes(4) + b"\x01" * 48, picture)).dropped == ("calibrated colours",)


def test_primaries_of_tiff() -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    for primaries, icc in ((P3, True), (SRGB, False)):
        tags = ImageFileDirectory_v2()
        tags[318] = primaries.white
        tags[319] = tuple(value for point in primaries[1:] for value in point)
        data = file_of(Image.fromarray(COLOURS), "TIFF", tiffinfo=tags)
        check(data, COLOURS, in_srgb(COLOURS, primaries) if icc else None)


def test_images_of_callers_have_the_gamma_of_their_file() -> None:
    data = colours(gamma(100_000))
    picture = from_image(Image.open(BytesIO(data)), keep=())
    assert np.abs(picture.samples - in_srgb(COLOURS, exponent=1.0)).max() < 1.01


@pytest.mark.parametrize("grey", [False, True])
def test_littlecms_reads_the_profiles(grey: bool) -> None:
    icc = profile_of_colours(P3, (SRGB_CURVE,) * 3 if not grey else ((1.8,),) * 3, grey)
    profile = ImageCms.ImageCmsProfile(BytesIO(icc)).profile
    assert profile.xcolor_space == ("GRAY" if grey else "RGB ")
    assert profile.connection_space == "XYZ "
    assert (profile.version, profile.device_class) == (4.3, "mntr")
    assert len(icc) == struct.unpack(">I", icc[:4])[0] < 600
    if not grey:
        columns = (profile.red_colorant, profile.green_colorant, profile.blue_colorant)
        white = np.sum([column[0] for column in columns if column], axis=0)
        assert np.allclose(white, (0.9642, 1, 0.8249), atol=1e-4)


def test_other_whites_are_adapted() -> None:
    """White of any chromaticity is white: (1, 1, 1) stays so."""
    for codes in ((4, 1), (8, 1), (10, 13), (11, 17)):
        profile = ImageCms.ImageCmsProfile(BytesIO(profile_of_code_points(*codes, False)))
        to_srgb = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        white = ImageCms.applyTransform(Image.new("RGB", (1, 1), "white"), to_srgb)
        assert white is not None
        assert white.getpixel((0, 0)) == (255, 255, 255)
