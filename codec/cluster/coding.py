"""Data sets of pictures to data sets of files and back, as stages of a Ray Data pipeline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.cluster.connection import import_ray
from codec.errors import CodecError, one_line
from codec.limits import Limits

if TYPE_CHECKING:
    from ray.data import Dataset

Row = dict[str, Any]
BATCH = 16
"""Pictures that a worker has in memory at once, coded."""


def compress(
    dataset: Dataset,
    *,
    column: str = "bytes",
    model: str = "photo",
    workers: int | tuple[int, int] | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    device: str = "cpu",
    limits: Limits | None = None,
    **options: Any,
) -> Dataset:
    """Compress the picture files of a Ray data set.

    Args:
        dataset: has a column of picture files as bytes, as `ray.data.read_binary_files` gives.
        column: its name; it is left out of the result.
        model: name of a released model, or path or URL of a weights file.
        workers: number of actors, or the least and the most; each keeps the model loaded. None for
            as many as the cluster has room for.
        cpus: processors that each actor takes.
        gpus: share of a GPU that each takes; needs `device="cuda"`.
        device: where the transforms run.
        limits: on pixels and memory of a picture.
        options: quality, effort, targets and others, see `codec.Codec.encode`; `frame` and
            `to_8bit` as on the command line.

    Returns:
        The other columns, and `vqc` (the file; null if it failed), `bytes_in`, `bytes_out`,
        `width`, `height`, `bpp`, `psnr` (null if it was not measured), `seconds`, `error` (null if
        all went well).
    """
    code = _Compress(column, model, device, limits or Limits(), options)
    return _mapped(dataset, code, workers, cpus, gpus)


def decompress(
    dataset: Dataset,
    *,
    column: str = "vqc",
    model: str | None = None,
    workers: int | tuple[int, int] | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    device: str = "cpu",
    limits: Limits | None = None,
) -> Dataset:
    """Decompress the files of a Ray data set.

    Args:
        dataset: has a column of files as bytes.
        column: its name; it is left out of the result.
        model: for files of models that are not installed; None for the one that each file names.
        workers: as for `compress`, like all that is not named here.
        cpus: likewise.
        gpus: likewise.
        device: likewise.
        limits: likewise.

    Returns:
        The other columns, and `image` (uint8 [H, W] or [H, W, 2..4]; [0, 0, 3] if it failed),
        `seconds`, `error`.
    """
    code = _Decompress(column, model, device, limits or Limits())
    return _mapped(dataset, code, workers, cpus, gpus)


def _mapped(
    dataset: Dataset,
    code: Callable[[Row], Row],
    workers: int | tuple[int, int] | None,
    cpus: float,
    gpus: float,
) -> Dataset:
    ray = import_ray()
    low, high = workers if isinstance(workers, tuple) else (workers or 1, workers)
    return dataset.map_batches(
        _Rows,
        fn_constructor_args=(code,),
        batch_size=BATCH,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=low, max_size=high),
        num_cpus=cpus,
        num_gpus=gpus or None,
    )


class _Rows:
    """A worker, row by row."""

    def __init__(self, code: Callable[[Row], Row]) -> None:
        self._code = code

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        count = len(next(iter(batch.values())))
        rows = [self._code({name: batch[name][i] for name in batch}) for i in range(count)]
        return {name: _column([row[name] for row in rows]) for name in rows[0]}


def _column(values: list[Any]) -> Any:
    """An array of one dimension whatever the values are; their shapes may differ."""
    if not isinstance(values[0], np.ndarray):
        return values
    column = np.empty(len(values), object)
    column[:] = values
    return column


class _Compress:
    def __init__(
        self, column: str, model: str, device: str, limits: Limits, options: dict[str, Any]
    ) -> None:
        self._column, self._options = column, dict(options)
        self._frame = self._options.pop("frame", None)
        self._machine: dict[str, Any] = {"model": model, "device": device, "limits": limits}

    def __call__(self, row: Row) -> Row:
        from codec.api import encode
        from codec.picture.reading import open_picture

        began = time.perf_counter()
        data = bytes(row.pop(self._column))
        facts: Row = dict.fromkeys(("vqc", "bytes_out", "width", "height", "bpp", "psnr", "error"))
        facts["bytes_in"] = len(data)
        try:
            limits, to_8bit = self._machine["limits"], self._options.get("to_8bit", False)
            image = open_picture(BytesIO(data), limits, self._frame, to_8bit).image
            encoded = encode(image, **self._machine, **self._options)
            size, header = len(encoded.data), encoded.header
            facts |= {"vqc": encoded.data, "bytes_out": size, "bpp": 8 * size / header.pixels}
            facts |= {"width": header.width, "height": header.height}
            facts["psnr"] = encoded.psnr if math.isfinite(encoded.psnr) else None
        except (CodecError, MemoryError) as error:
            facts["error"] = one_line(str(error) or "out of memory")
        return row | facts | {"seconds": time.perf_counter() - began}


class _Decompress:
    def __init__(self, column: str, model: str | None, device: str, limits: Limits) -> None:
        self._column = column
        self._machine: dict[str, Any] = {"model": model, "device": device, "limits": limits}

    def __call__(self, row: Row) -> Row:
        from codec.api import decompress

        began = time.perf_counter()
        data = bytes(row.pop(self._column) or b"")
        error = None
        image: Any = np.zeros((0, 0, 3), np.uint8)
        try:
            image = np.array(decompress(data, **self._machine))
        except (CodecError, MemoryError) as reason:
            error = one_line(str(reason) or "out of memory")
        return row | {"image": image, "seconds": time.perf_counter() - began, "error": error}
