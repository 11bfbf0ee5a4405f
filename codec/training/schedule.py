"""Settings of a run: schedules of learning rate, crop size and surrogate over progress 0..1."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from codec.errors import TrainingError
from codec.model.rounding import Surrogate
from codec.model.vector_quantizer import Rule, UpdateRule
from codec.weights.config import ModelConfig

MAX_FIRST_CROP = 256
MS_SSIM_CROP = 192
"""Least side of a crop: at the coarsest of five scales a window of 11 pixels must fit."""

BEFORE: Mapping[str, Any] = {"variety": 0.0, "maps": 0.0}
"""Values, other than the defaults, of fields that older checkpoints and weights lack."""
COUNTS = ("steps", "warmup_steps", "batch_pixels", "cache_mib", "export_crops")
SHARES = ("rounded_from", "ema", "variety", "maps", "holdout")
RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(COUNTS, (1, 1e9)),
    **dict.fromkeys(("minutes", "learning_rate", "clip_norm"), (1e-12, 1e9)),
    **dict.fromkeys(SHARES, (0, 1)),
    "decay_from": (0, 0.999),
    "seed": (0, 2**31 - 1),
}
"""Lowest and highest values of fields, of which a checkpoint may hold any."""
REMOVED = {"optimiser"}
"""Fields of older checkpoints and weights that have no meaning any more."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run; stored in every checkpoint."""

    name: str = "photo"
    """Name inside the exported weights file."""
    steps: int | None = None
    """Length of the run in steps; give this or `minutes`."""
    minutes: float | None = None
    """Length of the run in minutes of training, without validation and saving."""
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    decay_from: float = 0.4
    """Progress from which the learning rate falls linearly, to a hundredth at the end."""
    batch_pixels: int = 8 * 128 * 128
    """Approximate number of pixels per step and process, constant while the crops grow."""
    crop: int = 128
    """Side of the first crops, a multiple of 64; later phases use 1.5 and 2 times as much, as long
    as a batch has two crops."""
    surrogate: Surrogate = "mixed"
    rounded_from: float = 0.95
    """Progress from which the encoder is frozen and the rest trains on rounded latents."""
    ema: float = 0.999
    """Decay per step of the averaged weights, which are validated and exported."""
    clip_norm: float = 1.0
    vq_update: Rule = "published"
    """Gradients of latents and centres, see `codec.model.vector_quantizer` ("vq" only)."""
    beta: float = 1.0
    """Weight of the commitment, relative to that of 1/2 |x - x^|^2 under MSE ("vq" only)."""
    eta: float = 1.0
    """Factor of the centres' gradient ("vq" only)."""
    seed: int = 0
    variety: float = 0.5
    """Share of varied crops, see `codec.training.variation`."""
    maps: float = 0.15
    """Share of crops with a map of levels, see `codec.training.level_maps`."""
    cache_mib: int = 3072
    """Memory for decoded training tiles in MiB."""
    export_crops: int = 400
    """Training crops of 256x256 that the export measures on."""
    holdout: float = 0.05
    """Share of the photographs that is kept for validation."""

    def __post_init__(self) -> None:
        self._check_values()
        if (self.steps is None) == (self.minutes is None):
            raise TrainingError("give either the steps or the minutes of the run")
        if self.crop % 64 or not 64 <= self.crop <= MAX_FIRST_CROP:
            raise TrainingError("the crop must be 64, 128, 192 or 256 pixels")
        UpdateRule(self.vq_update, self.beta, self.eta)

    def _check_values(self) -> None:
        """Check types and ranges: the JSON of a checkpoint may hold anything."""
        for name, hint in get_type_hints(type(self)).items():
            value, known = getattr(self, name), get_args(hint) or (hint,)
            number = float if float in known and type(value) is int else type(value)
            if value not in known and number not in known:
                raise TrainingError(f"the run's {name} cannot be {value!r}")
            low, high = RANGES.get(name, (-math.inf, math.inf))
            if isinstance(value, int | float) and not low <= value <= high:
                raise TrainingError(f"the run's {name} must lie in {low:g}..{high:g}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Read the settings of a checkpoint or a weights file, of older ones too.

        Raises:
            TypeError: a field is unknown.
            TrainingError: a value is of another type or out of range, or values do not fit
                together.
        """
        known = {name: value for name, value in values.items() if name not in REMOVED}
        return cls(**{**BEFORE, **known})

    def changed(self, changes: Mapping[str, Any]) -> TrainingConfig:
        """Copy with changed fields.

        `batch`, which is no field, is the number of crops per step at the first size; it stays when
        only `crop` changes. Steps and minutes replace each other.

        Raises:
            TrainingError: values do not fit together.
        """
        fields = dict(changes)
        if {"steps", "minutes"} & set(fields):
            fields = {"steps": None, "minutes": None} | fields
        if {"batch", "crop"} & set(fields):
            batch = fields.pop("batch", max(1, self.batch_pixels // self.crop**2))
            fields["batch_pixels"] = batch * fields.get("crop", self.crop) ** 2
        return dataclasses.replace(self, **fields)

    def check_fits(self, model: ModelConfig) -> None:
        """Check the settings that depend on the model.

        Raises:
            TrainingError: the crops are too small for the model's distortion.
        """
        if model.distortion != "mse" and self.crop < MS_SSIM_CROP:
            raise TrainingError(
                f"{model.distortion} compares pictures at several scales; make the crop "
                f"{MS_SSIM_CROP} or {MAX_FIRST_CROP} pixels"
            )

    @property
    def update_rule(self) -> UpdateRule:
        """Gradient rule of the quantizer to centres."""
        return UpdateRule(self.vq_update, self.beta, self.eta)

    def progress(self, step: int, elapsed: float) -> float:
        """Progress 0..1 after `step` steps and `elapsed` seconds."""
        if self.minutes is not None:
            return min(1.0, elapsed / (60 * self.minutes))
        return min(1.0, step / (self.steps or 1))

    def learning_rate_at(self, step: int, progress: float) -> float:
        """Learning rate of a step: linear warm-up, constant, linear decay to a hundredth."""
        warmup = min(1.0, (step + 1) / self.warmup_steps)
        decay = min(1.0, (1 - progress) / (1 - self.decay_from))
        return self.learning_rate * warmup * max(decay, 0.01)

    def crop_at(self, progress: float) -> tuple[int, int]:
        """Number of crops in a batch and their side at a progress."""
        side = self.crop
        if progress >= 0.8:
            side = self.crop * 2
        elif progress >= 0.5:
            side = self.crop * 3 // 2 // 64 * 64
        largest = min(math.isqrt(self.batch_pixels // 2) // 64 * 64, 512)
        side = max(self.crop, min(side, largest))
        return max(1, self.batch_pixels // side**2), side

    def surrogate_at(self, progress: float) -> Surrogate:
        """Surrogate of rounding at a progress."""
        return "rounded" if progress >= self.rounded_from else self.surrogate
