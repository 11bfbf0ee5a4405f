"""One tile with its latents, for tests of distortions and their gradients."""

from __future__ import annotations

import numpy as np

from codec.engine.base import Original, Scene
from codec.engine.torch import TorchEngine
from codec.level import Level
from codec.picture.pixels import pad_to_stride
from codec.tiles import Box
from tests.helpers import analyse

LEVEL = Level.of_anchor(5)


def latents_of(engine: TorchEngine, samples: np.ndarray) -> np.ndarray:
    """Rounded latents of samples [H, W, 3] at `LEVEL`."""
    y, _ = analyse(engine, pad_to_stride(samples), LEVEL)
    return y.round()


def whole(y: np.ndarray) -> Box:
    """The box of all latent positions."""
    return Box(0, 0, y.shape[2], y.shape[1])


def scene_of(original: Original, surroundings: np.ndarray, inner: Box) -> Scene:
    """A scene without latents inside, which a distortion does not read."""
    nothing = np.empty((0, 0, 0), np.float32)
    return Scene(original, nothing, nothing, surroundings, inner, LEVEL)


def reconstruction(engine: TorchEngine, y: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """What the decoder makes of the latents, [H, W, 3] in whole grey levels."""
    planes = engine.synthesise(y, LEVEL)[:, : samples.shape[0], : samples.shape[1]]
    return np.rint(planes.clip(0, 1) * 255).transpose(1, 2, 0)
