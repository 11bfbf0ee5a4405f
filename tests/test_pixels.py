from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from codec.errors import InputError
from codec.picture.metadata import Metadata
from codec.picture.pixels import from_image, pad_to_stride, psnr
from codec.picture.rendering import to_image, to_rgb
from codec.tiles import Box
from tests.pictures import file_of, reread


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
    exif[0x010F] = "maker"
    image = reread(stored, exif=exif)
    picture = from_image(image)
    assert np.array_equal(picture.samples[:, :, 0], samples)
    kept = Image.Exif()
    kept.load(picture.metadata.exif)
    assert kept.get(0x0112, 1) == 1
    assert kept[0x010F] == "maker"


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


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_images_say_what_to_do(mode: str) -> None:
    with pytest.raises(InputError, match=r"8.bit"):
        from_image(Image.new(mode, (4, 4)))


def test_16_bits_are_rounded_to_8() -> None:
    samples = np.array([[0, 128, 129, 385, 65535]], np.uint16)
    picture = from_image(Image.fromarray(samples), to_8bit=True)
    assert picture.grey
    assert picture.samples[0, :, 0].tolist() == [0, 0, 1, 1, 255]


@pytest.mark.parametrize("sample", [-1, 65536])
def test_samples_of_more_than_16_bits_are_refused(sample: int) -> None:
    with pytest.raises(InputError, match="65535"):
        from_image(Image.new("I", (4, 4), sample), to_8bit=True)


def test_16_bits_keep_profile_and_transparency() -> None:
    srgb, _ = swapped_srgb()
    profile = srgb[:16] + b"GRAY" + srgb[20:]
    image = Image.fromarray(np.array([[0, 128, 129, 385, 65535]], np.uint16))
    image.info |= {"icc_profile": profile, "transparency": 129}
    picture = from_image(image, to_8bit=True)
    assert picture.grey
    assert picture.metadata.icc == profile
    alpha = picture.crop(picture.whole)[1]
    assert alpha is not None
    assert alpha.tolist() == [[255, 255, 0, 255, 255]]


