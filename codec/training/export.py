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

from codec.encoder.rdoq import Rdoq, rdoq_of
from codec.entropy.dyadic import UNIT, quantise
from codec.entropy.graph import prior_parameters
from codec.entropy.index_prior import POWERS
from codec.entropy.model import entropy_model, with_self_check
from codec.entropy.tables import TOTAL, FrequencyTables, quantise_frequencies
from codec.entropy.z_contexts import CONTEXTS
from codec.errors import WeightsError
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.build import Autoencoder
from codec.model.densities import (
    SIGMA_LEVELS,
    FactorizedDensity,
    gaussian_cell_probability,
    sigma_of_level,
)
from codec.model.restoration import Kernels
from codec.training import hyper_tables
from codec.training.calibration import (
    count_symbols,
    fit_mixtures,
    latent_curvature,
    mixture_cell_probability,
)
from codec.training.checkpoint import Checkpoint
from codec.training.hyper_tables import count_hyper_symbols, fit_hyper_tables, without_counts
from codec.training.kernels import fit_kernels, products
from codec.weights.file import Weights, load_weights

DEVIATIONS = 6.0
"""Half width of a Gaussian's table in standard deviations."""
Y_MARGIN = 512
"""Symbols that a table covers beyond that, at 24 bits each: what the prior did not see coming, as
in line art, must not be cut to what it did. Each of the others costs 1e-4 bits more for it."""
TABLE_PICTURES = 96
"""Crops of 256x256 whose symbols are counted."""
CURVATURE_PICTURES = 16
"""Crops of 256x256 over whose 4,096 positions a channel's curvature is averaged."""


def gaussian_tables(mixtures: Tensor | None = None) -> FrequencyTables:
    """One zero-mean table per scale level, from the cell probability of the Gaussian.

    Args:
        mixtures: weights of a mixture around each scale, see `codec.training.calibration`.
    """
    low, tables = [], []
    for level in range(SIGMA_LEVELS):
        sigma = sigma_of_level(torch.tensor(float(level), dtype=torch.float64))
        radius = math.ceil(DEVIATIONS * sigma) + Y_MARGIN
        symbols = torch.arange(-radius, radius + 1, dtype=torch.float64)
        low.append(-radius)
        if mixtures is None:
            mass = gaussian_cell_probability(symbols, sigma)
        else:
            mass = mixture_cell_probability(symbols, sigma, mixtures[level])
        tables.append(quantise_frequencies(mass.numpy()))
    return FrequencyTables.build(low, tables)


@torch.no_grad()
def factorized_mass(density: FactorizedDensity, channels: int, limit: int) -> NDArray[np.float64]:
    """Cell probabilities of each channel of z, float64 [channels, 2 limit + 1]."""
    symbols = torch.arange(-limit, limit + 1, dtype=torch.float64)
    grid = symbols[None, None, :, None].expand(1, channels, -1, 1)
    mass: NDArray[np.float64] = density.double().cell_probability(grid)[0, :, :, 0].numpy()
    return mass


def powers_of_two() -> NDArray[np.int32]:
    """2^24 2^(-d/1024), rounded: what turns differences of logits into frequencies."""
    return np.floor(TOTAL * np.exp2(-np.arange(POWERS) / UNIT) + 0.5).astype(np.int32)


