"""The engine on torch with derivatives, which the search needs."""

from __future__ import annotations

from collections.abc import Sequence

from codec.engine.base import Distortion, Scene
from codec.engine.gradients import SquaredError
from codec.engine.perceptual_gradients import PerceptualError
from codec.engine.torch import TorchEngine


class DifferentiableEngine(TorchEngine):
    """`TorchEngine` with the distortion that the model was trained for, and its derivatives."""

    differentiable = True

    def distortion(self, scene: Scene, restoration: Sequence[int] = ()) -> Distortion:
        kind = self._config.distortion
        if kind == "mse":
            return SquaredError(self, scene, restoration)
        return PerceptualError(self, scene, kind, restoration)