@pytest.mark.parametrize(
    ("shape", "grey", "alpha"),
    [
        ((4, 5), True, False),
        ((4, 5, 1), True, False),
        ((4, 5, 2), True, True),
        ((4, 5, 3), False, False),
        ((4, 5, 4), False, True),
    ],
)
def test_arrays(shape: tuple[int, ...], grey: bool, alpha: bool) -> None:
    picture = from_image(np.full(shape, 77, np.uint8))
    assert (picture.height, picture.width) == (4, 5)
    assert (picture.grey, picture.alpha) == (grey, alpha)
    assert (picture.samples == 77).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5)),
        np.zeros((4, 5, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 5), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_unfit_arrays(array: np.ndarray) -> None:
    with pytest.raises(InputError):
        from_image(array)
    with pytest.raises(InputError, match="no pixels"):
        from_image(Image.new("RGB", (0, 3)))


@pytest.mark.parametrize("source", ["a.png", Path("a.png"), b"\x89PNG", None, [[1, 2], [3, 4]], 7])
def test_what_is_not_an_image(source: object) -> None:
    with pytest.raises(InputError, match=type(source).__name__ + r".*PIL\.Image\.open"):
        from_image(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint16", "bool", "object", "U1"])
def test_arrays_of_other_types(dtype: str) -> None:
    with pytest.raises(InputError, match=r"must be uint8 .*not .* \[4, 5, 3\]"):
        from_image(np.zeros((4, 5, 3), dtype))


def test_damaged_files_of_callers(city: Image.Image) -> None:
    for file_format in ("PNG", "JPEG", "TIFF"):
        data = file_of(city, file_format)
        image = Image.open(
            BytesIO(data[: len(data) // 2] if file_format != "TIFF" else data[:-900])
        )
        with pytest.raises(InputError, match=f"truncated or damaged {file_format} file"):
            from_image(image)


TRANSPARENT = {
    "RGBA": Image.new("RGBA", (4, 4), (1, 2, 3, 100)),
    "LA": Image.new("LA", (4, 4), (1, 100)),
    "La": Image.new("LA", (4, 4), (100, 100)).convert("La"),
    "RGBa": Image.new("RGBA", (4, 4), (100, 100, 100, 100)).convert("RGBa"),
    "PA": Image.new("RGBA", (4, 4), (1, 2, 3, 100)).convert("PA"),
}


@pytest.mark.parametrize("mode", TRANSPARENT)
def test_alpha_is_noticed(mode: str) -> None:
    picture = from_image(TRANSPARENT[mode])
    assert picture.alpha
    assert picture.grey == (mode in ("LA", "La"))
    _, alpha = picture.crop(Box(1, 1, 3, 4))
    assert alpha is not None
    assert alpha.shape == (3, 2)
    assert (alpha == 100).all()


def test_colour_keys_are_alpha() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.info["transparency"] = bytes([255, 40])
    grey, colour = Image.new("L", (4, 4), 9), Image.new("RGB", (4, 4), (1, 2, 3))
    grey.info["transparency"], colour.info["transparency"] = 9, (1, 2, 3)
    for image, value in ((palette, 40), (grey, 0), (colour, 0)):
        picture = from_image(image)
        assert picture.alpha
        _, alpha = picture.crop(picture.whole)
        assert alpha is not None
        assert (alpha == value).all()
    palette.info["transparency"] = bytes([0, 255])  # of a colour that is not used
    assert not from_image(palette).alpha


def test_opaque_alpha_is_dropped() -> None:
    assert not from_image(Image.new("RGBA", (4, 4), (1, 2, 3, 255))).alpha
    assert from_image(Image.new("LA", (4, 4), (1, 255))).grey


def test_boxes_are_parts_of_the_whole(city: Image.Image) -> None:
    city.putalpha(Image.linear_gradient("L").resize(city.size).point(lambda v: max(v, 1)))
    picture = from_image(city)
    samples, alpha = picture.crop(Box(10, 20, 50, 90))
    whole, plane = picture.crop(picture.whole)
    assert alpha is not None
    assert plane is not None
    assert np.array_equal(samples, whole[20:90, 10:50])
    assert np.array_equal(alpha, plane[20:90, 10:50])


def test_visible_pixels_are_counted(city: Image.Image) -> None:
    assert from_image(city).count_visible() == city.width * city.height
    plane = np.full((1100, 3), 9, np.uint8)
    plane[500:520] = 0
    image = Image.new("RGB", (3, 1100))
    image.putalpha(Image.fromarray(plane))
    assert from_image(image).count_visible() == 3 * 1080


def test_junk_exif_turns_nothing(city: Image.Image) -> None:
    for junk in (b"Exif\0\0junk", b"II*\0\xff\xff\xff\xff"):
        picture = from_image(reread(city, exif=junk))
        assert np.array_equal(picture.samples, np.asarray(city))


def test_junk_exif_is_not_kept(city: Image.Image) -> None:
    """Of a JPEG file neither, whose decoder has tried to read it already."""
    for file_format in ("PNG", "JPEG", "WEBP"):
        image = reread(city, file_format, exif=b"Exif\0\0junk")
        assert not from_image(image).metadata.exif


def swapped_srgb() -> tuple[bytes, bytes]:
    """sRGB, and a profile whose red primary is sRGB's blue one and the other way round."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")
    return srgb, swapped


def test_profiles_are_kept_or_converted_to_srgb() -> None:
    srgb, swapped = swapped_srgb()
    image = Image.new("RGB", (4, 4), (90, 120, 200))
    for profile, converted in ((srgb, [90, 120, 200]), (swapped, [200, 120, 90])):
        image.info["icc_profile"] = profile
        picture = from_image(image)
        assert picture.metadata.icc == profile
        assert np.array_equal(picture.samples[0, 0], [90, 120, 200])
        picture = from_image(image, keep=["exif"])
        assert not picture.metadata.icc
        assert np.abs(picture.samples.astype(int) - converted).max() <= 2
    with_alpha = image.copy()
    with_alpha.putalpha(100)
    picture = from_image(with_alpha, keep=[])
    assert np.abs(picture.samples.astype(int) - [200, 120, 90]).max() <= 2
    assert picture.alpha


def test_unfit_profiles_are_left_out() -> None:
    srgb, _ = swapped_srgb()
    image = Image.new("RGB", (4, 4), (90, 120, 200))
    image.info["icc_profile"] = b"junk"
    assert from_image(image).metadata.icc == b""
    assert np.array_equal(from_image(image).samples[0, 0], [90, 120, 200])
    grey = Image.new("L", (4, 4), 90)
    grey.info["icc_profile"] = srgb  # of another colour space
    assert from_image(grey).metadata.icc == b""
    assert (from_image(grey).samples == 90).all()


def test_lab_becomes_srgb() -> None:
    white = Image.new("LAB", (4, 4), (255, 128, 128))
    assert np.abs(from_image(white).samples.astype(int) - 255).max() <= 3


def test_metadata_is_kept_or_stripped(city: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    image = reread(city, "WEBP", exif=exif, xmp=b"<x/>", lossless=True)
    metadata = from_image(image).metadata
    assert metadata == Metadata(b"", exif.tobytes().removeprefix(b"Exif\0\0"), b"<x/>")
    assert from_image(image, keep=["xmp"]).metadata == Metadata(xmp=b"<x/>")
    assert from_image(image, keep=[]).metadata == Metadata()


def test_exif_of_tiff_files_has_no_layout(city: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    kept = Image.Exif()
    kept.load(from_image(reread(city, "TIFF", exif=exif)).metadata.exif)
    assert kept[0x010F] == "maker"
    assert 0x0111 not in kept  # offsets of the strips


def test_padding_repeats_the_edge() -> None:
    samples = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = pad_to_stride(samples)
    assert padded.shape == (16, 16, 3)
    assert np.array_equal(padded[:2, :3], samples)
    assert np.array_equal(padded[9, 9], samples[1, 2])


def test_to_image_rounds_and_clips() -> None:
    samples = np.full((3, 3, 2), 0.5, np.float32)
    samples[0], samples[1] = -1.0, 2.0
    image = to_image(samples)
    assert (image.size, image.mode) == ((2, 3), "RGB")
    assert image.getpixel((0, 0)) == (0, 255, 128)
    assert to_rgb(samples, grey=False)[0, 0].tolist() == [0, 255, 128]
    assert to_image(samples, grey=True).mode == "L"
    assert to_rgb(samples, grey=True)[0, 0].tolist() == [128, 128, 128]
    alpha = np.full((3, 2), 7, np.uint8)
    assert to_image(samples, alpha=alpha).getpixel((1, 2)) == (0, 255, 128, 7)
    assert to_image(samples, grey=True, alpha=alpha).mode == "LA"


def test_psnr() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert psnr(black, black) == np.inf
    assert psnr(black, black + 255) == 0.0
    assert psnr(black + 5, black) == pytest.approx(20 * np.log10(255 / 5))
