"""The engine on torch: any device, float32 or bfloat16; `differentiable` adds derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from codec.engine import torch_threads
from codec.engine.base import Precision
from codec.engine.model_engine import ModelEngine
from codec.engine.reduced import ReducedStem
from codec.errors import InputError
from codec.level import UNITS, Level
from codec.level_map import Levels
from codec.limits import STRIP_PIXELS, TORCH_FOOTPRINT
from codec.model.hyperprior import HyperAnalysis
from codec.model.rate import Gain
from codec.model.restoration import Kernels, restore
from codec.model.transforms import LowResAnalysis, LowResSynthesis, build_transforms
from codec.tiles import HYPER_STRIDE, LATENT_STRIDE, Box
from codec.weights.config import MIDDLE_GREY
from codec.weights.file import Weights


class TorchEngine(ModelEngine):
    """An `Engine` on torch without derivatives; of a model that rounds to centres it has no h_a.

    Args:
        weights: a verified model.
        device: where to run, such as "cpu" or "cuda".
        precision: of the convolutions; bfloat16 is faster where the hardware has it and
            may move samples by more than one grey level.
        strip_pixels: that go through the synthesis at once where a tile may be cut into strips.

    Raises:
        InputError: the device does not exist here, or the precision is unknown.
        WeightsError: tensors do not fit the configuration.
    """

    footprint = TORCH_FOOTPRINT

    def __init__(
        self,
        weights: Weights,
        device: str = "cpu",
        precision: Precision = "float32",
        strip_pixels: int = STRIP_PIXELS,
    ) -> None:
        if precision not in get_args(Precision):
            raise InputError(f"unknown precision {precision!r}; known: float32, bfloat16")
        self._device = _usable(device)
        super().__init__(weights, strip_pixels)
        self.precision = precision
        self.description = f"torch {torch.__version__}, {precision} on {_name_of(self._device)}"
        g_a, g_s = build_transforms(weights.config)
        self._g_a = g_a
        parts: dict[str, nn.Module] = {"g_a": g_a, "g_s": g_s}
        if not self._to_centres:
            parts |= {"gain": Gain(weights.config), "h_a": HyperAnalysis(weights.config)}
        self._modules = nn.ModuleDict(parts).requires_grad_(False).eval()
        state = {
            name: torch.from_numpy(np.asarray(array, np.float32))
            for name, array in self._tensors.items()
        }
        self._modules.load_state_dict(state, assign=True)
        self._modules.to(self._device)
        self._modules.to(memory_format=torch.channels_last)
        self._kernels: Kernels | None = None
        if weights.restoration:
            self._kernels = Kernels(*map(self.tensor, weights.restoration))

    @property
    def threads(self) -> int:
        return torch_threads.threads()

    def pool(self, count: int) -> ThreadPoolExecutor:
        return torch_threads.pool(count)

    def features(self, samples: NDArray[np.uint8]) -> Tensor:
        with torch.inference_mode(), self._autocast():
            x = torch.from_numpy(samples).to(self._device).permute(2, 0, 1)[None].float() / 255
            return self._run(self._g_a.features, x)

    def latents(
        self, features: Tensor, level: Levels
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode(), self._autocast():
            position = self._position(self._analysis_level(level))
            y = self._run(self._g_a.latents, features, position).float()
            if self._to_centres:
                return y[0].cpu().numpy(), np.empty((0, 0, 0), np.float32)
            y = self._modules["gain"](y, position)
            below, right = -y.shape[2] % HYPER_STRIDE, -y.shape[3] % HYPER_STRIDE
            padded = F.pad(y, (0, right, 0, below), mode="replicate")
            z = self._run(self._modules["h_a"], padded)
            return y[0].cpu().numpy(), z[0].float().cpu().numpy()

    def change(self, missing: NDArray[np.float32], level: Levels) -> NDArray[np.float32]:
        assert isinstance(self._g_a, LowResAnalysis)
        with torch.inference_mode():
            dx, position = self.tensor(missing)[None], self._position(level)
            dy = self._modules["gain"](self._run(self._g_a.change, dx, position), position)
            change: NDArray[np.float32] = dy[0].cpu().numpy()
            return change

    def synthesise(
        self,
        y_hat: NDArray[np.float32],
        level: Levels,
        restoration: Sequence[int] = (),
        inner: Box | None = None,
    ) -> NDArray[np.float32]:
        with torch.inference_mode():
            x_hat = self.reconstruct(self.tensor(y_hat), level, restoration)
            if inner:
                rows, columns = inner.enlarged(LATENT_STRIDE).slices
                x_hat = x_hat[:, rows, columns]
            samples: NDArray[np.float32] = x_hat.cpu().numpy()
            return samples

    def _synthesise_with(
        self, stem: ReducedStem, y_hat: NDArray[np.float32], level: Levels, inner: Box
    ) -> NDArray[np.float32]:
        g_s = self._modules["g_s"]
        assert isinstance(g_s, LowResSynthesis)
        with torch.inference_mode(), self._autocast():
            y, position = self.tensor(y_hat)[None], self._position(level)
            if not self._to_centres:
                y = self._modules["gain"].inverse(y, position)  # type: ignore[operator]
            layer = self.tensor(stem.weight), self.tensor(stem.bias)
            reduced = partial(g_s.reduced, blocks16=stem.blocks16, blocks8=stem.blocks8)
            samples = self._run(reduced, y, position, *layer)[0].float()
            samples = samples.nan_to_num(MIDDLE_GREY, 1.0, 0.0)
            rows, columns = inner.enlarged(LATENT_STRIDE // stem.reduction).slices
            array: NDArray[np.float32] = samples[:, rows, columns].cpu().numpy()
            return array

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """Tensor on the engine's device; a copy if the array is read-only."""
        return torch.from_numpy(np.require(array, requirements="W")).to(self._device)

    def reconstruct(self, y_hat: Tensor, level: Levels, restoration: Sequence[int] = ()) -> Tensor:
        """`synthesise` on tensors, differentiable."""
        with self._autocast():
            y, position = y_hat[None], self._position(level)
            if not self._to_centres:
                y = self._modules["gain"].inverse(y, position)  # type: ignore[operator]
            x_hat = self._run(self._modules["g_s"], y, position)[0].float()
        # Latents outside the training range can overflow; grey instead of undefined casts.
        x_hat = x_hat.nan_to_num(MIDDLE_GREY, 1.0, 0.0)
        return self._restored(x_hat, restoration)

    def restore(
        self, samples: NDArray[np.float32], restoration: Sequence[int]
    ) -> NDArray[np.float32]:
        with torch.inference_mode():
            restored: NDArray[np.float32]
            restored = self._restored(self.tensor(samples), restoration).cpu().numpy()
            return restored

    def _restored(self, x_hat: Tensor, restoration: Sequence[int]) -> Tensor:
        if restoration and self._kernels:
            weights = torch.tensor(restoration, dtype=x_hat.dtype, device=x_hat.device)
            x_hat = self._run(restore, x_hat.clamp(0, 1), self._kernels, weights)
            x_hat = x_hat.nan_to_num(MIDDLE_GREY, 1.0, 0.0)
        return x_hat

    def _run(self, part: Callable[..., Tensor], *inputs: Tensor | Kernels) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return part(*inputs)

    def _position(self, level: Levels) -> Tensor:
        """Positions on the ladder of lambdas, [1] or [1, H, W]."""
        positions = torch.from_numpy(np.atleast_1d(level) / UNITS).float().to(self._device)
        return positions if isinstance(level, Level) else positions[None]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self._device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"
        )


def _name_of(device: torch.device) -> str:
    """Name of a device, with the model of a GPU: "cpu", "cuda (NVIDIA H200)"."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def _usable(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # devices without values, as meta, are none
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise InputError(f"device {name!r} cannot be used here; try cpu") from error
    return device
