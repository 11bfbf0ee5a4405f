"""Photographs for training: files in folders -> tiles -> pool in memory -> random crops.

The pool is one uint8 tensor on the training device: a step indexes it and decodes nothing. If the
photographs have more tiles than fit the memory budget, the pool rotates: every `ROTATE_EVERY`
steps the next tiles replace a sixteenth of it. Its content is a function of the step alone, so that
a resumed run sees the same data.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from codec.errors import InputError, TrainingError
from codec.files import files_in, is_folder, open_file
from codec.limits import Limits
from codec.picture.pixels import from_image
from codec.picture.reading import open_picture
from codec.training.variation import source_side, varied
from codec.url import Place, Url

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif"}
TILE = 512
"""Side of a tile in pixels; smaller pictures are mirrored up to it."""
NO_LIMITS = Limits(sys.maxsize, sys.maxsize)
"""No limits of ours; Pillow's own limit against decompression bombs still applies."""
ROTATE_EVERY = 256
ROTATIONS = 16


@dataclass(frozen=True)
class Member:
    """A picture file inside another file."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name


Photo = Place | Member


def find_photos(sources: Sequence[Place]) -> list[Place]:
    """Find all PNG, JPEG, WebP and AVIF files in files and folders, sorted, without duplicates.

    Raises:
        InputError: a folder cannot be read.
        TrainingError: a source does not exist, or nothing was found.
    """
    found: set[Place] = set()
    for source in sources:
        if is_folder(source):
            found.update(files_in(source, SUFFIXES))
        elif isinstance(source, Url) or source.is_file():
            found.add(source)
        else:
            raise TrainingError(f"{source}: no such file or folder")
    if not found:
        raise TrainingError(
            f"no photographs ({', '.join(sorted(SUFFIXES))}) in {', '.join(map(str, sources))}"
        )
    return sorted(found, key=str)


def is_held_out(key: str, fraction: float) -> bool:
    """Whether a name is among the fraction of all names that is kept for validation."""
    return zlib.crc32(os.fsencode(key)) < fraction * 2**32


def hold_out(photos: Sequence[Place], fraction: float) -> tuple[list[Place], list[Place]]:
    """Split into (training, held out) by a hash of the last two parts of each path.

    The side of a file does not depend on other files, nor on where its folder is.
    """
    training: list[Place] = []
    held: list[Place] = []
    for photo in photos:
        whole = photo.absolute().parts if isinstance(photo, Path) else str(photo).split("/")
        (held if is_held_out("/".join(whole[-2:]), fraction) else training).append(photo)
    return training, held


def tiles_of(photo: Photo) -> list[NDArray[np.uint8]]:
    """Cover a picture with as few tiles [3, 512, 512] as possible, evenly spaced.

    They overlap where the sides are no multiples of 512.

    Raises:
        TrainingError: the file cannot be decoded.
    """
    pixels = _mirrored(_decoded(photo), TILE)
    tops, lefts = (
        np.linspace(0, side - TILE, tiles_along(side)).round().astype(int).tolist()
        for side in pixels.shape[:2]
    )
    return [
        np.ascontiguousarray(pixels[top : top + TILE, left : left + TILE].transpose(2, 0, 1))
        for top in tops
        for left in lefts
    ]


def tiles_along(side: int) -> int:
    """Number of tiles that cover so many pixels of a row or column."""
    return -(-side // TILE)


def _decoded(photo: Photo) -> NDArray[np.uint8]:
    """Samples [H, W, 3] of a picture file.

    Raises:
        TrainingError: the file cannot be decoded.
    """
    try:
        with _opened(photo) as file:
            image = open_picture(file, NO_LIMITS, frame=0, to_8bit=True).image
            return from_image(image, to_8bit=True).samples
    except (InputError, OSError) as error:
        raise TrainingError(f"{photo}: cannot be decoded as a picture; remove it") from error


def _mirrored(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Samples [H, W, 3] mirrored at the right and below up to at least `side` pixels a side."""
    short = [(0, max(0, side - length)) for length in pixels.shape[:2]]
    return np.pad(pixels, [*short, (0, 0)], mode="symmetric")


