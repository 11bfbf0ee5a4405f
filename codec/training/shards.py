"""Photographs for training in shards: tar files, read as a stream into a pool that rotates.

A shard is a tar file of pictures, on a disk or in a store, as the package webdataset writes them;
what else is in it is left out. That package is not what reads them here: it opens stores by running
programs, and its order of samples cannot be continued. This one can: the stream of tiles is a
function of seed, rank, and number of processes. In each epoch the shards are shuffled and dealt out
to the processes, and the pool is the buffer that shuffles what is in them. The run folder keeps
where in the stream the oldest part of the pool begins, so that a resumed run has the same pool.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from codec.errors import InputError, TrainingError
from codec.files import files_in, is_folder, open_file, write_file
from codec.training.photos import (
    ROTATE_EVERY,
    ROTATIONS,
    SUFFIXES,
    Member,
    Pool,
    capacity_of,
    is_held_out,
    tiles_or_none,
)
from codec.url import Place, Url

SHARD_SUFFIXES = {".tar", ".tgz", ".gz"}
HELD_OUT_SHARDS = 4
"""Shards that are searched for pictures to validate on."""
STATES = "{}.shards-{}.json"
"""Names of files with the state of the stream, by checkpoint and rank."""
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")

Tile = NDArray[np.uint8]


def find_shards(sources: Sequence[Place]) -> list[Place]:
    """Find the tar files among files, folders and URLs such as `s3://b/shard-{000..999}.tar`.

    Returns:
        Shards in order of their names; none if the sources are no shards.

    Raises:
        InputError: a folder cannot be read, or a store refuses.
        TrainingError: some sources are shards and others are not, or a folder has both.
    """
    found: set[Place] = set()
    others: list[Place] = []
    for source in (one for given in sources for one in _expanded(given)):
        if _is_shard(source):
            found.add(source)
        elif is_folder(source):
            inside = list(files_in(source, SHARD_SUFFIXES | SUFFIXES))
            shards = [file for file in inside if _is_shard(file)]
            found.update(shards)
            pictures = [file for file in inside if file.suffix.lower() in SUFFIXES]
            others += pictures or ([] if shards else [source])
        else:
            others.append(source)
    if found and others:
        raise TrainingError(f"{others[0]}: no tar file; PHOTOS are either shards or pictures")
    return sorted(found, key=str)


def _is_shard(place: Place) -> bool:
    return place.name.lower().endswith((".tar", ".tgz", ".tar.gz"))


def _expanded(place: Place) -> list[Place]:
    """URLs of a range; that of paths is the shell's."""
    match = _RANGE.search(str(place))
    if not match or not isinstance(place, Url):
        return [place]
    first, last = match[1], match[2]
    numbers = (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))
    urls = [Url(place.text[: match.start()] + n + place.text[match.end() :]) for n in numbers]
    return [one for url in urls for one in _expanded(url)]


def members_of(shard: Place) -> Iterator[Member]:
    """Pictures of a shard, one after the other as they are read.

    Raises:
        InputError: it cannot be read, or is no tar file.
    """
    try:
        with (
            open_file(shard, sys.maxsize, parts=True) as file,
            tarfile.open(fileobj=file, mode="r|*") as tar,
        ):
            for entry in tar:
                if entry.isreg() and Path(entry.name).suffix.lower() in SUFFIXES:
                    content = cast(BinaryIO, tar.extractfile(entry)).read()
                    yield Member(f"{shard.name}/{entry.name}", content)
                tar.members = []  # type: ignore[attr-defined]  # which would grow with the shard
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{shard}: no tar file, or damaged ({error})") from error


