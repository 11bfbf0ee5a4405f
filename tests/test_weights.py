"""The weights file: everything wrong with it is found when it is loaded."""

from __future__ import annotations

import dataclasses
import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from codec.cli.inspection import models
from codec.codec import Codec
from codec.entropy.model import entropy_model, with_self_check
from codec.errors import ModelNotFoundError, WeightsError
from codec.weights import released
from codec.weights.file import Weights, load_weights
from codec.weights.released import (
    RESEARCH_MODELS,
    find_by_id,
    find_weights,
    read_config,
    read_metadata,
    released_models,
    short_id_of,
)
from tests.helpers import TINY, TINY_VQ, flowers


def rewrite(weights: Weights, path: Path, **changes: np.ndarray | None) -> Path:
    """A weights file with some tensors changed and an id that matches."""
    tensors = dict(weights.tensors) | {k.replace("__", "."): v for k, v in changes.items()}
    kept = {name: array for name, array in tensors.items() if array is not None}
    metadata = dict(read_metadata(TINY))
    metadata["id"] = Weights("x", weights.config_text, kept, {}).id
    save_file(kept, path, metadata)
    return path


def test_round_trip(tiny_weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "copy.safetensors"
    path.write_bytes(tiny_weights.to_bytes())
    copy = load_weights(path)
    assert copy.id == tiny_weights.id
    assert copy.config == tiny_weights.config
    assert set(copy.tensors) == set(tiny_weights.tensors)


def test_weights_are_written_with_the_digest_of_their_entropy_model(
    tiny_weights: Weights,
) -> None:
    unchecked = dataclasses.replace(tiny_weights, self_check=None)
    with pytest.raises(WeightsError, match="digest"):
        unchecked.to_bytes()
    assert with_self_check(unchecked).self_check == tiny_weights.self_check


def test_a_machine_that_computes_other_numbers_is_told(tiny_weights: Weights) -> None:
    other = dataclasses.replace(tiny_weights, self_check="0" * 64)
    with pytest.raises(WeightsError, match="other numbers"):
        Codec(other)


def test_id_is_frozen(tiny_weights: Weights) -> None:
    assert tiny_weights.id.startswith("fee8bdb76472b230")
    assert short_id_of(TINY) == tiny_weights.short_id


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    # A sample of the payload, the length of the header, and the digest in it.
    data = TINY.read_bytes()
    (header,) = struct.unpack("<Q", data[:8])
    digest = data.index(b'"self_check"')
    positions = [*range(8), *range(digest, digest + 64)]
    positions += [*random.Random(0).sample(range(8 + header, len(data)), 60)]
    path = tmp_path / "flipped.safetensors"
    for position in positions:
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(WeightsError):
            entropy_model(load_weights(path))


@pytest.mark.parametrize("size", [0, 5, 8, 100, 5000, -1])
def test_truncated_files_are_found(tmp_path: Path, size: int) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(TINY.read_bytes()[:size])
    with pytest.raises(WeightsError):
        load_weights(path)


def test_consistent_but_unsound_weights_are_refused(tiny_weights: Weights, tmp_path: Path) -> None:
    tensors = tiny_weights.tensors
    path = tmp_path / "bad.safetensors"
    overflow = np.full_like(tensors["prior.up64.weight"], 2**31 - 1)
    shape = tensors["prior.stem.weight"][:, :-1]
    table = tensors["tables.y.frequencies"].copy()
    table[0] += 1
    other = tensors["prior.stem.weight"] + 4096
    fractions = tensors["prior.stem.weight"] + 0.5
    levels = tensors["prior.level_bias"][:5].copy()
    uneven = tensors["tables.z.low"].copy()
    uneven[3] += 1
    bad = [
        ({"prior__up64__weight": overflow}, "exact arithmetic"),
        ({"prior__stem__weight": np.ascontiguousarray(shape)}, "of shape"),
        ({"prior__stem__weight": fractions}, "int32"),
        ({"prior__level_bias": levels}, "of shape"),
        ({"prior__stem__weight": None}, r"stem\.weight"),
        ({"tables__y__frequencies": table}, "2\\^24"),
        ({"tables__z_context": np.zeros((8, 25, 3), np.int32)}, "contexts"),
        ({"tables__z_context": np.zeros((8, 25, 8), np.int64)}, "contexts"),
        ({"tables__z_context": np.full((8, 25, 8), 999, np.int32)}, "not there"),
        ({"tables__z_context": np.full((8, 25, 8), -1, np.int32)}, "not there"),
        ({"tables__z_context": None}, "lack the contexts"),
        ({"tables__z__low": uneven}, "same support"),
        ({"tables__z__low": tensors["tables.z.low"] - 2020}, "beyond"),
        ({"prior__stem__weight": other}, "other numbers"),
    ]
    for changes, message in bad:
        with pytest.raises(WeightsError, match=message):
            entropy_model(load_weights(rewrite(tiny_weights, path, **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (TINY, "g_a.stem.weight"),
        (TINY, "g_a.head.weight"),
        (TINY, "gain.log_gain"),
        (TINY_VQ, "g_a.head.bias"),
    ],
)
def test_infinite_weights_give_files_without_warnings(path: Path, name: str) -> None:
    weights = load_weights(path)
    infinite = np.full_like(weights.tensors[name], np.inf)
    infinite.reshape(-1)[::2] = -np.inf
    forged = dataclasses.replace(weights, tensors={**weights.tensors, name: infinite})
    codec = Codec(forged)
    assert codec.decompress(codec.compress(flowers(70, 50), 43, patches="never")).size == (70, 50)


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("hello, this is no weights file at all")
    with pytest.raises(WeightsError):
        load_weights(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(WeightsError, match="not a weights file"):
        load_weights(path)
    with pytest.raises(ModelNotFoundError):
        load_weights(tmp_path / "none.safetensors")


def test_metadata_is_read_without_the_tensors(tmp_path: Path) -> None:
    metadata = read_metadata(TINY)
    assert metadata["name"] == "tiny"
    assert read_config(metadata).latent == 16
    path = tmp_path / "header.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(WeightsError):
        read_metadata(path)
    with pytest.raises(WeightsError):
        read_config({"config": json.dumps([1])})


def test_finding_models() -> None:
    names = [path.stem for path in released_models()]
    assert "photo" in names
    assert find_weights("photo") == find_by_id(short_id_of(find_weights("photo")))
    assert find_weights(str(TINY)) == TINY
    with pytest.raises(ModelNotFoundError, match="photo"):
        find_weights("nonsense")
    with pytest.raises(ModelNotFoundError, match="00010203"):
        find_by_id(bytes(range(4)))


def test_ids_of_models_for_research_are_known() -> None:
    for name, claimed in RESEARCH_MODELS.items():
        assert find_weights(name) == find_by_id(bytes.fromhex(claimed))


def test_a_model_for_research_that_is_not_installed_is_told_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_id = short_id_of(find_weights("vq"))
    (tmp_path / "photo.safetensors").symlink_to(find_weights("photo"))
    monkeypatch.setattr(released, "_weights_folder", lambda: tmp_path)
    advice = (
        "is for research and not installed; name its weights file, "
        "weights/vq.safetensors of the source repository, with model"
    )
    with pytest.raises(ModelNotFoundError, match=f"^model vq {advice}$"):
        find_weights("vq")
    with pytest.raises(ModelNotFoundError, match=rf"^made with model vq \(.*\), which {advice}$"):
        find_by_id(short_id)
    listed = CliRunner().invoke(models, [], catch_exceptions=False).output.splitlines()
    assert [line.split()[0] for line in listed] == ["photo", "for"]
    assert listed[-1] == (
        "for research, not installed: vq "
        "(--model FILE, weights/NAME.safetensors of the source repository)"
    )


def test_transforms_that_do_not_fit_are_refused(tiny_weights: Weights, tmp_path: Path) -> None:
    stem = tiny_weights.tensors["g_a.stem.weight"][:-1].copy()
    path = rewrite(tiny_weights, tmp_path / "bad.safetensors", g_a__stem__weight=stem)
    with pytest.raises(WeightsError, match="transforms"):
        Codec(path)


def test_a_huge_configuration_allocates_nothing(tiny_weights: Weights) -> None:
    text = json.dumps(tiny_weights.config.to_dict() | {"channels8": 4096, "blocks8": 64})
    with pytest.raises(WeightsError, match="transforms"):
        Codec(Weights("huge", text, tiny_weights.tensors, {}))
