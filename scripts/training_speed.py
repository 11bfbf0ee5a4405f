"""Steps per second of training on the CPU, as it is and with one thing changed at a time.

    python scripts/training_speed.py [--steps N] [--rounds N] [--variants NAME,NAME+NAME] [PHOTOS]

Variants take turns, a few steps each per round, so that what slows the machine slows all; steps
per second are medians over all steps, ratios medians over rounds. All variants see the same crops
and start from the same weights, so the losses beside them show that they train the same.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from codec.model.transforms import Depthwise, Pointwise, TrunkPointwise
from codec.training.initial import initial_state
from codec.training.loop import Trainer
from codec.training.optimiser import build_adam, build_optimisers, set_learning_rate
from codec.training.schedule import TrainingConfig

WARM_UP = 2
"""Steps that are not timed."""
BASE = "as is"


class MasterWeights(Optimizer):
    """Adam on float32 copies of parameters that are kept in bfloat16 for the convolutions."""

    def __init__(self, trainer: Trainer) -> None:
        layers = (Pointwise, Depthwise)
        for module in trainer.model.modules():
            if isinstance(module, layers) and not isinstance(module, TrunkPointwise):
                module.to(torch.bfloat16)
        self._used: list[Tensor] = list(trainer.model.parameters())
        self.masters = [p.detach().float().clone() for p in trainer.average.parameters()]
        super().__init__(self.masters, {"lr": 0.0})
        names = (name for name, _ in trainer.average.named_parameters())
        self._adam = build_adam(zip(names, self.masters, strict=True), fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self._used:
            parameter.grad = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pairs = zip(self.masters, self._used, strict=True)
        gradients = {master: used.grad for master, used in pairs if used.grad is not None}
        for master in gradients:
            if master.grad is None:
                master.grad = torch.empty_like(master)
        copies = [master.grad for master in gradients if master.grad is not None]
        torch._foreach_copy_(copies, list(gradients.values()))
        set_learning_rate([self._adam], self.param_groups[0]["lr"])
        self._adam.step()
        torch._foreach_copy_(self._used, self.masters)


def use_master_weights(trainer: Trainer) -> None:
    """Hold the weights that run in bfloat16 in bfloat16, with float32 masters."""
    use_mixed_precision(trainer)
    masters = MasterWeights(trainer)
    trainer.optimisers = [masters]

    def update_average(step: int) -> None:
        averaged: list[Tensor] = list(trainer.average.parameters())
        decay = min(trainer.training.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(averaged, masters.masters, 1 - decay)

    vars(trainer)["_update_average"] = torch.no_grad()(update_average)


def use_loop_adam(trainer: Trainer) -> None:
    """Adam, one parameter after the other."""
    trainer.optimisers = build_optimisers(trainer.model, "adam", fused=False)


def use_foreach_adam(trainer: Trainer) -> None:
    """Adam by operations over lists of tensors."""
    use_loop_adam(trainer)
    for optimiser in trainer.optimisers:
        for group in optimiser.param_groups:
            group["foreach"] = True


def use_contiguous_pictures(trainer: Trainer) -> None:
    """Keep pictures and features channel by channel, up to g_s, which wants them channels last."""
    trainer.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    forward = trainer._forward
    trainer._forward = lambda x, *others: forward(x.contiguous(), *others)


def use_compiler(trainer: Trainer) -> None:
    """Compile the forward pass, and with it the backward pass."""
    trainer._forward = torch.compile(trainer.model)


def use_mixed_precision(trainer: Trainer) -> None:
    """The convolutions in bfloat16, also where the processor has no instructions for it."""
    trainer.mixed_precision = True


def use_other_precision(trainer: Trainer) -> None:
    """Float32 everywhere if bfloat16 would be used here, and the other way round."""
    trainer.mixed_precision = not trainer.mixed_precision


@contextmanager
def with_linear_layers() -> Iterator[None]:
    """1x1 convolutions in bfloat16 as matrix products over the last axis of a view."""
    convolve = Pointwise.forward

    def forward(self: Pointwise, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):  # float32, where a convolution is faster
            return convolve(self, x)
        return F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)

    with mock.patch.object(Pointwise, "forward", forward):
        yield


def _unchanged(trainer: Trainer) -> None:
    """Nothing to prepare."""


@dataclass(frozen=True)
class Switch:
    """One thing that a variant does otherwise."""

    meaning: str
    prepare: Callable[[Trainer], None] = _unchanged
    """Done once."""
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    """Holds during its steps."""


SWITCHES = {
    "precision": Switch("float32 where bfloat16 is used, or else bfloat16", use_other_precision),
    "contiguous": Switch("without channels_last up to g_s", use_contiguous_pictures),
    "loop": Switch("AdamW neither fused nor foreach", use_loop_adam),
    "foreach": Switch("AdamW foreach instead of fused", use_foreach_adam),
    "masters": Switch("weights held in bfloat16, float32 masters", use_master_weights),
    "linear": Switch(
        "1x1 convolutions in bfloat16 as F.linear", use_mixed_precision, with_linear_layers
    ),
    "compile": Switch("torch.compile", use_compiler),
}
DEFAULT = ",".join([*SWITCHES, "linear+masters"])


@dataclass
class Run:
    """A trainer of one variant, and how long its steps took."""

    name: str
    trainer: Trainer
    switches: list[Switch]
    rounds: list[list[float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def steps(self, count: int, timed: bool = True) -> None:
        """Do some steps, as one round if they are timed."""
        times = []
        with ExitStack() as stack:
            for switch in self.switches:
                stack.enter_context(switch.around())
            for _ in range(count):
                began = time.perf_counter()
                terms = self.trainer.step()
                times.append(time.perf_counter() - began)
                self.losses.append(terms["loss"] if terms else float("nan"))
        if timed:
            self.rounds.append(times)

    @property
    def per_second(self) -> float:
        return 1 / statistics.median(seconds for times in self.rounds for seconds in times)

    def speed_against(self, base: Run) -> float:
        """Median over rounds of how many of its steps go into one of the other's."""
        pairs = zip(base.rounds, self.rounds, strict=True)
        return statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs)


