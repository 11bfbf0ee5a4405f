"""Construction of an autoencoder from a configuration."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from codec.errors import WeightsError
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.weights.config import ModelConfig

Autoencoder = RoundingAutoencoder | VectorAutoencoder


def build_autoencoder(config: ModelConfig) -> Autoencoder:
    """Build an untrained model that rounds to integers or to centres."""
    if config.rounding == "vq":
        return VectorAutoencoder(config)
    return RoundingAutoencoder(config)


def check_state(config: ModelConfig, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Check that parameters are those of a configuration, by names, shapes and kind of numbers.

    Args:
        config: configuration of the model.
        state: parameters by name.
        prefix: what their names begin with in the file, for the message.

    Raises:
        WeightsError: one is missing, superfluous, of another shape, or not of floating point.
    """
    with torch.device("meta"):  # shapes alone, whatever size a file claims
        wanted = build_autoencoder(config).state_dict()
    for name in sorted(wanted.keys() | state.keys()):
        if name not in state:
            fault = "is missing"
        elif name not in wanted:
            fault = "is not part of it"
        elif state[name].shape != wanted[name].shape:
            fault = f"has the shape {[*state[name].shape]} instead of {[*wanted[name].shape]}"
        elif not state[name].is_floating_point():
            fault = "does not hold floating-point numbers"
        else:
            continue
        raise WeightsError(f"the parameters do not fit the configuration: {prefix}{name} {fault}")
