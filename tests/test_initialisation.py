from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from codec.errors import WeightsError
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.hyperprior import PriorBlock
from codec.model.initialisation import restart_dead_units
from codec.model.transforms import Block, LowResAnalysis, LowResSynthesis
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.training.export import export_model
from codec.training.initial import initial_state
from codec.weights.config import ModelConfig
from codec.weights.file import load_weights
from tests.helpers import TINY, TINY_VQ


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(8, 3, 64, 64)


@pytest.fixture
def model(tiny_config: ModelConfig, pictures: torch.Tensor) -> RoundingAutoencoder:
    model = RoundingAutoencoder(dataclasses.replace(tiny_config, gates16=True, filter4=0))
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    for _ in range(2):  # those that the draw of the weights left dead, and those behind them
        restart_dead_units(model, pictures)
    return model


def shown(model: RoundingAutoencoder, pictures: torch.Tensor, level: float = 3.5) -> torch.Tensor:
    with torch.no_grad():
        result = model(pictures, torch.full((len(pictures),), float(level)), "rounded")
    return torch.cat([result.x_hat.flatten(), result.y_bits, result.z_bits])


def block_of(model: RoundingAutoencoder) -> Block:
    (block,) = (b for n, b in model.named_modules() if n == "g_s.blocks16.0")
    assert isinstance(block, Block)
    return block


def test_layers_are_added_and_gates_dropped(
    model: RoundingAutoencoder, pictures: torch.Tensor, tmp_path: Path
) -> None:
    start = str(tmp_path / "start.safetensors")
    Path(start).write_bytes(export_model(model, "start", {}).to_bytes())
    old_config, old_state = initial_state(start)
    assert (old_config.filter4, old_config.gates16) == (0, True)
    old = RoundingAutoencoder(old_config)
    old.load_state_dict(old_state)
    changes = {"blocks8": old_config.blocks8 + 2, "blocks16": old_config.blocks16 + 1}

    config, state = initial_state(start, changes)
    deeper = RoundingAutoencoder(config)
    deeper.load_state_dict(state)
    assert (config.blocks8, config.blocks16) == tuple(changes.values())
    assert torch.equal(shown(deeper, pictures), shown(old, pictures))

    config, state = initial_state(start, {"filter4": 5})
    filtering = RoundingAutoencoder(config)
    filtering.load_state_dict(state)
    assert torch.equal(shown(filtering, pictures), shown(old, pictures))
    parameters = [sum(p.numel() for p in m.g_s.parameters()) for m in (old, filtering)]
    assert parameters[1] - parameters[0] == 5 * 48 * 9 + 5 + 5 * 5 + 5 + 48 * 5 * 9 + 48

    config, state = initial_state(start, changes | {"gates16": False})
    plain = RoundingAutoencoder(config)
    plain.load_state_dict(state)
    with torch.no_grad():
        for name, parameter in old.named_parameters():
            if ".blocks16." in name and ".w4." in name:
                parameter.zero_()
    assert torch.equal(shown(plain, pictures), shown(old, pictures))
    with pytest.raises(WeightsError, match="filter of width 8"):
        initial_state(str(TINY), {"filter4": 5})


def test_layers_and_units_are_removed(
    model: RoundingAutoencoder, pictures: torch.Tensor, tmp_path: Path
) -> None:
    unused = [1, 4, 6]
    with torch.no_grad():
        for part in (model.g_a, model.g_s):
            assert isinstance(part, LowResAnalysis | LowResSynthesis)
            block = part.blocks16[0]
            assert isinstance(block, Block)
            block.w2.weight[:, unused] = 0
    start = tmp_path / "start.safetensors"
    start.write_bytes(export_model(model, "start", {}).to_bytes())
    old = RoundingAutoencoder(initial_state(str(start))[0])
    old.load_state_dict(initial_state(str(start))[1])
    assert old.config.units16 == 8

    config, state = initial_state(str(start), {"hidden16": 5})
    narrow = RoundingAutoencoder(config)
    narrow.load_state_dict(state)
    assert narrow.state_dict()["g_s.blocks16.0.dw.weight"].shape == (5, 3, 3)
    assert torch.allclose(shown(narrow, pictures), shown(old, pictures), rtol=1e-5, atol=1e-5)
    with pytest.raises(WeightsError, match="has 8 hidden units at 1/16"):
        initial_state(str(start), {"hidden16": 9})

    config, state = initial_state(str(TINY), {"blocks8": 0, "filter4": 0})
    shallow = RoundingAutoencoder(config)
    shallow.load_state_dict(state)
    assert not [name for name in state if ".blocks8." in name or ".filter." in name]


