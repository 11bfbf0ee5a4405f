"""The work of `compress` and `decompress` on one file. Heavy imports wait until one is run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from codec.cli import interruption
from codec.cli.plan import Job
from codec.cli.terminal import progress
from codec.errors import CodecError, InputError, OutputError, OutputExistsError
from codec.files import STANDARD, holds, make_folder, open_file, times_of, write_file
from codec.format.container import ContainerFile
from codec.format.header import Header
from codec.limits import Limits, tile_work
from codec.picture.formats import GREY_SUFFIX, OUTPUT_SUFFIXES
from codec.picture.reduction import reduction_of, scale_for
from codec.tiles import region_box
from codec.url import Place
from codec.weights.released import DEFAULT_MODEL, find_weights, read_config, read_metadata

if TYPE_CHECKING:
    from PIL import Image

    from codec.encoder.encoded import Encoded
    from codec.engine.base import EngineName, Precision
    from codec.weights.config import ModelConfig

_OF_MASKS = {
    "frame": "has several frames; name a picture of one",
    "to_8bit": "has more than 8 bits per sample; name a picture of 8",
}
"""What is said of a mask where an option would help a picture that is compressed."""


@dataclass(frozen=True)
class Machine:
    """Where the transforms run, and within what limits."""

    model: str | None
    engine: EngineName
    device: str
    precision: Precision
    limits: Limits

    def encode(self, image: Image.Image, **options: Any) -> Encoded:
        """Compress a picture; the model is loaded once in each process."""
        from codec.api import encode

        model = self.model or DEFAULT_MODEL
        return encode(
            image,
            model,
            limits=self.limits,
            device=self.device,
            precision=self.precision,
            engine=self.engine,
            **options,
        )

    def config(self) -> ModelConfig:
        """Shape of the model."""
        return read_config(read_metadata(find_weights(self.model or DEFAULT_MODEL)))


@dataclass(frozen=True)
class Writing:
    """How outputs are written."""

    force: bool
    preserve: bool
    make_folders: bool
    repeats: bool = False
    """Whether the same job may have been done by a worker that died after it: then an output that
    exists already may be its own."""

    def write(self, job: Job, content: bytes | Callable[[BinaryIO], None]) -> None:
        """Write the output of a job whole or not at all."""
        interruption.check()
        if self.make_folders:
            make_folder(job.target.parent)
        source = job.source if self.preserve and job.source != STANDARD else None
        times = times_of(source) if isinstance(source, Path) else None
        try:
            write_file(job.target, content, self.force, times)
        except OutputExistsError:
            if not (self.repeats and holds(job.target, content)):
                raise


@dataclass(frozen=True)
class CompressTask:
    """Pictures to .vqc files."""

    machine: Machine
    writing: Writing
    options: dict[str, Any]
    """Options of the encoder, see `codec.encoder.options.EncoderOptions`."""
    mask: Place | None
    """Picture that says where quality matters."""
    frame: int | None
    measure: bool
    """Whether to find the PSNR, which takes about as long again."""
    skip_larger: bool
    """Whether to write nothing that is larger than the input."""
    bar: bool
    """Whether to show progress inside a picture."""

    def __call__(self, job: Job) -> dict[str, Any]:
        from PIL import Image

        from codec.picture.reading import open_picture

        Image.MAX_IMAGE_PIXELS = None  # --max-pixels is the limit here
        began = time.perf_counter()
        machine = self.machine
        with naming(job.source), open_file(job.source, machine.limits.max_memory) as file:
            source_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            to_8bit = self.options["to_8bit"]
            opened = open_picture(file, machine.limits, self.frame, to_8bit)
            mask = self._mask()
            with progress("compressing", self.bar) as show:
                encoded = machine.encode(
                    opened.image,
                    measure=self.measure,
                    progress=show,
                    level_map=mask,
                    **self.options,
                )
        facts = _facts(encoded.header, len(encoded.data))
        facts |= {"source_bytes": source_bytes, "larger": len(encoded.data) > source_bytes}
        if facts["larger"] and self.skip_larger:
            facts["skipped"] = True
        else:
            self.writing.write(job, encoded.data)
        if opened.dropped:
            facts["left_out"] = list(opened.dropped)
        lossless = encoded.patch_pixels == encoded.header.pixels
        config, position = machine.config(), encoded.header.level.position
        facts["lambda"] = None if lossless else config.lambda_of(position)
        facts["quality"] = None if lossless else config.quality_of(position)
        facts["psnr"] = encoded.psnr if math.isfinite(encoded.psnr) else None
        facts |= {"lossless": lossless, "patches": len(encoded.patches)}
        facts["below_promise"] = encoded.below_promise
        return facts | {"seconds": time.perf_counter() - began}

    def _mask(self) -> Image.Image | None:
        from codec.picture.reading import open_picture

        if self.mask is None:
            return None
        with naming(self.mask), open_file(self.mask, self.machine.limits.max_memory) as file:
            try:
                return open_picture(file, self.machine.limits).image
            except InputError as error:
                if error.field in _OF_MASKS:
                    raise InputError(_OF_MASKS[error.field]) from error
                raise

    def line(self, facts: dict[str, Any]) -> str:
        return _line(facts)


@dataclass(frozen=True)
class DecompressTask:
    """.vqc files to pictures."""

    machine: Machine
    writing: Writing
    region: tuple[int, int, int, int] | None
    levels: int | None
    """How many residual levels to show; None for all."""
    scale: float
    """Of the size: 1, 1/2, 1/4 or 1/8."""
    size: int | None
    """Greatest side of the picture, in place of a scale."""
    file_format: str | None
    """Pillow's name; None to go by the suffix of the output."""
    bar: bool

    def __call__(self, job: Job) -> dict[str, Any]:
        began = time.perf_counter()
        machine = self.machine
        most, parts = machine.limits.max_memory, self.region is not None
        with naming(job.source), open_file(job.source, most, parts) as data:
            file = ContainerFile(data, machine.limits)
            file_format = self._format(job, file.header)
            area = region_box(file.grid.whole, self.region)
            scale = scale_for(area.width, area.height, self.size) if self.size else self.scale
            if not file.lossless:
                # What is too large for any model is refused before one is loaded.
                work = tile_work(file.grid, area, halo=0, reduction=reduction_of(scale))
                machine.limits.at_once(work)
            from codec.api import decompress
            from codec.picture.metadata import metadata_of
            from codec.picture.writing import left_out, write_picture

            with progress("decompressing", self.bar) as show:
                image = decompress(
                    file,
                    machine.model,
                    self.region,
                    levels=self.levels,
                    scale=scale,
                    limits=machine.limits,
                    device=machine.device,
                    precision=machine.precision,
                    engine=machine.engine,
                    progress=show,
                )
        metadata = metadata_of(image.info)
        if self.size:
            image.thumbnail((self.size, self.size))

        written = 0

        def save(target: BinaryIO) -> None:
            nonlocal written
            with naming(job.target):
                write_picture(image, target, file_format, metadata)
            written = target.seek(0, os.SEEK_END)

        self.writing.write(job, save)
        facts = _facts(file.header, file.size) | {"picture_bytes": written}
        if self.region or self.size or self.scale < 1:
            facts |= {"width": image.width, "height": image.height}
        if self.region:
            facts |= {"bytes_read": file.bytes_read, "tiles_read": len(file.tiles_read)}
            facts["tiles"] = len(file.grid)
        if left := left_out(metadata, file_format):
            facts["left_out"] = left
        return facts | {"seconds": time.perf_counter() - began}

    def _format(self, job: Job, header: Header) -> str:
        suffix = job.target.suffix.lower()
        file_format = self.file_format or OUTPUT_SUFFIXES[suffix]
        if suffix == GREY_SUFFIX and file_format == OUTPUT_SUFFIXES[suffix] and not header.grey:
            raise OutputError(f"is a colour picture, which {suffix} does not hold; name a .ppm")
        return file_format

    def line(self, facts: dict[str, Any]) -> str:
        return _line(facts)


