"""Which engine runs a model: ONNX Runtime, or torch where that is needed and installed."""

from __future__ import annotations

from typing import get_args

from codec.engine.base import Engine, EngineName, Precision
from codec.errors import InputError
from codec.weights.file import Weights


def choose_engine(
    weights: Weights,
    name: EngineName = "auto",
    device: str = "cpu",
    precision: Precision = "float32",
) -> Engine:
    """The engine of a name, or by default ONNX Runtime where it can do what is asked for.

    Args:
        weights: a verified model.
        name: "onnx", "torch", or "auto" to choose.
        device: where to run, such as "cpu" or "cuda"; other than "cpu" with torch alone.
        precision: of the convolutions; other than "float32" with torch alone.

    Raises:
        InputError: the name, the device or the precision is unknown or cannot be used here.
        WeightsError: tensors do not fit the configuration.
    """
    for kind, given, known in (("engine", name, EngineName), ("precision", precision, Precision)):
        if given not in get_args(known):
            raise InputError(f"unknown {kind} {given!r}; known: {', '.join(get_args(known))}")
    plain = device == "cpu" and precision == "float32"
    if name == "torch" or (name == "auto" and not plain):
        asked = "the engine torch" if plain else f"{precision} on {device}"
        return differentiable_engine(weights, device, precision, f"{asked} needs")
    if not plain:
        raise InputError("the engine onnx runs in float32 on cpu; choose torch", field="engine")
    from codec.engine.onnx import OnnxEngine  # not before it is needed

    return OnnxEngine(weights)


def differentiable_engine(
    weights: Weights,
    device: str = "cpu",
    precision: Precision = "float32",
    reason: str = "efforts 2 to 9 need",
) -> Engine:
    """An engine with derivatives; arguments and errors as of `choose_engine`.

    Args:
        weights: likewise.
        device: likewise.
        precision: likewise.
        reason: beginning of the line that says that torch is not installed.
    """
    try:
        from codec.engine.differentiable import DifferentiableEngine
    except ImportError as error:
        raise InputError(f"{reason} PyTorch: pip install 'vqcodec[train]'") from error
    return DifferentiableEngine(weights, device, precision)
