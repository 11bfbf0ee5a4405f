"""What files hold besides their pixels and is not kept, format by format."""

from __future__ import annotations

import struct

import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from codec.picture.pixels import from_image
from codec.picture.xmp import settled_xmp
from tests.pictures import exif_of, file_of, opened, with_chunks


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """A JPEG file with more segments after its first marker."""
    return data[:2] + b"".join(segments) + data[2:]


def dropped(data: bytes) -> tuple[str, ...]:
    return opened(data).dropped


def photoshop(*resources: tuple[int, bytes]) -> bytes:
    blocks = [
        struct.pack(">4sHHI", b"8BIM", n, 0, len(c)) + c + b"\0" * (len(c) % 2)
        for n, c in resources
    ]
    return b"".join(blocks)


IPTC, PATH = (0x0404, b"\x1c\x02\x74\0\x03(c)"), (2000, bytes(26))
EXIF = b"Exif\0\0" + exif_of((0x11A, 5, 1, struct.pack("<I", 26)), more=struct.pack("<II", 300, 1))


@pytest.mark.parametrize(
    "file_format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "QOI"]
)
def test_plain_files_lose_nothing(city: Image.Image, file_format: str) -> None:
    assert dropped(file_of(city, file_format)) == ()


@pytest.mark.parametrize(
    ("segments", "names"),
    [
        ([segment(0xFE, b"by hand")], ("comment",)),
        ([segment(0xED, b"Photoshop 3.0\0" + photoshop(IPTC))], ("iptc",)),
        ([segment(0xED, b"Photoshop 3.0\0" + photoshop(PATH))], ("clip paths",)),
        ([segment(0xED, b"Photoshop 3.0\0" + photoshop(IPTC, PATH))], ("iptc", "clip paths")),
        ([segment(0xED, b"Photoshop 3.0\0" + photoshop((0x03F3, bytes(8))))], ()),
        ([segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(80))], ("extended xmp",)),
        ([segment(0xEB, b"JP\0\1" + b"jumbc2pa")], ("content credentials",)),
        ([segment(0xE1, EXIF)], ()),
        (
            [segment(0xE1, b"Exif\0\0junk"), segment(0xE2, b"ICC_PROFILE\0\1\1junk")],
            ("exif", "icc"),
        ),
    ],
)
def test_segments_of_jpeg(city: Image.Image, segments: list[bytes], names: tuple[str, ...]) -> None:
    assert dropped(with_segments(file_of(city, "JPEG"), *segments)) == names


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP"])
def test_resolution(city: Image.Image, file_format: str) -> None:
    assert dropped(file_of(city, file_format, dpi=(300, 300))) == ("dpi",)
    assert dropped(file_of(city, file_format, dpi=(72, 144))) == ("dpi",)
    for unknown in (72, 96):
        assert dropped(file_of(city, file_format, dpi=(unknown, unknown))) == ()
    if file_format != "BMP":
        assert dropped(file_of(city, file_format, dpi=(300, 300), exif=EXIF)) == ()


def test_shape_of_pixels(city: Image.Image) -> None:
    jpeg = file_of(city, "JPEG")
    at = jpeg.index(b"JFIF\0") + 7
    assert dropped(jpeg[:at] + struct.pack(">BHH", 0, 2, 1) + jpeg[at + 5 :]) == ("pixel aspect",)
    for across, names in ((2, ("pixel aspect",)), (1, ())):
        chunk = (b"pHYs", struct.pack(">IIB", across, 1, 0))
        assert dropped(with_chunks(file_of(city), chunk)) == names


