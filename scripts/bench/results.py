"""Samples of a benchmark: medians, ratios, tables, JSON, and one run against the one before."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from codec.errors import CodecError
from codec.files import write_file

FORMAT = "vqcodec-bench-1"
OURS, TORCH, CLASSIC, AVIF = "ours", "torch", "gdn", "avif"
"""Series: the codec with ONNX Runtime, the same with torch, the classic model, AVIF."""
OTHERS = (TORCH, CLASSIC, AVIF)
PEAK = "peak"
PROCESS = ("wall", "cpu", PEAK)
"""What is measured of a whole process, seconds and MiB; anything else is a stage inside one."""
YARDSTICK = ("compress", "g_a, h_a")
"""The classic model's stage that tells how fast the machine is."""
FEWEST = 4
"""Samples below which there is no telling what the noise is: of 4 and 4 equal ones, 1 in 35 lies
wholly on one side."""
CERTAIN = 0.95
"""Share of the pairs of a sample now and one before that must differ the same way."""


class Case(NamedTuple):
    """What a series of samples is of."""

    megapixels: float
    """0 for commands that see no picture."""
    threads: int
    model: str
    command: str
    what: str
    """A stage, in seconds, or one of `PROCESS`."""


@dataclass
class Results:
    """All samples of a run, and what it was run on."""

    about: dict[str, Any]
    samples: dict[Case, list[float]] = field(default_factory=dict)

    def add(self, case: Case, *values: float) -> None:
        self.samples.setdefault(case, []).extend(values)

    def median(self, case: Case) -> float | None:
        values = self.samples.get(case)
        return statistics.median(values) if values else None

    def ratio(self, case: Case, base: Case) -> float | None:
        """Median over rounds of one series over another, round by round."""
        above, below = self.samples.get(case, []), self.samples.get(base, [])
        if not above or len(above) != len(below):
            return None
        return statistics.median(a / b for a, b in zip(above, below, strict=True))

    def whats(self, megapixels: float, command: str) -> list[str]:
        """Stages of a command, in the order in which they were first seen."""
        found = [
            case.what
            for case in self.samples
            if (case.megapixels, case.command) == (megapixels, command) and case.what not in PROCESS
        ]
        return list(dict.fromkeys(found))

    def save(self, target: Path) -> None:
        """Write JSON; `load` reads it back."""
        series = [case._asdict() | {"samples": s} for case, s in self.samples.items()]
        content = {"format": FORMAT, "about": self.about, "samples": series}
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, f"{json.dumps(content, indent=1)}\n".encode(), force=True)

    @classmethod
    def load(cls, source: Path) -> Results:
        """Read what `save` wrote.

        Raises:
            CodecError: the file is something else.
        """
        try:
            content = json.loads(source.read_text())
            if content["format"] != FORMAT:
                raise ValueError("another format")
            series: dict[Case, list[float]] = {}
            for entry in content["samples"]:
                samples = [float(value) for value in entry.pop("samples")]
                series[Case(**entry)] = samples
            about = dict(content["about"])
            return cls({"commit": "unknown", "model": "unknown"} | about, series)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CodecError(f"{source}: not the results of a benchmark ({error})") from error


class Change(NamedTuple):
    """One series now and before."""

    case: Case
    before: float
    """Median, like `now`."""
    now: float
    at_equal_speed: float
    """now / before, with the machine's own change taken out of what is measured in seconds."""
    verdict: str
    """Empty within the noise."""


def machine_drift(now: Results, before: Results, megapixels: float, threads: int) -> float | None:
    """How much longer the yardstick takes now than before; None if a run did without it."""
    case = Case(megapixels, threads, CLASSIC, *YARDSTICK)
    ours, theirs = now.median(case), before.median(case)
    return ours / theirs if ours and theirs else None


def changes(now: Results, before: Results) -> list[Change]:
    """Our series that both runs have.

    A change is beyond the noise when nearly all samples of one run lie on one side of nearly all
    of the other, both as they are and with the machine's own change taken out.
    """
    found = []
    for case, samples in now.samples.items():
        earlier = before.samples.get(case)
        if case.model != OURS or not earlier:
            continue
        drift = 1.0
        if case.what != PEAK:
            drift = machine_drift(now, before, case.megapixels, case.threads) or 1.0
        signs = {_direction(samples, [d * value for value in earlier]) for d in (1.0, drift)}
        words = ("less", "", "more") if case.what == PEAK else ("faster", "", "slower")
        verdict = words[signs.pop() + 1] if len(signs) == 1 else ""
        old, new = statistics.median(earlier), statistics.median(samples)
        ratio = new / (drift * old) if old else 1.0
        found.append(Change(case, old, new, ratio, verdict))
    return found


def _direction(now: Sequence[float], before: Sequence[float]) -> int:
    """1 if samples are greater now, -1 if they are less, 0 if there is no telling."""
    if min(len(now), len(before)) < FEWEST:
        return 0
    greater = statistics.fmean(new > old for new in now for old in before)
    less = statistics.fmean(new < old for new in now for old in before)
    return (greater >= CERTAIN) - (less >= CERTAIN)
