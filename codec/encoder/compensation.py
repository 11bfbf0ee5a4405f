"""Latents that make up for what rounding did to the picture.

What is shown, x^ = g_s(y^), misses r = x - x^. By Gauss and Newton, with J the Jacobian of g_s, the
squared error is least not at the latents y of the picture but at

    y^ + (J^T J)^-1 J^T r

and g_a was trained to invert g_s, so that its Jacobian is about that pseudo-inverse. Latents move
there, and are rounded again: errors of latents that show the same pixels then cancel more than they
add up.

For g_a's Jacobian its skip path stands, which is linear: with all of g_a, g_a(x) - g_a(x^), this
saved less at low rates of held-out tiles and more at high ones (1.0 and 4.5 % of the bits, where
the Jacobian of the last third of g_a saved 1.4 and 3.9 %), and takes two thirds as long as all of
effort 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.encoder.filter_fit import LeastSquares
from codec.engine.gradients import STRIP_PIXELS, Original
from codec.engine.torch import TorchEngine
from codec.picture.pixels import squared_error, to_image
from codec.tiles import LATENT_STRIDE, Box, Grid
from codec.weights.file import KERNEL_RADIUS
from codec.windows import windows

SHARE = 0.85
"""Of the way to where the squared error is least, to first order, that latents go."""


@dataclass(frozen=True)
class Scene:
    """A tile among what lies around it, which is taken as it is before rounding."""

    original: Original
    """Of the tile."""
    y: NDArray[np.float32]
    """Latents of the tile before rounding, [M, H, W]."""
    z: NDArray[np.float32]
    """Its hyper-latents, likewise."""
    surroundings: NDArray[np.float32]
    """Latents of a window that the tile's samples depend on."""
    inner: Box
    """The tile's latents in that window."""


class Compensation:
    """For one tile.

    Args:
        engine: that will show the latents.
        level: in units of 2^-12.
        scene: the tile.
        halo: latents around a window that its samples depend on.
    """

    def __init__(self, engine: TorchEngine, level: int, scene: Scene, halo: int) -> None:
        self._engine = engine
        self._level = level
        self._scene = scene
        self._halo = halo
        visible = scene.original.visible
        self._alpha = None if visible is None else visible.astype(np.uint8)
        self.y = scene.y
        """Latents [M, H, W] to be rounded next."""

    def show(self, y_hat: NDArray[np.float32], fit: LeastSquares | None) -> NDArray[np.float32]:
        """Samples [3, h, w], about 0..1, without a restoration filter.

        Args:
            y_hat: rounded latents, [M, H, W].
            fit: of a restoration filter, to be told of them.
        """
        scene, original = self._scene, self._scene.original
        rows, columns = scene.inner.slices
        latents = scene.surroundings.copy()
        latents[:, rows, columns] = y_hat
        _, height, width = latents.shape
        around = Grid(LATENT_STRIDE * height, LATENT_STRIDE * width, 0)
        height, width = original.samples.shape[:2]
        left, top = LATENT_STRIDE * scene.inner.left, LATENT_STRIDE * scene.inner.top
        tile = Box(left, top, left + width, top + height)
        shown = np.empty((3, height, width), np.float32)
        for box, samples in windows(
            around,
            tile,
            self._halo,
            lambda _: latents,
            lambda part: self._engine.synthesise(part, self._level),
            map,
        ):
            here = box.relative_to(tile).slices
            shown[:, *here] = samples
            if fit:
                alpha = None if self._alpha is None else self._alpha[here]
                fit.add(samples, original.samples[here], alpha)
        return shown

    def error(self, shown: NDArray[np.float32], restoration: Sequence[int]) -> float:
        """Squared error of what `show` gave after a restoration filter, of 8-bit samples."""
        original = self._scene.original
        error = 0.0
        for rows, samples in self._strips(shown, restoration):
            decoded = np.asarray(to_image(samples, original.grey).convert("RGB"))
            alpha = None if self._alpha is None else self._alpha[rows]
            error += squared_error(original.samples[rows], decoded, alpha)[0]
        return error

    def step(
        self,
        y_hat: NDArray[np.float32],
        shown: NDArray[np.float32],
        restoration: Sequence[int],
    ) -> None:
        """Move `y` to make up for what is missing.

        Args:
            y_hat: rounded latents, [M, H, W].
            shown: what `show` makes of them.
            restoration: weights of the restoration filter.
        """
        original = self._scene.original
        towards = y_hat.copy()
        for rows, samples in self._strips(shown, restoration):
            wanted = original.samples[rows].transpose(2, 0, 1).astype(np.float32) / 255
            missing: NDArray[np.float32] = wanted - samples.clip(0, 1)
            if original.grey:
                missing = np.broadcast_to(missing.mean(0), missing.shape)
            if self._alpha is not None:
                missing = missing * self._alpha[rows]
            below, right = (-side % LATENT_STRIDE for side in missing.shape[1:])
            missing = np.pad(missing, ((0, 0), (0, below), (0, right)))
            first = rows.start // LATENT_STRIDE
            change = self._engine.change(missing, self._level)
            towards[:, first : first + change.shape[1]] += change
        self.y = self.y + np.float32(SHARE) * (towards - self.y)

    def _strips(
        self, shown: NDArray[np.float32], restoration: Sequence[int]
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Rows and their samples after a restoration filter, whole rows of latents at a time."""
        _, height, width = shown.shape
        side = max(STRIP_PIXELS // width // LATENT_STRIDE, 1) * LATENT_STRIDE
        for top in range(0, height, side):
            rows = slice(top, min(top + side, height))
            first = max(top - KERNEL_RADIUS, 0)
            samples = self._engine.restore(shown[:, first : rows.stop + KERNEL_RADIUS], restoration)
            yield rows, samples[:, top - first :][:, : rows.stop - top]
