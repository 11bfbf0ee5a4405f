"""Weights of a model, exported or in a checkpoint, as the start of a new run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.entropy.graph import WEIGHT_BITS, prior_parameters
from codec.entropy.model import entropy_model
from codec.errors import WeightsError
from codec.model.build import check_state
from codec.model.initialisation import with_blocks, with_lambdas, with_units
from codec.model.rate import interpolate
from codec.training.checkpoint import is_checkpoint, load_checkpoint
from codec.weights.config import ModelConfig
from codec.weights.file import Weights, load_weights
from codec.weights.released import find_weights

Parameters = dict[str, Tensor]
"""Parameters of an autoencoder by name."""

TRANSFORM_SHAPE = (
    "transform",
    "channels8",
    "channels16",
    "blocks8",
    "blocks16",
    "latent",
    "gate_bound",
    "gates16",
    "hidden16",
    "filter4",
)


def initial_state(
    model: str, changes: Mapping[str, Any] = MappingProxyType({})
) -> tuple[ModelConfig, Parameters]:
    """Read configuration and parameters of a model, to continue training from.

    Gates without a bound get that of new models.

    Args:
        model: name of a released model, or path of a weights file, or of a checkpoint, of which the
            averaged weights count.
        changes: changed fields of the configuration. `blocks8` and `blocks16` may grow, and
            `filter4` where there is no filter; new layers start as the identity. They may shrink
            too, `filter4` to 0 only, which removes the last blocks, and so may `hidden16`, which
            keeps the units with the larger weights. `gates16` may become False, which removes the
            trained gates. `distortion` may be any, and so may `lambda_min` and `lambda_max` where
            there is a range of lambdas, which `anchors` 1 makes one.

    Raises:
        WeightsError: the weights are missing or unsound, or cannot be changed in this way.
        TrainingError: the checkpoint is damaged.
    """
    path = find_weights(model)
    if is_checkpoint(path):
        checkpoint = load_checkpoint(path)
        config, state = checkpoint.model, checkpoint.part("average")
    else:
        weights = load_weights(path)
        entropy_model(weights)
        config, state = weights.config, state_of(weights)
        try:
            check_state(config, state)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
    config = dataclasses.replace(config, gate_bound=config.gate_bound or ModelConfig.gate_bound)
    if "lambda_max" in changes and (config.anchors == 1 or config.rounding == "vq"):
        raise WeightsError(f"{model} keeps its lambdas: it has one, or rounds to centres")
    changed = dataclasses.replace(config, **changes)
    if changed.gates16 > config.gates16:
        raise WeightsError(f"{model} has no gates at 1/16; a model that starts from it has none")
    if changed.units16 > config.units16:
        raise WeightsError(
            f"{model} has {config.units16} hidden units at 1/16; "
            "a model that starts from it has at most as many"
        )
    if config.filter4 and changed.filter4 not in (0, config.filter4):
        raise WeightsError(
            f"{model} has a filter of width {config.filter4}, which may stay or go, by --filter4 0"
        )
    if (changed.lambda_min, changed.lambda_max) != (config.lambda_min, config.lambda_max):
        state = with_lambdas(config, changed, state)
    return changed, with_blocks(config, changed, with_units(changed.units16, state))


def state_of(weights: Weights) -> Parameters:
    """Convert exported weights to float parameters of the autoencoder."""
    state: Parameters = {}
    parameters = prior_parameters(weights.config)
    for name, array in weights.tensors.items():
        part, _, rest = name.partition(".")
        if part in ("tables", "restoration") or (part == "prior" and rest not in parameters):
            continue
        values = torch.from_numpy(array.astype(np.float32))
        if part == "prior":
            unit = parameters[rest].unit * 2**WEIGHT_BITS
            values = torch.from_numpy((array / unit).astype(np.float32))
        state[name] = values
    if "quantizer.centres" in state:
        state["quantizer.usage"] = torch.zeros(state["quantizer.centres"].shape[:3])
    return state


def with_transforms_of(
    old: ModelConfig, state: Mapping[str, Tensor], config: ModelConfig
) -> tuple[ModelConfig, Parameters]:
    """Adapt the transforms of a model that rounds to integers to one that rounds to centres.

    Parameters learned per lambda are interpolated at the lambdas of the new model, clamped to the
    old range. The gains of the highest rate are folded into the last layer of g_a, since the new
    model has none.

    Args:
        old: configuration of the model that rounds to integers.
        state: its parameters.
        config: configuration of the new model, except for the shape of the transforms.

    Returns:
        The new configuration, and parameters of its g_a and g_s.

    Raises:
        WeightsError: the model has no such transforms.
    """
    if old.rounding != "integer" or old.transform != "lowres":
        raise WeightsError("only lowres models with integer rounding lend transforms")
    config = dataclasses.replace(config, **{name: getattr(old, name) for name in TRANSFORM_SHAPE})
    lambdas = [config.lambda_of(level) for level in range(config.anchors)]
    bounded = [min(max(value, old.lambda_min), old.lambda_max) for value in lambdas]
    positions = torch.tensor([old.level_of(value) for value in bounded])
    carried = {
        name: interpolate(tensor, positions)[:, :, 0, 0] if name.endswith("log_scale") else tensor
        for name, tensor in state.items()
        if name.split(".")[0] in ("g_a", "g_s")
    }
    top = positions[-1:]
    log_gain = [
        interpolate(state[f"gain.{name}"], top)[0, :, 0, 0] for name in ("log_gain", "log_inverse")
    ]
    gain = torch.stack(log_gain).sum(0).exp()
    carried["g_a.head.weight"] = carried["g_a.head.weight"] * gain[:, None]
    carried["g_a.head.bias"] = carried["g_a.head.bias"] * gain
    return config, carried
