"""Pillow reads and writes .vqc files once this module is imported.

    import codec.pillow_plugin
    from PIL import Image

    Image.open("photo.png").save("photo.vqc", quality=40)
    Image.open("photo.vqc").show()

`Image.open` decodes nothing: it reads size, mode and metadata (`info["icc_profile"]`,
`info["exif"]`, `info["xmp"]`), and Pillow's guard against decompression bombs sees the size
before anything is decoded. The pixels come with `load()`.

`save` takes one of `quality` (0..100), `lmbda`, `target_bpp`, `target_size` and `target_psnr`;
`effort` (0..9); `tile_size`; `to_8bit`, for grey pictures of 16 bits; `icc_profile`, `exif` and
`xmp` (kept from `info` unless given; b"" drops one); and `model`. As with every format, Pillow
empties an existing file before it asks the encoder: what cannot be encoded, such as a target out of
reach, is lost.

>>> from io import BytesIO
>>> import codec.pillow_plugin
>>> from PIL import Image
>>> buffer = BytesIO()
>>> Image.new("RGB", (40, 30), "teal").save(buffer, "VQC", quality=30)
>>> Image.open(buffer).size
(40, 30)
"""

from __future__ import annotations

from typing import IO, Any, BinaryIO, cast

from PIL import Image, ImageFile

from codec.errors import CodecError
from codec.format.container import MAGIC, ContainerFile
from codec.limits import Limits
from codec.weights.released import DEFAULT_MODEL, find_by_id, find_weights

FORMAT = "VQC"
EXTENSION = ".vqc"
MIME = "image/x-vqc"

MODEL: str | None = None
"""Weights to decode with; None for the released model that a file names."""
DEVICE = "cpu"
"""Where the transforms run."""
LIMITS = Limits()
"""On the pictures that are decoded and encoded."""

_RATES = ("quality", "lmbda", "target_bpp", "target_size", "target_psnr")
_OPTIONS = (*_RATES, "effort", "tile_size", "to_8bit")


class VqcImageFile(ImageFile.ImageFile):
    """A .vqc file, opened but not decoded."""

    format = FORMAT
    format_description = "vqcodec learned image"

    def _open(self) -> None:
        file = _parse(self.fp)
        self._size = (file.header.width, file.header.height)
        self._mode = file.header.mode
        metadata = file.read_metadata()
        contents = {
            "icc_profile": metadata.icc,
            "exif": metadata.exif and b"Exif\0\0" + metadata.exif,
            "xmp": metadata.xmp,
        }
        self.info.update({name: content for name, content in contents.items() if content})
        self.tile = [ImageFile._Tile(FORMAT, (0, 0, *self._size), 0, self.mode)]


class VqcDecoder(ImageFile.PyDecoder):
    """Decodes the whole file when the pixels are asked for."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        from codec.codec import cached_codec

        file = _parse(self.fd)
        try:
            path = find_weights(MODEL) if MODEL else find_by_id(file.header.model_id)
            image = cached_codec(path, DEVICE, LIMITS).decompress(file)
        except CodecError as error:
            raise OSError(str(error)) from error
        self.set_as_raw(image.tobytes())
        return -1, 0


def _parse(file: IO[bytes] | None) -> ContainerFile:
    """Header and directory of a file whose first bytes were accepted.

    Raises:
        OSError: it is damaged or of a newer version. (Pillow would hide a `SyntaxError`.)
    """
    try:
        return ContainerFile(cast(BinaryIO, file))
    except CodecError as error:
        raise OSError(str(error)) from error


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    from codec.codec import cached_codec

    given = image.encoderinfo
    model = str(given.get("model", DEFAULT_MODEL))
    described = image.copy()
    for name in ("icc_profile", "exif", "xmp"):
        content = given.get(name, described.info.pop(name, None))
        if content:
            raw = content.tobytes() if isinstance(content, Image.Exif) else content
            described.info[name] = raw
    options: dict[str, Any] = {name: given[name] for name in _OPTIONS if name in given}
    try:
        codec = cached_codec(find_weights(model), DEVICE, LIMITS)
        file.write(codec.compress(described, **options))
    except CodecError as error:
        raise OSError(f"cannot be written as {FORMAT}: {error}") from error


def register() -> None:
    """Tell Pillow about the format; importing this module has done it already."""
    Image.register_open(FORMAT, VqcImageFile, _accept)
    Image.register_decoder(FORMAT, VqcDecoder)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MIME)


register()
