"""Variants of the training step: they train the same, or say why they do not work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch

from codec.model.transforms import Pointwise
from codec.training.initial import initial_state
from codec.training.loop import Trainer
from codec.training.schedule import TrainingConfig
from scripts.training_speed import BASE, SWITCHES, Run, Switch, Variants, prepare, report
from tests.conftest import DATA, TINY


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Trainer]:
    config, state = initial_state(str(TINY))
    training = TrainingConfig(
        steps=100, batch_pixels=2 * 64 * 64, crop=64, cache_mib=13, holdout=0.0, warmup_steps=1
    )
    return lambda: Trainer(tmp_path, [DATA / "city.png"], config, training, initial=dict(state))


def weights_of(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", [*(n for n in SWITCHES if n != "compile"), "linear+masters"])
def test_variants_train_the_same(name: str, make: Callable[[], Trainer]) -> None:
    base, other = prepare(BASE, make), prepare(name, make)
    assert isinstance(base, Run)
    assert isinstance(other, Run)
    for run in (base, other):
        run.steps(6)
        run.trainer.close()
    assert other.losses == pytest.approx(base.losses, rel=0.05)
    assert other.losses != [other.losses[0]] * len(other.losses)
    start = weights_of(make().model)
    one, another = (weights_of(run.trainer.average) - start for run in (base, other))
    assert torch.cosine_similarity(one, another, dim=0) > 0.8


def test_switches_leave_nothing_behind(make: Callable[[], Trainer]) -> None:
    forward = Pointwise.forward
    run = prepare("linear+precision", make)
    assert isinstance(run, Run)
    run.trainer.close()
    assert Pointwise.forward is forward


def test_what_does_not_work_is_told(
    make: Callable[[], Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(trainer: Trainer) -> None:
        raise RuntimeError("no compiler\nand many lines more")

    monkeypatch.setitem(SWITCHES, "compile", Switch("torch.compile", fail))
    assert prepare("compile", make) == "no compiler"


def test_ratios_are_medians_over_rounds(make: Callable[[], Trainer]) -> None:
    trainer = make()
    base = Run(BASE, trainer, [], [[0.2, 0.2], [2.0, 2.0], [0.2, 0.2]], [1.0])
    other = Run("loop", trainer, [SWITCHES["loop"]], [[0.1, 0.1], [1.0, 1.0], [0.4, 0.4]], [1.5])
    trainer.close()
    assert other.speed_against(base) == 2.0
    lines = list(report([base, other], {"compile": "no compiler"}))
    assert lines[1] == "| as is | the trainer | 5.00 | 1.000 | 1.0000 |"
    assert "| 2.50 | 2.000 | 1.5000 |" in lines[2]
    assert lines[3] == "| compile | does not work here: no compiler | | | |"


def test_variants_are_known() -> None:
    assert Variants().convert("linear, linear+masters", None, None) == ["linear", "linear+masters"]
    with pytest.raises(click.BadParameter, match="unknown variant 'fast'"):
        Variants().convert("linear+fast", None, None)