def _opened(photo: Photo) -> BinaryIO:
    return BytesIO(photo.data) if isinstance(photo, Member) else open_file(photo, parts=True)


def count_tiles(photo: Place) -> int:
    """Number of tiles that `tiles_of` cuts, from the header alone; 0 if the file is unreadable."""
    try:
        with _opened(photo) as file, Image.open(file) as image:
            return tiles_along(image.height) * tiles_along(image.width)
    except Exception:  # decoders raise whatever a broken file leads them to
        return 0


class Pool:
    """Random crops from tiles in memory.

    Args:
        tiles: number of tiles.
        device: where they are.
    """

    def __init__(self, tiles: int, device: torch.device) -> None:
        self.tiles = torch.zeros((tiles, 3, TILE, TILE), dtype=torch.uint8, device=device)
        """Current content, uint8 [n, 3, 512, 512]."""
        self._unreadable: set[str] = set()
        self._workers = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def skipped(self) -> int:
        """Number of files that were found unreadable so far, and left out."""
        return len(self._unreadable)

    def _skip(self, name: str) -> None:
        self._unreadable.add(name)  # a set: a file comes again whenever the pool has been through

    def advance_to(self, step: int) -> None:
        """Rotate the pool to its content at `step`; steps may not decrease."""
        raise NotImplementedError

    def save(self, checkpoint: Path, step: int) -> None:
        """Keep what it takes to have the same content when a run is resumed."""

    def crops(
        self, batch: int, size: int, generator: torch.Generator, variety: float = 0.0
    ) -> Tensor:
        """Draw random crops, flipped along both axes and transposed, each with probability 1/2.

        Args:
            batch: number of crops.
            size: side of a crop.
            generator: source of the random numbers, on the CPU.
            variety: share of varied crops, see `codec.training.variation`.

        Returns:
            [batch, 3, size, size] float32 in 0..1.
        """
        draw = torch.randint(0, 2**31, (batch, 6), generator=generator).tolist()
        changes = torch.rand(batch, generator=generator) < variety if variety else [False] * batch
        crops = []
        for (index, top, left, mirror, flip, swap), change in zip(draw, changes, strict=True):
            side = source_side(size, TILE, generator) if change else size
            top, left = top % (TILE - side + 1), left % (TILE - side + 1)
            crop = self.tiles[index % len(self), :, top : top + side, left : left + side]
            axes = [axis for axis, chosen in ((1, flip), (2, mirror)) if chosen & 1]
            crop = crop.flip(axes) if axes else crop
            crop = (crop.transpose(1, 2) if swap & 1 else crop).float() / 255
            crops.append(varied(crop, size, generator) if change else crop)
        return torch.stack(crops)

    def close(self) -> None:
        """Stop the decoding threads."""
        self._workers.shutdown(wait=False, cancel_futures=True)


