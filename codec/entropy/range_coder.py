"""Range coder over integer frequency tables; a thin, strict wrapper of constriction.

`Categorical((f - 1) as float64, perfect=False)` makes constriction use exactly the integers
f: it adds 1 to every entry, and since sum(f) is 2^24 its own scaling factor is exactly 1.
Both the type and `perfect=False` are part of the file format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from codec.entropy.tables import FrequencyTables
from codec.errors import DamagedFileError

CHUNK = 1_000_000
"""Symbols in one call of the coder, which holds the interpreter while it runs."""


class CoderTables:
    """The coder's form of `FrequencyTables`; each table is built when first used."""

    def __init__(self, tables: FrequencyTables) -> None:
        self.tables = tables
        self._models: dict[int, Any] = {}

    def model(self, number: int) -> Any:
        if number not in self._models:
            weights = _weights(self.tables[number])
            model = constriction.stream.model.Categorical(weights, perfect=False)
            self._models[number] = model
        return self._models[number]

    def groups(self, table: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """(table number, positions that use it in rising order), by rising number."""
        order = np.argsort(table, kind="stable")
        counts = np.bincount(table, minlength=len(self.tables))
        ends = np.cumsum(counts)
        for number in np.flatnonzero(counts):
            yield int(number), order[ends[number] - counts[number] : ends[number]]


_EACH = constriction.stream.model.Categorical(perfect=False)
"""A model whose weights come with each symbol."""


def _weights(frequencies: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.ascontiguousarray(frequencies - 1, np.float64)


def _rows(frequencies: NDArray[np.integer]) -> Iterator[slice]:
    """Slices of rows with at most `CHUNK` entries."""
    step = max(1, CHUNK // frequencies.shape[1])
    for start in range(0, len(frequencies), step):
        yield slice(start, start + step)


class RangeEncoder:
    """Appends symbols to one stream."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def encode(
        self, symbols: NDArray[np.int32], table: NDArray[np.integer], coder: CoderTables
    ) -> None:
        """Encode symbols, grouped by table number.

        Args:
            symbols: int32 [n], inside the support of their tables.
            table: number of the table of each symbol, [n].
        """
        for number, where in coder.groups(table):
            shifted = symbols[where] - coder.tables.low[number]
            for start in range(0, len(shifted), CHUNK):
                self._encoder.encode(shifted[start : start + CHUNK], coder.model(number))

    def encode_each(self, symbols: NDArray[np.int32], frequencies: NDArray[np.integer]) -> None:
        """Encode symbols that have a table each.

        Args:
            symbols: int32 [n], in 0 .. K-1.
            frequencies: [n, K], at least 1, each row with sum 2^24.
        """
        for part in _rows(frequencies):
            self._encoder.encode(symbols[part], _EACH, _weights(frequencies[part]))

    def finish(self) -> bytes:
        """The stream: little-endian 32-bit words without trailing zero bytes."""
        words = self._encoder.get_compressed().astype("<u4")
        return bytes(words.tobytes().rstrip(b"\0"))


class RangeDecoder:
    """Reads back what a `RangeEncoder` wrote.

    Raises:
        DamagedFileError: the stream is not in canonical form (ends in a zero byte).
    """

    def __init__(self, stream: bytes) -> None:
        if stream.endswith(b"\0"):
            raise DamagedFileError("damaged: the coded data is not in canonical form")
        padded = stream + b"\0" * (-len(stream) % 4)
        words = np.frombuffer(padded, "<u4").astype(np.uint32)
        self._decoder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, table: NDArray[np.integer], coder: CoderTables) -> NDArray[np.int32]:
        """Decode one symbol per entry of `table` [n], in the order `encode` used.

        Raises:
            DamagedFileError: the stream is impossible under these tables. The coder notices
                only part of all damage; checksums find the rest.
        """
        symbols = np.empty(len(table), np.int32)
        for number, where in coder.groups(table):
            for start in range(0, len(where), CHUNK):
                part = where[start : start + CHUNK]
                decoded = self._decode(coder.model(number), len(part))
                symbols[part] = decoded + coder.tables.low[number]
        return symbols

    def decode_each(self, frequencies: NDArray[np.integer]) -> NDArray[np.int32]:
        """Decode one symbol per row of `frequencies` [n, K], as `encode_each` wrote them.

        Raises:
            DamagedFileError: as `decode`.
        """
        parts = [self._decode(_EACH, _weights(frequencies[part])) for part in _rows(frequencies)]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            DamagedFileError: the stream holds more than was decoded.
        """
        if not self._decoder.maybe_exhausted():
            raise DamagedFileError("damaged: the coded data is longer than its symbols")

    def _decode(self, model: Any, count: int | NDArray[np.float64]) -> NDArray[np.int32]:
        """Decode `count` symbols of one model, or one symbol for each row of weights."""
        try:
            decoded: NDArray[np.int32] = self._decoder.decode(model, count)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a Rust panic is no Exception
            raise DamagedFileError("damaged: the coded data cannot be decoded") from error
        return decoded
