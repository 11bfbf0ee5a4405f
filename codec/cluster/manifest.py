"""What became of each file of a run, as Parquet in a folder or a store.

Rows are only ever added: of several rows with one name the last by `time` counts, which is also
the order of the names of the parts. A part is written every `ROWS` rows or `SECONDS` seconds, so
that a run that is cut off loses no more than that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from codec.errors import ClusterError, InputError
from codec.files import files_in, make_folder, open_file, write_file
from codec.url import Place

FOLDER = "manifest"
SUFFIX = ".parquet"
ROWS = 1000
SECONDS = 30.0


@dataclass(frozen=True)
class Row:
    """What became of a file."""

    name: str
    """The output, below the folder of outputs."""
    source: str
    status: str
    """"done", "skipped" (larger than its input), "found" (was there before) or "failed"."""
    bytes_in: int | None = None
    bytes_out: int | None = None
    width: int | None = None
    height: int | None = None
    quality: float | None = None
    bpp: float | None = None
    psnr: float | None = None
    seconds: float | None = None
    error: str | None = None
    time: float = 0.0
    """When the row was added, in seconds since 1970."""

    def says_the_same(self, other: Row | None) -> bool:
        """Whether a row adds nothing to another."""
        facts = ("name", "source", "status", "error")
        return other is not None and all(getattr(self, f) == getattr(other, f) for f in facts)


class Manifest:
    """The manifest of a folder of outputs; used as a context, at whose end all rows are written.

    Args:
        folder: where outputs are.

    Raises:
        ClusterError: pyarrow is missing.
        InputError: a part cannot be read.
    """

    def __init__(self, folder: Place) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ClusterError(
                "pyarrow is not installed; pip install 'vqcodec[cluster]'"
            ) from error
        self._arrow, self._folder = pyarrow, folder / FOLDER
        self._parts = 0
        self._waiting: list[Row] = []
        self._written = time.monotonic()
        rows = list(self._read())
        self.count = len(rows)
        """Number of rows of earlier runs."""
        self.rows: Mapping[str, Row] = {row.name: row for row in rows}
        """These rows, the last of each name."""

    def _read(self) -> Iterator[Row]:
        names = [field.name for field in fields(Row)]
        for part in files_in(self._folder, {SUFFIX}, unread=[]):
            try:
                with open_file(part) as file:
                    table = self._arrow.parquet.read_table(file, columns=names)
            except (self._arrow.ArrowException, OSError, ValueError) as error:
                raise InputError(
                    f"{part}: not a part of a manifest, or damaged; remove it"
                ) from error
            for values in table.to_pylist():
                yield Row(**values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._write()

    def add(self, **values: Any) -> None:
        """Add a row, unless it says what the last one of its name says.

        Raises:
            OutputError: a part cannot be written.
        """
        row = Row(**values, time=time.time())
        if row.says_the_same(self.rows.get(row.name)):
            return
        self._waiting.append(row)
        if len(self._waiting) >= ROWS or time.monotonic() - self._written > SECONDS:
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        pa = self._arrow
        types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
        kinds = {field.name: str(field.type).partition(" ")[0] for field in fields(Row)}
        schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()])
        content = BytesIO()
        table = pa.Table.from_pylist([asdict(row) for row in self._waiting], schema)
        pa.parquet.write_table(table, content)
        name = f"{time.time_ns():020}-{self._parts:06}{SUFFIX}"
        make_folder(self._folder)
        write_file(self._folder / name, content.getvalue(), force=False)
        self._parts += 1
        self._waiting = []
        self._written = time.monotonic()
