"""Training on tiny models: schedule, exact resume, export, several processes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from codec.cli import main
from codec.codec import Codec
from codec.errors import OutputExistsError, TrainingError, WeightsError
from codec.model.autoencoder import RoundingAutoencoder
from codec.model.build import build_autoencoder
from codec.training.checkpoint import load_checkpoint
from codec.training.devices import computes_in_bfloat16
from codec.training.export import export_model, export_weights
from codec.training.initial import initial_state, state_of
from codec.training.loop import Trainer, draw_levels, train
from codec.training.optimiser import SLOW_RATE, build_optimisers, set_learning_rate
from codec.training.run_folder import LAST, TRUNK, resume_run
from codec.training.schedule import TrainingConfig
from codec.weights.config import Distortion, ModelConfig
from codec.weights.file import load_weights
from tests.helpers import DATA, TINY, run_in_two_processes

CPU = torch.device("cpu")


def settings(**changes: object) -> TrainingConfig:
    values = {"steps": 20, "batch_pixels": 2 * 64 * 64, "crop": 64, "cache_mib": 13, "holdout": 0.0}
    return TrainingConfig(**(values | changes))  # type: ignore[arg-type]


def test_schedule() -> None:
    config = TrainingConfig(minutes=10)
    assert config.progress(10**6, 300) == 0.5
    assert config.learning_rate_at(0, 0.0) < config.learning_rate / 100
    assert config.learning_rate_at(1000, 0.2) == config.learning_rate
    assert config.learning_rate_at(1000, 1.0) == config.learning_rate / 100
    assert [config.crop_at(p) for p in (0.0, 0.7, 0.9)] == [(8, 128), (3, 192), (2, 256)]
    few = dataclasses.replace(config, crop=192, batch_pixels=4 * 192**2)
    assert [few.crop_at(p) for p in (0.0, 0.7, 0.9)] == [(4, 192), (2, 256), (2, 256)]
    assert config.surrogate_at(0.5) == "mixed"
    assert config.surrogate_at(0.99) == "rounded"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"steps": 1, "minutes": 1.0},
        {"steps": 1, "crop": 100},
    ],
)
def test_impossible_schedules(values: dict[str, object]) -> None:
    with pytest.raises(TrainingError):
        TrainingConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("distortion", ["ms-ssim", "looks"])
def test_several_scales_need_large_crops(
    photos: Path, tmp_path: Path, tiny_config: ModelConfig, distortion: Distortion
) -> None:
    similar = dataclasses.replace(tiny_config, distortion=distortion)
    with pytest.raises(TrainingError, match="192"):
        Trainer(tmp_path, [photos], similar, settings())
    run = tmp_path / "run"
    run.mkdir()
    (run / LAST).write_bytes(b"hours of work")
    with pytest.raises(SystemExit):
        main(f"train {photos} --distortion {distortion} --steps 1 --out {run} -f".split())
    assert (run / LAST).read_bytes() == b"hours of work"


@pytest.mark.slow
def test_the_distortion_is_the_models(
    photos: Path, tmp_path: Path, tiny_config: ModelConfig
) -> None:
    large = settings(crop=192, batch_pixels=2 * 192**2, holdout=0.3)
    losses, objectives = [], []
    for distortion in get_args(Distortion):
        config = dataclasses.replace(tiny_config, distortion=distortion)
        trainer = Trainer(tmp_path, [photos], config, large)
        objectives.append([point["objective"] for point in trainer.validate()])
        terms = trainer.step()
        assert terms
        losses.append(terms["loss"])
    # Of the same crops by the same model, 255^2 MSE is well above 1200 (1 - MS-SSIM).
    assert losses[0] > 1.2 * losses[1]
    assert all(one > 1.2 * other for one, other in zip(*objectives[:2], strict=True))
    # The mix has all of MS-SSIM's objective in it.
    assert losses[2] > losses[1]
    assert all(one > other for one, other in zip(objectives[2], objectives[1], strict=True))


@pytest.mark.slow
def test_checkpoints_of_before_keep_their_settings(
    photos: Path, tmp_path: Path, tiny_config: ModelConfig
) -> None:
    trainer = Trainer(tmp_path, [photos], tiny_config, settings())
    trainer.save()
    with safe_open(tmp_path / LAST, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model, training = json.loads(metadata["model"]), json.loads(metadata["training"])
    del model["distortion"]
    training["distortion"] = "ms-ssim"
    del training["variety"]
    training["optimiser"] = "adam"
    metadata |= {"model": json.dumps(model), "training": json.dumps(training)}
    save_file(tensors, tmp_path / LAST, metadata)
    checkpoint = load_checkpoint(tmp_path / LAST)
    assert checkpoint.model == dataclasses.replace(tiny_config, distortion="ms-ssim")
    assert checkpoint.training == settings(variety=0.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [({"avx512_bf16": True}, True), ({"bf16": True}, True), ({"avx512_bf16": False}, False)],
)
def test_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert computes_in_bfloat16(CPU) is expected


@pytest.mark.parametrize("mixed", [True, False])
def test_convolutions_run_in_the_precision_chosen(
    photos: Path, tmp_path: Path, tiny_config: ModelConfig, mixed: bool
) -> None:
    trainer = Trainer(tmp_path, [photos], tiny_config, settings())
    seen: list[torch.dtype] = []
    layer = dict(trainer.model.named_modules())["g_s.filter.mix"]
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer.mixed_precision = mixed
    assert trainer.step()
    if trainer.device.type == "cpu":
        assert seen == [torch.bfloat16 if mixed else torch.float32]


@pytest.mark.slow
def test_resume_is_exact(photos: Path, tmp_path: Path, tiny_config: ModelConfig) -> None:
    config = settings()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run in (whole, parts):
        run.mkdir()
    train(Trainer(whole, [photos], tiny_config, config))
    train(Trainer(parts, [photos], tiny_config, config), stop_at=10)
    resumed, same = resume_run(parts, {})
    assert resumed.position.step == 10
    assert same == config
    train(Trainer(parts, [photos], tiny_config, config, resumed))
    one, other = load_checkpoint(whole / LAST), load_checkpoint(parts / LAST)
    assert one.position.step == other.position.step == 20
    assert set(one.tensors) == set(other.tensors)
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


@pytest.mark.slow
def test_training_learns_and_exports(photos: Path, tmp_path: Path) -> None:
    shape = ModelConfig(
        channels8=48, channels16=48, blocks8=1, blocks16=1, latent=48, hyper=8, prior=16
    )
    config = settings(
        steps=120, warmup_steps=10, learning_rate=2e-3, holdout=0.3, batch_pixels=4 * 64 * 64
    )
    trainer = Trainer(tmp_path, [photos], shape, config)
    entries: list[dict[str, object]] = []
    before = trainer.validate()
    train(trainer, lambda progress, entry: entries.append(entry), log_every=20)
    after = trainer.validate()
    # The start is a good transform codec already; 120 steps gained 3 to 5 % at every rate.
    for old, new in zip(before, after, strict=True):
        assert new["objective"] < 0.985 * old["objective"]
    assert [p["bpp"] for p in after] == sorted(p["bpp"] for p in after)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == entries
    assert entries[0]["step"] == 20
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Images("validation/reconstructions")] == [120]

    # A longer run continues from before the decay, unless it hardly raises the rate again.
    assert load_checkpoint(tmp_path / TRUNK).position.step == 48
    for steps, start in ((1000, 48), (240, 48), (121, 120)):
        resumed, training = resume_run(tmp_path, {"steps": steps})
        assert resumed.position.step == start
        assert training.steps == steps
        assert training.holdout == 0.3
    assert resume_run(tmp_path, {"minutes": 5.0})[1].steps is None

    target = tmp_path / "model.safetensors"
    weights = export_weights(load_checkpoint(tmp_path / LAST), target)
    assert weights.training["steps"] == 120
    assert "tables.curvature" not in weights.tensors  # without photographs to measure on
    with Image.open(DATA / "city.png") as image:
        coded = Codec(target).encode(image.convert("RGB"), 50, effort=0, reconstruct=True)
    assert Codec(target).decompress(coded.data).size == (192, 128)

    # The real rate of the exact, exported prior is the float model's within 1 %.
    model = load_checkpoint(tmp_path / LAST).averaged_model()
    x = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        result = model(x, torch.tensor([3.5]), "rounded")
    assert coded.bits == pytest.approx((result.y_bits + result.z_bits).item(), rel=0.01)

    shape, state = initial_state(str(tmp_path / LAST))
    assert shape == model.config
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())

    sample = trainer.sample_for_export()[:8]
    weights = export_weights(load_checkpoint(tmp_path / LAST), target, sample)
    assert weights.tensors["tables.curvature"].shape == (8, 48)


def test_exported_weights_can_be_trained_further() -> None:
    original = load_weights(TINY)
    model = RoundingAutoencoder(original.config)
    model.load_state_dict(state_of(original))
    again = export_model(model, "tiny", {})
    for name, array in original.tensors.items():
        if name.startswith(("tables", "restoration")):
            continue  # measured on photographs
        assert np.array_equal(again.tensors[name], array), name


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / LAST
    for content in (b"", b"text" * 100, TINY.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(TrainingError):
            load_checkpoint(path)


def test_every_step_spreads_its_pictures_over_the_rates(tiny_config: ModelConfig) -> None:
    generator = torch.Generator().manual_seed(0)
    levels = torch.stack([draw_levels(tiny_config, 8, generator) for _ in range(200)])
    top = tiny_config.anchors - 1
    slots = (levels / top * 8).floor().sort(1).values
    assert torch.equal(slots, torch.arange(8.0).expand(200, 8))
    # Of 200 uniform numbers the mean is within four deviations of the middle, in any order.
    assert (levels.mean(0) / top - 0.5).abs().max() < 4 * 12**-0.5 / 200**0.5


@pytest.mark.slow
def test_divergence_stops_the_run(photos: Path, tmp_path: Path, tiny_config: ModelConfig) -> None:
    trainer = Trainer(tmp_path, [photos], tiny_config, settings(steps=200))
    assert isinstance(trainer.model, RoundingAutoencoder)
    with torch.no_grad():
        trainer.model.gain.log_gain.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        train(trainer)
    assert trainer.skipped == 50


@pytest.mark.slow
def test_single_rate_gdn_training_from_the_command_line(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = f"train {photos} --lambda 0.013 --out {run} --steps 4 --transform gdn --width 8"
    arguments += " --latent 8 --hyper 4 --prior 8 --batch 2 --crop 64 --holdout 0 --cache-mib 13"
    arguments += " --name mine --export-crops 24"
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    assert exit_.value.code == 0
    codec = Codec(run / "model.safetensors")
    assert codec.level_of(quality=80) == 0
    with Image.open(DATA / "city.png") as image:
        assert codec.decompress(codec.compress(image)).size == image.size
    with pytest.raises(SystemExit) as exit_:
        main(arguments.split())
    assert exit_.value.code == OutputExistsError.exit_code
    empty = tmp_path / "empty"
    empty.mkdir()
    kept = sorted(path.name for path in run.iterdir())
    for refused in (
        [str(empty)],
        [str(photos), "--seed", "-1"],
        [str(photos), "--learning-rate", "nan"],
        [str(photos), "--batch", "0"],
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["train", *refused, "--out", str(run), "-f"])
        assert exit_.value.code != 0
        assert sorted(path.name for path in run.iterdir()) == kept
    for given, status in ((["--width", "9"], 2), (["--lambda", "0.02"], 2), ([], 0)):
        with pytest.raises(SystemExit) as exit_:
            main([*arguments.split(), *given, "--resume"])
        assert exit_.value.code == status  # the model cannot change, and may be told again
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(photos), "--out", str(run), "--steps", "6", "--batch", "3", "--resume"])
    assert exit_.value.code == 0
    assert Codec(run / "model.safetensors").weights.name == "mine"
    checkpoint = load_checkpoint(run / LAST)
    assert checkpoint.position.step == 6
    assert (checkpoint.training.crop, checkpoint.training.batch_pixels) == (64, 3 * 64**2)
    larger = checkpoint.training.changed({"crop": 128})
    assert (larger.crop, larger.batch_pixels) == (128, 3 * 128**2)


@pytest.mark.slow
def test_init_continues_from_a_model(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = f"train {photos} --init {TINY} --out {run} --steps 2 --batch 2 --crop 64"
    arguments += f" --validation {DATA / 'city.png'} --export-crops 8"
    with pytest.raises(SystemExit) as exit_:
        main([*arguments.split(), "--learning-rate", "1e-9"])
    assert exit_.value.code == 0
    (entry,) = (run / "log.jsonl").read_text().splitlines()
    assert len(json.loads(entry)["validation"]) == 8
    trained, start = Codec(run / "model.safetensors").weights, Codec(TINY).weights
    assert trained.config == start.config
    for name, array in start.tensors.items():
        if not name.startswith(("tables", "restoration")):
            change = np.abs(trained.tensors[name].astype(float) - array).max()
            assert change <= 1 + 1e-3 * np.abs(array).max(), name
    with pytest.raises(SystemExit) as exit_:
        main([*arguments.split(), "--width", "9", "-f"])
    assert exit_.value.code == 2
    with pytest.raises(SystemExit) as exit_:
        main([*arguments.split(), "--blocks", "3,2", "--no-gates16", "--filter4", "8", "-f"])
    assert exit_.value.code == 0
    changed = Codec(run / "model.safetensors").weights.config
    assert (changed.blocks8, changed.blocks16, changed.gates16) == (3, 2, False)
    assert changed.filter4 == 8
    similar = ["--distortion", "ms-ssim", "--crop", "192", "--out", str(tmp_path / "similar")]
    with pytest.raises(SystemExit) as exit_:
        main([*arguments.split(), *similar])
    assert exit_.value.code == 0
    similar_model = tmp_path / "similar" / "model.safetensors"
    trained = Codec(similar_model).weights
    assert trained.config.distortion == "ms-ssim"
    with pytest.raises(SystemExit) as exit_:  # MS-SSIM comes along, and needs larger crops
        main(f"train {photos} --init {similar_model} --rounding vq --out {tmp_path / 'vq'}".split())
    assert exit_.value.code == TrainingError.exit_code
    arguments = arguments.replace(str(TINY), str(run / "model.safetensors"))
    with pytest.raises(SystemExit) as exit_:
        main([*arguments.split(), "--filter4", "9", "--out", str(tmp_path / "other")])
    assert exit_.value.code == WeightsError.exit_code


def test_blocks_of_large_activations_learn_slowly(tiny_config: ModelConfig) -> None:
    model = build_autoencoder(tiny_config)
    optimisers = build_optimisers(model, fused=False)
    set_learning_rate(optimisers, 1e-3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {
        names[id(parameter)]: group["lr"]
        for optimiser in optimisers
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert set(rates) == set(names.values())
    assert rates["g_a.blocks8.0.w3.weight"] == rates["prior.first_head.weight"] == 1e-3
    assert rates["prior.first_split.context.weight"] == 1e-3
    slow = pytest.approx(1e-3 * SLOW_RATE)
    assert rates["g_s.blocks16.0.w1.weight"] == rates["h_a.down32.bias"] == slow
    assert rates["prior.block16.w2.weight"] == rates["prior.first_split.block.w2.weight"] == slow


@pytest.mark.slow
def test_foreign_optimiser_state_is_refused(
    photos: Path, tmp_path: Path, tiny_config: ModelConfig
) -> None:
    train(Trainer(tmp_path, [photos], tiny_config, settings(steps=2)))
    checkpoint = load_checkpoint(tmp_path / LAST)
    for name in list(checkpoint.tensors):  # as if there had been other parameters before
        _, _, rest = name.partition("optimiser.0.0.")
        if rest == "exp_avg":
            checkpoint.tensors[name] = checkpoint.tensors[name][:-1].clone()
    with pytest.raises(TrainingError, match="another model"):
        Trainer(tmp_path, [photos], tiny_config, settings(steps=2), checkpoint)


@pytest.mark.slow
def test_an_interrupted_run_stops_at_a_step_and_resumes(
    photos: Path, tmp_path: Path, tiny_config: ModelConfig
) -> None:
    trainer = Trainer(tmp_path, [photos], tiny_config, settings(steps=10_000))

    def interrupt(progress: float, entry: dict[str, object]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(trainer, interrupt, log_every=3)
    resumed, _ = resume_run(tmp_path, {})
    assert resumed.position.step in (3, 4)  # the signal is seen after the step it came in


@pytest.mark.slow
def test_two_processes_train_as_one(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = f"-m codec train {photos} --out {run} --steps 4 --width 8 --latent 8 --hyper 4"
    arguments += " --prior 8 --blocks 1,1 --batch 2 --crop 64 --holdout 0 --cache-mib 13"
    arguments += " --export-crops 16"
    run_in_two_processes(arguments)
    assert load_checkpoint(run / LAST).position.step == 4
    assert (run / "model.safetensors").is_file()


@pytest.mark.slow
def test_training_imports_no_range_coder() -> None:
    code = "import sys, codec.training.loop, codec.training.export, codec.cli.train\n"
    code += "assert 'constriction' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
