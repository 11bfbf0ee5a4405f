"""Codebook maintenance during training: usage statistics and restarts of dead centres."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.model.vector_autoencoder import VectorAutoencoder

LATENTS_PER_TILE = 64
"""Latents per epoch and tile: those of one 128x128 crop."""
RESTART_UNTIL = 0.8
"""Progress of a run after which dead centres stay: restarted ones would not converge in time."""


class CodebookUpkeep:
    """Usage statistics and restarts at the end of each epoch, the same on every process.

    Args:
        model: model in training, whose quantizer counts the usage of each centre.
        average: model with averaged weights.
        tiles: number of tiles in the pool of this process.
        world: number of processes.
    """

    def __init__(
        self, model: VectorAutoencoder, average: VectorAutoencoder, tiles: int, world: int
    ) -> None:
        self._model, self._average, self._world = model, average, world
        total = torch.tensor(tiles, device=model.quantizer.centres.device)
        if world > 1:
            torch.distributed.all_reduce(total)
        self._epoch = int(total) * LATENTS_PER_TILE / world
        self.statistics: dict[str, float] = {}
        """Share of centres in use and perplexity over the last whole epoch, for the log."""

    @torch.no_grad()
    def after_step(self, x: Tensor, progress: float) -> None:
        """Update statistics and restart dead centres if the epoch is over.

        Args:
            x: pictures of the step, from whose latents dead centres are drawn.
            progress: progress of the run, 0..1.
        """
        quantizer = self._model.quantizer
        if float(quantizer.usage[0, 0].sum()) < self._epoch:
            return
        if self._world > 1:
            torch.distributed.all_reduce(quantizer.usage)
        self.statistics = quantizer.statistics()
        if progress < RESTART_UNTIL:
            dead = self._model.restart_dead(x)
            if self._world > 1:
                for parameter in self._model.restarted_parameters():
                    torch.distributed.broadcast(parameter.data, 0)
            self._average.take_restarted(self._model, dead)
            self.statistics["codebook_restarts"] = float(dead.sum())
        quantizer.reset_usage()
