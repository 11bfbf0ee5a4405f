"""What photographs reach with a model, and what a quality promises therefore.

`python -m scripts.photograph_rates` measures it and writes `photograph_rates.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from codec.level import Level
from codec.weights.config import ModelConfig

PROMISE = 6.0
"""dB that a picture may lie below the median of photographs of its quality."""
EXCESS = 1.25
"""Rate relative to the greatest of a photograph from which on a picture is suspect,"""
UNKNOWN_RATE = 8.0
"""and that rate for models whose photographs were not measured, in bits per pixel; photographs
take some 10 without loss."""


@dataclass(frozen=True)
class PhotographRates:
    """PSNR and rate of photographs over the ladder of a model."""

    last: int
    """The last level of the model."""
    psnr: tuple[float, ...] = ()
    """Medians in dB, at points evenly spread over the ladder; none if they are not known."""
    bpp: tuple[float, ...] = ()
    """Greatest rates in bits per pixel, likewise."""
    below: int = 0
    """How far the lowest level of a picture with a map of levels lies from that of its file,"""
    above: int = 0
    """and how far the highest."""

    def over(self, below: int, above: int) -> PhotographRates:
        """The same for a picture whose levels lie between these two, relative to the file's."""
        return replace(self, below=min(below, 0), above=max(above, 0))

    def least_psnr(self, level: Level) -> float:
        """PSNR in dB that files of a level promise; that of nothing if it is not known."""
        return self._between(self.psnr, level + self.below) - PROMISE if self.psnr else 0.0

    def suspect_rate(self, level: Level) -> float:
        """Rate in bits per pixel that no photograph has at a level."""
        return EXCESS * self._between(self.bpp, level + self.above) if self.bpp else UNKNOWN_RATE

    def _between(self, values: tuple[float, ...], level: int) -> float:
        points = np.linspace(0, self.last, len(values))
        return float(np.interp(level, points, values))


def photograph_rates(model_id: bytes, config: ModelConfig) -> PhotographRates:
    """What is known of a model, by the first four bytes of its id."""
    last = config.highest_level
    row = _table().get(model_id.hex())
    if row is None:
        return PhotographRates(last)
    return PhotographRates(last, tuple(row["psnr"]), tuple(row["bpp"]))


@cache
def _table() -> dict[str, dict[str, Any]]:
    file = resources.files("codec.encoder").joinpath("photograph_rates.json")
    return json.loads(file.read_text("utf-8"))
