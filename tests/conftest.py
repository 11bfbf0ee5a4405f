"""Shared fixtures: pictures, frozen tiny models, and the Kodak pictures where they are given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from codec.cli import main
from codec.codec import Codec
from codec.encoder.picture import Encoded
from codec.engine.torch import TorchEngine
from codec.errors import CodecError
from codec.model.autoencoder import RoundingAutoencoder
from codec.weights.config import ModelConfig
from codec.weights.file import Weights, load_weights

DATA = Path(__file__).parent / "data"
TINY = DATA / "tiny.safetensors"
TINY_VQ = DATA / "tiny_vq.safetensors"
Run = Callable[..., tuple[int, str, str]]
settings.register_profile("vqcodec", deadline=None)  # a loaded machine is no failure
settings.load_profile("vqcodec")
CPU = torch.device("cpu")
KODAK = os.environ.get("VQCODEC_KODAK")
"""Folder of the Kodak pictures, if there is one: some tests then run on six of them too."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        channels8=8, channels16=8, blocks8=1, blocks16=1, filter4=8, latent=8, hyper=4, prior=8
    )


@pytest.fixture(scope="session")
def tiny_weights() -> Weights:
    return load_weights(TINY)


@pytest.fixture(scope="session")
def tiny_codec(tiny_weights: Weights) -> Codec:
    return Codec(tiny_weights)


@pytest.fixture(scope="session")
def engine(tiny_weights: Weights) -> TorchEngine:
    return TorchEngine(tiny_weights)


@pytest.fixture(scope="session")
def released_codec() -> Codec:
    return Codec()


@pytest.fixture(scope="session")
def tiny_autoencoder() -> RoundingAutoencoder:
    """The network of `TINY`, as training has it."""
    from codec.training.initial import initial_state  # here: not every test needs training

    config, state = initial_state(str(TINY))
    model = RoundingAutoencoder(config)
    model.load_state_dict(state)
    return model.eval()


@pytest.fixture
def city() -> Image.Image:
    with Image.open(DATA / "city.png") as image:
        return image.convert("RGB")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """Photographs that no model was trained on: those of tests/data, and some of `KODAK`."""
    pictures = [DATA / "flowers.png", DATA / "path.png"]
    if KODAK:
        kodak = sorted(Path(KODAK).glob("*.png"))
        assert kodak, f"VQCODEC_KODAK={KODAK} holds no PNG pictures"
        pictures += kodak[::4]
    return pictures


@pytest.fixture(scope="session")
def tiny_vq_config() -> ModelConfig:
    return ModelConfig(
        channels8=16,
        channels16=24,
        blocks8=1,
        blocks16=1,
        latent=24,
        prior=8,
        rounding="vq",
        anchors=3,
        centres=8,
        groups=2,
        lambda_min=0.001,
        lambda_max=0.01,
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight small pictures of different sizes and formats."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(DATA / "flowers.png") as image:
        source = image.convert("RGB")
    for i, suffix in enumerate(["png", "jpg", "webp", "avif"] * 2):
        source.crop((i * 8, 0, i * 8 + 200 + i * 20, 150)).save(folder / f"{i}.{suffix}")
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def flowers(width: int = 160, height: int = 120) -> Image.Image:
    """A part of a photograph, RGB."""
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("RGB").crop((150, 150, 150 + width, 150 + height))


def squared_error_of(codec: Codec, encoded: Encoded, image: Image.Image) -> float:
    """Of a file, over all samples of what the decoder shows."""
    decoded = np.asarray(codec.decompress(encoded.data).convert("RGB")).astype(float)
    return float(np.square(decoded - np.asarray(image.convert("RGB"))).sum())


def cost(codec: Codec, encoded: Encoded, image: Image.Image) -> float:
    """bits + lambda 255^2 MSE pixels of the file, by what the decoder shows."""
    lmbda = codec.weights.config.lambda_of(encoded.header.level / 4096)
    return encoded.bits + lmbda * squared_error_of(codec, encoded, image) / 3


def crops_of_flowers(count: int, side: int) -> torch.Tensor:
    """Different crops of a photograph, [count, 3, side, side] in 0..1."""
    with Image.open(DATA / "flowers.png") as image:
        samples = torch.from_numpy(np.asarray(image.convert("RGB")).copy())
    x = samples.permute(2, 0, 1).float() / 255
    rows, columns = x.shape[1] - side, x.shape[2] - side
    corners = [(37 * i % rows, 53 * i % columns) for i in range(count)]
    return torch.stack([x[:, r : r + side, c : c + side] for r, c in corners])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; gives (exit status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def check_damage_is_found(codec: Codec, data: bytes) -> None:
    """Every flipped bit and every truncation of a file must be an error."""
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CodecError):
            codec.decompress(bytes(flipped))
    for length in range(len(data)):
        with pytest.raises(CodecError):
            codec.decompress(data[:length])


def run_in_two_processes(arguments: str) -> None:
    """Run `python ARGUMENTS` under torchrun; it must succeed."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, *arguments.split()],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
