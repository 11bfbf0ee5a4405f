from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from codec.codec import Codec
from codec.model.autoencoder import RoundingAutoencoder
from codec.training.checkpoint import Position, save_checkpoint
from codec.training.initial import state_of
from codec.training.schedule import TrainingConfig
from codec.weights.file import Weights, load_weights
from scripts.average import main
from tests.helpers import DATA, TINY, TINY_VQ

PHOTOS = [str(DATA / name) for name in ("city.png", "flowers.png", "path.png")]


@pytest.fixture
def after(tiny_weights: Weights, tmp_path: Path) -> Path:
    """The tiny model with larger steps in the last layer of its synthesis, for looks."""
    tensors = dict(tiny_weights.tensors)
    tensors["g_s.stem.weight"] = tensors["g_s.stem.weight"] * np.float16(1.5)
    config = {**tiny_weights.config.to_dict(), "distortion": "looks"}
    path = tmp_path / "after.safetensors"
    training = {**tiny_weights.training, "minutes": 0.5}
    path.write_bytes(
        dataclasses.replace(
            tiny_weights,
            config_text=json.dumps(config, sort_keys=True),
            tensors=tensors,
            training=training,
        ).to_bytes()
    )
    return path


def test_a_checkpoint_counts_by_its_averaged_weights(tiny_weights: Weights, tmp_path: Path) -> None:
    run, out = tmp_path / "last.safetensors", tmp_path / "mean.safetensors"
    model = RoundingAutoencoder(tiny_weights.config)
    model.load_state_dict(state_of(tiny_weights))
    average = copy.deepcopy(model)
    with torch.no_grad():
        average.g_s.head.weight.mul_(2)  # type: ignore[union-attr,operator]
    training = TrainingConfig(name="run", steps=100)
    save_checkpoint(run, training, Position(40, 60.0), model, average, [])
    arguments = [str(TINY), str(run), *PHOTOS, str(out), "--share", "1", "--crops", "24"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    mean = load_weights(out)
    head = tiny_weights.tensors["g_s.head.weight"]
    assert np.array_equal(mean.tensors["g_s.head.weight"], 2 * head)
    assert (mean.name, mean.training["steps"], mean.training["minutes"]) == ("photo", 40, 1.0)


@pytest.mark.parametrize(("share", "also"), [(0.0, []), (0.5, ["--also", str(TINY)])])
def test_the_mean_of_models(
    tiny_weights: Weights, after: Path, tmp_path: Path, share: float, also: list[str]
) -> None:
    out = tmp_path / "mean.safetensors"
    arguments = [str(TINY), str(after), *PHOTOS, str(out), "--share", str(share), "--name", "mean"]
    arguments += [*also, "--crops", "24"]
    share /= 1 + len(also) // 2
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    mean = load_weights(out)
    assert mean.name == "mean"
    assert mean.config == tiny_weights.config
    assert mean.short_id.hex() in done.output
    before, both = tiny_weights.tensors["g_s.stem.weight"], mean.tensors["g_s.stem.weight"]
    assert both.astype(float) == pytest.approx(before.astype(float) * (1 + share / 2), rel=2e-3)
    for name in ("g_a.stem.weight", "g_s.head.weight"):
        assert np.array_equal(mean.tensors[name], tiny_weights.tensors[name])
    assert "tables.curvature" in mean.tensors
    assert mean.training["steps"] == tiny_weights.training["steps"]
    codec = Codec(mean)
    assert codec.decompress(codec.compress(np.zeros((40, 30), np.uint8))).size == (30, 40)

    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "exists" in again.output


def test_models_of_different_shapes_have_none(tmp_path: Path) -> None:
    arguments = [str(TINY), str(TINY_VQ), *PHOTOS, str(tmp_path / "out.safetensors")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "different shapes" in done.output
