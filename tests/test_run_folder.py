"""What a run leaves in its folder, in order or killed, and what the next one makes of it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from codec.codec import Codec
from codec.errors import OutputExistsError, TrainingError
from codec.training import export, loop
from codec.training.checkpoint import load_checkpoint
from codec.training.export import export_weights
from codec.training.loop import Trainer, train
from codec.training.run_folder import LAST, MODEL, TRUNK
from codec.training.schedule import TrainingConfig
from codec.weights.config import ModelConfig
from tests.helpers import DATA, TINY_VQ, Run, fails, flowers

CITY = DATA / "city.png"
SETTINGS = TrainingConfig(
    steps=8, batch_pixels=2 * 64 * 64, crop=64, cache_mib=13, holdout=0.0, export_crops=8
)
START: tuple[Path | str, ...] = (
    "train",
    CITY,
    "--crop",
    "64",
    "--batch",
    "2",
    "--holdout",
    "0",
    "--cache-mib",
    "13",
)
START += ("--export-crops", "8", "--width", "8", "--latent", "8", "--hyper", "4", "--prior", "8")
START += ("--blocks", "1,1")


@pytest.fixture(autouse=True)
def _plain_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit no tables to photographs, which would take most of the time."""
    monkeypatch.setattr(
        export, "export_weights", lambda checkpoint, target, _: export_weights(checkpoint, target)
    )


def started(run: Path, config: ModelConfig, stop_at: int) -> Trainer:
    """A run of 8 steps that was stopped."""
    run.mkdir(exist_ok=True)
    trainer = Trainer(run, [CITY], config, SETTINGS)
    train(trainer, stop_at=stop_at)
    return trainer


def test_a_run_that_left_its_trunk_alone_goes_on_from_there(
    tmp_path: Path, tiny_config: ModelConfig, run: Run
) -> None:
    started(tmp_path, tiny_config, 6)
    (tmp_path / LAST).rename(tmp_path / "kept")
    assert load_checkpoint(tmp_path / TRUNK).position.step == 4
    refused = run(*START, "--out", tmp_path, "--steps", "8")
    fails(refused, OutputExistsError.exit_code, "--resume", "-f")
    assert run("train", CITY, "--out", tmp_path, "--resume")[0] == 0
    assert load_checkpoint(tmp_path / LAST).position.step == 8
    assert Codec(tmp_path / MODEL).weights.training["steps"] == 8


@pytest.mark.slow
def test_what_a_killed_run_leaves_is_no_run(tmp_path: Path, run: Run) -> None:
    """Half a file and an empty log are replaced; a log with lines, only if asked."""
    partial = tmp_path / ".vqcodec.0123456789abcdef"
    exporting = tmp_path / f"{MODEL}.partial"
    log = tmp_path / "log.jsonl"
    for path in (partial, exporting):
        path.write_bytes(b"half")
    log.touch()
    resumed = run("train", CITY, "--out", tmp_path, "--resume")
    fails(resumed, TrainingError.exit_code, "no checkpoint of a run to resume", "-f")
    log.write_text('{"step": 50}\n')
    refused = run(*START, "--out", tmp_path, "--steps", "1")
    fails(refused, OutputExistsError.exit_code, "holds the log of a run", "-f")
    assert partial.exists()
    assert run(*START, "--out", tmp_path, "--steps", "1", "-f")[0] == 0
    (entry,) = log.read_text().splitlines()
    assert json.loads(entry)["step"] == 1
    assert not partial.exists()
    assert not exporting.exists()

    for path in (*tmp_path.glob("*.safetensors"), *tmp_path.glob("events*")):
        path.unlink()
    partial.write_bytes(b"half")
    log.write_text("")
    assert run(*START, "--out", tmp_path, "--steps", "1")[0] == 0
    assert not partial.exists()
    partial.write_bytes(b"half")
    assert run("train", CITY, "--out", tmp_path, "--resume")[0] == 0
    assert not partial.exists()


def test_a_damaged_checkpoint_names_the_trunk(
    tmp_path: Path, tiny_config: ModelConfig, run: Run
) -> None:
    started(tmp_path, tiny_config, 6)
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:-100])
    resumed = run("train", CITY, "--out", tmp_path, "--resume")
    fails(resumed, TrainingError.exit_code, f"{LAST}: not a sound checkpoint", f"from {TRUNK}")


def test_nothing_to_resume(tmp_path: Path, run: Run) -> None:
    resumed = run("train", CITY, "--out", tmp_path / "none", "--resume")
    fails(resumed, TrainingError.exit_code, "leave out --resume")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("wrong", [(), ("--validation", "WRONG"), ("--holdout", "0.999999999")])
