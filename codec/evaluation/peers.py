"""Other codecs: Pillow's encoders, and programs where they are installed.

All get the same samples, without metadata, and are decoded back to samples. Encoders have the
options that their users get by default, except for AVIF, which has those that are best for PSNR
over RGB: 4:4:4, and tuning for PSNR, since tuning for SSIM costs some 15 % in bits at equal PSNR.
`avif-ssim` is the same, tuned for SSIM. `webp-lossless` and `png` are anchors of one setting;
the former has the options of the patches of our files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, features

from codec.errors import InputError
from codec.evaluation.coders import Coder
from codec.picture.patch import METHOD, QUALITY

OPAQUE_MODES = frozenset({"L", "RGB"})
ALL_MODES = OPAQUE_MODES | {"LA", "RGBA"}


def _range(first: int, last: int, step: int = 1) -> tuple[float, ...]:
    """Numbers from `first` to `last`, rising or falling."""
    step = step if first <= last else -step
    return tuple(float(n) for n in range(first, last + (1 if step > 0 else -1), step))


@dataclass(frozen=True)
class PillowCoder:
    """A codec of Pillow.

    Raises:
        InputError: the codec does not support a picture.
    """

    name: str
    description: str
    settings: tuple[float, ...]
    finer: tuple[float, ...]
    file_format: str
    options: Callable[[float], dict[str, Any]]
    """Options of `Image.save` at a setting."""
    modes: frozenset[str] = ALL_MODES

    def encode(self, image: Image.Image, setting: float) -> bytes:
        if image.mode not in self.modes:
            raise InputError("keeps no transparency")
        target = BytesIO()
        try:
            image.save(target, self.file_format, **self.options(setting))
        except (OSError, ValueError, SystemError) as error:  # what encoders refuse, such as sizes
            raise InputError(f"Pillow cannot encode it ({error})") from error
        return target.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        with Image.open(BytesIO(data), formats=[self.file_format]) as image:
            image.load()
            return image


@dataclass(frozen=True)
class ProgramCoder:
    """A codec of two programs that read and write PNG.

    Times include the start of the programs and the PNG files; programs may use several threads.

    Raises:
        InputError: a program failed.
    """

    name: str
    settings: tuple[float, ...]
    finer: tuple[float, ...]
    encoder: str
    decoder: str
    choices: str
    """Options in words."""
    options: Callable[[float], tuple[str, ...]]
    suffix: str

    @cached_property
    def description(self) -> str:
        first_line = _run(self.encoder, "--version").splitlines()[0]
        version = re.search(r"\d+(\.\d+)+", first_line)
        return (
            f"{self.encoder} {version[0] if version else first_line}, {self.choices}; a program, "
            "whose start and PNG are in its times"
        )

    def encode(self, image: Image.Image, setting: float) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "a.png"), Path(folder, "a" + self.suffix)
            image.save(source, compress_level=1)
            _run(self.encoder, *self.options(setting), str(source), str(target))
            return target.read_bytes()

    def decode(self, data: bytes) -> Image.Image:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "a" + self.suffix), Path(folder, "a.png")
            source.write_bytes(data)
            _run(self.decoder, str(source), str(target))
            with Image.open(target) as image:
                image.load()
                return image


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise InputError(f"{command[0]} failed with status {done.returncode}: {lines[-1]}")
    return done.stdout


def _jpeg() -> Coder:
    return PillowCoder(
        "jpeg",
        f"libjpeg-turbo {features.version('libjpeg_turbo')} through Pillow, 4:2:0, optimised",
        (*_range(10, 90, 10), 95.0),
        _range(1, 100),
        "JPEG",
        lambda quality: {"quality": round(quality), "optimize": True},
        OPAQUE_MODES,
    )


def _webp() -> Coder:
    return PillowCoder(
        "webp",
        f"libwebp {features.version('webp')} through Pillow, method 4",
        (2.0, 10.0, 25.0, 50.0, 70.0, 82.0, 92.0, 97.0),
        _range(0, 100),
        "WEBP",
        lambda quality: {"quality": round(quality), "method": 4},
    )


def _avif(name: str, tune: str) -> Coder:
    return PillowCoder(
        name,
        f"libavif {features.version('avif')} through Pillow, 4:4:4, speed 4, "
        f"tuned for {tune.upper()}",
        (12.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0),
        _range(0, 100),
        "AVIF",
        lambda quality: {
            "quality": round(quality),
            "subsampling": "4:4:4",
            "speed": 4,
            "advanced": {"tune": tune},
        },
    )


def _webp_lossless() -> Coder:
    return PillowCoder(
        "webp-lossless",
        f"libwebp {features.version('webp')} through Pillow, lossless, method {METHOD}, "
        f"quality {QUALITY}",
        (100.0,),
        (100.0,),
        "WEBP",
        lambda _: {"lossless": True, "method": METHOD, "quality": QUALITY},
    )


def _png() -> Coder:
    return PillowCoder(
        "png",
        f"zlib {features.version('zlib')} through Pillow, lossless, optimised",
        (9.0,),
        (9.0,),
        "PNG",
        lambda _: {"optimize": True},
    )


def _jpeg2000() -> Coder:
    return PillowCoder(
        "jpeg2000",
        f"OpenJPEG {features.version('jpg_2000')} through Pillow, 9/7 wavelet, one layer",
        (160.0, 96.0, 60.0, 40.0, 28.0, 19.0, 13.0, 9.0),
        tuple(round(500 * 0.97**n, 2) for n in range(200)),
        "JPEG2000",
        lambda ratio: {
            "quality_mode": "rates",
            "quality_layers": [ratio],
            "irreversible": True,
            "mct": 1,
        },
    )


def _jxl() -> Coder:
    return ProgramCoder(
        "jxl",
        (15.0, 10.0, 7.0, 5.0, 3.5, 2.5, 1.5, 0.8),
        tuple(tenths / 10 for tenths in _range(250, 3)),
        "cjxl",
        "djxl",
        "effort 7",
        lambda distance: ("-d", f"{distance:g}", "-e", "7"),
        ".jxl",
    )


def _avifenc() -> Coder:
    return ProgramCoder(
        "avifenc",
        (50.0, 42.0, 35.0, 28.0, 21.0, 15.0, 10.0, 6.0),
        _range(63, 0),
        "avifenc",
        "avifdec",
        "libaom, 4:4:4, speed 4",
        # Constant quality by names that all versions know; -q came with 1.0.
        lambda level: (
            *("-c", "aom", "-s", "4", "-y", "444", "--min", "0", "--max", "63"),
            *("-a", "end-usage=q", "-a", f"cq-level={level:g}"),
        ),
        ".avif",
    )


@dataclass(frozen=True)
class _Source:
    make: Callable[[], Coder]
    feature: str = ""
    """Name of the library in `PIL.features`."""
    programs: tuple[str, ...] = ()


PEERS = {
    "jpeg": _Source(_jpeg, feature="jpg"),
    "webp": _Source(_webp, feature="webp"),
    "avif": _Source(partial(_avif, "avif", "psnr"), feature="avif"),
    "avif-ssim": _Source(partial(_avif, "avif-ssim", "ssim"), feature="avif"),
    "webp-lossless": _Source(_webp_lossless, feature="webp"),
    "png": _Source(_png, feature="zlib"),
    "jpeg2000": _Source(_jpeg2000, feature="jpg_2000"),
    "jxl": _Source(_jxl, programs=("cjxl", "djxl")),
    "avifenc": _Source(_avifenc, programs=("avifenc", "avifdec")),
}
"""All peers by name."""


def find_peers(names: tuple[str, ...]) -> tuple[list[Coder], dict[str, str]]:
    """Peers that can be measured here, and for the others the reasons why not.

    Raises:
        InputError: a name is unknown.
    """
    found: list[Coder] = []
    missing: dict[str, str] = {}
    for name in names:
        if name not in PEERS:
            raise InputError(f"unknown codec {name!r} to compare with; known: {', '.join(PEERS)}")
        source = PEERS[name]
        absent = [program for program in source.programs if not shutil.which(program)]
        if absent:
            missing[name] = f"{' and '.join(absent)} not installed"
        elif source.feature and not features.check(source.feature):
            missing[name] = "Pillow was built without it"
        else:
            found.append(source.make())
    return found, missing
