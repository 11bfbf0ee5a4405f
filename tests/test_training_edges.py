"""What a training run must not lose, take for something else, or end with a traceback at."""

from __future__ import annotations

import dataclasses
import os
import re
import resource
import signal
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from click import Option, UsageError
from PIL import Image

from codec.cli.main import main
from codec.cli.train import SECTIONS
from codec.cli.train import train as train_command
from codec.cli.train_config import MODEL_OPTIONS, check_kept
from codec.errors import OutputError, OutputExistsError, TrainingError
from codec.training.checkpoint import load_checkpoint, save_checkpoint
from codec.training.interruption import StopSignals
from codec.training.photos import find_photos, hold_out, tiles_of
from codec.training.run_folder import LAST, TRUNK
from codec.weights.config import ModelConfig
from tests.helpers import DATA, Run

TINY_RUN = ["--width", "8", "--latent", "8", "--hyper", "4", "--prior", "8", "--blocks", "1,1"]
TINY_RUN += [
    "--filter4",
    "0",
    "--batch",
    "2",
    "--crop",
    "64",
    "--holdout",
    "0",
    "--cache-mib",
    "13",
    "--export-crops",
    "24",
]


def train(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["train", *map(str, arguments)])
    return int(str(exit_.value.code))


def test_a_resumed_run_may_be_told_what_it_has(tiny_vq_config: ModelConfig) -> None:
    """Each option of the model: the value that it has is accepted, another refused."""
    model = dataclasses.replace(tiny_vq_config, distortion="looks")
    has = dataclasses.asdict(model) | {
        "lambda": (0.001, 0.01),
        "width": 16,
        "blocks": "1,1",
        "levels": 3,
    }
    options = {name: has[name] for name in MODEL_OPTIONS}
    check_kept(model, options, set(options))
    for name in MODEL_OPTIONS:
        other = {"lambda": (0.001, 0.02), "blocks": "1,2"}.get(name, "another")
        check_kept(model, options | {name: other}, set(options) - {name})
        with pytest.raises(UsageError, match=f"keeps its {name}, which is"):
            check_kept(model, options | {name: other}, {name})
    with pytest.raises(UsageError, match=r"which is looks$"):
        check_kept(model, options | {"distortion": "mse"}, {"distortion"})
    with pytest.raises(UsageError, match=r"which is 0\.001:0\.01$"):
        check_kept(model, options | {"lambda": (1, 2)}, {"lambda"})


@pytest.mark.slow
def test_a_model_whose_checkpoints_are_gone_is_not_replaced(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [DATA / "city.png", "--out", run, "--steps", "1", *TINY_RUN]
    assert train(*arguments) == 0
    (run / LAST).unlink()
    (run / TRUNK).unlink(missing_ok=True)
    model = (run / "model.safetensors").read_bytes()
    assert train(*arguments, "--seed", "5") == OutputExistsError.exit_code
    assert (run / "model.safetensors").read_bytes() == model
    assert train(*arguments, "--seed", "5", "-f") == 0
    assert (run / "model.safetensors").read_bytes() != model


@pytest.mark.parametrize(
    "wrong",
    [
        ["--seed", str(2**31)],
        ["--holdout", "nan"],
        ["--holdout", "1"],
        ["--variety", "nan"],
        ["--latent", "6"],
        ["--crop", "100"],
        ["--width", "0"],
        ["--rounding", "vq", "--levels", "1"],
        ["--rounding", "vq", "--groups", "7"],
        ["--minutes", "1"],
    ],
)
def test_wrong_usage(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(DATA / "city.png", "--out", tmp_path / "run", "--steps", "1", *wrong) == 2
    assert not (tmp_path / "run").exists()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_what_is_typed_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setenv("VQCODEC_TRAIN_MINUTES", "60")
    assert train(DATA / "city.png", "--out", run, "--steps", "1", *TINY_RUN) == 0
    checkpoint = load_checkpoint(run / LAST)
    assert (checkpoint.position.step, checkpoint.training.minutes) == (1, None)


def test_grey_pictures_of_16_bits_are_scaled(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 512 * 512).reshape(512, 512).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    (tile,) = tiles_of(tmp_path / "deep.png")
    assert np.array_equal(tile, np.broadcast_to((ramp + 128.0) // 257, (3, 512, 512)))


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (512, 512), colour) for colour in ("teal", "red")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    (tile,) = tiles_of(tmp_path / "a.png")
    assert tile[:, 0, 0].tolist() == [0, 128, 128]


def test_broken_photographs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes((DATA / "city.png").read_bytes()[:400])
    with pytest.raises(TrainingError, match=r"broken\.png"):
        tiles_of(path)


def test_a_photograph_keeps_its_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the folder is named, and whatever bytes its names are of."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.png").touch()
    (folder / os.fsdecode(b"caf\xe9.png")).touch()
    monkeypatch.chdir(tmp_path)
    sides = [{p.name for p in hold_out(find_photos([Path("photos")]), 0.3)[1]}]
    monkeypatch.chdir(folder)
    sides += [{p.name for p in hold_out(find_photos([p]), 0.3)[1]} for p in (Path(), folder)]
    assert 0 < len(sides[0]) < 41
    assert sides[0] == sides[1] == sides[2]


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(DATA / "city.png", "--out", run, "--steps", "1", *TINY_RUN) == 0
    checkpoint = load_checkpoint(run / LAST)
    model = checkpoint.averaged_model()
    state = checkpoint.training, checkpoint.position, model, deepcopy(model), ()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # as a full disk
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            save_checkpoint(tmp_path / "next", *state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    save_checkpoint(tmp_path / "other", *state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_closed_terminal_ends_a_run_in_order(name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # which what runs the tests may ignore
    try:
        signals = StopSignals()
        with signals:
            os.kill(os.getpid(), number)
            received = signals.received
            signals.received = None
    finally:
        signal.signal(number, before)
    assert received == number


def test_help_has_each_option_once_under_a_heading(run: Run) -> None:
    status, out, _ = run("train", "--help")
    assert status == 0
    out = out[out.index("Run:\n") :]
    headings = [line[:-1] for line in out.splitlines() if re.fullmatch(r"\w.*:", line)]
    assert headings == [*SECTIONS, "Other"]
    listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", out, re.MULTILINE)
    options = [option for option in train_command.params if isinstance(option, Option)]
    assert sorted(listed) == sorted([*(max(o.opts, key=len) for o in options), "--help"])
    centres = out[out.index("For --rounding vq only") :]
    assert {"--beta", "--centres", "--index-prior"} <= set(re.findall(r"--[\w-]+", centres))
