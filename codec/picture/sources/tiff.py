"""TIFF: directories with the layout of the pixels and everything else."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from PIL import ExifTags, Image, TiffTags
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import COMPRESSION_INFO, OPEN_INFO, TiffImageFile

from codec.errors import InputError
from codec.picture.colour import is_grey
from codec.picture.profile import Primaries, profile_of_colours
from codec.picture.refusals import check_depth
from codec.picture.sources.extras import Extras
from codec.picture.sources.jpeg import drop_resources

_Tag = ExifTags.Base
_KEPT = {
    _Tag.ImageDescription,
    _Tag.Make,
    _Tag.Model,
    _Tag.Software,
    _Tag.DateTime,
    _Tag.Artist,
    _Tag.Copyright,
    _Tag.XResolution,
    _Tag.YResolution,
    _Tag.ResolutionUnit,
}
"""Tags that describe the photograph, which TIFF mixes with those that lay out the pixels."""
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)

_SUBFILE, _OLD_SUBFILE, _WIDTH, _BITS, _COMPRESSION = 254, 255, 256, 258, 259
_PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PLANES, _FORMAT = 262, 266, 277, 284, 339
_TRANSFER, _WHITE, _PRIMARIES, _CHILDREN = 301, 318, 319, 330
_IPTC, _PHOTOSHOP, _LAYERS, _XMP, _ICC = 33723, 34377, 37724, 700, 34675
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
"""Values of the tags of the kind of a page."""
_FLOATING_POINT, _SEPARATE, _WHITE_IS_ZERO = 3, 2, 0

_LAYOUT = {
    *range(254, 260), *range(262, 267), 273, 274, *range(277, 282), 284, *range(288, 294), 297,
    317, *range(320, 328), 330, 332, *range(336, 344), 347, *range(512, 522), 529, 530, 531, 532,
    _WHITE, _PRIMARIES, _XMP, _ICC, _IPTC, _PHOTOSHOP, *_DIRECTORIES, 59932,
}  # fmt: skip
"""Tags that tell how to read pixels, and those that are dealt with one by one."""
_GEOREFERENCE = {33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113}
_KNOWN = {_TRANSFER: "transfer function", _LAYERS: "layers"}

_READ = {_SUBFILE, _OLD_SUBFILE, _WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FORMAT}
_MOST_VALUES = 16
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
Directory = dict[int, tuple[int, ...]]


def check(image: TiffImageFile, to_8bit: bool) -> None:
    """Refuse pages whose samples would be cut, or read wrongly.

    Raises:
        InputError: they have more than 8 bits and may not be cut, or cannot be read.
    """
    tags = image.tag_v2
    if _FLOATING_POINT in tags.get(_FORMAT, ()):
        raise InputError("pictures of floating-point samples are not supported; scale to 8 bits")
    if tags.get(_SUBFILE, 0) & _REDUCED and _CHILDREN in tags:
        raise InputError("camera raw files are not supported; develop it to a picture first")
    bits = max(tags.get(_BITS, (1,)))
    if tags.get(_PLANES) == _SEPARATE:
        _check_planes(image, bits)
    check_depth(bits, to_8bit)


def _check_planes(image: TiffImageFile, bits: int) -> None:
    """Refuse separate planes that Pillow reads wrongly, and correct its reading of a single one.

    Where data is not compressed, it takes a letter of the raw mode for each plane: of "L;I" (grey,
    white is 0) the "L". A pixel of one sample has no planes, and the whole raw mode is right.
    """
    tags = image.tag_v2
    samples = tags.get(_SAMPLES, 1)
    raw = bool(image.tile) and image.tile[0].codec_name == "raw"
    if samples > 1 and (bits > 8 or (raw and image.mode == "LA")):
        raise InputError(
            f"this kind of TIFF ({bits} bits per sample in separate planes) is not supported; "
            "save it with 8 bits or with the samples of a pixel together"
        )
    if samples == 1 and raw:
        kind = (
            tags.prefix,
            tags.get(_PHOTOMETRIC, 0),
            tags.get(_FORMAT, (1,)),
            tags.get(_FILL_ORDER, 1),
            tags.get(_BITS, (1,)),
            (),
        )
        _, raw_mode = OPEN_INFO[kind]
        image.tile = [
            tile._replace(args=(raw_mode, *cast(tuple[str, int, int], tile.args)[1:]))
            for tile in image.tile
        ]


def pages(file: BinaryIO, every: bool = False) -> list[int]:
    """Numbers of the pages that are pictures of their own: no reduced copies, no masks.

    Args:
        file: whose directories are followed as far as they can be read.
        every: count those that are left out as well.
    """
    directories = list(_directories(file))
    if every:
        return list(range(len(directories))) or [0]
    numbers = [
        number
        for number, tags in enumerate(directories)
        if not tags.get(_SUBFILE, (0,))[0] & (_REDUCED | _MASK)
        and tags.get(_OLD_SUBFILE, (0,))[0] != _OLD_REDUCED
        and _WIDTH in tags
    ]
    return numbers or [0]


def kind_of(file: BinaryIO) -> str:
    """Description of a file that Pillow cannot open; empty where no directory can be read."""
    tags = next(_directories(file), {})
    if _WIDTH not in tags:
        return ""
    bits = sorted(set(tags.get(_BITS, (1,))))
    words = [f"{' and '.join(map(str, bits))} bits per sample"]
    if _FLOATING_POINT in tags.get(_FORMAT, ()):
        words.append("floating-point")
    (compression, *_) = tags.get(_COMPRESSION, (1,))
    if compression not in COMPRESSION_INFO:
        words.append(f"compression {compression}")
    (photometric, *_) = tags.get(_PHOTOMETRIC, (0,))
    return ", ".join([*words, f"photometric interpretation {photometric}"])


def examine(image: ImageFile, file: BinaryIO, extras: Extras) -> None:
    """Add what is in a page of a TIFF file to what Pillow tells."""
    assert isinstance(image, TiffImageFile)
    tags = image.tag_v2
    extras.orientation = 1  # Pillow turns these by itself
    if not extras.icc and {_WHITE, _PRIMARIES} <= set(tags):
        try:
            white, points = tuple(map(float, tags[_WHITE])), tuple(map(float, tags[_PRIMARIES]))
            colours = zip((*white, *points)[::2], (*white, *points)[1::2], strict=True)
            extras.icc = profile_of_colours(Primaries(*colours), None, is_grey(image))
        except (ValueError, TypeError, ArithmeticError):
            extras.drop("primaries")
    drop_resources(dict.fromkeys(image.get_photoshop_blocks()), extras)
    extras.drop("iptc", _IPTC in tags)
    extras.drop("georeference", _GEOREFERENCE & set(tags))
    kinds = [page.get(_SUBFILE, (0,))[0] for page in _directories(file)]
    extras.drop("transparency mask", any(kind & _MASK for kind in kinds))
    for tag in sorted(set(tags) - _LAYOUT - _KEPT - _GEOREFERENCE):
        name = TiffTags.lookup(tag).name
        extras.drop(_KNOWN.get(tag) or (f"tag {tag}" if name == "unknown" else name))


def ramp_of(image: ImageFile) -> tuple[float, float] | None:
    """Scale and offset to 16-bit grey of deep samples that Pillow leaves as the file has them."""
    if image.mode != "I;16" or not isinstance(image, TiffImageFile):
        return None
    (depth,) = image.tag_v2.get(_BITS, (16,))
    scale = 65535 / ((1 << depth) - 1)
    if image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return -scale, 65535
    return (scale, 0) if depth < 16 else None


def exif_of(image: TiffImageFile) -> tuple[bytes, bool]:
    """EXIF data with the tags that describe the photograph, and whether all could be had.

    They are written anew: a TIFF file has them among others, with offsets into the whole file.
    """
    complete, chosen = True, Image.Exif()
    try:
        stored = image.getexif()
        found: dict[int, Any] = {tag: stored[tag] for tag in sorted(_KEPT & set(stored))}
        found |= {ifd: dict(stored.get_ifd(ifd)) for ifd in _DIRECTORIES if ifd in stored}
    except Exception:  # whatever garbage leads Pillow to
        return b"", False
    for tag, value in found.items():
        if isinstance(value, dict):
            entries = {k: v for k, v in value.items() if _is_writable(tag, {k: v})}
            complete = complete and len(entries) == len(value)
            if entries:
                chosen[tag] = entries
        elif _is_writable(tag, value):
            chosen[tag] = value
        else:
            complete = False
    return (chosen.tobytes() if len(chosen) else b""), complete


def _is_writable(tag: int, value: object) -> bool:
    exif = Image.Exif()
    exif[tag] = value
    try:
        exif.tobytes()
    except Exception:  # whatever garbage leads Pillow to
        return False
    return True


def _directories(file: BinaryIO) -> Iterator[Directory]:
    """The tags in `_READ` of each directory in the chain, as far as it can be followed."""
    file.seek(0)
    header = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None or len(header) < 16:
        return
    big = header[2:4] in (b"+\0", b"\0+")
    count_form, link_form, entry_bytes = ("Q", "Q", 20) if big else ("H", "I", 12)
    (link,) = struct.unpack_from(order + link_form, header, 8 if big else 4)
    seen: set[int] = set()
    while link and link not in seen:
        seen.add(link)
        try:
            file.seek(link)
            (count,) = _unpacked(file, order + count_form)
            entries = file.read(min(count, 1 << 16) * entry_bytes)
            (link,) = _unpacked(file, order + link_form) or (0,)
        except (ValueError, OverflowError, struct.error):
            return
        if not count or len(entries) < count * entry_bytes:
            return
        yield dict(_values(file, order, big, entries))


def _unpacked(file: BinaryIO, form: str) -> tuple[int, ...]:
    content = file.read(struct.calcsize(form))
    return struct.unpack(form, content) if len(content) == struct.calcsize(form) else ()


def _values(
    file: BinaryIO, order: str, big: bool, entries: bytes
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Values of the wanted entries that are integers and few."""
    form, room = ("HHQ8s", 8) if big else ("HHI4s", 4)
    for tag, kind, number, field in struct.iter_unpack(order + form, entries):
        if tag not in _READ or kind not in _INTEGERS or not 1 <= number <= _MOST_VALUES:
            continue
        layout = f"{order}{number}{_INTEGERS[kind]}"
        size = struct.calcsize(layout)
        if size > room:
            (at,) = struct.unpack(order + ("Q" if big else "I"), field)
            if at >= 1 << 62:
                continue
            file.seek(at)
            field = file.read(size)
        if len(field) >= size:
            yield tag, struct.unpack(layout, field[:size])