PARAMETERS = b"parameters\0a cat, steps: 20"
RAW_IPTC = b"Raw profile type iptc\0\niptc\n       4\n1c020000\n"


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    ("chunk", "names"),
    [
        ((b"tEXt", PARAMETERS), ("text",)),
        ((b"iTXt", b"Title\0\0\0\0\0Zo\xc3\xab"), ("text",)),
        ((b"tEXt", RAW_IPTC), ("iptc",)),
        ((b"tEXt", b"Raw profile type icc\0\nicc\n  4\n00000000\n"), ("icc",)),
        ((b"tEXt", b"Raw profile type exif\0\nexif\n  4\n00000000\n"), ("exif",)),
        ((b"eXIf", b"junk"), ("exif",)),
        ((b"iCCP", b"name\0\0junk"), ("icc",)),
        ((b"caBX", b"jumb"), ("content credentials",)),
        ((b"cICP", bytes([1, 13, 0, 0])), ("cICP",)),
        ((b"cICP", bytes([12, 13, 1, 1])), ("cICP",)),
        ((b"cICP", bytes([1, 13, 0, 1])), ()),
        ((b"tIME", bytes(7)), ()),
    ],
)
def test_chunks_of_png(
    city: Image.Image, before: bytes, chunk: tuple[bytes, bytes], names: tuple[str, ...]
) -> None:
    assert dropped(with_chunks(file_of(city), chunk, before=before)) == names


def test_profile_of_another_colour_space(city: Image.Image) -> None:
    from codec.picture.profile import profile_of_code_points

    for file_format in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF"):
        grey = profile_of_code_points(1, 8, True)
        assert dropped(file_of(city, file_format, icc_profile=grey)) == ("icc",)


@pytest.mark.parametrize(
    ("tag", "value", "name"),
    [
        (33723, IPTC[1], "iptc"),
        (34377, photoshop(IPTC), "iptc"),
        (34377, photoshop(PATH), "clip paths"),
        (37724, b"Adobe Photoshop Document Data Block\0", "layers"),
        (33550, (1.0, 1.0, 0.0), "georeference"),
        (42113, "0", "georeference"),
        (269, "a page", "DocumentName"),
        (50839, b"\1\2", "ImageJMetaData"),
        (65000, b"\1\2", "tag 65000"),
        (301, tuple(range(768)), "transfer function"),
    ],
)
def test_tags_of_tiff(city: Image.Image, tag: int, value: object, name: str) -> None:
    tags = ImageFileDirectory_v2()
    tags[tag] = value
    assert dropped(file_of(city, "TIFF", tiffinfo=tags)) == (name,)


def test_resolution_of_tiff_is_kept(city: Image.Image) -> None:
    result = opened(file_of(city, "TIFF", dpi=(300, 300)))
    kept = Image.Exif()
    kept.load(from_image(result.image).metadata.exif)
    assert (kept[0x11A], kept[0x11B], kept[0x128]) == (300, 300, 2)
    assert result.dropped == ()


def test_extensions_of_gif(city: Image.Image) -> None:
    assert dropped(file_of(city, "GIF", comment=b"by hand")) == ("comment",)
    data = file_of(city, "GIF")
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    at = data.index(b",\0\0\0\0")
    result = opened(data[:at] + b"!\xff\x0bXMP DataXMP" + xmp + trailer + data[at:])
    assert from_image(result.image).metadata.xmp == xmp
    assert result.dropped == ()
    block = b"!\xff\x0bICCRGBG1012\x04prof\0"
    assert dropped(data[:at] + block + data[at:]) == ("icc",)


GAIN_MAP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description rdf:about=""
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
 hdrgm:Version="1.0" dc:format="image/jpeg">
 <Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item
 Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource">
 <Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="99"/></rdf:li>
 </rdf:Seq></Container:Directory><dc:creator>Joe</dc:creator>
 </rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_gain_map_of_jpeg(city: Image.Image) -> None:
    small = city.resize((24, 16))
    data = file_of(city, "MPO", save_all=True, append_images=[small], xmp=GAIN_MAP)
    result = opened(data)
    assert result.dropped == ("gain map",)
    xmp = from_image(result.image).metadata.xmp
    assert b"hdrgm:" not in xmp
    assert b"Container:" not in xmp.replace(b"xmlns:Container", b"")
    assert b"GainMap" not in xmp
    assert b'dc:format="image/jpeg"' in xmp
    assert b"<dc:creator>Joe</dc:creator>" in xmp


