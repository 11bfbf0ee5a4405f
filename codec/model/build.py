"""Construction of an autoencoder from a configuration."""

from __future__ import annotations

from codec.model.autoencoder import RoundingAutoencoder
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.weights.config import ModelConfig

Autoencoder = RoundingAutoencoder | VectorAutoencoder


def build_autoencoder(config: ModelConfig) -> Autoencoder:
    """Build an untrained model that rounds to integers or to centres."""
    if config.rounding == "vq":
        return VectorAutoencoder(config)
    return RoundingAutoencoder(config)