def test_lambdas_move_and_what_a_lambda_gives_stays(
    model: RoundingAutoencoder, pictures: torch.Tensor, tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    start.write_bytes(export_model(model, "start", {}).to_bytes())

    def coded(level: float, **changes: float) -> torch.Tensor:
        config, state = initial_state(str(start), changes)
        moved = RoundingAutoencoder(config)
        moved.load_state_dict(state)
        return shown(moved, pictures, level)

    low, high = model.config.lambda_min, model.config.lambda_max
    wide = {"lambda_max": high**2 / low}  # twice the range
    assert torch.allclose(coded(1, **wide), coded(2), rtol=1e-4, atol=1e-5)
    one = {"lambda_min": model.config.lambda_of(2.5), "lambda_max": model.config.lambda_of(2.5)}
    assert torch.allclose(coded(0, anchors=1, **one), coded(2.5), rtol=1e-4, atol=1e-5)

    gains = initial_state(str(start), wide)[1]["gain.log_gain"]  # beyond the range they go on
    assert torch.allclose(gains[-1] - gains[-2], gains[-2] - gains[-3], atol=1e-5)
    with pytest.raises(WeightsError, match="keeps its lambdas"):
        initial_state(str(TINY_VQ), {"lambda_max": 9.0})


def kill(model: RoundingAutoencoder) -> None:
    """Three units that no picture switches on."""
    with torch.no_grad():
        block_of(model).w3.bias[8 + 5] = -1e4  # the gate of unit 5
        block16 = model.prior.get_submodule("block16")
        assert isinstance(block16, PriorBlock)
        block16.dw.bias[2] = -1e4
        model.h_a.down32.bias[1] = -1e4


def test_units_that_live_are_left_alone(model: RoundingAutoencoder, pictures: torch.Tensor) -> None:
    with torch.no_grad():  # a gate that few places switch on
        seen: list[torch.Tensor] = []
        block = block_of(model)
        hook = block.w3.register_forward_hook(lambda *arguments: seen.append(arguments[2]))
        shown(model, pictures)
        hook.remove()
        block.w3.bias[8 + 5] -= seen[0][:, 8 + 5].quantile(0.98)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert restart_dead_units(model, pictures) == 0
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_dead_units_come_back_and_change_nothing(
    model: RoundingAutoencoder, pictures: torch.Tensor
) -> None:
    kill(model)
    before = shown(model, pictures)
    assert restart_dead_units(model, pictures) >= 3  # and what else the three have killed
    assert torch.allclose(shown(model, pictures), before, rtol=1e-5, atol=1e-5)

    model(pictures, torch.full((8,), 3.5), "rounded").x_hat.square().sum().backward()
    gradient = block_of(model).w4.weight.grad
    assert gradient is not None
    assert gradient[:, 5].abs().min() > 0


def test_a_unit_that_one_of_several_passes_switches_on_is_alive() -> None:
    config = load_weights(TINY_VQ).config
    model = VectorAutoencoder(config)
    model.load_state_dict(initial_state(str(TINY_VQ))[1])
    pictures = torch.rand(16, 3, 64, 64)
    levels = torch.linspace(0, config.anchors - 1, 16).floor()

    def bits() -> torch.Tensor:
        with torch.no_grad():
            return model(pictures, levels, "rounded").y_bits

    before = bits()
    restart_dead_units(model, pictures)
    assert torch.allclose(bits(), before, rtol=1e-5)