@contextmanager
def naming(path: Place) -> Iterator[None]:
    """Put the file's name in front of an error's message, where it is not there already."""
    try:
        yield
    except CodecError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise type(error)(f"{path}: {error}", field=error.field) from error


def _facts(header: Header, size: int) -> dict[str, Any]:
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "bytes": size,
        "bpp": 8 * size / header.pixels,
    }


def _line(facts: dict[str, Any]) -> str:
    size = f"{facts['bytes']} B"
    if "source_bytes" in facts:
        size = f"{facts['source_bytes']} -> {size}"
    parts = [f"{facts['width']}x{facts['height']}", size, f"{facts['bpp']:.4f} bpp"]
    if facts.get("psnr") is not None:
        parts.append(f"{facts['psnr']:.2f} dB")
    if facts.get("below_promise"):
        parts.append("far below photographs of this quality")
    if facts.get("lossless"):
        parts.append("lossless")
    if "bytes_read" in facts:
        read = f"{facts['tiles_read']} of {facts['tiles']} tiles"
        parts.append(f"{read}, {facts['bytes_read']} B read")
    if "left_out" in facts:
        parts.append(f"without {', '.join(facts['left_out'])}")
    parts.append(f"{facts['seconds']:.2f} s")
    if facts.get("larger"):
        parts.append("larger than the input" + (", skipped" if "skipped" in facts else ""))
    return "  ".join(parts)
