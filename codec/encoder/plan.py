"""The plan of an effort for one model: its methods, and the memory that they need."""

from __future__ import annotations

from dataclasses import dataclass

from codec.encoder.compensation import SHARE, Compensate
from codec.encoder.method import Method, Round
from codec.encoder.model import EncoderModel
from codec.encoder.options import EncoderOptions
from codec.encoder.search import Search
from codec.tiles import Grid

KEPT_PIXELS = 1 << 23
"""Up to this the features of a picture are kept where they are used again."""


@dataclass(frozen=True)
class Plan:
    """Methods of an effort for the pictures of one model.

    Args:
        model: to code with.
        rounds: of the search for better symbols, which needs an engine with derivatives; 0 for
            none.
        looks_back: whether latents are corrected by their reconstruction and a restoration filter
            is fitted, of a model for which that helps.
        share: how far latents are corrected, see `codec.encoder.compensation.Correction`.
    """

    model: EncoderModel
    rounds: int
    looks_back: bool
    share: float = SHARE

    @classmethod
    def of(cls, model: EncoderModel, options: EncoderOptions) -> Plan:
        """Plan with those parts of an effort that help a model."""
        rounds = options.rounds if model.searches else 0
        return cls(model, rounds, options.looks_back and model.looks_back)

    @property
    def base(self) -> Method:
        """The method without a search."""
        return Compensate(self.model, self.share) if self.looks_back else Round(self.model)

    @property
    def restores(self) -> bool:
        """Whether a restoration filter is fitted."""
        return self.looks_back and self.model.kernels > 0

    def search(self, restoration: tuple[int, ...]) -> Search:
        """The search, for reconstructions with a restoration filter of these weights."""
        return Search(self.model, self.rounds, self.base, restoration)

    @property
    def does_more(self) -> bool:
        """Whether more is done than to round."""
        return self.rounds > 0 or self.looks_back

    def compares(self, grid: Grid) -> bool:
        """Whether the search is compared with its start by the whole picture's cost.

        A search of several tiles does not know what becomes of the tiles around. Other distortions
        of the whole than squared error are not measured, so there the search is taken.
        """
        return self.rounds > 0 and len(grid) > 1 and self.model.config.distortion == "mse"

    def starts_apart(self, grid: Grid) -> bool:
        """Whether all tiles are coded by `base` before the search: for its restoration filter, or
        to compare."""
        return self.rounds > 0 and (self.restores or self.compares(grid))

    def keeps_features(self, grid: Grid, trials: bool) -> bool:
        """Whether features of all tiles are kept until the picture is done; arguments as of
        `kept`."""
        again = trials or self.starts_apart(grid)
        return again and grid.whole.area <= KEPT_PIXELS

    def kept(self, grid: Grid, measure: bool, reconstruct: bool, trials: bool) -> int:
        """Bytes of latents and features that are kept of all tiles until the picture is done.

        Args:
            grid: tiles of the picture.
            measure: whether the PSNR is asked for.
            reconstruct: whether the reconstruction is.
            trials: whether several levels will be tried.
        """
        latents = int(measure or reconstruct or (self.rounds > 0 and self.restores))
        if self.compares(grid):
            latents = 1 + reconstruct
        features = self.model.feature_bytes * self.keeps_features(grid, trials)
        return grid.whole.area * (latents * self.model.latent_bytes + features)

    def memory(self, grid: Grid) -> int:
        """Bytes that a tile needs beyond coding and transforms, at most."""
        search = self.search(()).memory(grid) if self.rounds else 0
        return max(self.base.memory(grid), search)
