"""Reference model: four 5x5 convolutions with GDN (Balle et al. 2017/2018), N = 128, M = 192.

Its weights are random, which affects neither time nor memory of the transforms. The prior is this
project's and not the published one, so only g_a and g_s are comparable with the literature.
"""

from __future__ import annotations

from pathlib import Path

import torch

from codec.model.autoencoder import RoundingAutoencoder
from codec.model.densities import SIGMA_LEVELS
from codec.training.export import export_model
from codec.weights.config import ModelConfig

CONFIG = ModelConfig(transform="gdn", channels8=128, latent=192)


def write_classic_weights(target: Path) -> None:
    """Export a fresh model, with scales that differ by channel, as those of trained ones do."""
    torch.manual_seed(0)
    model = RoundingAutoencoder(CONFIG)
    with torch.no_grad():
        for head in model.prior.heads():
            head.level_bias[:, CONFIG.latent :] = torch.linspace(0, SIGMA_LEVELS - 1, CONFIG.latent)
    target.write_bytes(export_model(model, "gdn", {}).to_bytes())
