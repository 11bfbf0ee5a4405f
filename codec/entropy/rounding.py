"""Input and output of rounding, to integers and to centres."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Spread = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Values of the channels, [M] or by position [M, H, W], brought to the latents that are rounded."""


class Rule(Protocol):
    """An encoder's choice of integers; any choice decodes."""

    def __call__(
        self, residual: NDArray[np.floating], table: NDArray[np.integer], spread: Spread
    ) -> NDArray[np.int32]:
        """Symbols for the residuals of one pass, of their shape.

        Args:
            residual: y - mu, in plain units.
            table: number of the frequency table that will code each.
            spread: brings values of all channels, [M] or [M, H, W], to the shape of `residual`.
        """


class Rounded(Protocol):
    """Latents as the decoder will have them, with their exact cost."""

    @property
    def y_hat(self) -> NDArray[np.float32]:
        """Rounded latents, [M, H, W]."""

    @property
    def bits(self) -> float:
        """-log2 P of all symbols, by the integer frequencies."""

    @property
    def checksum(self) -> int:
        """CRC-32 of all symbols in coding order, as little-endian int16."""

    @property
    def position_bits(self) -> NDArray[np.float64]:
        """-log2 P by latent position, [H, W]; those of z are shared by the positions it covers."""
