"""A picture to be coded: its tiles, and the patches that are stored instead of parts of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from codec.encoder.patch_boxes import checked_boxes
from codec.encoder.tile import window_features
from codec.engine.base import Engine, Features
from codec.format.patch_table import Patch, covered_tiles
from codec.picture.alpha import encode_alpha
from codec.picture.patch import Cover, encode_patch
from codec.picture.pixels import Picture
from codec.pool import Mapper
from codec.tiles import Box, Grid


@dataclass(frozen=True)
class _Cache:
    """What one picture with several sets of patches shares; may be used by several threads."""

    patches: dict[Box, bytes] = field(default_factory=dict)
    alpha: dict[tuple[int, tuple[Box, ...]], bytes] = field(default_factory=dict)
    features: dict[int, tuple[tuple[Box, ...], Features]] = field(default_factory=dict)
    """By tile, with the patches that its samples and their surroundings have; the latest alone, so
    that they do not add up."""


class PatchedPicture:
    """A picture with patches.

    Args:
        engine: of the features.
        source: the picture as it is.
        grid: its tiles.
        mapper: runs the work on patches.
        keeps_features: whether features of tiles are needed again.
        boxes: patches, disjoint boxes of pixels whose corners are multiples of 16 or lie on the
            right and lower border of the picture.

    Raises:
        InputError: no file has such patches.
    """

    def __init__(
        self,
        engine: Engine,
        source: Picture,
        grid: Grid,
        mapper: Mapper,
        keeps_features: bool = False,
        boxes: Iterable[Box] = (),
    ) -> None:
        self._engine = engine
        self.source = source
        self.grid = grid
        self._mapper = mapper
        self._keeps_features = keeps_features
        self._cache = _Cache()
        self.boxes = checked_boxes(boxes, grid.whole)
        """Patches, by rising (top, left)."""
        self._cover = Cover(self.boxes, grid.whole) if self.boxes else None
        self.picture = replace(source, cover=self._cover)
        """The picture as tiles code it: what patches cover is not seen."""
        self.covered = covered_tiles(self.boxes, grid)
        """Numbers of the tiles that patches cover wholly, which have no stream."""
        self.coded = [n for n in range(len(grid)) if n not in self.covered]
        """Numbers of all others."""

    def with_patches(self, boxes: Iterable[Box]) -> PatchedPicture:
        """The same picture with these patches; what has been computed of it is shared.

        Raises:
            InputError: no file has such patches.
        """
        other = PatchedPicture(
            self._engine, self.source, self.grid, self._mapper, self._keeps_features, boxes
        )
        other._cache = self._cache
        return other

    @cached_property
    def visible(self) -> int:
        """Number of visible pixels, those under patches included."""
        return self.source.count_visible() if self.boxes else self.visible_in_tiles

    @cached_property
    def visible_in_tiles(self) -> int:
        """Number of visible pixels that patches do not cover."""
        return self.picture.count_visible()

    @cached_property
    def patches(self) -> tuple[Patch, ...]:
        """The patches as a file has them."""
        return self.patches_of(self.boxes)

    def patches_of(self, boxes: Iterable[Box]) -> tuple[Patch, ...]:
        """Samples of boxes without loss, of which each is coded once."""

        def patch_of(box: Box) -> Patch:
            if box not in self._cache.patches:
                self._cache.patches[box] = encode_patch(*self.source.original(box))
            return Patch(box, self._cache.patches[box])

        return tuple(self._mapper(patch_of, boxes))

    def hides(self, box: Box) -> bool:
        """Whether patches cover all pixels of a box."""
        return self._cover is not None and self._cover.hides(box)

    def features(self, number: int) -> Features:
        """Features of a tile and its halo, see `codec.encoder.tile.window_features`."""
        known, box = self._cache.features, self.grid.box(number)
        halo = self._engine.analysis_halo
        patches = self._touching(box.grown(halo, within=self.grid.whole))
        kept = known.get(number)
        if kept and kept[0] == patches:
            return kept[1]
        features = window_features(self._engine, self.picture, box)
        if self._keeps_features:
            known[number] = patches, features
        return features

    def alpha(self, number: int) -> bytes:
        """Coded alpha of a tile; empty without alpha."""
        box, known = self.grid.box(number), self._cache.alpha
        key = number, self._touching(box)
        if key not in known:
            plane = self.picture.alpha_plane(box)
            known[key] = b"" if plane is None else encode_alpha(plane)
        return known[key]

    def _touching(self, box: Box) -> tuple[Box, ...]:
        """Patches that cover some of a box."""
        return tuple(patch for patch in self.boxes if (patch & box).area)
