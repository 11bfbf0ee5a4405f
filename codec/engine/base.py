"""The interface of an engine: NumPy arrays in, NumPy arrays out.

An engine runs the inexact part of one model: g_a, h_a, g_s and the restoration filter. Engines may
differ by a grey level in the samples that they synthesise; symbols never depend on the engine
that decodes, since an encoder writes what it has rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.level_map import Levels
from codec.limits import Footprint
from codec.tiles import Box

Precision = Literal["float32", "bfloat16"]
EngineName = Literal["auto", "onnx", "torch"]

Features = Any
"""Output of g_a before the rate enters; only the engine that made it can read it."""

Latents = tuple[NDArray[np.float32], NDArray[np.float32]]
"""y after the gain, [M, H/16, W/16], and z, [hyper, ceil(H/64), ceil(W/64)], before rounding.
With rounding to centres y is the same at every level, and z is empty."""


@dataclass(frozen=True)
class Original:
    """Samples that a tile's reconstruction is compared with."""

    samples: NDArray[np.uint8]
    """[h, w, 3]."""
    visible: NDArray[np.bool_] | None
    """[h, w], the pixels whose error counts; None for all of them."""
    grey: bool
    """Whether the mean of the three reconstructed colours replaces each of them."""


@dataclass(frozen=True)
class Scene:
    """A tile and the latents that surround it, which are taken before rounding."""

    original: Original
    """Samples of the tile."""
    y: NDArray[np.float32]
    """Latents of the tile before rounding, [M, H, W]."""
    z: NDArray[np.float32]
    """Hyper-latents of the tile before rounding, [hyper, ceil(H/4), ceil(W/4)]."""
    surroundings: NDArray[np.float32]
    """Latents of the window that the tile's reconstruction depends on, [M, rows, columns]."""
    inner: Box
    """The tile in that window, in latent positions."""
    level: Levels
    """Level of the file, or those of the window's latent positions."""
    weights: NDArray[np.float64] | None = None
    """Weights of the error at the tile's latent positions relative to that at the level of the
    file, [H, W]; None for the same everywhere."""


@dataclass(frozen=True)
class Slopes:
    """First and second derivatives of a distortion by the latents, [M, H, W] each."""

    gradient: NDArray[np.float32]
    curvature: NDArray[np.float32] | None
    """Unbiased estimate of the diagonal of the Hessian from one sample of noise, if drawn."""
    positions: NDArray[np.float32] | None = None
    """Curvature of each latent position relative to the picture's mean, [H, W], from engines
    whose samples of the Hessian say too little."""

    def times(self, weight: float) -> Slopes:
        """Derivatives of the distortion times a weight."""
        curvature = None if self.curvature is None else self.curvature * weight
        return Slopes(self.gradient * weight, curvature, self.positions)


class Distortion(Protocol):
    """Distortion of a tile's reconstruction as a function of its latents."""

    def error(self, y_hat: NDArray[np.float32]) -> float:
        """Distortion of the visible samples after rounding to 8 bits.

        Args:
            y_hat: rounded latents of the tile, [M, H, W].
        """

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        """`error`, and the derivatives of the distortion without rounding to 8 bits.

        Args:
            y_hat: rounded latents of the tile, [M, H, W].
            sampled: whether to estimate the curvature.
        """


class Engine(Protocol):
    """The transforms of one model; may be used from several threads."""

    model_id: bytes
    """First four bytes of the id of the model."""
    description: str
    """Library, precision and device, as "torch 2.14.1, float32 on cpu"."""
    footprint: Footprint
    """Memory that it takes."""
    differentiable: bool
    """Whether `distortion` is available, which efforts 2 to 9 need."""
    analysis_halo: int
    """Pixels around a tile that its latents depend on; a multiple of 64."""
    synthesis_halo: int
    """Latent positions around a window that its samples depend on."""
    strip_pixels: int
    """Pixels that go through the synthesis at once where a tile may be cut into strips."""

    @property
    def threads(self) -> int:
        """Threads that one call may use."""

    def pool(self, count: int) -> Executor:
        """Threads to call the engine from at once, which together use as many as one call would."""

    def features(self, samples: NDArray[np.uint8]) -> Features:
        """g_a up to where the rate enters, for `latents` at several levels.

        Args:
            samples: [H, W, 3], sides multiples of 16.
        """

    def latents(self, features: Features, level: Levels) -> Latents:
        """(y, z) before rounding.

        Args:
            features: of a window.
            level: of the file, or those of its latent positions, [H/16, W/16].
        """

    def change(self, missing: NDArray[np.float32], level: Levels) -> NDArray[np.float32]:
        """Linear response of y to a small change of the samples, [M, H/16, W/16].

        It is that of g_a's skip path and the gain: defined only for models that are
        `ModelConfig.compensable`, which callers check first.

        Args:
            missing: change of the samples, [3, H, W] in units of white, sides multiples of 16.
            level: of the latents, or those of their positions.
        """

    def synthesise(
        self,
        y_hat: NDArray[np.float32],
        level: Levels,
        restoration: Sequence[int] = (),
        inner: Box | None = None,
    ) -> NDArray[np.float32]:
        """Samples [3, H, W], about 0..1, of latents.

        Args:
            y_hat: rounded latents, [M, H/16, W/16].
            level: that they were coded at, or those of their positions.
            restoration: weights of the restoration filter; none for no filter.
            inner: latent positions whose samples are asked for, the others being a halo of
                `synthesis_halo`, where the picture does not end; None for all.
        """

    def synthesise_reduced(
        self,
        y_hat: NDArray[np.float32],
        level: Levels,
        reduction: int,
        restoration: Sequence[int] = (),
        inner: Box | None = None,
    ) -> NDArray[np.float32]:
        """Approximate means of the samples over squares, [3, H / reduction, W / reduction].

        Args:
            y_hat: as for `synthesise`, like all that is not named here.
            level: likewise.
            reduction: side of the squares, 2, 4 or 8.
            restoration: weights of the restoration filter; most models do without it here.
            inner: as for `synthesise`, with a halo of `reduced_halo`.
        """

    def reduced_halo(self, reduction: int) -> int:
        """Latent positions around a window that its reduced samples depend on."""

    def restore(
        self, samples: NDArray[np.float32], restoration: Sequence[int]
    ) -> NDArray[np.float32]:
        """Samples [3, H, W] after the restoration filter, from those of `synthesise` without."""

    def distortion(self, scene: Scene, restoration: Sequence[int] = ()) -> Distortion:
        """The distortion that the model was trained for, of one tile.

        It is the sum of squared errors of 8-bit samples over three colours, weighted as the scene
        says, or what `codec.model.objective` has for MS-SSIM or for looks, times the pixels.

        Raises:
            InputError: the engine is not differentiable.
        """
