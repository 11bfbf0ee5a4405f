"""Photographs for training: found in folders, decoded once, cut into tiles kept in memory.

A pool holds as many tiles as its memory budget allows, as one uint8 tensor on the training
device, so that a step costs an index and not a decode. Folders that exceed the budget are
rotated through: every `ROTATE_EVERY` steps one sixteenth of the pool is replaced by the next
tiles, at steps fixed in advance, so that a resumed run sees the same data.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from codec.errors import TrainingError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif"}
TILE = 512
"""Side of a tile in pixels; smaller pictures are mirrored up to it."""
ROTATE_EVERY = 256
ROTATIONS = 16


def find_photos(sources: Sequence[Path]) -> list[Path]:
    """All PNG, JPEG, WebP and AVIF files in files and folders, sorted, without duplicates.

    Raises:
        TrainingError: a source does not exist, or nothing was found.
    """
    found: set[Path] = set()
    for source in sources:
        if source.is_dir():
            found.update(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
        elif source.is_file():
            found.add(source)
        else:
            raise TrainingError(f"{source}: no such file or folder")
    if not found:
        raise TrainingError(
            f"no photographs ({', '.join(sorted(SUFFIXES))}) in {', '.join(map(str, sources))}"
        )
    return sorted(found)


def hold_out(photos: Sequence[Path], fraction: float) -> tuple[list[Path], list[Path]]:
    """Split into (training, held out) by a hash of the last two parts of each path.

    A file keeps its side whatever else is in the folder.
    """
    training: list[Path] = []
    held: list[Path] = []
    for photo in photos:
        key = "/".join(photo.parts[-2:]).encode()
        (held if zlib.crc32(key) < fraction * 2**32 else training).append(photo)
    return training, held


def tiles_of(photo: Path, tile: int = TILE) -> list[NDArray[np.uint8]]:
    """Cut a picture into as many whole tiles [3, tile, tile] as fit, evenly spread.

    Raises:
        TrainingError: the file cannot be decoded.
    """
    try:
        with Image.open(photo) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise TrainingError(f"{photo}: cannot be decoded as a picture; remove it") from error
    pixels = np.asarray(upright)
    short = [(0, max(0, tile - side)) for side in pixels.shape[:2]]
    pixels = np.pad(pixels, [*short, (0, 0)], mode="symmetric")
    offsets = [
        np.linspace(0, side - tile, side // tile).astype(int).tolist() for side in pixels.shape[:2]
    ]
    return [
        np.ascontiguousarray(pixels[top : top + tile, left : left + tile].transpose(2, 0, 1))
        for top in offsets[0]
        for left in offsets[1]
    ]


class TilePool:
    """Random crops from a bounded pool of tiles.

    Args:
        photos: picture files.
        device: where the tiles live.
        cache_bytes: memory for tiles.
        seed: order of the photographs.
        rank, world: this process takes every `world`-th photograph.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        device: torch.device,
        cache_bytes: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        order = np.random.default_rng(seed).permutation(len(photos))
        self._photos = [photos[i] for i in order[rank::world]] or list(photos)
        self._device = device
        self._capacity = max(ROTATIONS, cache_bytes // (3 * TILE * TILE))
        self._chunk = self._capacity // ROTATIONS
        self._stream = self._tile_stream()
        tiles = self._take(self._capacity)
        self._rotates = len(tiles) == self._capacity
        self._tiles = torch.from_numpy(np.stack(tiles)).to(device)
        self._loader = ThreadPoolExecutor(1)
        self._next: Future[list[NDArray[np.uint8]]] | None = None
        self._rotation = 0

    def __len__(self) -> int:
        return len(self._tiles)

    def _tile_stream(self) -> Iterator[list[NDArray[np.uint8]]]:
        """Tiles of each photograph in turn; decodes ahead on all cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(self._photos), 64):
                yield from pool.map(tiles_of, self._photos[start : start + 64])

    def _take(self, count: int) -> list[NDArray[np.uint8]]:
        taken: list[NDArray[np.uint8]] = []
        while len(taken) < count:
            tiles = next(self._stream, None)
            if tiles is None:
                break
            taken.extend(tiles)
        return taken[:count]

    def _take_endlessly(self, count: int) -> list[NDArray[np.uint8]]:
        taken = self._take(count)
        while len(taken) < count:
            self._stream = self._tile_stream()
            taken.extend(self._take(count - len(taken)))
        return taken

    def advance_to(self, step: int) -> None:
        """Bring the pool to the state it has at `step`; call with growing steps."""
        while self._rotates and self._rotation < step // ROTATE_EVERY:
            pending = self._next or self._loader.submit(self._take_endlessly, self._chunk)
            start = self._rotation % ROTATIONS * self._chunk
            fresh = torch.from_numpy(np.stack(pending.result()))
            self._tiles[start : start + self._chunk] = fresh.to(self._device)
            self._rotation += 1
            self._next = self._loader.submit(self._take_endlessly, self._chunk)

    def crops(self, batch: int, size: int, generator: torch.Generator) -> Tensor:
        """Random crops, flipped at random along both axes, and transposed half of the time.

        Returns:
            [batch, 3, size, size] float32 in 0..1.
        """
        draw = torch.randint(0, 2**31, (batch, 6), generator=generator).tolist()
        crops = []
        for index, top, left, mirror, flip, swap in draw:
            top, left = top % (TILE - size + 1), left % (TILE - size + 1)
            crop = self._tiles[index % len(self), :, top : top + size, left : left + size]
            axes = [axis for axis, chosen in ((1, flip), (2, mirror)) if chosen & 1]
            crop = crop.flip(axes) if axes else crop
            crops.append(crop.transpose(1, 2) if swap & 1 else crop)
        return torch.stack(crops).float() / 255

    def close(self) -> None:
        self._loader.shutdown(wait=False, cancel_futures=True)


def centre_crops(photos: Iterable[Path], size: int) -> Tensor:
    """The middle of the first tile of each photograph: [n, 3, size, size] uint8."""
    start = (TILE - size) // 2
    cut = slice(start, start + size)
    return torch.from_numpy(np.stack([tiles_of(photo)[0][:, cut, cut] for photo in photos]))
