"""One interface to both roundings: latents -> symbols -> stream, and back."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codec.entropy.indices import IndexCoder
from codec.entropy.latents import LatentCoder
from codec.entropy.model import EntropyModel, IntegerModel, entropy_model
from codec.entropy.rounding import Rounded, Rule
from codec.level_map import Levels
from codec.weights.file import Weights


class SymbolCoder(Protocol):
    """Codes latents with one model; may be used from several threads."""

    @property
    def model(self) -> EntropyModel:
        """The verified entropy model."""

    def round(
        self,
        y: NDArray[np.floating],
        z: NDArray[np.floating],
        level: Levels,
        rule: Rule | None = None,
        same_z: Rounded | None = None,
        threads: int = 1,
    ) -> Rounded:
        """Round, so that the exact cost is known before anything is written.

        Args:
            y: latents, [M, H, W].
            z: hyper-latents, [hyper, ceil(H/4), ceil(W/4)]; unused with rounding to centres.
            level: of the file, or those of the latent positions, [H, W], with rounding to
                integers.
            rule: choice of the integers, None for the nearest; unused with rounding to centres.
            same_z: what was rounded before with the same `z` and `level`, which saves time.
            threads: that may work on it; unused with rounding to centres.
        """

    def write(self, rounded: Rounded) -> bytes:
        """Stream of what `round` of this coder gave."""

    def read(
        self,
        stream: bytes,
        rows: int,
        columns: int,
        level: Levels,
        levels: int | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.float32], int]:
        """Decode latents of a given size.

        Args:
            stream: as `write` gives it; all of it is decoded.
            rows: of y.
            columns: of y.
            level: as in `round`, like `threads`.
            levels: residual levels that y^ sums up, None for all; unused with rounding to integers.

        Returns:
            (y^ [M, rows, columns], CRC-32 of the symbols).

        Raises:
            DamagedFileError: the stream is impossible.
        """


def symbol_coder(weights: Weights) -> LatentCoder | IndexCoder:
    """The coder for the rounding of a model, which is verified first.

    Raises:
        WeightsError: the entropy model is unsound, or this machine computes other numbers with it.
    """
    model = entropy_model(weights)
    return LatentCoder(model) if isinstance(model, IntegerModel) else IndexCoder(model)
