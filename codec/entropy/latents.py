"""Rounded latents to bytes and back: z, then y pass by pass, in one range-coded stream.

Encoder and decoder walk the same exact prior; the encoder feeds it its own rounded values, which
are the nearest integers or what a rule of its own says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from codec.entropy.checksum import SymbolChecksum
from codec.entropy.crew import Crew, crew_for
from codec.entropy.dyadic import UNIT, Exact
from codec.entropy.exact_prior import LatentGrid, Prediction
from codec.entropy.model import MAX_HYPER, IntegerModel
from codec.entropy.range_coder import CoderTables, RangeDecoder, RangeEncoder
from codec.entropy.rounding import Rounded, Rule
from codec.entropy.tables import FrequencyTables
from codec.entropy.z_contexts import Positions, contexts, diagonals, everywhere
from codec.level_map import Levels, nearest_anchors, of_hyper
from codec.tiles import HYPER_STRIDE

Table = NDArray[np.integer]


@dataclass(frozen=True)
class Symbols:
    """One group of symbols in coding order, each with its table."""

    values: NDArray[np.int32]
    """[n], inside the support of their tables."""
    table: Table
    """Numbers of their tables, [n]."""
    tables: FrequencyTables

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        """-log2 P of each by the integer tables, [n]."""
        return self.tables.bits(self.values, self.table)


Choose = Callable[[Prediction], Symbols]
"""Symbols of a pass from their prediction: rounded by the encoder, read by the decoder."""


@dataclass(frozen=True)
class RoundedLatents:
    """Latents as the decoder will have them, with their exact cost, before they are coded."""

    grid: LatentGrid
    z: Symbols
    outlook: tuple[Exact, Prediction]
    """Prediction from z alone: packed features for later passes, and the first pass."""
    passes: tuple[Symbols, ...]
    """Symbols of y by pass."""
    y_hat: NDArray[np.float32]
    """Latents of the decoder, [M, H, W]."""

    @property
    def groups(self) -> tuple[Symbols, ...]:
        """Groups of symbols in coding order; within z row by row, whatever the order of coding."""
        return self.z, *self.passes

    @cached_property
    def checksum(self) -> int:
        """CRC-32 of all symbols in coding order, as little-endian int16."""
        checksum = SymbolChecksum()
        for group in self.groups:
            checksum.add(group.values)
        return checksum.value

    @property
    def bits(self) -> float:
        """-log2 P of all symbols."""
        return sum(float(group.bits.sum()) for group in self.groups)

    @property
    def position_bits(self) -> NDArray[np.float64]:
        """-log2 P by latent position, [H, W]; those of z are shared by the positions it covers."""
        grid = self.grid
        packed = np.stack([p.bits for p in self.passes]).reshape(-1, grid.height * grid.width)
        y_bits = grid.to_spatial(packed.sum(0, keepdims=True)).reshape(grid.height, grid.width)
        return y_bits + self._z_bits_by_position()

    def _z_bits_by_position(self) -> NDArray[np.float64]:
        rows, columns = (np.arange(n) // HYPER_STRIDE for n in (self.grid.height, self.grid.width))
        by_hyper = self.z.bits.reshape(-1, *self.grid.hyper_shape).sum(0)
        share = np.outer(np.bincount(rows), np.bincount(columns))
        return (by_hyper / share)[rows[:, None], columns]


class LatentCoder:
    """Codes the latents of one model; keeps the coder's tables between pictures."""

    def __init__(self, model: IntegerModel) -> None:
        self.model = model

    @cached_property
    def _y_coder(self) -> CoderTables:
        return CoderTables(self.model.y_tables)

    @cached_property
    def _z_coder(self) -> CoderTables:
        return CoderTables(self.model.z_tables)

    def _z_table(
        self, z: NDArray[np.int32], positions: Positions, level: Levels
    ) -> NDArray[np.intp]:
        """Numbers of tables [hyper, n] at n positions, from what of z [hyper, H, W] lies before."""
        channels = np.arange(len(z))[:, None]
        anchors = np.broadcast_to(nearest_anchors(of_hyper(level)), z.shape[1:])[*positions]
        return self.model.z_contexts[anchors, contexts(z, positions), channels].astype(np.intp)

    def round(
        self,
        y: NDArray[np.floating],
        z: NDArray[np.floating],
        level: Levels,
        rule: Rule | None = None,
        same_z: Rounded | None = None,
        threads: int = 1,
    ) -> RoundedLatents:
        """Round, so that the exact cost is known before anything is coded.

        Args:
            y: latents after the gain, [M, H, W].
            z: hyper-latents, [hyper, ceil(H/4), ceil(W/4)].
            level: of the file, or those of the latent positions, [H, W].
            rule: choice of the integers; None for the nearest.
            same_z: what was rounded before with this `z` at this level, which saves time.
            threads: that may work on it.
        """
        assert same_z is None or isinstance(same_z, RoundedLatents)
        grid = LatentGrid(*y.shape[1:])
        tables = self.model.y_tables

        def rounding(number: int, packed: Exact) -> Choose:
            def choose(prediction: Prediction) -> Symbols:
                residual = prediction.residual(packed)
                if rule is None:
                    symbols = np.rint(residual).astype(np.int32)
                else:
                    symbols = rule(residual, prediction.table, partial(grid.spread, number=number))
                table = prediction.table.reshape(-1)
                return Symbols(tables.clamp(symbols.reshape(-1), table), table, tables)

            return choose

        z_group = same_z.z if same_z else self._rounded_hyper(z, grid, level)
        passes = grid.pack(np.nan_to_num(y))
        choices = itertools.starmap(rounding, enumerate(passes))
        with crew_for(threads, grid.height * grid.width) as crew:
            outlook = same_z.outlook if same_z else self._outlook(grid, level, z_group, crew)
            return self._walk(grid, level, z_group, outlook, choices, crew)

    def _rounded_hyper(self, z: NDArray[np.floating], grid: LatentGrid, level: Levels) -> Symbols:
        tables = self.model.z_tables
        symbols = np.rint(np.nan_to_num(z)).clip(-MAX_HYPER, MAX_HYPER).astype(np.int32)
        symbols = tables.clamp(symbols, np.zeros((), np.intp))  # all have the same support
        numbers = self._z_table(symbols, everywhere(*grid.hyper_shape), level)
        return Symbols(symbols.reshape(-1), numbers.reshape(-1), tables)

    def _outlook(
        self, grid: LatentGrid, level: Levels, z: Symbols, crew: Crew
    ) -> tuple[Exact, Prediction]:
        prior, values = self.model.prior, z.values.reshape(-1, *grid.hyper_shape)
        return prior.predict(prior.features(values, level, grid, crew), [], level, grid, crew)

    def _walk(
        self,
        grid: LatentGrid,
        level: Levels,
        z: Symbols,
        outlook: tuple[Exact, Prediction],
        choices: Iterable[Choose],
        crew: Crew,
    ) -> RoundedLatents:
        """Walk the exact prior, which encoder and decoder do alike.

        Args:
            outlook: of z.
            choices: give the symbols of each pass, once their prediction is known.
            crew: does the work of the prior.
        """
        features, prediction = outlook
        passes: list[Symbols] = []
        known: list[Exact] = []
        for choose in choices:
            if known:
                predict = self.model.prior.predict
                features, prediction = predict(features, known, level, grid, crew)
            symbols = choose(prediction)
            passes.append(symbols)
            known.append(prediction.reconstruct(symbols.values.reshape(prediction.table.shape)))
        y_hat = (grid.unpack(known) / UNIT).astype(np.float32)
        return RoundedLatents(grid, z, outlook, tuple(passes), y_hat)

    def write(self, rounded: Rounded) -> bytes:
        """Stream of what `round` gave."""
        assert isinstance(rounded, RoundedLatents)
        encoder, grid, group = RangeEncoder(), rounded.grid, rounded.z
        values = group.values.reshape(-1, *grid.hyper_shape)
        numbers = group.table.reshape(values.shape)
        for positions in diagonals(*grid.hyper_shape):
            z, table = values[:, *positions], numbers[:, *positions]
            encoder.encode(z.reshape(-1), table.reshape(-1), self._z_coder)
        for symbols in rounded.passes:
            encoder.encode(symbols.values, symbols.table, self._y_coder)
        return encoder.finish()

    def read(
        self,
        stream: bytes,
        rows: int,
        columns: int,
        level: Levels,
        levels: int | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.float32], int]:
        """Decode latents of a given size; see `codec.entropy.coder.SymbolCoder.read`."""
        rounded = self.read_symbols(stream, rows, columns, level, threads)
        return rounded.y_hat, rounded.checksum

    def read_symbols(
        self, stream: bytes, rows: int, columns: int, level: Levels, threads: int = 1
    ) -> RoundedLatents:
        """Decode latents of a given size, with their symbols.

        Args:
            stream: as `write` gives it.
            rows: of y.
            columns: of y.
            level: as in `round`, like `threads`.

        Raises:
            DamagedFileError: the stream is impossible.
        """
        grid, decoder = LatentGrid(rows, columns), RangeDecoder(stream)

        def decode(table: Table, coder: CoderTables) -> Symbols:
            return Symbols(decoder.decode(table, coder), table, coder.tables)

        def choose(prediction: Prediction) -> Symbols:
            return decode(prediction.table.reshape(-1), self._y_coder)

        z = np.zeros((self.model.config.hyper, *grid.hyper_shape), np.int32)
        numbers = np.empty(z.shape, np.intp)
        for positions in diagonals(*grid.hyper_shape):
            table = self._z_table(z, positions, level)
            numbers[:, *positions] = table
            z[:, *positions] = decode(table.reshape(-1), self._z_coder).values.reshape(table.shape)
        z_group = Symbols(z.reshape(-1), numbers.reshape(-1), self.model.z_tables)
        choices = repeat(choose, grid.passes)
        with crew_for(threads, rows * columns) as crew:
            outlook = self._outlook(grid, level, z_group, crew)
            rounded = self._walk(grid, level, z_group, outlook, choices, crew)
        decoder.finish()
        return rounded
