"""Data sets of .vqc files under DataLoader and webdataset."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec import Codec, DamagedFileError, InputError
from codec.dataset import VqcDataset, decode, vqc_handler
from tests.helpers import TINY, flowers


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five files of 64x48 pixels in two folders, one of them grey; all need an installed model."""
    folder = tmp_path_factory.mktemp("coded")
    (folder / "b").mkdir()
    codec = Codec()
    for number, name in enumerate(["c", "a", "b/d", "b/a"]):
        picture = flowers(64 + number, 48).crop((number, 0, 64 + number, 48))
        (folder / f"{name}.vqc").write_bytes(codec.compress(picture, effort=0))
    (folder / "grey.vqc").write_bytes(codec.compress(flowers(64, 48).convert("L"), effort=0))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_files_in_order(coded: Path, released_codec: Codec) -> None:
    data = VqcDataset(coded)
    names = [str(Path(str(place)).relative_to(coded)) for place in data.files]
    assert names == ["a.vqc", "c.vqc", "grey.vqc", "b/a.vqc", "b/d.vqc"]
    assert len(data) == 5
    expected = released_codec.decompress_array((coded / "c.vqc").read_bytes())
    assert data[1].dtype == np.uint8
    assert np.array_equal(data[1], expected.transpose(2, 0, 1))
    grey = data[2]
    assert grey.shape == (3, 48, 64)
    assert (grey[0] == grey[1]).all()
    assert VqcDataset([coded / "c.vqc", str(coded / "b")])[0].shape == (3, 48, 64)


def test_transforms_get_pictures(coded: Path) -> None:
    data = VqcDataset(coded, transform=lambda image: (image.mode, image.size))
    assert data[2] == ("L", (64, 48))


def test_models_that_are_not_installed(tmp_path: Path, tiny_codec: Codec) -> None:
    path = tmp_path / "a.vqc"
    path.write_bytes(tiny_codec.compress(flowers(64, 48)))
    assert VqcDataset(path, model=TINY)[0].shape == (3, 48, 64)


def test_errors_name_the_file(coded: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.vqc"
    damaged.write_bytes((coded / "a.vqc").read_bytes()[:-3])
    with pytest.raises(DamagedFileError, match=r"^\S*damaged\.vqc: "):
        VqcDataset(damaged)[0]
    with pytest.raises(InputError, match=r"^\S*none\.vqc: no such file"):
        VqcDataset(tmp_path / "none.vqc")[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.vqc files in"):
        VqcDataset(tmp_path / "empty")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_batches(coded: Path, workers: int) -> None:
    torch = pytest.importorskip("torch")
    data = VqcDataset(coded)
    loader = torch.utils.data.DataLoader(data, batch_size=5, num_workers=workers)
    (batch,) = loader
    assert (batch.dtype, batch.shape) == (torch.uint8, (5, 3, 48, 64))
    assert np.array_equal(batch[3].numpy(), data[3])


def test_parts_of_other_kinds_are_left_to_others() -> None:
    assert vqc_handler(".png", b"") is None
    assert vqc_handler(".cls", b"5") is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_shards(coded: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    shard = tmp_path / "shard-000.tar"
    data = (coded / "a.vqc").read_bytes()
    png = io.BytesIO()
    Image.new("L", (3, 2)).save(png, "PNG")
    with tarfile.open(shard, "w") as tar:
        for name, content in (("a.vqc", data), ("a.cls", b"5"), ("a.mask.png", png.getvalue())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    samples = webdataset.WebDataset(str(shard), shardshuffle=False).decode(vqc_handler, "l8")
    (sample,) = samples
    assert np.array_equal(sample["vqc"], decode(data))
    assert (sample["cls"], sample["mask.png"].shape) == (5, (2, 3))
