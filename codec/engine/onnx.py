"""The engine on ONNX Runtime: processors, float32, no derivatives.

Graphs come from `codec.engine.onnx_graphs`, tensors from weights that were verified; nothing else
is read. A session is made when its graph is first used, so that a decoder has none of g_a.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.engine import onnx_graphs, onnx_sessions
from codec.engine.base import Latents
from codec.engine.model_engine import ModelEngine, whole_of
from codec.engine.onnx_graphs import Graph
from codec.engine.onnx_sessions import Sessions
from codec.engine.receptive_field import reduced_halo, synthesis_margins
from codec.engine.reduced import REDUCTIONS, STEM, ReducedStem, linear_kernel
from codec.level import Level
from codec.level_map import Levels, rows_at
from codec.limits import ONNX_FOOTPRINT, STRIP_PIXELS
from codec.tiles import HYPER_STRIDE, LATENT_STRIDE, Box
from codec.weights.config import MIDDLE_GREY
from codec.weights.file import COLOURS, KERNEL_RADIUS, Weights

Array = NDArray[np.float32]

ALL = 2**31 - 1
"""End of a slice that has all channels."""
LARGEST_SQUARED = np.float32(1e18)
"""A square above has no float32; no picture's latents come near."""


class OnnxEngine(ModelEngine):
    """An `Engine` on ONNX Runtime.

    Args:
        weights: a verified model.
        strip_pixels: that go through the synthesis at once where a tile may be cut into strips.

    Raises:
        WeightsError: tensors do not fit the configuration.
    """

    footprint = ONNX_FOOTPRINT

    def __init__(self, weights: Weights, strip_pixels: int = STRIP_PIXELS) -> None:
        super().__init__(weights, strip_pixels)
        config = self._config
        self.description = f"onnxruntime {onnx_sessions.VERSION}, float32 on cpu"
        self._margins = synthesis_margins(config, weights.kernels > 0)
        self._restoration = weights.restoration
        self._sessions = Sessions(
            {
                "features": lambda: onnx_graphs.features(config, self._tensors),
                "latents": lambda: onnx_graphs.latents(config, self._tensors),
                "hyper": lambda: onnx_graphs.hyper(config, self._tensors),
                "synthesis": lambda: onnx_graphs.synthesis(config, self._tensors),
                "restore": onnx_graphs.restore,
            }
            | {
                f"reduced {reduction}": partial(self._reduced_synthesis, reduction)
                for reduction in REDUCTIONS
            }
        )

    def _reduced_synthesis(self, reduction: int) -> tuple[Graph, bytes]:
        return onnx_graphs.synthesis(self._config, self._tensors, self._stems.get(reduction))

    @property
    def threads(self) -> int:
        return onnx_sessions.threads()

    def pool(self, count: int) -> ThreadPoolExecutor:
        return onnx_sessions.pool(count)

    def features(self, samples: NDArray[np.uint8]) -> Array:
        x = samples.transpose(2, 0, 1).astype(np.float32, order="C")[None]
        x /= 255
        x -= MIDDLE_GREY
        return self._sessions.run("features", x=x)

    def latents(self, features: Array, level: Levels) -> Latents:
        level = self._analysis_level(level)
        y = features
        if self._config.transform == "lowres":
            scale = _refined(self._factors("g_a.scale.log_scale", level))
            y = self._sessions.run("latents", features=features, scale=scale)
        if self._to_centres:
            return y[0], np.empty((0, 0, 0), np.float32)
        y = y * self._factors("gain.log_gain", level)
        below, right = (-side % HYPER_STRIDE for side in y.shape[2:])
        padded = np.pad(y, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge")
        return y[0], self._sessions.run("hyper", y=_asinh(padded))[0]

    def change(self, missing: Array, level: Levels) -> Array:
        stem, down, head = (
            self._tensors[f"g_a.{name}.weight"].astype(np.float32)
            for name in ("stem", "down", "head")
        )
        scale = self._factors("g_a.scale.log_scale", level)[0]
        gain = self._factors("gain.log_gain", level)[0]
        across = (head @ down).reshape(len(head), len(stem), 2, 2)
        rows, columns = (side // LATENT_STRIDE for side in missing.shape[1:])
        if scale.shape[1:] == (1, 1):
            # (latent, channel at 1/8, row, column) times (channel, colour and place in 8x8)
            both = np.tensordot(across * scale, stem.reshape(len(stem), COLOURS, 8, 8), (1, 0))
            matrix = both.transpose(0, 3, 1, 4, 2, 5).reshape(len(head), -1)
            blocks = missing.reshape(COLOURS, rows, LATENT_STRIDE, columns, LATENT_STRIDE)
            flat = blocks.transpose(0, 2, 4, 1, 3).reshape(matrix.shape[1], -1)
            change = (matrix @ flat).reshape(-1, rows, columns)
        else:
            blocks = missing.reshape(COLOURS, rows, 2, 8, columns, 2, 8)
            flat = blocks.transpose(0, 3, 6, 2, 5, 1, 4).reshape(stem.shape[1], -1)
            at8 = (stem @ flat).reshape(-1, 2, 2, rows, columns) * scale[:, None, None]
            change = np.tensordot(across, at8, ((1, 2, 3), (0, 1, 2)))
        return np.asarray(change * gain, np.float32)

    def synthesise(
        self,
        y_hat: Array,
        level: Levels,
        restoration: Sequence[int] = (),
        inner: Box | None = None,
    ) -> Array:
        whole = whole_of(y_hat)
        inner = inner or whole
        inputs: dict[str, NDArray[Any]] = {"y": y_hat[None]}
        known = whole
        if not self._to_centres:
            inputs["y"] = inputs["y"] * self._factors("gain.log_inverse", level)
        if self._config.transform == "lowres":
            inputs["scale"] = _refined(self._factors("g_s.scale.log_scale", level))
            sides = {"at8": 2, "at4": 4} if self._config.filter4 else {"at8": 2}
            for (name, side), margin in zip(sides.items(), self._margins, strict=False):
                before, known = known, inner.grown(margin, within=whole)
                inputs |= _corners(name, known.relative_to(before).enlarged(side))
        # Latents outside the training range can overflow; grey instead of undefined casts.
        samples = _finite(self._sessions.run("synthesis", **inputs)[0])
        samples = self._restored(samples, restoration)
        rows, columns = inner.relative_to(known).enlarged(LATENT_STRIDE).slices
        return samples[:, rows, columns]

    def _synthesise_with(self, stem: ReducedStem, y_hat: Array, level: Levels, inner: Box) -> Array:
        if not self._to_centres:
            y_hat = y_hat * self._factors("gain.log_inverse", level)[0]
        scale = _refined(self._factors("g_s.scale.log_scale", level))
        linear = not stem.blocks16 and not stem.blocks8
        if stem.reduction == STEM and linear and isinstance(level, Level):
            return self._reduced_by_one_matrix(stem, y_hat[:, *inner.slices], scale.reshape(-1))
        known = inner.grown(reduced_halo(0, stem.blocks8), within=whole_of(y_hat))
        inputs = {"y": y_hat[None], "scale": scale} | _corners("at8", known.enlarged(2))
        samples = _finite(self._sessions.run(f"reduced {stem.reduction}", **inputs)[0])
        rows, columns = inner.relative_to(known).enlarged(LATENT_STRIDE // stem.reduction).slices
        return samples[:, rows, columns]

    def _reduced_by_one_matrix(self, stem: ReducedStem, y: Array, scale: Array) -> Array:
        """Samples [3, 2H, 2W] reduced by 8, of y [M, H, W] after the inverse gain."""
        kernel, offset = linear_kernel(stem, self._tensors, scale)
        blocks = np.tensordot(kernel, y, 1) + offset[..., None, None]
        height, width = y.shape[1:]
        samples = blocks.transpose(0, 3, 1, 4, 2).reshape(COLOURS, 2 * height, 2 * width)
        return _finite(samples + np.float32(MIDDLE_GREY))

    def restore(self, samples: Array, restoration: Sequence[int]) -> Array:
        return self._restored(samples, restoration)

    def _restored(self, samples: Array, restoration: Sequence[int]) -> Array:
        if not (restoration and self._restoration):
            return samples
        weights, count = np.array(restoration, np.float32), len(restoration)
        kernel, offset = (np.tensordot(weights, part[:count], 1) for part in self._restoration)
        samples = samples.clip(0, 1)
        around = _around(samples)
        around -= MIDDLE_GREY
        restored = self._sessions.run("restore", x=around[None], kernel=kernel, offset=offset)[0]
        restored += samples
        return _finite(restored)

    def _factors(self, name: str, level: Levels) -> Array:
        """Exponentials of a table of logarithms [anchors, C] at a level, [1, C, 1, 1], or at those
        of latent positions, [1, C, H, W]."""
        with np.errstate(over="ignore", invalid="ignore"):
            factors = np.exp(rows_at(self._tensors[name].astype(np.float32), level))
        by_position = factors if factors.ndim > 1 else factors[None, None]
        return np.ascontiguousarray(np.moveaxis(by_position, -1, 0)[None], np.float32)


def _refined(factors: Array) -> Array:
    """Factors at the positions of 1/8, from those at 1/16."""
    if factors.shape[2:] == (1, 1):
        return factors
    return factors.repeat(2, axis=2).repeat(2, axis=3)


def _around(samples: Array) -> Array:
    """Samples with a border as wide as the restoration filter sees, of the nearest ones."""
    radius = KERNEL_RADIUS
    _, height, width = samples.shape
    around = np.empty((COLOURS, height + 2 * radius, width + 2 * radius), np.float32)
    inner = around[:, radius:-radius]
    inner[:, :, radius:-radius] = samples
    inner[:, :, :radius], inner[:, :, -radius:] = samples[:, :, :1], samples[:, :, -1:]
    around[:, :radius], around[:, -radius:] = inner[:, :1], inner[:, -1:]
    return around


def _asinh(y: Array) -> Array:
    """Area hyperbolic sine within 3e-7; ONNX Runtime's takes six times as long."""
    large = np.minimum(np.abs(y), LARGEST_SQUARED)
    return np.copysign(np.log(np.sqrt(large * large + 1) + large), y)


def _corners(name: str, box: Box) -> dict[str, NDArray[np.int64]]:
    """Inputs of a graph that is to go on with a box of all channels."""
    first, end = [0, 0, box.top, box.left], [1, ALL, box.bottom, box.right]
    return {f"{name}.first": np.array(first), f"{name}.end": np.array(end)}


def _finite(samples: Array) -> Array:
    """Samples, those that are none replaced."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(samples.sum())
    return samples if finite else np.nan_to_num(samples, nan=MIDDLE_GREY, posinf=1.0, neginf=0.0)
