"""Files of models that round to centres, through the same pipeline and commands."""

from __future__ import annotations

import dataclasses
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.codec import Codec
from codec.errors import DamagedFileError, InputError, WeightsError
from codec.format.container import ContainerFile
from codec.format.writing import write
from codec.level import Level
from codec.weights.file import Weights, load_weights
from tests.helpers import DATA, TINY_VQ, Run, check_damage_is_found, difference

GOLDEN = DATA / "golden_vq"


@pytest.fixture(scope="module")
def codec_vq() -> Codec:
    return Codec(TINY_VQ)


@pytest.mark.parametrize("quality", [0, 50, 100])
def test_files_are_as_long_as_the_model_says(
    codec_vq: Codec, city: Image.Image, quality: float
) -> None:
    coded = codec_vq.encode(city, quality, reconstruct=True)
    assert coded.reconstruction
    assert difference(codec_vq.decompress(coded.data), coded.reconstruction) <= 1
    assert abs(len(coded.data) - coded.bits / 8) <= 0.003 * coded.bits / 8 + 48


def test_qualities_and_lambdas_name_whole_levels(codec_vq: Codec) -> None:
    assert [codec_vq.level_of(quality=q) for q in (0, 24, 26, 74, 76, 100)] == [
        n << 12 for n in (0, 0, 1, 1, 2, 2)
    ]
    assert codec_vq.level_of(lmbda=0.02) == Level.of_anchor(2)


def test_fewer_levels_show_what_a_smaller_file_would(codec_vq: Codec, city: Image.Image) -> None:
    data = codec_vq.compress(city, 100)
    for levels, quality in ((1, 0), (2, 50), (3, 100)):
        smaller = codec_vq.decompress(codec_vq.compress(city, quality))
        assert difference(codec_vq.decompress(data, levels=levels), smaller) <= 1
    with pytest.raises(InputError, match="3 levels"):
        codec_vq.decompress(data, levels=4)


def test_levels_of_integer_files_are_refused(tiny_codec: Codec, city: Image.Image) -> None:
    with pytest.raises(InputError, match="levels"):
        tiny_codec.decompress(tiny_codec.compress(city), levels=1)


def test_damage_is_never_a_picture(codec_vq: Codec) -> None:
    data = (GOLDEN / "pixel-1.vqc").read_bytes()
    check_damage_is_found(codec_vq, data)


def test_forged_files_are_found(codec_vq: Codec, tiny_codec: Codec) -> None:
    file = ContainerFile(BytesIO((GOLDEN / "city-3.vqc").read_bytes()))
    tile = file.read_tile(0)

    def forged(stream: bytes = tile.stream, **changes: object) -> bytes:
        header = dataclasses.replace(file.header, **changes)  # type: ignore[arg-type]
        return write(header, [dataclasses.replace(tile, stream=stream)])

    assert codec_vq.decompress(forged()).size == (file.header.width, file.header.height)
    for level in (Level.of_anchor(3), Level.of_anchor(2) - 1, 1):
        with pytest.raises(DamagedFileError, match="level"):
            codec_vq.decompress(forged(level=level))
    with pytest.raises(DamagedFileError, match="round"):
        codec_vq.decompress(forged(vq=False))
    with pytest.raises(DamagedFileError, match="round"):
        tiny_codec.decompress(forged(model_id=tiny_codec.weights.short_id))
    with pytest.raises(WeightsError):
        tiny_codec.decompress(forged())
    rng = np.random.default_rng(0)
    for _ in range(30):  # streams that checksums vouch for, but no encoder wrote
        with pytest.raises(DamagedFileError):
            codec_vq.decompress(forged(rng.bytes(int(rng.integers(0, 300))) + b"\1"))


def test_tiles_change_no_sample_by_more_than_one(codec_vq: Codec) -> None:
    with Image.open(DATA / "flowers.png") as image:
        picture = image.convert("RGB").resize((600, 400))
    whole = codec_vq.decompress(codec_vq.compress(picture, 100, tile_size=0))
    tiled = codec_vq.compress(picture, 100, tile_size=256)
    # A neighbour in another tile is unknown to the prior, so indices and sizes may differ.
    assert np.abs(np.asarray(whole).astype(int) - codec_vq.decompress_array(tiled)).mean() < 1
    part = codec_vq.decompress(tiled, region=(200, 100, 150, 80), levels=2)
    all_of_it = codec_vq.decompress(tiled, levels=2)
    assert difference(part, all_of_it.crop((200, 100, 350, 180))) <= 1


def test_rate_targets_choose_among_levels(codec_vq: Codec, city: Image.Image) -> None:
    sizes = [len(codec_vq.compress(city, quality)) for quality in (0, 50, 100)]
    assert len(codec_vq.compress(city, target_size=sizes[1])) == sizes[1]
    assert len(codec_vq.compress(city, target_size=sizes[2] - 1)) == sizes[1]
    with pytest.raises(InputError, match="smallest"):
        codec_vq.compress(city, target_size=sizes[0] - 1)
    reached = codec_vq.encode(city, 50, reconstruct=True).psnr
    assert len(codec_vq.compress(city, target_psnr=reached - 0.001)) == sizes[1]


def test_weights_without_what_they_need_are_refused() -> None:
    weights = load_weights(TINY_VQ)
    for missing in ("quantizer.centres", "prior.powers", "prior.block1.dw.weight", "g_s.up.weight"):
        tensors = {n: a for n, a in weights.tensors.items() if n != missing}
        damaged = Weights(weights.name, weights.config_text, tensors, weights.training)
        with pytest.raises(WeightsError):
            Codec(damaged)


def test_the_commands(tmp_path: Path, run: Run) -> None:
    file, shown = tmp_path / "city.vqc", tmp_path / "city.png"
    model = ["--model", str(TINY_VQ)]
    assert run("compress", str(DATA / "city.png"), str(file), "-q", "100", *model)[0] == 0
    facts = json.loads(run("info", str(file), "--json")[1])
    assert (facts["rounding"], facts["levels"]) == ("vq", 3)
    assert "3 residual levels" in run("info", str(file))[1]
    assert run("decompress", str(file), str(shown), "--levels", "1", *model)[0] == 0
    with Image.open(shown) as picture, Image.open(GOLDEN / "city-1.png") as expected:
        assert difference(picture.copy(), expected.copy()) <= 1
    status, _, text = run("decompress", str(file), str(shown), "-f", "--levels", "9", *model)
    assert status == 1
    assert "3 levels" in text
    assert text.count("\n") == 1
