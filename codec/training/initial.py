"""Weights that were exported before, as the start of a new run."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from codec.errors import WeightsError
from codec.model.config import ModelConfig
from codec.model.rate import interpolate
from codec.runtime.dyadic import WEIGHT_BITS
from codec.runtime.released import find_weights
from codec.runtime.weights import Weights, load_weights
from codec.training.export import FOLDED_UNITS

TRANSFORM_SHAPE = (
    "transform",
    "channels8",
    "channels16",
    "blocks8",
    "blocks16",
    "latent",
    "gate_bound",
)


def initial_state(model: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Configuration and parameters of exported weights, to continue training from.

    The gates get the bound that new models have, if they had none.

    Args:
        model: name of a released model, or path of a weights file.

    Raises:
        WeightsError: the weights are missing or unsound.
    """
    weights = load_weights(find_weights(model))
    config = weights.config
    bound = config.gate_bound or ModelConfig.gate_bound
    return dataclasses.replace(config, gate_bound=bound), state_of(weights)


def state_of(weights: Weights) -> dict[str, Tensor]:
    """Parameters of the autoencoder, in floats, of exported weights."""
    state: dict[str, Tensor] = {}
    for name, array in weights.tensors.items():
        part, _, rest = name.partition(".")
        if part == "tables" or name == "prior.powers":
            continue
        values = torch.from_numpy(array.astype(np.float32))
        if part == "prior":
            unit = FOLDED_UNITS.get(rest, 1.0) * 2**WEIGHT_BITS
            values = torch.from_numpy((array / unit).astype(np.float32))
        state[name] = values
    if "quantizer.centres" in state:
        state["quantizer.usage"] = torch.zeros(state["quantizer.centres"].shape[:3])
    return state


def with_transforms_of(model: str, config: ModelConfig) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Transforms of a model that rounds to integers, for one that rounds to centres.

    Quantities learned per lambda are taken at the lambdas of the new ladder, as far as the old
    one reaches. The gains at the ladder's end go into the last layer of g_a, so that g_s reads
    its latents as they are.

    Args:
        model: name of a released model, or path of a weights file.
        config: of the new model; takes over the shape of the transforms.

    Returns:
        The new configuration, and parameters of its g_a and g_s.

    Raises:
        WeightsError: the weights are missing or unsound, or have no such transforms.
    """
    old, state = initial_state(model)
    if old.rounding != "integer" or old.transform != "lowres":
        raise WeightsError(f"{model}: only lowres models with integer rounding lend transforms")
    config = dataclasses.replace(config, **{name: getattr(old, name) for name in TRANSFORM_SHAPE})
    lambdas = [config.lambda_of(level) for level in range(config.anchors)]
    bounded = [min(max(value, old.lambda_min), old.lambda_max) for value in lambdas]
    places = torch.tensor([old.level_of(value) for value in bounded])
    carried = {
        name: interpolate(tensor, places) if name.endswith("log_scale") else tensor
        for name, tensor in state.items()
        if name.split(".")[0] in ("g_a", "g_s")
    }
    top = places[-1:]
    log_gain = [interpolate(state[f"gain.{name}"], top)[0] for name in ("log_gain", "log_inverse")]
    gain = torch.stack(log_gain).sum(0).exp()
    carried["g_a.head.weight"] = carried["g_a.head.weight"] * gain[:, None]
    carried["g_a.head.bias"] = carried["g_a.head.bias"] * gain
    return config, carried
