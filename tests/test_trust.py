"""Kills, full disks, races and damaged models: the old file or the whole new one, never less."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.codec import Codec
from codec.entropy.graph import SCALE_TABLES, latent_parameters
from codec.entropy.model import entropy_model, with_self_check
from codec.entropy.tables import FrequencyTables, quantise_frequencies
from codec.errors import WeightsError
from codec.files import write_file
from codec.format.container import ContainerFile
from codec.weights.config import ModelConfig
from codec.weights.file import Weights, load_weights
from tests.helpers import DATA, MODEL, heed_interrupts, signalled_at_work

VQCODEC = [sys.executable, "-m", "codec"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Takes the commands some seconds."""
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((5000, 5000), np.uint8)).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_the_middle(large: Path, number: signal.Signals) -> None:
    target = large.with_suffix(".vqc")
    target.write_bytes(b"precious")
    status, shown = signalled_at_work(
        number, "compress", "-f", large, target, "--patches", "never", *MODEL
    )
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in shown
    assert target.read_bytes() == b"precious"
    assert sorted(p.name for p in large.parent.iterdir()) == ["large.png", "large.vqc"]


def test_killed_while_writing(tmp_path: Path) -> None:
    """Even the last moment leaves the old file: the new one has another name until it is whole."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    code = (
        "import os, sys, signal\nfrom pathlib import Path\nfrom codec.files import write_file\n"
        "def content(file):\n    file.write(b'new'); file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_file(Path(sys.argv[1]), content, force=True)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


@pytest.mark.slow
def test_interrupted_jobs_leave_nothing(tmp_path: Path) -> None:
    """One job is done, and one in the middle: its input is a pipe that does not end."""
    pipe, out = tmp_path / "pipe.png", tmp_path / "out"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*VQCODEC, "compress", DATA / "city.png", pipe, "-d", out, "-j", "2", *MODEL],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    writer = None
    while writer is None:
        assert process.poll() is None
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.01)
    os.write(writer, (DATA / "city.png").read_bytes()[:1000])
    while not (out / "city.vqc").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)  # until the workers are gone too
    os.close(writer)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert [path.name for path in out.iterdir()] == ["city.vqc"]
    with (out / "city.vqc").open("rb") as file:
        ContainerFile(file).verify()


@pytest.mark.slow
def test_jobs_end_with_a_killed_parent(large: Path) -> None:
    """Also those that wait for work."""
    small, out = DATA / "city.png", large.parent / "out"
    process = subprocess.Popen(
        [*VQCODEC, "compress", small, large, "-d", out, "-j", "2", *MODEL],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    while not (out / "city.vqc").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=20)  # until the last that could write there is gone
    assert [path.name for path in out.iterdir()] == ["city.vqc"]


def test_jobs_end_even_if_a_signal_is_lost() -> None:
    """As one is that arrives just before a wait begins; here the job drops the first itself."""
    job = (
        "import os, signal, time\nfrom codec.cli import interruption\n"
        "signal.signal(signal.SIGTERM, interruption.receive)\n"
        "try:\n    os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)\n"
        "except SystemExit:\n    time.sleep(60)"
    )
    code = (
        "import sys\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\nfrom codec.cli.processes import start_worker\n"
        "pool = ProcessPoolExecutor(1, get_context('spawn'), start_worker)\n"
        "pool.submit(exec, sys.argv[1]).result()"
    )
    command = [sys.executable, "-c", code, job]
    killed = subprocess.run(command, stderr=subprocess.PIPE, timeout=30, check=False)
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_full_disk(tmp_path: Path) -> None:
    source, target = tmp_path / "flowers.png", tmp_path / "a.vqc"
    source.write_bytes((DATA / "flowers.png").read_bytes())
    target.write_bytes(b"precious")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    coded = tmp_path / "whole.vqc"
    subprocess.run([*VQCODEC, "compress", source, coded, "-Q", *MODEL], check=True)
    picture = tmp_path / "a.png"
    commands: list[list[str | Path]] = [
        ["compress", "-f", source, target],
        ["decompress", coded, picture],
        ["decompress", coded, tmp_path / "a.webp"],
    ]
    for command in commands:
        done = subprocess.run(
            [*VQCODEC, *command, *MODEL],
            preexec_fn=small_files,
            env=ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert "File too large" in done.stderr
    assert target.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vqc", "flowers.png", "whole.vqc"]


@pytest.mark.slow
def test_eight_processes_on_one_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    code = (
        "import sys\nfrom pathlib import Path\nfrom codec.files import write_file\n"
        "for _ in range(20):\n"
        "    write_file(Path(sys.argv[1]), bytes([int(sys.argv[2])]) * 300_000, force=True)"
    )
    command = [sys.executable, "-c", code, str(target)]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(8)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            content = target.read_bytes()
            assert len(content) == 300_000
            assert content == content[:1] * 300_000
            seen.add(content[0])
    assert all(writer.returncode == 0 for writer in writers)
    assert seen
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


def test_only_one_of_several_writers_without_force_wins(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom codec.files import write_file\n"
        "from codec.errors import OutputExistsError\n"
        "try:\n    write_file(Path(sys.argv[1]), sys.argv[2].encode(), force=False)\n"
        "except OutputExistsError:\n    sys.exit(3)"
    )
    target = tmp_path / "target"
    command = [sys.executable, "-c", code, str(target)]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(8)]
    codes = [writer.wait() for writer in writers]
    assert sorted(codes) == [0] + [3] * 7
    assert target.read_text() == str(codes.index(0))


def test_failed_content_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def fail(file: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_file(target, fail, force=True)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


@pytest.fixture(scope="module")
def smallest() -> Weights:
    """A model of a few numbers: enough to flip every byte of its file."""
    config = ModelConfig(
        channels8=1,
        channels16=4,
        blocks8=0,
        blocks16=0,
        latent=4,
        hyper=1,
        prior=1,
        anchors=2,
    )
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {
        f"prior.{name}": rng.integers(-9000, 9000, shape).astype(np.int32)
        for name, (shape, _) in latent_parameters(config).items()
    }
    table = quantise_frequencies(np.array([1.0, 2.0, 1.0]))
    for name, count in (("tables.y", SCALE_TABLES), ("tables.z", 1)):
        tensors |= FrequencyTables.build([-1] * count, [table] * count).to_tensors(name)
    tensors["tables.z_context"] = np.zeros((2, 25, 1), np.int32)
    text = json.dumps(config.to_dict(), sort_keys=True)
    return with_self_check(Weights("smallest", text, tensors, {}))


@pytest.mark.slow
def test_every_byte_of_a_weights_file_matters(smallest: Weights, tmp_path: Path) -> None:
    data = smallest.to_bytes()
    path = tmp_path / "smallest.safetensors"
    path.write_bytes(data)
    assert load_weights(path).id == smallest.id
    (header,) = struct.unpack("<Q", data[:8])
    harmless = data[: 8 + header]
    unnoticed = []
    with path.open("r+b", buffering=0) as file:
        for position in range(len(data)):
            for flip in (1 << position % 8, 0x80 >> position % 8, 0xFF):
                file.seek(position)
                file.write(bytes([data[position] ^ flip]))
                try:
                    entropy_model(load_weights(path))
                except WeightsError:
                    continue
                unnoticed.append(position)
            file.seek(position)
            file.write(data[position : position + 1])
    # What no id covers: the name and what the card says, which change nothing that is computed.
    names = (b'"name":"smallest"', b'"training":"{}"')
    spans = [range(at, at + len(n)) for n in names if (at := harmless.find(n)) >= 0]
    assert all(any(position in span for span in spans) for position in unnoticed)


def test_codecs_refuse_what_only_the_prior_allows(smallest: Weights) -> None:
    with pytest.raises(WeightsError, match="transforms"):
        Codec(smallest)
