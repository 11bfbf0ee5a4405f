from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codec.errors import InputError
from codec.picture.pixels import (
    from_image,
    latent_size,
    picture_bytes,
    psnr,
    read_picture,
    to_image,
)

LIMIT = 1 << 20


def file_of(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    samples = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    upright = Image.fromarray(samples).convert("RGB")
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_picture(file_of(stored, exif=exif), LIMIT)
    assert np.array_equal(from_image(image).samples[:, :, 0], samples)


def test_grey_pictures_stay_grey() -> None:
    for mode in ("L", "1"):
        pixels = from_image(Image.new(mode, (5, 4), 1))
        assert pixels.grey
        assert pixels.samples.shape == (4, 5, 3)
    assert not from_image(Image.new("RGB", (5, 4))).grey


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr"])
def test_converted_modes(mode: str) -> None:
    pixels = from_image(Image.new("RGB", (5, 4), (204, 0, 51)).convert(mode))
    assert np.abs(pixels.samples.astype(int) - [204, 0, 51]).max() <= 3


@pytest.mark.parametrize(
    ("mode", "message"),
    [("RGBA", "transparency"), ("LA", "transparency"), ("I;16", "8 bits"), ("F", "8 bits")],
)
def test_unsupported_modes_say_what_to_do(mode: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_image(Image.new(mode, (4, 4)))


def png_of_16_bits() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    rows = (b"\0" + bytes(4 * 6)) * 3
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_16_bit_colours_are_not_cut_silently() -> None:
    for data in (png_of_16_bits(), b"P6 4 3 65535\n" + bytes(72)):
        with pytest.raises(InputError, match="8 bits"):
            read_picture(data, LIMIT)
    assert read_picture(b"P6 4 3 100\n" + bytes(36), LIMIT).size == (4, 3)


def test_junk_exif_turns_nothing(city: Image.Image) -> None:
    for junk in (b"Exif\0\0junk", b"II*\0\xff\xff\xff\xff"):
        image = read_picture(file_of(city, exif=junk), LIMIT)
        assert np.array_equal(from_image(image).samples, np.asarray(city))


def test_a_jpeg_with_a_second_picture_is_its_first(city: Image.Image) -> None:
    data = file_of(city, "MPO", save_all=True, append_images=[city.resize((8, 8))])
    image = read_picture(data, LIMIT)
    assert image.format == "MPO"
    assert from_image(image).width == city.width


def test_profiles_are_converted_to_srgb() -> None:
    from PIL import ImageCms

    image = Image.new("RGB", (4, 4), (90, 120, 200))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info["icc_profile"] = srgb
    assert np.abs(from_image(image).samples.astype(int) - [90, 120, 200]).max() <= 1
    # A profile whose red primary is the blue one and the other way round.
    swapped = srgb.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")
    image.info["icc_profile"] = swapped
    assert np.abs(from_image(image).samples.astype(int) - [200, 120, 90]).max() <= 2
    image.info["icc_profile"] = b"junk"
    assert np.array_equal(from_image(image).samples[0, 0], [90, 120, 200])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_pictures_raise_nothing_else(data: st.DataObject) -> None:
    file_format = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF"]))
    picture = bytearray(file_of(Image.new("RGB", (9, 7), (1, 200, 3)), file_format))
    for _ in range(data.draw(st.integers(1, 6))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        from_image(read_picture(bytes(picture), LIMIT))


def test_palette_transparency_is_noticed() -> None:
    image = Image.new("P", (4, 4))
    image.info["transparency"] = 0
    with pytest.raises(InputError, match="transparency"):
        from_image(image)


def test_animations_are_refused() -> None:
    frames = [Image.new("RGB", (4, 4), (i * 50, 0, 0)) for i in range(3)]
    data = file_of(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="animation"):
        read_picture(data, LIMIT)


@pytest.mark.parametrize("data", [b"", b"just text", b"\x89PNG\r\n\x1a\nxx", b"GIF89a" + bytes(9)])
def test_what_is_not_a_picture(data: bytes) -> None:
    with pytest.raises(InputError):
        read_picture(data, LIMIT)


def test_truncated_pictures_are_refused(city: Image.Image) -> None:
    data = file_of(city)
    for length in (60, len(data) // 2, len(data) - 30):
        with pytest.raises(InputError):
            read_picture(data[:length], LIMIT)


def test_large_pictures_are_refused_before_decoding() -> None:
    data = file_of(Image.new("L", (300, 200)))
    with pytest.raises(InputError, match="300x200"):
        read_picture(data, 59_999)
    assert read_picture(data, 60_000).size == (300, 200)


def test_padding_repeats_the_edge() -> None:
    samples = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = from_image(Image.fromarray(samples)).padded()
    assert padded.shape == (16, 16, 3)
    assert np.array_equal(padded[:2, :3], samples)
    assert np.array_equal(padded[9, 9], samples[1, 2])


def test_latent_size_rounds_up() -> None:
    assert latent_size(1, 16) == (1, 1)
    assert latent_size(17, 512) == (2, 32)


def test_to_image_rounds_clips_and_crops() -> None:
    samples = np.full((3, 16, 16), 0.5, np.float32)
    samples[0], samples[1] = -1.0, 2.0
    image = to_image(samples, 3, 2, grey=False)
    assert image.size == (2, 3)
    assert image.getpixel((0, 0)) == (0, 255, 128)
    assert to_image(samples, 1, 1, grey=True).mode == "L"


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "BMP", "PPM", "TIFF"])
def test_output_formats_are_lossless(city: Image.Image, file_format: str) -> None:
    again = read_picture(picture_bytes(city, file_format), LIMIT)
    assert np.array_equal(np.asarray(again.convert("RGB")), np.asarray(city))


def test_psnr() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert psnr(black, black) == np.inf
    assert psnr(black, black + 255) == 0.0
    assert psnr(black + 5, black) == pytest.approx(20 * np.log10(255 / 5))
