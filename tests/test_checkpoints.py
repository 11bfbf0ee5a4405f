"""Checkpoints whose parts contradict each other: refused with one line, by all that read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from codec.errors import TrainingError, WeightsError
from codec.model.initialisation import with_blocks
from codec.training.checkpoint import FORMAT, load_checkpoint
from codec.training.initial import initial_state
from codec.training.loop import Trainer, train
from codec.training.run_folder import LAST
from codec.training.schedule import TrainingConfig
from codec.weights.config import ModelConfig
from codec.weights.file import load_weights
from tests.helpers import DATA, TINY, Run, fails

SETTINGS = TrainingConfig(
    steps=2, batch_pixels=2 * 64 * 64, crop=64, cache_mib=13, holdout=0.0, export_crops=8
)
Tensors = dict[str, Tensor]
Change = Callable[[Tensors, dict[str, str]], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, tiny_config: ModelConfig) -> Path:
    run = tmp_path_factory.mktemp("run")
    train(Trainer(run, [DATA / "city.png"], tiny_config, SETTINGS))
    return run / LAST


def changed(sound: Path, run: Path, change: Change) -> Path:
    """A checkpoint in a folder of its own, changed before it was written."""
    with safe_open(sound, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    save_file(tensors, run / LAST, metadata)
    return run / LAST


def without(prefix: str, counted: bool = False) -> Change:
    def change(tensors: Tensors, metadata: dict[str, str]) -> None:
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]
        if counted:
            metadata["tensors"] = str(len(tensors))

    return change


def of_another_shape(name: str) -> Change:
    def change(tensors: Tensors, metadata: dict[str, str]) -> None:
        tensors[name] = tensors[name][:-1].clone()

    return change


def of_integers(tensors: Tensors, metadata: dict[str, str]) -> None:
    tensors["average.g_s.head.bias"] = tensors["average.g_s.head.bias"].int()


def with_value(part: str, name: str, value: object) -> Change:
    def change(tensors: Tensors, metadata: dict[str, str]) -> None:
        metadata[part] = json.dumps(json.loads(metadata[part]) | {name: value})

    return change


CONTRADICTIONS = {
    " average.g_s.head.weight is missing": without("average.g_s.head.weight", counted=True),
    " model.g_a.head.weight is missing": without("model.g_a.head.weight", counted=True),
    "of [0-9]+ tensors": without("average.g_s."),
    " model.g_a.head.weight has the shape": of_another_shape("model.g_a.head.weight"),
    " average.g_a.head.weight has the shape": of_another_shape("average.g_a.head.weight"),
    "floating-point": of_integers,
    "has the shape .* instead of": with_value("model", "channels8", 16),
    "latent must be int": with_value("model", "latent", "8"),
    "at step '7'": with_value("position", "step", "7"),
    "at step -1": with_value("position", "step", -1),
    "at step True": with_value("position", "step", True),
    "taken None seconds": with_value("position", "elapsed", None),
    "taken nan seconds": with_value("position", "elapsed", float("nan")),
    "unexpected keyword": with_value("position", "epoch", 1),
    "steps cannot be '9'": with_value("training", "steps", "9"),
    "seed cannot be 0.5": with_value("training", "seed", 0.5),
    "warmup_steps must lie in 1": with_value("training", "warmup_steps", 0),
    "learning_rate must lie in": with_value("training", "learning_rate", float("nan")),
    "surrogate cannot be 'magic'": with_value("training", "surrogate", "magic"),
}


@pytest.mark.parametrize("fault", CONTRADICTIONS)
def test_contradictions_are_refused(sound: Path, tmp_path: Path, fault: str) -> None:
    checkpoint = changed(sound, tmp_path, CONTRADICTIONS[fault])
    with pytest.raises(TrainingError, match=rf"{LAST}: not a sound checkpoint \(.*{fault}"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("value", ["[]", "1", "{", "[" * 100_000])
@pytest.mark.parametrize("part", ["model", "training", "position"])
def test_metadata_of_any_content(sound: Path, tmp_path: Path, part: str, value: str) -> None:
    def change(tensors: Tensors, metadata: dict[str, str]) -> None:
        metadata[part] = value

    with pytest.raises(TrainingError, match="not a sound checkpoint"):
        load_checkpoint(changed(sound, tmp_path, change))


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("no state of the optimiser", without("optimiser.", counted=True)),
        ("incomplete", without("optimiser.0.3.exp_avg_sq", counted=True)),
        ("another model", of_another_shape("optimiser.0.0.exp_avg")),
    ],
)
def test_adam_does_not_start_again(
    sound: Path, tmp_path: Path, tiny_config: ModelConfig, fault: str, change: Change
) -> None:
    checkpoint = load_checkpoint(changed(sound, tmp_path, change))
    with pytest.raises(TrainingError, match=fault):
        Trainer(tmp_path, [DATA / "city.png"], tiny_config, SETTINGS, checkpoint)


def test_older_checkpoints_do_not_tell_their_tensors(sound: Path, tmp_path: Path) -> None:
    def change(tensors: Tensors, metadata: dict[str, str]) -> None:
        del metadata["tensors"]

    assert load_checkpoint(changed(sound, tmp_path, change)).position.step == 2


def test_commands_refuse_with_one_line(sound: Path, tmp_path: Path, run: Run) -> None:
    shape = of_another_shape("average.g_s.head.weight")
    for change in (without("average.g_s."), without("average.g_s.", counted=True), shape):
        checkpoint = changed(sound, tmp_path, change)
        start = ["train", DATA / "city.png", "--crop", "64", "--batch", "2", "--steps", "4"]
        fails(run(*start, "--out", tmp_path, "--resume"), TrainingError.exit_code, LAST)
        started = run(*start, "--out", tmp_path / "new", "--init", checkpoint)
        fails(started, TrainingError.exit_code, LAST, "not a sound checkpoint")
        assert not (tmp_path / "new").exists()


def test_layers_of_weights_are_not_made_up(tmp_path: Path) -> None:
    tiny = load_weights(TINY)
    for name in ("g_s.head.weight", "g_s.filter.mix.bias", "g_a.blocks16.0.dw.weight"):
        tensors = {key: array for key, array in tiny.tensors.items() if key != name}
        path = tmp_path / "less.safetensors"
        path.write_bytes(replace(tiny, tensors=tensors).to_bytes())
        with pytest.raises(WeightsError, match=rf"less\.safetensors: .* {name} is missing"):
            initial_state(str(path))


def test_only_added_layers_are_new(tiny_config: ModelConfig) -> None:
    config, state = initial_state(str(TINY))
    with pytest.raises(KeyError, match=r"g_s\.head\.weight"):
        with_blocks(config, config, {n: t for n, t in state.items() if n != "g_s.head.weight"})
    assert all(torch.equal(state[n], t) for n, t in with_blocks(config, config, state).items())


def test_a_checkpoint_is_no_model(sound: Path, run: Run) -> None:
    assert FORMAT.startswith("vqcodec-checkpoint")
    for command in (("compress", DATA / "city.png", "-"), ("evaluate", DATA)):
        result = run(*command, "--model", sound)
        fails(result, WeightsError.exit_code, "model.safetensors of its run", "--resume --steps N")
