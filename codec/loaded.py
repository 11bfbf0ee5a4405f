"""A model in memory: its weights, the engine that runs its transforms, its symbol coder."""

from __future__ import annotations

from dataclasses import dataclass

from codec.engine.base import Engine
from codec.entropy.coder import SymbolCoder
from codec.weights.config import ModelConfig
from codec.weights.file import Weights


@dataclass(frozen=True)
class LoadedModel:
    """What reader and writer share; may be used from several threads."""

    weights: Weights
    engine: Engine
    coder: SymbolCoder

    @property
    def config(self) -> ModelConfig:
        return self.weights.config

    @property
    def id(self) -> bytes:
        """What a compressed file carries of the model's id."""
        return self.weights.short_id