def export_model(
    model: Autoencoder,
    name: str,
    training: dict[str, Any],
    mixtures: Tensor | None = None,
    curvature: Tensor | None = None,
    kernels: Kernels | None = None,
    hyper_counts: NDArray[np.float64] | None = None,
) -> Weights:
    """Turn a trained model into weights that compress pictures.

    Args:
        training: how it was trained, for the record.
        mixtures: of the tables of y, if they were fitted.
        curvature: of the distortion along y, if it was measured, [anchors, M].
        kernels: of the restoration filter, if they were fitted.
        hyper_counts: of the symbols of z by context, if they were counted; else tables of z are
            those of the trained density.

    Raises:
        WeightsError: a parameter is not finite, does not fit its type, or breaks the
            exactness bound.
    """
    tensors: dict[str, NDArray[Any]] = {}
    parameters = prior_parameters(model.config)
    for full_name, tensor in model.state_dict().items():
        part, _, rest = full_name.partition(".")
        if full_name == "quantizer.usage":
            continue
        values = tensor.detach().cpu().numpy()
        if not np.all(np.isfinite(values)):
            raise WeightsError(f"{full_name} is not finite; this checkpoint cannot be exported")
        if part == "prior":
            tensors[full_name] = quantise(values, parameters[rest].unit)
        elif part in ("gain", "z_density"):
            tensors[full_name] = values.astype(np.float32)
        elif np.abs(values).max() >= np.finfo(np.float16).max:
            raise WeightsError(f"{full_name} does not fit 16-bit floats")
        else:
            tensors[full_name] = values.astype(np.float16)
    if isinstance(model, RoundingAutoencoder):
        density = FactorizedDensity(model.config.hyper)
        density.load_state_dict(model.z_density.state_dict())
        tensors |= gaussian_tables(mixtures).to_tensors("tables.y")
        mass = factorized_mass(density, model.config.hyper, hyper_tables.LIMIT)
        counts = without_counts(model.config) if hyper_counts is None else hyper_counts
        fitted = fit_hyper_tables(counts, mass)
        rows = [quantise_frequencies(row) for row in fitted.probabilities]
        z_tables = FrequencyTables.build([-hyper_tables.LIMIT] * len(rows), rows)
        shape = (model.config.anchors, CONTEXTS, model.config.hyper)
        tensors["tables.z_context"] = np.broadcast_to(fitted.numbers, shape).copy()
        tensors |= z_tables.to_tensors("tables.z")
        if curvature is not None:
            tensors["tables.curvature"] = curvature.numpy()
        for part, values in (kernels._asdict() if kernels else {}).items():
            tensors[f"restoration.{part}"] = values.numpy()
    elif model.config.index_prior == "learned":
        tensors["prior.powers"] = powers_of_two()
    config = json.dumps(model.config.to_dict(), sort_keys=True)
    return with_self_check(Weights(name, config, tensors, training))


def export_weights(
    checkpoint: Checkpoint, target: Path, photographs: Tensor | None = None
) -> Weights:
    """Export a checkpoint's averaged model to a file, and load that file back to verify it.

    Args:
        photographs: training pictures to fit the tables of y and z and, but for MS-SSIM, the
            kernels of the restoration filter to, and to measure the curvature of the distortion
            on, uint8 [n, 3, H, W].

    Raises:
        WeightsError: the model cannot be exported.
    """
    training = dataclasses.asdict(checkpoint.training)
    name = training.pop("name")
    training |= {"steps": checkpoint.position.step}
    training |= {"minutes": round(checkpoint.position.elapsed / 60, 1)}
    model = checkpoint.averaged_model()
    mixtures = curvature = kernels = hyper_counts = None
    finite = all(bool(p.isfinite().all()) for p in model.parameters())  # else the export refuses
    if finite and photographs is not None and isinstance(model, RoundingAutoencoder):
        curvature = latent_curvature(model, photographs[:CURVATURE_PICTURES])
        rdoq = None if curvature is None else Rdoq(gaussian_tables(), curvature.numpy())
        mixtures = fit_mixtures(count_symbols(model, photographs[:TABLE_PICTURES], rdoq))
        hyper_counts = count_hyper_symbols(model, photographs)
        if model.config.restorable:
            kernels = fit_kernels(products(model, photographs))
    weights = export_model(model, name, training, mixtures, curvature, kernels, hyper_counts)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(weights.to_bytes())
        verified = load_weights(partial)
        rdoq_of(verified, entropy_model(verified))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return weights
