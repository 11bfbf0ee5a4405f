"""Checkpoints: the exact state of a run, tensors as safetensors, everything else as JSON.

Optimiser state is flattened to `optimiser.<i>.<parameter>.<key>`. There is no pickle: a checkpoint
is as safe to open as a picture.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from codec.errors import CodecError, TrainingError
from codec.files import write_file
from codec.model.build import Autoencoder, build_autoencoder, check_state
from codec.training.schedule import TrainingConfig
from codec.weights.config import ModelConfig
from codec.weights.file import CHECKPOINT

MEANS = ("exp_avg", "exp_avg_sq")
"""Running means that Adam keeps for each parameter, of its shape, besides the number of steps."""
FORMAT = f"{CHECKPOINT}-2"
UNREADABLE = (
    *(SafetensorError, OSError, CodecError),
    *(KeyError, TypeError, ValueError, AttributeError, RecursionError),
)
"""What reading a file of any content may raise."""


@dataclass
class Position:
    """Steps and time that a run has behind it."""

    step: int = 0
    elapsed: float = 0.0
    """Seconds of training, without validation and saving."""

    def __post_init__(self) -> None:
        if type(self.step) is not int or self.step < 0:
            raise TrainingError(f"a run cannot be at step {self.step!r}")
        if not (isinstance(self.elapsed, int | float) and 0 <= self.elapsed < math.inf):
            raise TrainingError(f"a run cannot have taken {self.elapsed!r} seconds")


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file."""

    model: ModelConfig
    training: TrainingConfig
    position: Position
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names begin with `prefix` and a dot, without these."""
        start = len(prefix) + 1
        return {n[start:]: t for n, t in self.tensors.items() if n.startswith(f"{prefix}.")}

    def averaged_model(self) -> Autoencoder:
        """Build the model with averaged weights, which is validated and exported."""
        model = build_autoencoder(self.model)
        model.load_state_dict(self.part("average"))
        return model.eval()


def save_checkpoint(
    path: Path,
    training: TrainingConfig,
    position: Position,
    model: Autoencoder,
    average: Autoencoder,
    optimisers: Sequence[Optimizer],
) -> None:
    """Write a checkpoint atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {f"model.{n}": t for n, t in model.state_dict().items()}
    tensors |= {f"average.{n}": t for n, t in average.state_dict().items()}
    for i, optimiser in enumerate(optimisers):
        for parameter, state in optimiser.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimiser.{i}.{parameter}.{key}"] = torch.as_tensor(value)
    metadata = {
        "format": FORMAT,
        "model": json.dumps(model.config.to_dict()),
        "training": json.dumps(dataclasses.asdict(training)),
        "position": json.dumps(dataclasses.asdict(position)),
        "tensors": str(len(tensors)),
    }
    content = save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, metadata)
    write_file(path, content, force=True)


def is_checkpoint(path: Path) -> bool:
    """Whether a file says that it is a checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        TrainingError: the file is missing, damaged or of another format, or its parts contradict
            each other.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise TrainingError(f"its format is not {FORMAT}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model, training = json.loads(metadata["model"]), json.loads(metadata["training"])
        if "distortion" in training:  # where older checkpoints have it
            model["distortion"] = training.pop("distortion")
        checkpoint = Checkpoint(
            ModelConfig.from_dict(model),
            TrainingConfig.from_dict(training),
            Position(**json.loads(metadata["position"])),
            tensors,
        )
        count = int(metadata.get("tensors", len(tensors)))  # which older checkpoints lack
        if len(tensors) != count:
            raise TrainingError(f"it has {len(tensors)} of {count} tensors")
        for part in ("model", "average"):
            check_state(checkpoint.model, checkpoint.part(part), f"{part}.")
        return checkpoint
    except UNREADABLE as error:
        raise TrainingError(
            f"{path}: not a sound checkpoint ({error}); copy it again, or start a new run"
        ) from error


def restore_optimisers(checkpoint: Checkpoint, optimisers: Sequence[Optimizer]) -> None:
    """Load optimiser state saved by `save_checkpoint` into freshly built optimisers.

    Raises:
        TrainingError: the state is missing, incomplete, or belongs to other parameters.
    """
    if checkpoint.position.step and not checkpoint.part("optimiser"):
        # Adam would start again from zero means in the middle of a schedule.
        raise TrainingError(
            "the checkpoint has no state of the optimiser; start a run from it with --init"
        )
    for i, optimiser in enumerate(optimisers):
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        shapes = [dict.fromkeys(MEANS, p.shape) | {"step": torch.Size(())} for p in parameters]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.part(f"optimiser.{i}").items():
            number, _, key = name.partition(".")
            place = int(number) if number.isdecimal() else len(parameters)
            if place >= len(parameters) or tensor.shape != shapes[place].get(key):
                raise TrainingError("the checkpoint's optimiser state fits another model")
            if key in MEANS:
                # A fused optimiser goes through memory in order, whatever the strides say.
                layout = torch.empty_like(parameters[place], dtype=tensor.dtype)
                tensor = layout.copy_(tensor)
            state.setdefault(place, {})[key] = tensor
        if any(len(found) != len(MEANS) + 1 for found in state.values()):
            raise TrainingError(
                "the checkpoint's optimiser state is incomplete; start a run from it with --init"
            )
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
