"""Pillow reads and writes .vqc files once this module is imported.

    import codec.pillow_plugin
    from PIL import Image

    Image.open("photo.png").save("photo.vqc", quality=40)
    Image.open("photo.vqc").show()

`Image.open` decodes nothing: it reads size, mode and metadata (`info["icc_profile"]`,
`info["exif"]`, `info["xmp"]`), and Pillow's guard against decompression bombs sees the size
before anything is decoded. The pixels come with `load()`, which several threads may call at once.
`draft(None, size)` before that asks for 1/2, 1/4 or 1/8 of the size, no smaller than `size`, which
is decoded much faster; `thumbnail` does so by itself.
`verify()` checks every checksum of the file, and raises `OSError` for damage.

`save` takes one of `quality` (0..100), `lmbda`, `target_bpp`, `target_size` and `target_psnr`, with
`effort` (0..9), `level_map` (a grey picture) and `patches` ("auto" or "never"), or else `lossless`,
which keeps every sample;
`tile_size`; `to_8bit`, for grey pictures of 16 bits; `icc_profile`, `exif` and `xmp`; and `model`.
It writes the pixels that it is given: turn them before, by
`PIL.ImageOps.exif_transpose`, where EXIF data asks for it, since files have no orientation. As with
PNG, AVIF and TIFF, the colour profile is that of `info` unless one is given (b"" for none), and
EXIF and XMP are written only if they are given: `image.save("a.vqc", exif=image.getexif())`.

As with every format, Pillow empties an existing file before it calls the encoder, and no plugin can
prevent it: if the encoder refuses the picture, the old content is lost. A file that did not exist
is removed again. `codec.compress` makes the bytes without touching any file.

>>> from io import BytesIO
>>> import codec.pillow_plugin
>>> from PIL import Image
>>> buffer = BytesIO()
>>> Image.new("RGB", (40, 30), "teal").save(buffer, "VQC", quality=30)
>>> Image.open(buffer).size
(40, 30)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from threading import RLock
from typing import IO, Any, BinaryIO, cast

from PIL import Image, ImageFile

from codec.errors import CodecError, InputError
from codec.format.container import ContainerFile
from codec.format.header import MAGIC
from codec.limits import Limits
from codec.picture.metadata import info_of
from codec.picture.reduction import REDUCTIONS
from codec.picture.sources.pillow import extras_of
from codec.weights.released import DEFAULT_MODEL

FORMAT = "VQC"
EXTENSION = ".vqc"
MIME = "image/x-vqc"

MODEL: str | None = None
"""Weights to decode with; None for the released model that a file names."""
DEVICE = "cpu"
"""Where the transforms run."""
LIMITS = Limits()
"""Limits on the pictures that are decoded and encoded."""

_RATES = ("quality", "lmbda", "target_bpp", "target_size", "target_psnr")
_OPTIONS = (*_RATES, "effort", "patches", "lossless", "level_map", "tile_size", "to_8bit")


class VqcImageFile(ImageFile.ImageFile):
    """A .vqc file, opened but not decoded."""

    format = FORMAT
    format_description = "vqcodec learned image"

    def _open(self) -> None:
        self._lock = RLock()
        file = _parse(self.fp)
        self._size = (file.header.width, file.header.height)
        self._mode = file.header.mode
        with _as_os_error():
            self.info.update(info_of(file.read_metadata()))
        self._full_size = self._size
        self._set_scale(1)

    def __setstate__(self, state: list[Any]) -> None:
        self._lock = RLock()
        super().__setstate__(state)

    def load(self) -> Any:
        """Decode the pixels if that has not been done yet."""
        with self._lock:  # the first thread decodes, and closes the file
            return super().load()

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Decode at 1/2, 1/4 or 1/8 of the size where that is no smaller than `size`.

        Args:
            mode: has no effect.
            size: (width, height) in pixels that are needed; None for all.

        Returns:
            (mode of the picture, what it covers of its new size); None after decoding.
        """
        if not self.tile:
            return None
        width, height = self._full_size
        most = min(width // size[0], height // size[1]) if size and all(size) else 1
        scale = min((s for s, factor in REDUCTIONS.items() if factor <= most), default=1)
        self._set_scale(scale)
        return self.mode, (0, 0, width * scale, height * scale)

    def _set_scale(self, scale: float) -> None:
        width, height = (ceil(side * scale) for side in self._full_size)
        self._size = width, height
        self.tile = [ImageFile._Tile(FORMAT, (0, 0, width, height), 0, (self.mode, scale))]

    def verify(self) -> None:
        """Check all checksums of the file, which is closed then, as for every format.

        Raises:
            OSError: a checksum does not match.
            RuntimeError: pixels have been decoded before.
        """
        if self.fp is None:
            raise RuntimeError("verify must be called directly after open")
        with _as_os_error():
            _parse(self.fp).verify()
        super().verify()


class VqcDecoder(ImageFile.PyDecoder):
    """Decodes the whole file when the pixels are asked for."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        from codec.api import decompress

        file = _parse(self.fd)
        with _as_os_error():
            _, scale = self.args
            image = decompress(file, MODEL, scale=scale, limits=LIMITS, device=DEVICE)
        self.set_as_raw(image.tobytes())
        return -1, 0


def _parse(file: IO[bytes] | None) -> ContainerFile:
    """Header and directory of a file whose first bytes were accepted.

    Raises:
        OSError: it is damaged or of a newer version. (Pillow would hide a `SyntaxError`.)
    """
    with _as_os_error():
        return ContainerFile(cast(BinaryIO, file))


@contextmanager
def _as_os_error(prefix: str = "") -> Iterator[None]:
    """Errors of this package as those that users of Pillow expect."""
    try:
        yield
    except CodecError as error:
        raise OSError(f"{prefix}{error}") from error


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    from codec.api import compress

    given = image.encoderinfo
    model = str(given.get("model") or DEFAULT_MODEL)
    options: dict[str, Any] = {name: given[name] for name in _OPTIONS if name in given}
    described = image.copy()
    described.info = _info_to_write(image.info, given)
    with _as_os_error(f"cannot be written as {FORMAT}: "):
        _check_given(described, given)
        file.write(compress(described, model=model, limits=LIMITS, device=DEVICE, **options))


def _info_to_write(info: dict[Any, Any], given: dict[str, Any]) -> dict[Any, Any]:
    """Metadata to write with the pixels.

    That `info` has EXIF does not mean that it is to be published, nor that it still describes the
    pixels, which may have been turned or cropped since they were read.
    """
    kept = {name: info.get(name) for name in ("transparency", "icc_profile")}
    kept |= {name: given[name] for name in ("icc_profile", "exif", "xmp") if name in given}
    exif = kept.get("exif")
    if isinstance(exif, Image.Exif):
        kept["exif"] = exif.tobytes()
    return {name: content for name, content in kept.items() if content not in (None, b"", "")}


def _check_given(image: Image.Image, given: dict[str, Any]) -> None:
    """Refuse metadata that were given and cannot be kept, rather than lose them silently.

    Raises:
        InputError: they are of a wrong type, or no such metadata.
    """
    kinds = {"icc_profile": "icc", "exif": "exif", "xmp": "xmp"}
    for name in kinds.keys() & given.keys() & image.info.keys():
        if not isinstance(image.info[name], bytes | bytearray | memoryview | str):
            raise InputError(f"{name} must be bytes, not {type(image.info[name]).__name__}")
    unusable = extras_of(image.copy()).dropped
    for name, kind in kinds.items():
        if name in given and kind in unusable:
            raise InputError(f"{name} is damaged, or not for a picture of mode {image.mode}")


def register() -> None:
    """Tell Pillow about the format; importing this module has done it already."""
    Image.register_open(FORMAT, VqcImageFile, _accept)
    Image.register_decoder(FORMAT, VqcDecoder)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MIME)


register()
