"""Measures codecs on pictures: real files, decoded from their bytes; what is done is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from codec.errors import CodecError, OutputError
from codec.evaluation.coders import Coder
from codec.evaluation.metrics import ms_ssim, psnr
from codec.evaluation.ours import ModelCoder
from codec.evaluation.results import Curve, Evaluation, Measurement
from codec.evaluation.subjects import Reading, Subject, read_subject
from codec.files import write_file

RECORD = 1
"""Version of the records in a cache."""
LIBRARIES = ("torch", "numpy", "pillow", "constriction")


def measure(coder: Coder, subject: Subject, setting: float) -> Measurement:
    """Encode a picture to a whole file, decode it from its bytes, and compare.

    Raises:
        CodecError: the codec cannot code the picture.
    """
    began = time.perf_counter()
    data = coder.encode(subject.image, setting)
    encoded = time.perf_counter()
    decoded = coder.decode(data)
    finished = time.perf_counter()
    model = None
    if isinstance(coder, ModelCoder):
        model = coder.model_bits(subject.image, setting, data)
    return Measurement(
        picture=subject.name,
        codec=coder.name,
        setting=setting,
        pixels=subject.pixels,
        size=len(data),
        psnr=psnr(subject.image, decoded),
        ms_ssim=ms_ssim(subject.image, decoded),
        encode_seconds=encoded - began,
        decode_seconds=finished - encoded,
        model=model,
    )


class Cache:
    """Measurements by what they depend on: the picture's content, the codec and its setting.

    Args:
        folder: where they are kept, created when needed; None to keep nothing.
        fresh: measure anew what is there already.
    """

    def __init__(self, folder: Path | None, fresh: bool = False) -> None:
        self._folder = folder
        self._fresh = fresh

    def measure(self, coder: Coder, subject: Subject, setting: float) -> Measurement:
        """As `measure`, or what that gave before.

        Raises:
            CodecError: as `measure`, or the folder cannot be written.
        """
        if self._folder is None:
            return measure(coder, subject, setting)
        key = json.dumps([RECORD, subject.digest, coder.description, setting])
        record = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        if found := None if self._fresh else _read(record):
            return dataclasses.replace(found, picture=subject.name, codec=coder.name)
        measured = measure(coder, subject, setting)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder}: {error.strerror}") from error
        write_file(record, json.dumps(dataclasses.asdict(measured)).encode(), force=True)
        return measured


def _read(record: Path) -> Measurement | None:
    try:
        return Measurement.from_dict(json.loads(record.read_bytes()))
    except (OSError, ValueError, TypeError):  # none yet, or not one of ours
        return None


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        pictures: files by name.
        ours: models, at `qualities` or at their own settings.
        peers: other codecs, at their own settings.
        missing: codecs that were asked for and cannot be measured, with the reason.
    """

    pictures: Mapping[str, Path]
    reading: Reading
    ours: Sequence[ModelCoder]
    peers: Sequence[Coder]
    missing: Mapping[str, str]
    qualities: tuple[float, ...] = ()

    def settings(self, coder: Coder) -> tuple[float, ...]:
        """What a codec is measured at."""
        if self.qualities and isinstance(coder, ModelCoder):
            return self.qualities
        return coder.settings


def evaluate(
    plan: Plan,
    cache: Cache,
    command: str,
    published: Sequence[Curve],
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure all codecs on all pictures, picture by picture.

    A picture that cannot be read, or that a model of ours cannot code, is left out; a peer that
    cannot keep a picture as it is is left out as a whole, so that all means are over the same
    pictures. The result says so.

    Args:
        command: that reproduces the run, for the record.
        published: curves to show beside.
        progress: told (measurements done, measurements in all).
    """
    missing, failed = dict(plan.missing), {}
    sizes: dict[str, tuple[int, int]] = {}
    found: list[Measurement] = []
    coders: list[Coder] = [*plan.ours, *plan.peers]
    total = len(plan.pictures) * sum(len(plan.settings(coder)) for coder in coders)
    done = 0
    for name, path in plan.pictures.items():
        try:
            subject = read_subject(name, path, plan.reading)
        except CodecError as error:
            failed[name] = str(error)
            continue
        of_picture: list[Measurement] = []
        for coder in coders:
            if coder.name in missing or name in failed:
                continue
            try:
                for setting in plan.settings(coder):
                    of_picture.append(cache.measure(coder, subject, setting))
                    done += 1
                    if progress:
                        progress(done, total)
            except OutputError:
                raise
            except CodecError as error:
                if isinstance(coder, ModelCoder):
                    failed[name] = str(error)
                else:
                    missing[coder.name] = f"{name}: {error}"
        if name not in failed:
            sizes[name] = subject.image.size
            found += of_picture
    return Evaluation(
        command=command,
        machine=describe_machine(),
        pictures=sizes,
        measurements=_by_codec([m for m in found if m.codec not in missing], coders),
        missing=missing,
        published=list(published),
        failed=failed,
        descriptions={coder.name: coder.description for coder in coders},
    )


def _by_codec(found: list[Measurement], coders: Sequence[Coder]) -> list[Measurement]:
    order = {coder.name: number for number, coder in enumerate(coders)}
    return sorted(found, key=lambda m: order[m.codec])


def describe_machine() -> str:
    """Processor, threads and the libraries that decide what is computed."""
    import torch

    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        pass
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{processor}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"{libraries}"
    )