@pytest.mark.parametrize("head", [b"hdrgm:Version", b"HDRGainMap:HDRGainMapVersion"])
def test_gain_map_that_only_the_second_picture_tells_of(city: Image.Image, head: bytes) -> None:
    data = file_of(city, "MPO", save_all=True, append_images=[city.resize((24, 16))])
    at = data.rindex(b"\xff\xd8\xff\xe0") + 2
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x " + head + b'="1.0"/>')
    assert dropped(data) == ("second picture",)
    assert dropped(data[:at] + xmp + data[at:]) == ("gain map",)


def test_previews_are_no_loss(city: Image.Image) -> None:
    data = bytearray(file_of(city, "MPO", save_all=True, append_images=[city.resize((24, 16))]))
    index = data.index(b"MPF\0") + 4
    entries = (
        index
        + struct.unpack_from("<I", data, data.index(struct.pack("<HH", 0xB002, 7), index) + 8)[0]
    )
    struct.pack_into("<I", data, entries + 16, 0x010002)
    assert dropped(bytes(data)) == ()


def test_video_of_jpeg(city: Image.Image) -> None:
    camera = b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    xmp = b"<r:D " + camera + b' GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" a:b="2"/>'
    result = opened(file_of(city, "JPEG", xmp=xmp) + b"\0\0\0\x18ftypmp42")
    assert result.dropped == ("video",)
    assert from_image(result.image).metadata.xmp == b"<r:D " + camera + b' a:b="2"/>'


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new)


def test_other_pictures_in_avif(city: Image.Image) -> None:
    city.putalpha(Image.linear_gradient("L").resize(city.size))
    alpha = file_of(city, "AVIF")
    urn = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
    assert dropped(alpha) == ()
    assert dropped(patched(alpha, urn, urn.replace(b"alpha", b"depth"))) == ("depth map",)
    apple = b"urn:com:apple:photo:2020:aux:hdrgainmap\0\0\0\0"
    assert dropped(patched(alpha, urn, apple)) == ("gain map",)
    assert dropped(file_of(city, "AVIF", xmp=GAIN_MAP)) == ("gain map",)
    items = file_of(city.convert("RGB"), "AVIF", exif=EXIF)
    at = items.index(b"infe", items.index(b"infe") + 1)
    assert dropped(items[:at] + items[at:].replace(b"Exif", b"tmap", 1)) == ("gain map",)


NAMESPACES = {
    "gm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "C": "http://ns.google.com/photos/1.0/container/",
    "HDRGainMap": "http://ns.apple.com/HDRGainMap/1.0/",
}


@pytest.mark.parametrize("prefix", NAMESPACES)
def test_properties_go_in_every_notation(prefix: str) -> None:
    start = f'<r:D xmlns:{prefix}="{NAMESPACES[prefix]}"'
    for gone in (f' {prefix}:Version="1"', f"\n {prefix}:Max = '2'"):
        assert (
            settled_xmp(f'{start}{gone} a:b="c">x</r:D>'.encode())
            == f'{start} a:b="c">x</r:D>'.encode()
        )
    for gone in (
        f"<{prefix}:Max>1</{prefix}:Max>",
        f'<{prefix}:Max r:p="q"/>',
        f"<{prefix}:Max><r:Seq>\n<r:li>1</r:li></r:Seq></{prefix}:Max>\n",
    ):
        assert (
            settled_xmp(f"{start}>{gone}<a:b/></r:D>".encode()) == f"{start}><a:b/></r:D>".encode()
        )


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"\xff\xfe junk <",
        b'<r:D hdrgm:Version="1"/>',
        b'<r:D xmlns:c="http://ns.google.com/photos/1.0/camera/" c:SpecialTypeID="x"/>',
        b'<r:D tiff:Orientation="1" tiff:OrientationNote="6"/>',
    ],
)
def test_other_xmp_stays(xmp: bytes) -> None:
    assert settled_xmp(xmp) == xmp
