"""Training on tar files of pictures: order, shares of processes, memory, resumption."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from codec.errors import InputError, TrainingError
from codec.training import photos as pools
from codec.training.checkpoint import load_checkpoint
from codec.training.loop import Trainer, train
from codec.training.run_folder import LAST, left_in, resume_run
from codec.training.schedule import TrainingConfig
from codec.training.shards import ShardPool, find_shards, load_state, members_of
from codec.url import Place, Url
from codec.weights.config import ModelConfig
from tests.helpers import flowers

CPU = torch.device("cpu")
PER_SHARD = 8
ROOM = 64 << 20
"""Memory for far more tiles than there are."""


def png_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def greys(first: int) -> dict[str, bytes]:
    return {
        f"{n:03}.png": png_of(Image.new("L", (8, 8), n)) for n in range(first, first + PER_SHARD)
    }


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Place]:
    """Four shards of eight pictures, each picture of a grey of its own, 0 to 31."""
    folder = tmp_path_factory.mktemp("shards")
    starts = range(0, 4 * PER_SHARD, PER_SHARD)
    return [write_shard(folder / f"{n:02}.tar", greys(n)) for n in starts]


def shown(pool: ShardPool) -> list[int]:
    return [int(v) for v in pool.tiles[:, 0, 0, 0]]


def test_shards_are_found(tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    paths: list[Place] = [write_shard(folder / name, {}) for name in ("b.tar", "a.tgz")]
    assert find_shards([folder]) == sorted(paths)
    assert find_shards([*paths, paths[0]]) == sorted(paths)
    assert find_shards([photos]) == []
    assert find_shards([Url("https://h/{0..1}/s-{08..11}.tar")]) == [
        Url(f"https://h/{folder}/s-{n}.tar") for folder in (0, 1) for n in ("08", "09", "10", "11")
    ]
    with pytest.raises(TrainingError, match=r"photos/0\.png: no tar file"):
        find_shards([paths[0], photos])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TrainingError, match="empty: no tar file"):
        find_shards([paths[0], empty])


def test_shards_with_pictures_beside_them_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", greys(0))
    (tmp_path / "a.json").write_text("{}")
    assert find_shards([tmp_path]) == [tmp_path / "a.tar"]
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"b\.jpg: no tar file"):
        find_shards([tmp_path])


def test_members_are_pictures(tmp_path: Path) -> None:
    members = {"a.png": b"1", "a.json": b"{}", "sub/b.JPG": b"2", "c.cls": b"5"}
    for name in ("s.tar", "s.tgz"):
        found = list(members_of(write_shard(tmp_path / name, members)))
        assert [(m.name, m.data) for m in found] == [
            (f"{name}/a.png", b"1"),
            (f"{name}/sub/b.JPG", b"2"),
        ]
    (tmp_path / "bad.tar").write_bytes(b"nothing" * 1000)
    with pytest.raises(InputError, match=r"bad\.tar: no tar file"):
        list(members_of(tmp_path / "bad.tar"))
    with pytest.raises(InputError, match=r"none\.tar: no such file"):
        list(members_of(tmp_path / "none.tar"))


def test_few_pictures_are_read_once(shards: list[Place]) -> None:
    pool = ShardPool(shards, CPU, ROOM)
    assert sorted(shown(pool)) == list(range(32))
    before = pool.tiles.clone()
    pool.advance_to(256 * 20)
    assert torch.equal(pool.tiles, before)
    again = ShardPool(shards, CPU, ROOM, step=256 * 20)  # as a resumed run
    assert torch.equal(again.tiles, before)
    assert pool.crops(2, 64, torch.Generator().manual_seed(0)).shape == (2, 3, 64, 64)


def seen_by(pool: ShardPool, rotations: Sequence[int]) -> list[int]:
    """Greys of the tiles that came with each rotation, those of the beginning first."""
    seen = shown(pool)
    for rotation in rotations:
        pool.advance_to(256 * (rotation + 1))
        seen.append(shown(pool)[rotation % 16])
    return seen


def test_each_epoch_has_every_picture_once(shards: list[Place]) -> None:
    seen = seen_by(ShardPool(shards, CPU, 0), range(3 * 32 - 16))
    epochs = [seen[start : start + 32] for start in (0, 32, 64)]
    assert all(sorted(epoch) == list(range(32)) for epoch in epochs)
    orders = [[grey // PER_SHARD for grey in epoch[::PER_SHARD]] for epoch in epochs]
    assert len({tuple(order) for order in orders}) > 1
    assert seen != seen_by(ShardPool(shards, CPU, 0, seed=1), range(3 * 32 - 16))


def test_processes_share_the_shards(shards: list[Place]) -> None:
    parts = [seen_by(ShardPool(shards, CPU, 0, rank=rank, world=2), range(16)) for rank in range(2)]
    for epoch in (slice(0, 16), slice(16, 32)):
        assert sorted(parts[0][epoch] + parts[1][epoch]) == list(range(32))
    alone = ShardPool(shards[:1], CPU, ROOM, rank=1, world=2)  # fewer shards than processes
    assert len(alone) == PER_SHARD


@pytest.mark.parametrize("step", [0, 256 * 5, 256 * 23 + 100])
def test_a_resumed_pool_is_the_same(shards: list[Place], tmp_path: Path, step: int) -> None:
    pool = ShardPool(shards, CPU, 0)
    pool.advance_to(step)
    pool.save(tmp_path / LAST, step)
    state = load_state(tmp_path, step, rank=0)
    assert state == load_state(tmp_path, step, rank=7)  # which is new
    assert load_state(tmp_path, step + 1, rank=0) is None
    resumed = ShardPool(shards, CPU, 0, state=state, step=step)
    assert torch.equal(pool.tiles, resumed.tiles)
    for later in (step + 256, step + 256 * 40):
        pool.advance_to(later)
        resumed.advance_to(later)
        assert torch.equal(pool.tiles, resumed.tiles)
    assert [path.name for path in left_in(tmp_path)] == ["last.shards-0.json"]


def test_what_cannot_be_read_is_left_out(shards: list[Place], tmp_path: Path) -> None:
    short = tmp_path / "short.tar"
    assert isinstance(shards[0], Path)
    short.write_bytes(shards[0].read_bytes()[: 2048 + 700])  # ends within the third picture
    broken = write_shard(tmp_path / "broken.tar", {"a.png": b"no picture", **greys(100)})
    pool = ShardPool([shards[1], short, broken, tmp_path / "none.tar"], CPU, ROOM)
    greys_of_all = {*range(8, 16), *range(100, 108)}
    assert greys_of_all <= set(shown(pool)) <= greys_of_all | {0, 1}
    assert pool.skipped == 3
    with pytest.raises(TrainingError, match="no picture can be read in any of 1 shards"):
        ShardPool([tmp_path / "none.tar"], CPU, 0)
    with pytest.raises(TrainingError, match="or all are held out; lower --holdout"):
        ShardPool(shards[:1], CPU, 0, holdout=1.0)


def test_some_pictures_are_held_out(shards: list[Place]) -> None:
    pool = ShardPool(shards, CPU, ROOM, holdout=0.3)
    held = [member.name for member in pool.held_out()]
    assert len(held) + len(pool) == 32
    assert 3 < len(held) < 20
    number = {name: int(Path(name).stem) for name in held}
    assert not set(shown(pool)) & set(number.values())
    assert ShardPool(shards, CPU, ROOM, rank=1, world=2, holdout=0.3).held_out is not None


@pytest.mark.slow
def test_runs_on_shards_resume_exactly(
    tmp_path: Path, tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool turns at every second step, and the shards lie in a store."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(pools, "ROTATE_EVERY", 2)
    monkeypatch.setattr("codec.training.shards.ROTATE_EVERY", 2)
    memory = fsspec.filesystem("memory")
    for number in range(3):
        crops = {f"{i}.png": png_of(flowers(64 + 8 * i, 64 + number)) for i in range(10)}
        shard = write_shard(tmp_path / f"{number}.tar", crops)
        memory.pipe_file(f"/shards/{number}.tar", shard.read_bytes())
    source: list[Place] = [Url("memory://shards/{0..2}.tar")]
    values = {"batch_pixels": 2 * 64 * 64, "crop": 64, "cache_mib": 1, "holdout": 0.1}
    config = TrainingConfig(steps=12, **values)  # type: ignore[arg-type]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run in (whole, parts):
        run.mkdir()
    trainer = Trainer(whole, source, tiny_config, config)
    assert trainer.held_out is not None
    train(trainer)
    train(Trainer(parts, source, tiny_config, config), stop_at=7)
    resumed, same = resume_run(parts, {})
    train(Trainer(parts, source, tiny_config, same, resumed))
    one, other = (load_checkpoint(run / LAST).tensors for run in (whole, parts))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    memory.store.clear()
