"""Stages of compress and decompress in one process, after a warm-up.

    python -m scripts.bench.stages PICTURE MODEL... [--repeat N] [--engine onnx|torch]

Prints JSON: seconds by model, command and stage. Stages are methods of the pipeline, timed while it
runs, with any number of tiles and threads.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from io import BytesIO
from pathlib import Path
from typing import Any

import click

from codec.engine.base import EngineName

WARM_UP = (0, 0, 1024, 1024)
"""Part of a larger picture that is coded in the warm-up."""
REST = "rest"
WHOLE = "whole"

Times = dict[str, float]


class Stopwatch:
    """Seconds by stage. The time of a nested stage does not count for the outer one."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._lock = threading.Lock()
        self._by_thread: dict[int, Times] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of a `with` statement as a stage."""
        inner: list[float] = self._local.__dict__.setdefault("inner", [])
        inner.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            alone = seconds - inner.pop()
            if inner:
                inner[-1] += seconds
            with self._lock:
                times = self._by_thread.setdefault(threading.get_ident(), {})
                times[name] = times.get(name, 0.0) + alone

    def watch(self, owner: type, method: str, name: str) -> None:
        """Time all calls of a method as a stage, for the rest of the process."""
        function: Callable[..., Any] = getattr(owner, method)

        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            with self.stage(name):
                return function(*arguments, **options)

        setattr(owner, method, timed)

    def take(self) -> Times:
        """Seconds by stage since the last call, as a mean over the threads that ran."""
        with self._lock:
            by_thread, self._by_thread = self._by_thread, {}
        sums: Times = {}
        for times in by_thread.values():
            for name, seconds in times.items():
                sums[name] = sums.get(name, 0.0) + seconds / len(by_thread)
        return sums


def engine_class(name: EngineName) -> type:
    """The class whose methods an engine has."""
    if name == "torch":
        from codec.engine.torch import TorchEngine

        return TorchEngine
    from codec.engine.onnx import OnnxEngine

    return OnnxEngine


def watch_pipeline(stopwatch: Stopwatch, engine: type) -> None:
    """Time the methods of the codec and of an engine that make up its stages."""
    from codec.encoder.compensation import Correction
    from codec.encoder.filter_fit import LeastSquares
    from codec.entropy.exact_prior import ExactPrior
    from codec.entropy.latents import LatentCoder
    from codec.entropy.range_coder import RangeDecoder, RangeEncoder

    stages: dict[str, list[tuple[type, tuple[str, ...]]]] = {
        "g_a, h_a": [(engine, ("features", "latents"))],
        "g_s": [(engine, ("synthesise",))],
        "prior": [(ExactPrior, ("features", "predict"))],
        "range coder": [(RangeEncoder, ("encode", "finish")), (RangeDecoder, ("decode", "finish"))],
        "rounding, tables": [(LatentCoder, ("round", "write", "read"))],
        "correction": [(Correction, ("reconstruct", "step")), (engine, ("change",))],
        "filter": [(LeastSquares, ("add", "solve")), (engine, ("restore",))],
    }
    for name, watched in stages.items():
        for owner, methods in watched:
            for method in methods:
                stopwatch.watch(owner, method, name)


def timed(stopwatch: Stopwatch, action: Callable[[], Any]) -> tuple[Any, Times]:
    """Result of an action and its times by stage; `rest` is the time outside all stages."""
    stopwatch.take()
    began = time.perf_counter()
    result = action()
    whole = time.perf_counter() - began
    times = stopwatch.take()
    return result, times | {REST: whole - sum(times.values()), WHOLE: whole}


def run(
    picture: Path, models: list[str], repeat: int, engine: EngineName = "onnx"
) -> dict[str, dict[str, dict[str, Any]]]:
    """Seconds [model][command][stage] of each repetition; models alternate."""
    began = time.perf_counter()
    from codec.codec import Codec
    from codec.limits import Limits
    from codec.picture.reading import open_picture
    from codec.picture.writing import write_picture

    watched = engine_class(engine)
    imported = time.perf_counter() - began
    source = picture.read_bytes()
    stopwatch = Stopwatch()
    watch_pipeline(stopwatch, watched)
    samples: dict[str, dict[str, dict[str, Any]]] = {model: {} for model in models}

    def note(model: str, command: str, times: Times) -> None:
        stages = samples[model].setdefault(command, {})
        for name, seconds in times.items():
            stages.setdefault(name, []).append(seconds)

    def read() -> Any:
        return open_picture(BytesIO(source), Limits()).image

    part = read()
    part = part.crop(WARM_UP) if part.width * part.height > WARM_UP[2] * WARM_UP[3] else part
    codecs = {}
    note(models[0], "start", {"import": imported})
    for model in models:
        codecs[model], times = timed(stopwatch, partial(Codec, model, engine=engine))
        note(model, "start", {"weights": times[WHOLE]})
        codecs[model].decompress(codecs[model].compress(part))
    for _ in range(repeat):
        for model, codec in codecs.items():
            image, reading = timed(stopwatch, read)
            data, times = timed(stopwatch, partial(codec.compress, image))
            note(model, "compress", {"read PNG": reading[WHOLE]} | times)
            shown, times = timed(stopwatch, partial(codec.decompress, data))
            _, writing = timed(stopwatch, partial(write_picture, shown, BytesIO(), "PNG"))
            note(model, "decompress", times | {"write PNG": writing[WHOLE]})
    return samples


@click.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("models", nargs=-1, required=True)
@click.option("--repeat", default=1, show_default=True)
@click.option("--engine", type=click.Choice(["onnx", "torch"]), default="onnx", show_default=True)
def main(picture: Path, models: tuple[str, ...], repeat: int, engine: EngineName) -> None:
    """Time MODELS on PICTURE."""
    click.echo(json.dumps(run(picture, list(models), repeat, engine)))


if __name__ == "__main__":
    main()
