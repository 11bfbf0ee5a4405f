"""The choice of patches: which rectangles of a picture to store without loss.

The detector proposes a tree of rectangles, or nothing, as of photographs. Then nothing else is
done, unless the file takes too much, see `PatchChoice.reconsider`. Otherwise the picture is coded
by rounding and reconstructed once. A rectangle R is taken if

    bits(R) + w error(R)  >  8 bytes(R)

with the bits and the squared error of the latent positions that it covers, w bits for a unit of
error, and the bytes of its samples without loss; one over two others, if it saves more than both.
What is chosen is coded in the same way, and of the picture without patches, with these, and as
one patch the one of least cost is taken.

The weight w is lambda / 3, that of the objective of models for squared error. For all others it is
the same: their ladders of lambdas have the same ends, and photographs about the same PSNR at them,
while neither MS-SSIM nor the distance to centres sees that text cannot be read.

Beyond the cost a quality promises a PSNR, see `photograph_rates`. While a picture is below, w is
raised. The same is done at the lowest level, and what it takes there is taken at all levels, so
that a picture that is exact at one quality is so at all higher ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codec.encoder.encoded import Encoded, Trial
from codec.encoder.patch_boxes import patches_over, pieces
from codec.encoder.patch_detector import Region, propose
from codec.encoder.photograph_rates import PhotographRates
from codec.encoder.picture import PictureEncoder
from codec.format.patch_table import MAX_PATCH_SIDE, MAX_PATCHES, PATCH_UNIT
from codec.level import LOWEST, Level
from codec.picture.patch import quick_size
from codec.picture.pixels import psnr_of
from codec.tiles import LATENT_STRIDE, Box
from codec.weights.file import COLOURS

SLENDER = 4
"""Shorter side in pixels below which a picture is a patch without a trial: transforms would see
it four times and more as large as it is."""
SIMPLE_RATE = 0.05
"""Bits per pixel without loss up to which nothing else is tried: it is less than any photograph
takes, and trials of large flat pictures take seconds."""
RAISED = 4.0
"""Factor by which the weight of the error is raised while a promise is not kept,"""
MOST_RAISED = 8
"""and the number of times that it is, at most."""

STRIP_SIDE = 16
"""Shorter side in pixels of the two strips through the middle of a picture by which its bytes
without loss are estimated: 1.5 ms for 0.4 megapixels;"""
STRIP_BYTES = 64
"""bytes of a strip that do not grow with it;"""
FEW_BYTES = 2.0
"""and that estimate relative to the file, up to which the picture is a suspect; of photographs it
is 3.7 and more at quality 100."""


class PatchChoice:
    """Patches of one picture, at any level.

    Args:
        encoder: of the picture, without patches.
        rates: of photographs, with the model.
    """

    def __init__(self, encoder: PictureEncoder, rates: PhotographRates) -> None:
        self._plain = encoder
        self._rates = rates
        self._patched: dict[frozenset[Box], PictureEncoder] = {}
        self._suspect = False

    @property
    def _region(self) -> Region | None:
        """What may be patches; None if nothing may be."""
        if self.slender or self._suspect:
            return Region(self._plain.source.whole)
        return self._proposed

    @cached_property
    def _proposed(self) -> Region | None:
        return propose(self._plain.source)

    @property
    def slender(self) -> bool:
        """Whether the picture is too narrow for the transforms."""
        return min(self._plain.source.width, self._plain.source.height) < SLENDER

    @cached_property
    def whole(self) -> PictureEncoder:
        """Encoder of the picture as patches over everything."""
        return self._plain.with_patches(patches_over(self._plain.grid))

    def reconsider(self, encoded: Encoded) -> bool:
        """Whether patches may pay, now that the file without them is known: if its rate is above
        that of any photograph at its level, or not far below what the picture takes without loss,
        as of patterns and of gradients, the whole picture may be a patch from now on."""
        if self._region is None:
            rate = encoded.bits / encoded.header.pixels
            much = rate > self._rates.suspect_rate(encoded.header.level)
            self._suspect = much or self._lossless_bytes <= FEW_BYTES * len(encoded.data)
        return self._region is not None

    @cached_property
    def _lossless_bytes(self) -> float:
        """Bytes of the picture without loss, estimated by two strips of it."""
        picture, longest = self._plain.source, PATCH_UNIT * MAX_PATCH_SIDE
        estimates = []
        for width, height in ((longest, STRIP_SIDE), (STRIP_SIDE, longest)):
            left = max(0, picture.width - width) // 2
            top = max(0, picture.height - height) // 2
            strip = Box(left, top, left + width, top + height) & picture.whole
            size = max(0, quick_size(*picture.original(strip)) - STRIP_BYTES)
            estimates.append(size * picture.whole.area / strip.area)
        return min(estimates)

    def encode(self, level: Level) -> Encoded:
        """The file of a level with the patches that pay."""
        if self._region is None:
            encoded = self._plain.encode(level)
            if not self.reconsider(encoded):
                return encoded
            chosen = self.encoder(level)
            return encoded if chosen is self._plain else chosen.encode(level)
        return self.encoder(level).encode(level)

    def encoder(self, level: Level) -> PictureEncoder:
        """Encoder of the picture with the patches that pay at a level."""
        region = self._region
        if region is None:
            return self._plain
        if self.slender or self._simple or self._promised is None:
            return self.whole
        return self._best(level, region, self._promised)

    @cached_property
    def _simple(self) -> bool:
        """Whether the picture takes next to nothing without loss."""
        bits = 8 * self._bytes_of(self.whole.boxes)
        return bits <= SIMPLE_RATE * self._plain.source.whole.area

    @cached_property
    def _promised(self) -> tuple[Box, ...] | None:
        """Patches that the promise takes at the lowest level; None for patches over everything."""
        region = self._region
        assert region is not None
        if not self._rates.least_psnr(LOWEST):
            return ()
        trial = self._plain.trial(LOWEST)
        return self._kept(LOWEST, region, trial, ())

    def _best(self, level: Level, region: Region, promised: tuple[Box, ...]) -> PictureEncoder:
        """Encoder of least cost that keeps the promise, with some patches at least."""
        plain = self._plain.trial(level)
        least = self._rates.least_psnr(level)
        boxes = _outermost([*promised, *self._chosen(region, plain, plain.error_weight)])
        found = [] if promised else [(plain, self._plain)]
        if boxes:
            found.append(self._tried(level, boxes))
        found = [(trial, encoder) for trial, encoder in found if trial.psnr >= least]
        if not found:
            kept = self._kept(level, region, plain, promised)
            if kept is None:
                return self.whole
            found = [self._tried(level, kept)]
        found.append((self.whole.trial(level), self.whole))
        return min(found, key=lambda one: one[0].cost)[1]

    def _kept(
        self, level: Level, region: Region, plain: Trial, promised: tuple[Box, ...]
    ) -> tuple[Box, ...] | None:
        """Patches with which the promise is kept at a level; None for those over everything.

        Args:
            level: of the file.
            region: all that may be patches.
            plain: the file without patches.
            promised: patches to take in any case.
        """
        least = self._rates.least_psnr(level)
        if plain.psnr >= least and not promised:
            return ()
        weight, raised = plain.error_weight, 1.0
        samples = COLOURS * self._plain.source.count_visible()
        for _ in range(MOST_RAISED):
            boxes = _outermost([*promised, *self._chosen(region, plain, raised * weight)])
            left = plain.error.sum() - sum(_under(box, plain.error) for box in boxes)
            if boxes and psnr_of(max(left, 0.0), samples) >= least:
                trial, _ = self._tried(level, boxes)
                if trial.psnr >= least:
                    return boxes
            raised *= RAISED
        return None

    def _tried(self, level: Level, boxes: tuple[Box, ...]) -> tuple[Trial, PictureEncoder]:
        """The trial of patches at a level, and their encoder, one for the same patches."""
        key = frozenset(boxes)
        if key not in self._patched:
            parts = (piece for box in boxes for piece in pieces(box))
            self._patched[key] = self._plain.with_patches(parts)
        encoder = self._patched[key]
        return encoder.trial(level), encoder

    def _chosen(
        self, region: Region, plain: Trial, weight: float | NDArray[np.float64]
    ) -> list[Box]:
        """Rectangles inside a region, or itself if there are none, that pay.

        Args:
            region: all that may be patches.
            plain: the file without patches.
            weight: bits that a unit of squared error is worth, by latent position with a map of
                levels.
        """
        chosen: list[Box] = []
        cost = plain.bits + weight * plain.error
        for part in region.parts or (region,):
            _, boxes = self._pruned(part, cost)
            chosen += boxes
        return chosen if len(chosen) <= MAX_PATCHES else [region.box]

    def _pruned(self, region: Region, cost: NDArray[np.float64]) -> tuple[float, list[Box]]:
        """Bits that the best patches of a region save, and these patches.

        Args:
            region: all that may be patches.
            cost: in bits without patches, by latent position.
        """
        saved, chosen, all_chosen = 0.0, list[Box](), True
        for part in region.parts:
            gain, boxes = self._pruned(part, cost)
            saved += gain
            chosen += boxes
            all_chosen &= bool(boxes)
        if all_chosen:
            gain = _under(region.box, cost) - 8 * self._bytes_of(pieces(region.box))
            if gain > saved:
                return gain, [region.box]
        return saved, chosen

    def _bytes_of(self, boxes: Iterable[Box]) -> int:
        """Bytes of rectangles without loss, with their entries in the table."""
        return sum(patch.size for patch in self._plain.patches_of(boxes))


def _under(box: Box, plane: NDArray[np.float64]) -> float:
    """Sum over the latent positions of a box of pixels."""
    return float(plane[box.shrunk(LATENT_STRIDE).slices].sum())


def _outermost(boxes: Iterable[Box]) -> tuple[Box, ...]:
    """Boxes of one tree without those inside others."""
    found = set(boxes)
    return tuple(
        box for box in found if not any(box != other and box & other == box for other in found)
    )
