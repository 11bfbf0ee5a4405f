"""Gradient and curvature of the distortion over the rounds of a search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.encoder.search_tuning import TUNING
from codec.engine.base import Slopes


class SteadyGradient:
    """Gradient at each latent's present value and the recent average of all others.

    Latents step all at once, each as if the others stayed, so their overshoots make the gradient
    oscillate. Best responses to the average of the others' moves converge where responses to their
    last move need not (fictitious play, Brown 1951; with one cost for all players it converges,
    Monderer and Shapley 1996).
    """

    def __init__(self) -> None:
        self._y_hat: NDArray[np.float32] | None = None
        self._average = np.zeros(0, np.float32)

    def add(
        self,
        y_hat: NDArray[np.float32],
        gradient: NDArray[np.float32],
        curvature: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Take in a round and return the averaged gradient, [M, H, W].

        Args:
            y_hat: latents of this round, [M, H, W].
            gradient: of the weighted distortion there.
            curvature: of the weighted distortion along each latent.
        """
        if self._y_hat is None:
            self._average = gradient
        else:
            expected = self._average + curvature * (y_hat - self._y_hat)
            self._average = (1 - TUNING.memory) * gradient + TUNING.memory * expected
        self._y_hat = y_hat
        return self._average


class Curvature:
    """Curvature of the weighted distortion along each latent, in bits.

    Samples are few and noisy, so they are shrunk towards a prior by channel and position. Steps are
    taken where the curvature looks small, often because it is underestimated; the change of the
    gradient over a step (a secant) corrects that before the next round reverts the step.

    Args:
        shape: of the latents, [M, H, W].
        half: half the mean curvature of each channel in photographs, [M] or by position [M, H, W];
            None if unknown.
    """

    def __init__(self, shape: tuple[int, ...], half: NDArray[np.floating] | None) -> None:
        self._typical = None
        if half is not None:
            by_position = half if half.ndim > 1 else half[:, None, None]
            self._typical = (2 * by_position).astype(np.float32)
        self._added = 0
        self._samples = np.zeros(shape, np.float32)
        self._count = 0
        self._shrunk = np.zeros(shape, np.float32)
        self._secants = np.zeros(shape, np.float32)
        self._steps = np.zeros(shape, np.float32)
        self._y_hat: NDArray[np.float32] | None = None
        self._gradient = np.zeros(shape, np.float32)

    @property
    def wants_sample(self) -> bool:
        """Whether the next round should sample the curvature; the first does."""
        return self._added % TUNING.rounds_per_sample == 0

    def add(self, y_hat: NDArray[np.float32], slopes: Slopes) -> None:
        """Take in the derivatives at latents [M, H, W]."""
        self._added += 1
        if slopes.positions is not None and self._typical is not None:
            self._shrunk = TUNING.ms_ssim_excess * self._typical * slopes.positions
        if slopes.curvature is not None:
            sample = slopes.curvature
            if self._typical is not None:
                sample = np.minimum(sample, TUNING.sample_bound * self._typical)
            self._samples += sample
            self._count += 1
            self._shrink()
        if self._y_hat is not None:
            change = y_hat - self._y_hat
            stepped = np.abs(change) > TUNING.least_step
            secant = (slopes.gradient - self._gradient) / np.where(stepped, change, 1)
            secant = np.clip(
                secant, self._shrunk / TUNING.secant_bound, self._shrunk * TUNING.secant_bound
            )
            self._secants += np.where(stepped, secant, 0)
            self._steps += stepped
        self._y_hat, self._gradient = y_hat, slopes.gradient

    def estimate(self) -> NDArray[np.float32]:
        """Estimate at the latents that were last added, [M, H, W], positive."""
        weight = self._count + TUNING.prior_samples
        known = weight * self._shrunk + TUNING.secant_samples * self._secants
        known /= weight + TUNING.secant_samples * self._steps
        known += TUNING.gradient * np.abs(self._gradient)
        return known

    def _shrink(self) -> None:
        """Shrink the mean of the samples towards the prior of channel and position."""
        mean = self._samples / np.float32(self._count)
        channel = np.maximum(mean.mean((1, 2), keepdims=True), np.finfo(np.float32).tiny)
        typical = channel if self._typical is None else self._typical
        position = (mean / typical).mean(0)
        expected = (
            typical * (TUNING.channel_in_photographs + TUNING.position * position)
            + TUNING.channel_in_picture * channel
        )
        shrunk = self._samples + TUNING.prior_samples * expected
        self._shrunk = shrunk / np.float32(self._count + TUNING.prior_samples)
