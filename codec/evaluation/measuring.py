"""Measurement of codecs on pictures by real files, with a cache of results."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from codec.errors import CodecError, OutputError
from codec.evaluation.coders import Coder
from codec.evaluation.instruments import DEFAULT, INSTRUMENTS, Instrument, Values
from codec.evaluation.metrics import worst_block
from codec.evaluation.ours import ModelCoder
from codec.evaluation.provenance import describe_machine, source_digest
from codec.evaluation.results import Evaluation, Measurement
from codec.evaluation.subjects import Reading, Subject, read_subject
from codec.files import write_file
from codec.url import Place

CORNER = 64
"""Side in pixels of the crop on which a codec is warmed up."""


STANDARD = tuple(INSTRUMENTS[name] for name in DEFAULT)


def measure(
    coder: Coder, subject: Subject, setting: float, instruments: Sequence[Instrument] = STANDARD
) -> Measurement:
    """Encode a picture to a whole file, decode its bytes, and compare.

    Args:
        coder: codec.
        subject: picture.
        setting: value on the codec's own scale.
        instruments: what compares, that of PSNR among them.

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
    psnr, ms_ssim, values = compared(subject.image, decoded, instruments)
    return Measurement(
        picture=subject.name,
        codec=coder.name,
        setting=setting,
        pixels=subject.pixels,
        size=len(data),
        psnr=psnr,
        ms_ssim=ms_ssim,
        encode_seconds=encoded - began,
        decode_seconds=finished - encoded,
        model=model,
        values=values,
        worst_block=worst_block(subject.image, decoded),
    )


def compared(
    original: Image.Image, decoded: Image.Image, instruments: Sequence[Instrument]
) -> tuple[float, float | None, Values]:
    """PSNR, MS-SSIM (None if it is not asked for) and all other results of instruments."""
    values: Values = {}
    for instrument in instruments:
        values |= instrument.measure(original, decoded)
    psnr, ms_ssim = values.pop("psnr"), values.pop("ms_ssim", None)
    assert psnr is not None
    return psnr, ms_ssim, values


class Measurer:
    """Measurement with a cache, whose key has everything that a result depends on.

    This is the samples of the picture, the codec and its setting, the instruments, the source code,
    and the machine.

    Args:
        folder: folder of the cache, created when needed; None for no cache.
        fresh: whether to ignore cached results.
        origin: digest of the source and description of the machine; None for the actual ones.
        instruments: what compares, that of PSNR among them.
    """

    def __init__(
        self,
        folder: Path | None,
        fresh: bool = False,
        origin: tuple[str, str] | None = None,
        instruments: Sequence[Instrument] = STANDARD,
    ) -> None:
        self.instruments = tuple(instruments)
        self._folder = folder
        self._fresh = fresh
        self._origin = origin or (source_digest(), describe_machine())
        self._warm: set[str] = set()
        self.problem = ""
        """Reason why results are no longer cached, if the folder cannot be written."""

    def measure(self, coder: Coder, subject: Subject, setting: float) -> Measurement:
        """Measure as the function `measure`, or return the cached result.

        Raises:
            CodecError: the codec cannot code the picture.
        """
        subjects = [subject.digest, coder.name, coder.description, setting]
        measured_by = {one.name: one.description for one in self.instruments}
        key = json.dumps([*subjects, measured_by, *self._origin])
        name = f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        record = self._folder / name if self._folder else None
        if found := None if self._fresh or not record else _read(record):
            return dataclasses.replace(found, picture=subject.name)
        self._warm_up(coder, subject, setting)
        measured = measure(coder, subject, setting, self.instruments)
        if record and not self.problem:
            self._keep(record, measured)
        return measured

    def _warm_up(self, coder: Coder, subject: Subject, setting: float) -> None:
        """Run a codec once on a small crop, so that times do not include its start."""
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
    """A measurement to be made.

    Args:
        pictures: files by name.
        reading: how pictures are read.
        ours: models, measured at `qualities` or at their own settings.
        peers: other codecs, measured at their own settings.
        missing: requested codecs that cannot be measured, with the reason.
        qualities: settings of our models; empty for each model's own.
    """

    pictures: Mapping[str, Place]
    reading: Reading
    ours: Sequence[ModelCoder]
    peers: Sequence[Coder]
    missing: Mapping[str, str]
    qualities: tuple[float, ...] = ()

    def settings(self, coder: Coder) -> tuple[float, ...]:
        """Settings at which a codec is measured."""
        if self.qualities and isinstance(coder, ModelCoder):
            return self.qualities
        return coder.settings

    def steps(self) -> list[tuple[Coder, float]]:
        """Measurements of a picture: codec and setting."""
        coders: list[Coder] = [*self.ours, *self.peers]
        return [(coder, setting) for coder in coders for setting in self.settings(coder)]