class TilePool(Pool):
    """Random crops from a bounded pool of tiles.

    Args:
        photos: picture files; unreadable ones are left out and counted in `skipped`, and so is one
            that turns out to be damaged on decoding, which the next good one replaces.
        device: device of the tiles.
        cache_bytes: memory for tiles.
        seed: seed of the order of the photographs.
        rank, world: this process takes every `world`-th photograph.

    Raises:
        TrainingError: there is no photograph, or none is readable.
    """

    def __init__(
        self,
        photos: Sequence[Place],
        device: torch.device,
        cache_bytes: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not photos:
            raise TrainingError(
                "all photographs are held out for validation; give more of them, or lower --holdout"
            )
        order = np.random.default_rng(seed).permutation(len(photos))
        mine = [photos[i] for i in order[rank::world]] or list(photos)
        workers = ThreadPoolExecutor(os.cpu_count())
        with workers:
            counts = list(workers.map(count_tiles, mine))
        # Tiles of a photograph stay together, so that it is decoded once for all of them.
        self._entries = [
            (photo, number)
            for photo, count in zip(mine, counts, strict=True)
            for number in range(count)
        ]
        if not self._entries:
            raise TrainingError(f"none of {len(mine)} photographs can be decoded")
        capacity = capacity_of(cache_bytes)
        self._rotates = len(self._entries) > capacity
        self._chunk = capacity // ROTATIONS
        self._rotation = 0
        super().__init__(min(capacity, len(self._entries)), device)
        for photo, tiles in zip(mine, counts, strict=True):
            if not tiles:
                self._skip(str(photo))
        self._load(0, len(self.tiles), 0)

    def _load(self, first_entry: int, count: int, first_slot: int) -> None:
        """Decode entries (cyclically) into consecutive slots."""
        entries = [self._entries[(first_entry + i) % len(self._entries)] for i in range(count)]
        runs = [
            (photo, [(number, slot) for slot, (_, number) in group])
            for photo, group in groupby(enumerate(entries, first_slot), key=lambda pair: pair[1][0])
        ]
        at_once = 2 * (os.cpu_count() or 1)  # bounds the decoded photographs in memory
        for start in range(0, len(runs), at_once):
            part = runs[start : start + at_once]
            decoded = self._workers.map(tiles_or_none, [photo for photo, _ in part])
            for (photo, slots), tiles in zip(part, decoded, strict=True):
                if not tiles:
                    self._skip(str(photo))
                    tiles = self._tiles_after(photo)
                for number, slot in slots:
                    self.tiles[slot] = torch.from_numpy(tiles[number % len(tiles)])

    def _tiles_after(self, photo: Place) -> list[NDArray[np.uint8]]:
        """Decode the next good photograph after a damaged one."""
        photos = list(dict.fromkeys(other for other, _ in self._entries))
        start = photos.index(photo) + 1
        for other in photos[start:] + photos[:start]:
            tiles = tiles_or_none(other)
            if tiles:
                return tiles
        raise TrainingError(f"none of {len(photos)} photographs can be decoded")

    def advance_to(self, step: int) -> None:
        """Rotate the pool to its content at `step`; steps may not decrease."""
        if not self._rotates:
            return
        target = step // ROTATE_EVERY
        for rotation in range(max(self._rotation, target - ROTATIONS), target):
            first_entry = len(self.tiles) + rotation * self._chunk
            self._load(first_entry, self._chunk, rotation % ROTATIONS * self._chunk)
        self._rotation = max(self._rotation, target)


def capacity_of(cache_bytes: int) -> int:
    """Tiles that fit the memory, a multiple of the rotations and at least one for each."""
    return max(ROTATIONS, cache_bytes // (3 * TILE * TILE) // ROTATIONS * ROTATIONS)


def tiles_or_none(photo: Photo) -> list[NDArray[np.uint8]]:
    """Tiles of a picture, none if it cannot be decoded."""
    try:
        return tiles_of(photo)
    except TrainingError:
        return []


def centre_crops(photos: Iterable[Photo], size: int, count: int) -> tuple[Tensor | None, int]:
    """Cut the middle out of each of the first decodable photographs; small ones are mirrored.

    Returns:
        uint8 [at most `count`, 3, size, size], None if there is none; and the number of photographs
        before the last of these that cannot be decoded.
    """
    crops: list[NDArray[np.uint8]] = []
    unreadable = 0
    for photo in photos:
        try:
            pixels = _mirrored(_decoded(photo), size)
        except TrainingError:
            unreadable += 1
            continue
        top, left = ((side - size) // 2 for side in pixels.shape[:2])
        crops.append(pixels[top : top + size, left : left + size].transpose(2, 0, 1))
        if len(crops) == count:
            break
    return (torch.from_numpy(np.stack(crops)) if crops else None), unreadable
