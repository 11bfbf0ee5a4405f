"""Files of the writer, made, estimated and tried, with what it knows about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.format.header import Header
from codec.format.patch_table import Patch


@dataclass(frozen=True)
class Encoded:
    """A file in memory and what the encoder knows about it."""

    data: bytes
    header: Header
    bits: float
    """-log2 P of the symbols by the model, and 8 for each byte of the restoration filter's weights,
    of their number, of the map of levels, and of the patches with their entries in the table."""
    psnr: float
    """PSNR of the reconstruction in dB, over all visible colours; nan if it was not asked for."""
    reconstruction: Image.Image | None = None
    """Picture that the decoder gives, if it was asked for."""
    patches: tuple[Patch, ...] = ()
    """Rectangles that are stored without loss."""
    below_promise: bool = False
    """Whether the PSNR, if it was asked for, is far below that of photographs at the same level,
    see `codec.encoder.photograph_rates`."""

    @property
    def patch_pixels(self) -> int:
        """Pixels under patches."""
        return sum(patch.box.area for patch in self.patches)

    @property
    def patch_bytes(self) -> int:
        """Bytes of the patches, without their entries in the table."""
        return sum(len(patch.data) for patch in self.patches)


@dataclass(frozen=True)
class Estimate:
    """Size and PSNR of a file, estimated without coding it."""

    size: float
    """Bytes of the whole file, within a few for each tile and for the weights of a filter."""
    psnr: float
    """PSNR of the reconstruction in dB; nan if it was not asked for."""


@dataclass(frozen=True)
class Trial:
    """A file of rounded latents: what it costs and misses, and where."""

    size: int
    """Bytes of the file."""
    bits: NDArray[np.float64]
    """-log2 P of the symbols by latent position, [rows, columns]."""
    error: NDArray[np.float64]
    """Squared error of the visible samples, likewise; none under patches."""
    error_weight: float | NDArray[np.float64]
    """Bits that a unit of squared error is worth, by latent position with a map of levels."""
    psnr: float
    """PSNR of the reconstruction in dB."""

    @property
    def cost(self) -> float:
        """Rate-distortion cost in bits."""
        return 8 * self.size + float((self.error_weight * self.error).sum())