def test_a_refused_start_leaves_no_folder(tmp_path: Path, run: Run, wrong: tuple[str, ...]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_text("broken")
    photo = CITY if wrong else broken
    given = [broken if part == "WRONG" else part for part in wrong]
    out = tmp_path / "runs" / "one"
    result = run("train", photo, *START[2:], "--steps", "1", "--out", out, *given)
    words = {"--validation": "none of 1 pictures to validate on", "--holdout": "held out"}
    fails(result, TrainingError.exit_code, words[wrong[0]] if wrong else "none of 1 photographs")
    assert not (tmp_path / "runs").exists()


def test_what_is_validated_on_is_not_trained_on(tmp_path: Path, tiny_config: ModelConfig) -> None:
    (tmp_path / "link.png").symlink_to(CITY)
    photos = [tmp_path / "link.png", DATA / "path.png", DATA / "flowers.png"]
    trainer = Trainer(tmp_path, photos, tiny_config, SETTINGS, validation=[CITY])
    alone = Trainer(tmp_path, photos[1:], tiny_config, SETTINGS)
    assert {t.numpy().tobytes() for t in trainer.pool.tiles} == {
        t.numpy().tobytes() for t in alone.pool.tiles
    }
    with pytest.raises(TrainingError, match="all photographs are held out"):
        Trainer(tmp_path, photos[:1], tiny_config, SETTINGS, validation=[CITY])


def test_unreadable_pictures_are_counted(tmp_path: Path, run: Run) -> None:
    """One has no header, one no end, and one is to validate on."""
    photos, checked = tmp_path / "photos", tmp_path / "checked"
    for folder in (photos, checked):
        folder.mkdir()
        (folder / "good.png").write_bytes(CITY.read_bytes())
        (folder / "a.png").write_text("broken")
    (photos / "path.png").write_bytes((DATA / "path.png").read_bytes())
    flowers().save(photos / "cut.jpg")
    (photos / "cut.jpg").write_bytes((photos / "cut.jpg").read_bytes()[:3000])
    arguments = ["train", photos, *START[2:], "--steps", "1", "--validation", checked]
    status, _, text = run(*arguments, "--out", tmp_path / "run")
    assert status == 0
    assert "3 unreadable photographs are left out\n" in text
    alone = ["train", DATA / "path.png", *START[2:], "--steps", "1", "--holdout", "1e-9"]
    status, _, text = run(*alone, "--out", tmp_path / "run", "-f")
    assert status == 0
    assert "nothing is validated" in text


def test_the_log_has_every_step(tmp_path: Path, tiny_config: ModelConfig) -> None:
    entries: list[dict[str, Any]] = []
    trainer = Trainer(tmp_path, [CITY], tiny_config, SETTINGS, validation=[DATA / "path.png"])
    train(trainer, lambda progress, entry: entries.append(entry), log_every=3)
    assert [entry["step"] for entry in entries] == [3, 6, 8]
    assert all(entry["loss"] > 0 for entry in entries)
    assert ["validation" in entry for entry in entries] == [False, False, True]
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == entries


@pytest.mark.slow
def test_a_stopped_run_can_be_exported_and_go_on(
    tmp_path: Path, tiny_config: ModelConfig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export takes no step, and leaves the checkpoint and its length as they are."""
    draw = loop.draw_levels

    def interrupted(*arguments: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return draw(*arguments)

    monkeypatch.setattr(loop, "draw_levels", interrupted)
    status, _, text = run(*START, "--out", tmp_path, "--steps", "8")
    assert status == 130
    assert f"{LAST}: --resume goes on, --resume --steps 1 exports the model so far" in text
    monkeypatch.undo()
    assert [json.loads(s)["step"] for s in (tmp_path / "log.jsonl").read_text().splitlines()] == [1]
    assert not (tmp_path / MODEL).exists()
    before = (tmp_path / LAST).read_bytes()
    assert run("train", CITY, "--out", tmp_path, "--resume", "--steps", "1")[0] == 0
    assert Codec(tmp_path / MODEL).weights.training["steps"] == 1
    assert (tmp_path / LAST).read_bytes() == before
    assert run("train", CITY, "--out", tmp_path, "--resume")[0] == 0
    assert load_checkpoint(tmp_path / LAST).position.step == 8


def test_a_resumed_run_refuses_what_a_new_one_refuses(
    tmp_path: Path, tiny_config: ModelConfig, run: Run
) -> None:
    started(tmp_path, tiny_config, 1)
    resume = ("train", CITY, "--out", tmp_path, "--resume", "--steps", "1")
    for foreign in (("--vq-update", "published"), ("--beta", "3"), ("--centres", "64")):
        status, _, text = run(*resume, *foreign)
        assert status == 2
        assert "for --rounding vq only" in text
    vq = ["train", DATA / "flowers.png", "--init", TINY_VQ, "--out", tmp_path / "vq"]
    vq += ["--crop", "64", "--batch", "2", "--holdout", "0", "--export-crops", "8", "--steps", "1"]
    assert run(*vq)[0] == 0
    assert run(*vq[:2], *vq[4:6], "--resume", "--beta", "3", "--steps", "2")[0] == 0


def test_noise_and_choice_of_data_are_independent(tmp_path: Path, tiny_config: ModelConfig) -> None:
    trainer = Trainer(tmp_path, [CITY], tiny_config, SETTINGS)
    streams = []
    for step in (-2, -1, 0, 1, 0):
        data = trainer._generator(step)
        streams += [torch.rand(64), torch.rand(64, generator=data)]
    assert all(torch.equal(*pair) for pair in zip(streams[4:6], streams[8:], strict=True))
    matrix = torch.corrcoef(torch.stack(streams[:8]))
    assert (matrix - torch.eye(8)).abs().max() < 0.6
