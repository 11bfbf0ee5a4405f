"""Measures codecs on pictures: real files, decoded from their bytes; what is done is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codec.errors import CodecError, OutputError
from codec.evaluation.coders import Coder
from codec.evaluation.metrics import ms_ssim, psnr
from codec.evaluation.ours import ModelCoder
from codec.evaluation.provenance import describe_machine, source_digest
from codec.evaluation.results import Evaluation, Measurement
from codec.evaluation.subjects import Reading, Subject, read_subject
from codec.files import write_file

CORNER = 64
"""Pixels a side of what a codec is tried on first."""


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


class Measurer:
    """Measures, and keeps what was measured by what it depends on.

    That is the picture's samples, the codec and its setting, the source that measures, and the
    machine, so that times are never those of another.

    Args:
        folder: where records are kept, created when needed; None to keep nothing.
        fresh: measure anew what is there already.
        origin: digest of the source and description of the machine; None for those at hand.
    """

    def __init__(
        self, folder: Path | None, fresh: bool = False, origin: tuple[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._fresh = fresh
        self._origin = origin or (source_digest(), describe_machine())
        self._warm: set[str] = set()
        self.problem = ""
        """Why nothing more is kept, if the folder cannot be written."""

    def measure(self, coder: Coder, subject: Subject, setting: float) -> Measurement:
        """As the function `measure`, or what that gave before.

        Raises:
            CodecError: as `measure`.
        """
        subjects = [subject.digest, coder.name, coder.description, setting]
        key = json.dumps([*subjects, *self._origin])
        name = f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        record = self._folder / name if self._folder else None
        if found := None if self._fresh or not record else _read(record):
            return dataclasses.replace(found, picture=subject.name)
        self._warm_up(coder, subject, setting)
        measured = measure(coder, subject, setting)
        if record and not self.problem:
            self._keep(record, measured)
        return measured

    def _warm_up(self, coder: Coder, subject: Subject, setting: float) -> None:
        """What a codec does at its first use only is no part of any time."""
        if coder.name not in self._warm:
            width, height = (min(side, CORNER) for side in subject.image.size)
            corner = subject.image.crop((0, 0, width, height))
            with suppress(CodecError):
                coder.decode(coder.encode(corner, setting))
            self._warm.add(coder.name)

    def _keep(self, record: Path, measured: Measurement) -> None:
        content = json.dumps(dataclasses.asdict(measured)).encode()
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            write_file(record, content, force=True)
        except (OSError, OutputError) as error:
            self.problem = str(error)


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
    measurer: Measurer,
    command: str,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure all codecs on all pictures, picture by picture.

    A picture that cannot be read, or that a model of ours cannot code, is left out; a peer that
    cannot keep a picture as it is is left out as a whole, so that all means are over the same
    pictures. The result says so.

    Args:
        command: that reproduces the run, for the record.
        progress: told (measurements done, measurements in all).
    """
    missing, failed = dict(plan.missing), {}
    sizes: dict[str, tuple[int, int]] = {}
    found: list[Measurement] = []
    coders: list[Coder] = [*plan.ours, *plan.peers]
    steps = [(coder, setting) for coder in coders for setting in plan.settings(coder)]
    for index, (name, path) in enumerate(plan.pictures.items()):
        subject: Subject | None = None
        of_picture: list[Measurement] = []
        try:
            subject = read_subject(name, path, plan.reading)
        except CodecError as error:
            failed[name] = str(error)
        for done, (coder, setting) in enumerate(steps, index * len(steps) + 1):
            if subject and coder.name not in missing and name not in failed:
                try:
                    of_picture.append(measurer.measure(coder, subject, setting))
                except CodecError as error:
                    if isinstance(coder, ModelCoder):
                        failed[name] = str(error)
                    else:
                        missing[coder.name] = f"{name}: {error}"
            if progress:
                progress(done, len(plan.pictures) * len(steps))
        if subject and name not in failed:
            sizes[name] = subject.image.size
            found += of_picture
    return Evaluation(
        command=command,
        machine=describe_machine(),
        pictures=sizes,
        measurements=_by_codec([m for m in found if m.codec not in missing], coders),
        missing=missing,
        failed=failed,
        descriptions={coder.name: coder.description for coder in coders},
    )


def _by_codec(found: list[Measurement], coders: Sequence[Coder]) -> list[Measurement]:
    order = {coder.name: number for number, coder in enumerate(coders)}
    return sorted(found, key=lambda m: order[m.codec])
