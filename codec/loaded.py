"""A model in memory: its weights, the engine that runs its transforms, its symbol coder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock

from codec.engine.base import Engine
from codec.entropy.coder import SymbolCoder
from codec.errors import InputError
from codec.weights.config import ModelConfig
from codec.weights.file import Weights


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory, shared by reader and writer; may be used from several threads.

    Raises:
        InputError: the engine is of another model.
    """

    weights: Weights
    engine: Engine
    coder: SymbolCoder
    make_differentiable: Callable[[], Engine] | None = None
    """Makes an engine with derivatives for when one is needed; None for no other engine."""
    _differentiable: list[LoadedModel] = field(default_factory=list, init=False, repr=False)
    _making: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.engine.model_id != self.id:
            raise InputError(
                f"the engine is of model {self.engine.model_id.hex()}, not of {self.id.hex()}"
            )

    def with_derivatives(self) -> LoadedModel:
        """This model with an engine that has derivatives, loaded at the first call.

        Raises:
            InputError: there is none.
        """
        if self.engine.differentiable:
            return self
        if self.make_differentiable is None:
            raise InputError(
                "efforts from 2 on need an engine with derivatives; choose torch or less effort",
                field="effort",
            )
        with self._making:
            if not self._differentiable:
                self._differentiable.append(replace(self, engine=self.make_differentiable()))
        return self._differentiable[0]

    @property
    def config(self) -> ModelConfig:
        """Shape of the model."""
        return self.weights.config

    @property
    def id(self) -> bytes:
        """First four bytes of the model's id, which its files carry."""
        return self.weights.short_id
