"""Tables of a benchmark: stages, whole processes, and the comparison with an earlier run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from scripts.bench.results import (
    CLASSIC,
    OTHERS,
    OURS,
    PEAK,
    PROCESS,
    TORCH,
    Case,
    Results,
    changes,
    machine_drift,
)

SECONDS_FROM = 10
"""Least size in megapixels with times in seconds instead of milliseconds."""


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Table in Markdown with aligned columns."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *texts[1:]])


def stage_table(results: Results, megapixels: float, threads: list[int], name: str) -> str:
    """Table of stages in one process; `x` is the time of the column before it over ours."""
    unit, factor = ("s", 1) if megapixels >= SECONDS_FROM else ("ms", 1000)
    header = [f"stage, {unit}"]
    for count in threads:
        header += [f"{name}, {_threads(count)}", TORCH, "x", CLASSIC, "x"]
    if len(threads) > 1:
        header.append(f"{name}, {threads[0]} / {threads[-1]}")
    rows = []
    for command in ("start", "compress", "decompress"):
        for stage in results.whats(megapixels, command):
            cases = [Case(megapixels, count, OURS, command, stage) for count in threads]
            row = [f"{command}: {stage}"]
            for case in cases:
                row.append(_text(results.median(case), factor))
                for other in (case._replace(model=model) for model in (TORCH, CLASSIC)):
                    row.append(_text(results.median(other), factor))
                    row.append(_text(results.ratio(other, case), digits=2))
            if len(threads) > 1:
                row.append(_text(results.ratio(cases[0], cases[-1]), digits=2))
            rows.append(row)
    return table(*_without_empty_columns(header, rows))


def process_table(results: Results, megapixels: float, threads: list[int], name: str) -> str:
    """Table of whole processes: wall and CPU seconds, peak memory; `x` is each over ours."""
    header = [
        "command",
        "threads",
        "of",
        "wall s",
        "CPU s",
        "peak MiB",
        "wall x",
        "CPU x",
        "peak x",
    ]
    commands = dict.fromkeys(
        case.command
        for case in results.samples
        if case.megapixels == megapixels and case.what in PROCESS
    )
    rows = []
    for command, count in itertools.product(commands, threads):
        ours = [Case(megapixels, count, OURS, command, what) for what in PROCESS]
        for model in (OURS, *OTHERS):
            cases = [case._replace(model=model) for case in ours]
            if cases[0] not in results.samples:
                continue
            row = [command, str(count), name if model == OURS else model]
            row += [_text(results.median(c), digits=0 if c.what == PEAK else 2) for c in cases]
            if model != OURS:
                pairs = zip(cases, ours, strict=True)
                row += [_text(results.ratio(*pair), digits=2) for pair in pairs]
            rows.append(row + [""] * (len(header) - len(row)))
    return table(*_without_empty_columns(header, rows))


def size_table(sizes: Mapping[str, int]) -> str:
    """Table of bytes by distribution, in MB."""
    rows = [[name, _text(size / 1e6)] for name, size in sizes.items()]
    return table(["package", "MB"], [*rows, ["all", _text(sum(sizes.values()) / 1e6)]])


def comparison(now: Results, before: Results) -> str:
    """Table of whole processes and of all stages that changed significantly."""
    every = changes(now, before)
    rows = []
    for change in every:
        case = change.case
        if case.what not in PROCESS and not change.verdict:
            continue
        factor, unit = (1, "MiB") if case.what == PEAK else (1000, "ms")
        place = f"{case.megapixels:g} MP, {_threads(case.threads)}: " if case.megapixels else ""
        rows.append(
            [
                f"{place}{case.command}, {case.what}",
                f"{_text(change.before, factor)} {unit}",
                f"{_text(change.now, factor)} {unit}",
                _text(change.now / change.before if change.before else None, digits=3),
                _text(change.at_equal_speed, digits=3),
                change.verdict,
            ]
        )
    if not rows:
        return "nothing was measured in both runs"
    header = ["series", "before", "now", "now / before", "at equal speed", "beyond the noise"]
    beyond = sum(bool(change.verdict) for change in every)
    lines = [table(header, rows), "", f"{beyond} of {len(every)} series changed beyond the noise"]
    for megapixels, threads in dict.fromkeys(case[:2] for case in now.samples):
        if drift := machine_drift(now, before, megapixels, threads):
            lines.append(
                f"{megapixels:g} MP, {_threads(threads)}: the machine took {drift:.2f} times as "
                f"long for g_a of {CLASSIC}"
            )
    return "\n".join(lines)


def _without_empty_columns(
    header: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _text(value: float | None, factor: float = 1, digits: int = 1) -> str:
    return "" if value is None else f"{factor * value:.{digits}f}"