class ShardPool(Pool):
    """Random crops from a bounded pool of tiles, through which the shards flow.

    A shard that cannot be read is left out from where it fails, and counted in `skipped`. Where all
    shards of this process fit the memory, they are read once.

    Args:
        shards: tar files.
        device: device of the tiles.
        cache_bytes: memory for tiles.
        seed: seed of the order of the shards.
        rank: number of this process.
        world: number of processes, of which each reads its share of the shards in each epoch.
        holdout: share of the pictures that is left out, for validation.
        state: where the stream was, see `load_state`; None for its beginning.
        step: at which the run is.

    Raises:
        TrainingError: no picture can be read.
    """

    def __init__(
        self,
        shards: Sequence[Place],
        device: torch.device,
        cache_bytes: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        holdout: float = 0.0,
        state: dict[str, int] | None = None,
        step: int = 0,
    ) -> None:
        capacity = capacity_of(cache_bytes)
        super().__init__(capacity, device)
        self._shards, self._seed, self._holdout = shards, seed, holdout
        self._rank, self._world = (rank, world) if len(shards) >= world else (0, 1)
        self._own = len(range(self._rank, len(shards), self._world))
        self._chunk = capacity // ROTATIONS
        self._rotates = True
        self._rotation = state["rotation"] if state else step // ROTATE_EVERY
        first = (state["shard"], state["tile"]) if state else (0, 0)
        self._stream = self._tiles(*first)
        self._starts = dict.fromkeys(range(ROTATIONS), first)
        oldest = self._rotation if state else 0
        for number in range(oldest, oldest + ROTATIONS):
            if not self._fill(number % ROTATIONS, whole=first == (0, 0)):
                break

    def _order(self, number: int) -> Place:
        """The shard that comes after so many others."""
        epoch, place = divmod(number, self._own)
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._shards))
        return self._shards[order[self._rank :: self._world][place]]

    def _tiles(self, shard: int, tile: int) -> Iterator[tuple[tuple[int, int], Tile]]:
        """The stream from a tile of a shard on, with the place of each tile in it."""
        barren = 0
        for number in count(shard):
            index = -1
            for index, content in enumerate(self._tiles_of(self._order(number))):
                if number > shard or index >= tile:
                    yield (number, index), content
            barren = 0 if index >= 0 else barren + 1
            if barren >= self._own:
                held = ", or all are held out; lower --holdout" if self._holdout else ""
                raise TrainingError(f"no picture can be read in any of {self._own} shards{held}")

    def _tiles_of(self, shard: Place) -> Iterator[Tile]:
        members = (m for m in members_of(shard) if not is_held_out(m.name, self._holdout))
        at_once = 2 * (os.cpu_count() or 1)  # bounds the decoded photographs in memory
        try:
            while some := list(islice(members, at_once)):
                for member, tiles in zip(some, self._workers.map(tiles_or_none, some), strict=True):
                    if not tiles:
                        self._skip(member.name)
                    yield from tiles
        except InputError:
            self._skip(str(shard))

    def _fill(self, chunk: int, whole: bool = False) -> bool:
        """Load the next tiles of the stream into a part of the pool.

        Args:
            chunk: number of the part.
            whole: whether to stop where all shards have been read once.

        Returns:
            False if it has stopped, and the pool holds everything.
        """
        slots = range(chunk * self._chunk, (chunk + 1) * self._chunk)
        for slot in slots:
            place, tile = next(self._stream)
            if whole and place[0] >= self._own:
                self.tiles = self.tiles[:slot].clone()
                self._rotates = False
                return False
            if slot == slots[0]:
                self._starts[chunk] = place
            self.tiles[slot] = torch.from_numpy(tile)
        return True

    def advance_to(self, step: int) -> None:
        """Rotate the pool to its content at `step`; steps may not decrease."""
        target = step // ROTATE_EVERY
        while self._rotates and self._rotation < target:
            self._fill(self._rotation % ROTATIONS)
            self._rotation += 1

    def held_out(self) -> Iterator[Member]:
        """Pictures to validate on, the same for all processes."""
        for shard in self._shards[:HELD_OUT_SHARDS]:
            try:
                yield from (m for m in members_of(shard) if is_held_out(m.name, self._holdout))
            except InputError:
                continue

    def save(self, checkpoint: Path, step: int) -> None:
        """Keep where the stream is, beside a checkpoint.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._rotates:
            shard, tile = self._starts[self._rotation % ROTATIONS]
            state = {"step": step, "rotation": self._rotation, "shard": shard, "tile": tile}
            path = checkpoint.with_name(STATES.format(checkpoint.stem, self._rank))
            write_file(path, json.dumps(state).encode(), force=True)


def load_state(run: Path, step: int, rank: int) -> dict[str, int] | None:
    """Where the stream was at a checkpoint.

    A process that did not exist then goes on where the first one was.

    Args:
        run: folder of the run.
        step: of the checkpoint.
        rank: number of this process.
    """
    for owner in (rank, 0):
        for path in sorted(run.glob(STATES.format("*", owner))):
            try:
                state: dict[str, Any] = json.loads(path.read_bytes())
                found = {key: int(state[key]) for key in ("step", "rotation", "shard", "tile")}
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if found["step"] == step:
                return found
    return None
