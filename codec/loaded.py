"""A model in memory: its weights, the engine that runs its transforms, its symbol coder."""

from __future__ import annotations

from dataclasses import dataclass

from codec.engine.base import Engine
from codec.entropy.coder import SymbolCoder
from codec.errors import InputError
from codec.weights.config import ModelConfig
from codec.weights.file import Weights


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, shared by reader and writer; may be used from several threads.

    Raises:
        InputError: the engine is of another model.
    """

    weights: Weights
    engine: Engine
    coder: SymbolCoder

    def __post_init__(self) -> None:
        if self.engine.model_id != self.id:
            raise InputError(
                f"the engine is of model {self.engine.model_id.hex()}, not of {self.id.hex()}"
            )

    @property
    def config(self) -> ModelConfig:
        """Shape of the model."""
        return self.weights.config

    @property
    def id(self) -> bytes:
        """First four bytes of the model's id, which its files carry."""
        return self.weights.short_id
