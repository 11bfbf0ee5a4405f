"""Checkpoint to weights file and back: floats to dyadic integers, densities to tables."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import WeightsError
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.config import ModelConfig
from codec.model.densities import (
    SIGMA_LEVELS,
    FactorizedDensity,
    gaussian_cell_probability,
    sigma_of_level,
)
from codec.model.hyperprior import CONTEXT_UNIT, HEAD_UNIT
from codec.runtime.dyadic import WEIGHT_BITS, quantise
from codec.runtime.released import find_weights
from codec.runtime.tables import FrequencyTables, quantise_frequencies
from codec.runtime.weights import Weights, load_weights
from codec.training.checkpoint import Checkpoint

DEVIATIONS = 6.0
"""Half width of a Gaussian's table in standard deviations."""
MARGIN = 8
"""Symbols that a table covers beyond what is likely, at 24 bits each."""
Z_LIMIT = 255
NEGLIGIBLE = 2.0**-24

FOLDED_UNITS = {
    "context.weight": CONTEXT_UNIT,
    "first_head.weight": HEAD_UNIT,
    "second_head.weight": HEAD_UNIT,
}
"""Constant factors of the float network that the integer one has in its weights."""


def gaussian_tables() -> FrequencyTables:
    """One zero-mean table per scale level, from the cell probability of the Gaussian."""
    low, tables = [], []
    for level in range(SIGMA_LEVELS):
        sigma = sigma_of_level(torch.tensor(float(level), dtype=torch.float64))
        radius = math.ceil(DEVIATIONS * sigma) + MARGIN
        symbols = torch.arange(-radius, radius + 1, dtype=torch.float64)
        low.append(-radius)
        tables.append(quantise_frequencies(gaussian_cell_probability(symbols, sigma).numpy()))
    return FrequencyTables.build(low, tables)


@torch.no_grad()
def factorized_tables(density: FactorizedDensity, channels: int) -> FrequencyTables:
    """One table per channel of z, from its cell probability, as wide as it has mass."""
    symbols = torch.arange(-Z_LIMIT, Z_LIMIT + 1, dtype=torch.float64)
    grid = symbols[None, None, :, None].expand(1, channels, -1, 1)
    mass = density.double().cell_probability(grid)[0, :, :, 0].numpy()
    low, tables = [], []
    for row in mass:
        likely = np.flatnonzero(row > NEGLIGIBLE)
        first = max(0, int(likely.min(initial=Z_LIMIT)) - MARGIN)
        last = min(len(row) - 1, int(likely.max(initial=Z_LIMIT)) + MARGIN)
        low.append(first - Z_LIMIT)
        tables.append(quantise_frequencies(row[first : last + 1]))
    return FrequencyTables.build(low, tables)


def export_model(model: RoundingAutoencoder, name: str, training: dict[str, Any]) -> Weights:
    """Turn a trained model into weights that compress pictures.

    Raises:
        WeightsError: a parameter is not finite, does not fit its type, or breaks the
            exactness bound.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for full_name, tensor in model.state_dict().items():
        part, _, rest = full_name.partition(".")
        values = tensor.detach().cpu().numpy()
        if not np.all(np.isfinite(values)):
            raise WeightsError(f"{full_name} is not finite; this checkpoint cannot be exported")
        if part == "prior":
            tensors[full_name] = quantise(values, FOLDED_UNITS.get(rest, 1.0))
        elif part in ("gain", "z_density"):
            tensors[full_name] = values.astype(np.float32)
        elif np.abs(values).max() >= np.finfo(np.float16).max:
            raise WeightsError(f"{full_name} does not fit 16-bit floats")
        else:
            tensors[full_name] = values.astype(np.float16)
    density = FactorizedDensity(model.config.hyper)
    density.load_state_dict(model.z_density.state_dict())
    tensors |= gaussian_tables().to_tensors("tables.y")
    tensors |= factorized_tables(density, model.config.hyper).to_tensors("tables.z")
    config = json.dumps(model.config.to_dict(), sort_keys=True)
    return Weights(name, config, tensors, training)


def export_weights(checkpoint: Checkpoint, target: Path, name: str) -> Weights:
    """Export a checkpoint's averaged model to a file, and load that file back to verify it.

    Raises:
        WeightsError: the model cannot be exported.
    """
    training = dataclasses.asdict(checkpoint.training)
    training |= {"steps": checkpoint.position.step}
    training |= {"minutes": round(checkpoint.position.elapsed / 60, 1)}
    weights = export_model(checkpoint.averaged_model(), name, training)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(weights.to_bytes())
    load_weights(partial)
    partial.replace(target)
    return weights


def initial_state(model: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Configuration and parameters of exported weights, to continue training from.

    Args:
        model: name of a released model, or path of a weights file.

    Raises:
        WeightsError: the weights are missing or unsound.
    """
    weights = load_weights(find_weights(model))
    state: dict[str, Tensor] = {}
    for name, array in weights.tensors.items():
        part, _, rest = name.partition(".")
        if part == "tables":
            continue
        values = torch.from_numpy(array.astype(np.float32))
        if part == "prior":
            unit = FOLDED_UNITS.get(rest, 1.0) * 2**WEIGHT_BITS
            values = torch.from_numpy((array / unit).astype(np.float32))
        state[name] = values
    return weights.config, state
