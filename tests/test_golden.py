"""Frozen files decode to the same symbols, latents and pictures for ever."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.codec import Codec
from codec.format.container import ContainerFile
from codec.format.header import Header
from codec.weights.file import load_weights
from codec.weights.released import find_by_id, released_models, short_id_of
from tests.helpers import DATA, TINY, TINY_VQ
from tests.make_golden import CONFORMANCE, FOLDERS, facts_of

FACTS = {
    (folder, name): facts
    for folder in FOLDERS
    for name, facts in json.loads((DATA / folder / "facts.json").read_text()).items()
}
VECTORS = json.loads((CONFORMANCE / "vectors.json").read_text())


@pytest.fixture(scope="module")
def codecs() -> dict[str, Codec]:
    return {folder: Codec(DATA / f"{model}.safetensors") for folder, (model, _) in FOLDERS.items()}


@pytest.mark.parametrize(("folder", "name"), FACTS)
def test_golden_files_decode_for_ever(codecs: dict[str, Codec], folder: str, name: str) -> None:
    path = DATA / folder / f"{name}.vqc"
    data = path.read_bytes()
    assert facts_of(data, codecs[folder].weights) == FACTS[folder, name]
    decoded = codecs[folder].decompress(data)
    with Image.open(path.with_suffix(".png")) as shown:
        assert (decoded.size, decoded.mode) == (shown.size, shown.mode)
        difference = np.abs(np.asarray(decoded).astype(int) - np.asarray(shown))
        assert difference.max() <= 1  # pixels may move by a grey level between machines
        for box in ContainerFile(BytesIO(data)).patches:
            assert not difference[box.slices].any()
        if "A" in decoded.mode:
            assert not difference[..., -1].any()


def header_of(folder: str, name: str) -> tuple[Header, ContainerFile]:
    file = ContainerFile(BytesIO((DATA / folder / f"{name}.vqc").read_bytes()))
    return file.header, file


def test_golden_files_cover_the_format() -> None:
    files = {key: header_of(*key) for key in FACTS}
    headers = [header for header, _ in files.values()]
    assert len({(header.vq, header.grey) for header in headers}) == 4
    assert any(h.level % 4096 for h in headers)
    assert any(h.width == h.height == 1 for h in headers)
    everything, file = files["golden", "all-q70"]
    assert everything.alpha
    assert everything.restoration
    assert len(file.grid) == 2
    assert set(file.metadata_sections) == {"icc", "exif", "xmp"}
    assert any(h.restoration and h.grey for h in headers)
    assert any(h.restoration and f.plain for h, f in files.values())
    everything, file = files["golden", "all-patches-q70"]
    assert everything.alpha
    assert everything.restoration
    assert file.covered == {1}
    assert len(file.patches) == 2
    assert set(file.metadata_sections) == {"icc", "exif", "xmp"}
    whole = [(h.mode, len(f.patches)) for h, f in files.values() if f.lossless]
    assert sorted(whole) == [("L", 1), ("RGB", 1), ("RGBA", 2)]
    assert any(f.patches and h.grey and not f.lossless for h, f in files.values())
    assert any(f.patches and h.vq for h, f in files.values())
    centres, file = files["golden_vq", "all-3"]
    assert centres.alpha
    assert len(file.grid) == 2


def test_the_tiny_model_has_all_that_ships() -> None:
    """The tensors of `photo` and `photo-mse` but for the number of blocks, and those of `vq`."""

    def kinds(path: Path) -> set[str]:
        names = load_weights(path).tensors
        return {".".join("0" if part.isdigit() else part for part in n.split(".")) for n in names}

    released = {path.stem: path for path in released_models()}
    assert kinds(TINY) == kinds(released["photo"]) | kinds(released["photo-mse"])
    assert kinds(TINY_VQ) == kinds(released["vq"])
    for path in (TINY, TINY_VQ):
        assert path.stat().st_size < 300_000


@pytest.mark.parametrize("name", VECTORS)
def test_conformance_vectors_of_released_models(name: str) -> None:
    data = (CONFORMANCE / f"{name}.vqc").read_bytes()
    weights = load_weights(find_by_id(bytes.fromhex(VECTORS[name]["model"])))
    assert facts_of(data, weights) == VECTORS[name]


def test_every_released_model_has_conformance_vectors() -> None:
    covered = {facts["model"] for facts in VECTORS.values()}
    assert covered == {short_id_of(path).hex() for path in released_models()}