@dataclass(frozen=True)
class OfPicture:
    """What was measured on a picture."""

    size: tuple[int, int] | None = None
    """Width and height; None if it cannot be read."""
    measurements: Sequence[Measurement] = ()
    failed: str = ""
    """Why it is left out."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Peers that could not keep it as it is, with the reason."""


def measure_picture(
    plan: Plan,
    measurer: Measurer,
    name: str,
    missing: Collection[str] = (),
    done: Callable[[], None] = lambda: None,
) -> OfPicture:
    """Measure all codecs on a picture.

    Args:
        plan: what to measure.
        measurer: measures and caches.
        name: of the picture.
        missing: codecs to leave out.
        done: called after each measurement, and for each that is left out.
    """
    subject: Subject | None = None
    failed = ""
    lost: dict[str, str] = {}
    found: list[Measurement] = []
    try:
        subject = read_subject(name, plan.pictures[name], plan.reading)
    except CodecError as error:
        failed = str(error)
    for coder, setting in plan.steps():
        if subject and not failed and coder.name not in missing and coder.name not in lost:
            try:
                found.append(measurer.measure(coder, subject, setting))
            except CodecError as error:
                if isinstance(coder, ModelCoder):
                    failed = str(error)
                else:
                    lost[coder.name] = f"{name}: {error}"
        done()
    return OfPicture(subject.image.size if subject else None, found, failed, lost)


def evaluate(
    plan: Plan,
    measurer: Measurer,
    command: str,
    progress: Callable[[int, int], None] | None = None,
    elsewhere: Iterable[tuple[str, OfPicture]] | None = None,
) -> Evaluation:
    """Measure all codecs on all pictures, picture by picture.

    A picture that cannot be read, or that a model of ours cannot code, is left out; a peer that
    cannot keep a picture as it is is left out as a whole, so that all means are over the same
    pictures. The result says so.

    Args:
        plan: what to measure.
        measurer: measures and caches.
        command: command line that reproduces the run.
        progress: called with (measurements done, measurements in total).
        elsewhere: what is measured on other machines, by picture in any order; None to measure
            here.
    """
    missing = dict(plan.missing)
    steps = len(plan.steps())
    total = len(plan.pictures) * steps
    of_pictures: dict[str, OfPicture] = {}
    if elsewhere is None:
        count = itertools.count(1)
        for name in plan.pictures:

            def done() -> None:
                if progress:
                    progress(next(count), total)

            of_pictures[name] = measure_picture(plan, measurer, name, missing, done)
            missing |= of_pictures[name].missing
    else:
        for number, (name, result) in enumerate(elsewhere, 1):
            of_pictures[name] = result
            if progress:
                progress(number * steps, total)
        for name in plan.pictures:
            missing = dict(of_pictures[name].missing) | missing  # the first reason counts
    measured = {name: of_pictures[name] for name in plan.pictures if not of_pictures[name].failed}
    found = [m for result in measured.values() for m in result.measurements]
    coders = [*plan.ours, *plan.peers]
    return Evaluation(
        command=command,
        machine=describe_machine(),
        pictures={name: result.size for name, result in measured.items() if result.size},
        measurements=_by_codec([m for m in found if m.codec not in missing], coders),
        missing=missing,
        failed={name: result.failed for name, result in of_pictures.items() if result.failed},
        descriptions={coder.name: coder.description for coder in coders},
        instruments={one.name: one.description for one in measurer.instruments},
    )


def _by_codec(found: list[Measurement], coders: Sequence[Coder]) -> list[Measurement]:
    order = {coder.name: number for number, coder in enumerate(coders)}
    return sorted(found, key=lambda m: order[m.codec])
