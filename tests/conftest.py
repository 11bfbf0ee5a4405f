"""Shared fixtures: pictures, the frozen tiny model, and data that may not be there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codec.model.config import ModelConfig
from codec.pipeline import Codec
from codec.runtime.weights import Weights, load_weights

DATA = Path(__file__).parent / "data"
TINY = DATA / "tiny.safetensors"
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(channels8=8, channels16=8, blocks8=1, blocks16=1, latent=8, hyper=4, prior=8)


@pytest.fixture(scope="session")
def tiny_weights() -> Weights:
    return load_weights(TINY)


@pytest.fixture(scope="session")
def tiny_codec(tiny_weights: Weights) -> Codec:
    return Codec(tiny_weights)


@pytest.fixture(scope="session")
def released_codec() -> Codec:
    return Codec()


@pytest.fixture
def city() -> Image.Image:
    with Image.open(DATA / "city.png") as image:
        return image.convert("RGB")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def kodak() -> list[Path]:
    pictures = sorted((SHARED / "kodak").glob("*.png"))
    if not pictures:
        pytest.skip("the Kodak pictures are not beside the checkout")
    return pictures
