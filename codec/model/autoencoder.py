"""The autoencoder that rounds to integers: transforms, gains, hyperprior and densities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from codec.model.densities import (
    SIGMA_LEVELS,
    FactorizedDensity,
    bits,
    gaussian_cell_probability,
    sigma_of_level,
)
from codec.model.hyperprior import HyperAnalysis, LatentPrior, pass_numbers
from codec.model.rate import Gain
from codec.model.rounding import Surrogate, for_rate, for_synthesis
from codec.model.transforms import build_transforms
from codec.weights.config import PASSES, ModelConfig


class Forward(NamedTuple):
    """Reconstruction and rate of a batch."""

    x_hat: Tensor
    """Reconstruction [B, 3, H, W], about 0..1, not clipped."""
    y_bits: Tensor
    """-log2 P of the latents of each picture, [B]."""
    z_bits: Tensor
    """-log2 P of the hyper-latents of each picture, [B]."""


class RoundingAutoencoder(nn.Module):
    """Mean-scale hyperprior autoencoder with gains for a range of lambdas.

    Mean-scale hyperprior without serial context (Minnen, Balle, Toderici 2018); see `transforms`,
    `hyperprior` and `rate` of this package.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a, self.g_s = build_transforms(config)
        self.gain = Gain(config)
        self.h_a = HyperAnalysis(config)
        self.prior = LatentPrior(config)
        self.z_density = FactorizedDensity(config.hyper)

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        surrogate: Surrogate = "mixed",
        weight: Tensor | None = None,
    ) -> Forward:
        """Compute reconstructions and rates of a batch.

        Args:
            x: pictures [B, 3, H, W] in 0..1; H and W multiples of 64.
            level: position on the ladder of lambdas, [B], in [0, anchors - 1].
            surrogate: replacement of rounding, see `codec.model.rounding`.
            weight: unused; rounding to centres needs it.

        Convolutions may run under autocast; latents, heads and rate are always float32.
        """
        y = self.gain(self.g_a(x, level).float(), level)
        y_hat, y_bits, z_bits = self.prior_bits(y, level, surrogate)
        return Forward(self.synthesise(y_hat, level), y_bits.sum((1, 2, 3)), z_bits.sum((1, 2, 3)))

    def synthesise(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """Reconstructions [B, 3, 16 H, 16 W], about 0..1, of latents y^ [B, M, H, W]."""
        return self.g_s(self.gain.inverse(y_hat, level), level).float()

    @torch.no_grad()
    def rounded(self, x: Tensor, level: Tensor) -> Tensor:
        """Rounded latents y^ [B, M, H/16, W/16], as a decoder has them; see `forward`."""
        y = self.gain(self.g_a(x, level).float(), level)
        return self._walk(y, level, "rounded")[3]

    def prior_bits(
        self, y: Tensor, level: Tensor, surrogate: Surrogate
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Latents with a surrogate of rounding, and the rate of each.

        Args:
            y: latents after the gain, [B, M, H, W]; H and W multiples of 4.
            level: as in `forward`, like `surrogate`.

        Returns:
            (y^ [B, M, H, W], -log2 P of y [B, M, H, W] and of z [B, hyper, H/4, W/4]).
        """
        z, mu, scale_level, y_hat = self._walk(y, level, surrogate)
        with torch.autocast(y.device.type, enabled=False):
            z_cells = self.z_density.cell_probability(for_rate(z, 0.0, surrogate))
        residual = for_rate(y, mu, surrogate)
        y_cells = gaussian_cell_probability(residual, sigma_of_level(scale_level))
        return y_hat, bits(y_cells), bits(z_cells)

    def residuals(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals of y before rounding, and the frequency tables that code them.

        Args:
            x: as in `forward`, like `level`.

        Returns:
            (y - mu, number of the table, int64), [B, M, H/16, W/16] each. The prior is conditioned
            on latents rounded to the nearest; mu and table are those of the exact prior up to
            floating-point error.
        """
        y = self.gain(self.g_a(x, level).float(), level)
        _, mu, scale_level, _ = self._walk(y, level, "rounded")
        table = (scale_level + 0.5).floor().clamp(0, SIGMA_LEVELS - 1)
        return y - mu, table.long()

    def hyper_symbols(self, features: Tensor, level: Tensor) -> Tensor:
        """Rounded hyper-latents z^, int64 [B, hyper, H/64, W/64].

        Args:
            features: output of `g_a.features`.
            level: as in `forward`.
        """
        y = self.gain(self.g_a.latents(features, level).float(), level)
        z: Tensor = self.h_a(y)
        return z.float().round().long()

    def _walk(
        self, y: Tensor, level: Tensor, surrogate: Surrogate
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """z, predictions of y by all passes (mu, position on the ladder of scales), and y^."""
        z = self.h_a(y).float()
        features = self.prior.features(for_synthesis(z, 0.0, surrogate), level)

        numbers = pass_numbers(y.shape[1], y.shape[2], y.shape[3], y.device)
        mu = scale_level = y_hat = torch.zeros_like(y)
        for number in range(PASSES):
            features, mean, scale = self.prior.predict(number, features, y_hat, level)
            here = numbers == number
            mu = torch.where(here, mean, mu)
            scale_level = torch.where(here, scale, scale_level)
            y_hat = torch.where(here, for_synthesis(y, mean, surrogate), y_hat)
        return z, mu, scale_level, y_hat