def prepare(name: str, make: Callable[[], Trainer]) -> Run | str:
    """Set up and warm up a variant, or say why it does not work here."""
    switches = [] if name == BASE else [SWITCHES[part] for part in name.split("+")]
    run = Run(name, make(), switches)
    try:
        for switch in switches:
            switch.prepare(run.trainer)
        run.steps(WARM_UP, timed=False)
    except Exception as error:  # compilers fail in ways of their own
        run.trainer.close()
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return run


def report(runs: list[Run], failed: dict[str, str]) -> Iterator[str]:
    """Lines of the table."""
    base = next((run for run in runs if run.name == BASE), None)
    yield "| variant | what | steps/s | x | mean loss |\n|---|---|---|---|---|"
    for run in runs:
        meaning = ", ".join(switch.meaning for switch in run.switches) or "the trainer"
        ratio = f"{run.speed_against(base):.3f}" if base else ""
        loss = statistics.fmean(run.losses)
        yield f"| {run.name} | {meaning} | {run.per_second:.2f} | {ratio} | {loss:.4f} |"
    for name, reason in failed.items():
        yield f"| {name} | does not work here: {reason} | | | |"


class Variants(click.ParamType[list[str]]):
    """Names of switches, joined by + within a variant, separated by commas."""

    name = "NAME,NAME+NAME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        if isinstance(value, list):
            return value
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        for part in {part for name in names for part in name.split("+")} - {*SWITCHES}:
            self.fail(f"unknown variant {part!r}; known: {', '.join(SWITCHES)}")
        return list(dict.fromkeys(names))


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="photo", show_default=True, help="Whose shape and weights.")
@click.option("--variants", type=Variants(), default=DEFAULT, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=6, show_default=True, help="A round.")
@click.option("--threads", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True)
def main(
    photos: tuple[Path, ...],
    model: str,
    variants: list[str],
    rounds: int,
    steps: int,
    threads: int,
) -> None:
    """Time training steps on PHOTOS (default: those of the tests)."""
    torch.set_num_threads(threads)
    config, state = initial_state(model)
    training = TrainingConfig(steps=1_000_000, cache_mib=64, holdout=0.0)
    with tempfile.TemporaryDirectory() as folder:

        def make() -> Trainer:
            sources = photos or (Path("tests/data"),)
            return Trainer(Path(folder), sources, config, training, initial=dict(state))

        runs, failed = [], {}
        for name in [BASE, *variants]:
            began = time.perf_counter()
            made = prepare(name, make)
            if isinstance(made, Run):
                runs.append(made)
            else:
                failed[name] = made
            print(f"{name}: ready in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        for _ in range(rounds):
            for run in runs:
                run.steps(steps)
        batch, side = training.crop_at(0.0)
        device = runs[0].trainer.device.type if runs else "none"
        print(
            f"{model}: {batch} crops of {side}x{side}, {device}, threads: {threads}, "
            f"rounds: {rounds} of {steps} steps"
        )
        print("\n".join(report(runs, failed)))
        for run in runs:
            run.trainer.close()


if __name__ == "__main__":
    main()
