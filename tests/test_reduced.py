"""Decoding at 1/2, 1/4 and 1/8 of the size, against the full picture averaged over squares."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import codec.pillow_plugin as plugin
from codec.api import decompress as decompress_with_released
from codec.codec import Codec
from codec.engine import reduced as stems
from codec.errors import DamagedFileError, InputError, LimitError
from codec.format.container import ContainerFile
from codec.limits import Limits, tile_work
from codec.picture.reduction import reduction_of, scale_for
from codec.weights.file import Weights, load_weights
from codec.weights.released import find_weights
from tests.helpers import DATA, MODEL, TINY, TINY_VQ, Run, difference, fails

SCALES = (1 / 2, 1 / 4, 1 / 8)
SIDES = dict(zip(SCALES, (2, 4, 8), strict=True))
GOLDEN = [
    (folder, name)
    for folder in ("golden", "golden_vq")
    for name in json.loads((DATA / folder / "facts.json").read_text())
]
FITTED = ("photo", "photo-mse")


@pytest.fixture(scope="module")
def golden_codecs() -> dict[str, Codec]:
    return {"golden": Codec(TINY), "golden_vq": Codec(TINY_VQ)}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("RGB")


def seen(image: Image.Image) -> NDArray[np.float64]:
    """Samples as they are seen on black, [H, W, channels]."""
    samples = np.atleast_3d(np.asarray(image)).astype(float)
    if image.mode.endswith("A"):
        samples[..., :-1] *= samples[..., -1:] / 255
    return samples


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("folder", "name"), GOLDEN)
def test_golden_files(
    golden_codecs: dict[str, Codec], folder: str, name: str, scale: float
) -> None:
    """The size of Pillow's `reduce`, exact alpha, exact patches, colours near their means.

    The filter at 1/4 of the tiny model is strong, and is left out; the other model has none.
    """
    codec, side = golden_codecs[folder], SIDES[scale]
    data = (DATA / folder / f"{name}.vqc").read_bytes()
    found, wanted = codec.decompress(data, scale=scale), codec.decompress(data).reduce(side)
    assert (found.size, found.mode) == (wanted.size, wanted.mode)
    off = np.abs(seen(found) - seen(wanted))
    if found.mode.endswith("A"):
        assert not off[..., -1].any()
    file = ContainerFile(BytesIO(data))
    for box in file.patches:
        assert not off[box.shrunk(side).slices].any()
    whole = file.header.height // side, file.header.width // side  # squares
    inside = off[: whole[0], : whole[1]]
    if inside.size:
        assert inside.mean() <= {"golden": 6, "golden_vq": 0.3}[folder]


@pytest.mark.parametrize(
    ("scale", "least"), [(1 / 2, 42), (1 / 4, 38), (1 / 8, 37)], ids=["1/2", "1/4", "1/8"]
)
@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_photographs(photo: Image.Image, engine: str, scale: float, least: float) -> None:
    """PSNR in dB against the means of the full reconstruction, of the default model."""
    codec = Codec(engine=engine)  # type: ignore[arg-type]
    data = codec.compress(photo, 50, effort=0, patches="never")
    found = seen(codec.decompress(data, scale=scale))
    wanted = seen(codec.decompress(data).reduce(SIDES[scale]))
    assert 10 * np.log10(255**2 / np.square(found - wanted).mean()) >= least


@pytest.mark.parametrize("name", FITTED)
def test_models_for_photographs_have_fitted_stems(name: str) -> None:
    """Those of the very weights; `python -m scripts.reduced_stems` fits them."""
    weights = load_weights(find_weights(name))
    found = stems.ReducedStems(weights)
    for side in stems.REDUCTIONS:
        stem = found.get(side)
        assert stem is not None
        assert (stem.blocks16, stem.blocks8) == stems.BLOCKS[side]
        assert stem.weight.shape == (3 * (8 // side) ** 2, weights.config.channels8)
    assert [found.halo(side, full=9) for side in (8, 4, 2)] == [0, 1, 4]


def test_other_models_run_all_their_blocks(tiny_weights: Weights) -> None:
    config = tiny_weights.config
    found = stems.ReducedStems(tiny_weights)
    for side in stems.REDUCTIONS:
        stem = found.get(side)
        assert stem is not None
        assert (stem.blocks16, stem.blocks8) == (config.blocks16, config.blocks8)
        assert stem.side == 8 // side


@pytest.fixture(scope="module")
def coded(photo: Image.Image, released_codec: Codec, tiny_codec: Codec) -> dict[str, bytes]:
    turned = photo.resize((330, 290))
    turned.putalpha(Image.linear_gradient("L").resize(turned.size))
    return {
        "released": released_codec.compress(turned, 50, effort=0, tile_size=256),
        "tiny": tiny_codec.compress(turned, 50, effort=0, tile_size=256),
    }


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(st.data())
def test_regions_grow_to_whole_squares(
    coded: dict[str, bytes], released_codec: Codec, tiny_codec: Codec, data: st.DataObject
) -> None:
    which = data.draw(st.sampled_from(["released", "tiny"]))
    codec = {"released": released_codec, "tiny": tiny_codec}[which]
    scale = data.draw(st.sampled_from(SCALES))
    side = SIDES[scale]
    left, top = data.draw(st.integers(0, 329)), data.draw(st.integers(0, 289))
    width = data.draw(st.integers(1, 330 - left))
    height = data.draw(st.integers(1, 290 - top))
    whole = codec.decompress(coded[which], scale=scale)
    region = codec.decompress(coded[which], (left, top, width, height), scale=scale)
    right, bottom = -(-(left + width) // side), -(-(top + height) // side)
    assert difference(region, whole.crop((left // side, top // side, right, bottom))) <= 1


def test_a_region_reads_only_its_tiles(coded: dict[str, bytes], released_codec: Codec) -> None:
    file = ContainerFile(BytesIO(coded["released"]))
    assert released_codec.decompress(file, (0, 0, 255, 255), scale=1 / 8).size == (32, 32)
    assert file.tiles_read == {0}  # at 1/8 nothing of the tiles around is needed


def test_nothing_is_synthesised_in_full(
    coded: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Codec()
    monkeypatch.setattr(codec.model.engine, "synthesise", None)
    for scale in SCALES:
        codec.decompress(coded["released"], scale=scale)
    assert codec.decompress_array(coded["released"], scale=1 / 8).shape == (37, 42, 4)
    with pytest.raises(TypeError):
        codec.decompress(coded["released"])


def test_symbols_are_checked(
    coded: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tiny_codec: Codec
) -> None:
    read = tiny_codec.model.coder.read
    monkeypatch.setattr(
        tiny_codec.model.coder, "read", lambda *given: (read(*given)[0], read(*given)[1] ^ 1)
    )
    with pytest.raises(DamagedFileError, match="symbols"):
        tiny_codec.decompress(coded["tiny"], scale=1 / 8)


def test_the_whole_picture_is_never_held(tiny_codec: Codec) -> None:
    """The estimate counts the pixels that are made."""
    data = tiny_codec.compress(Image.new("L", (2000, 1100), 90), 20, effort=0, patches="never")
    file = ContainerFile(BytesIO(data))
    needed = Limits(max_memory=1)
    with pytest.raises(LimitError):
        needed.at_once(tile_work(file.grid, file.grid.whole, 0))
    full, eighth = (1 << 40, 1 << 40)
    for bits in range(40, -1, -1):
        full -= (1 << bits) * fits(file, full - (1 << bits), 1)
        eighth -= (1 << bits) * fits(file, eighth - (1 << bits), 8)
    assert full - eighth == 8 * (2000 * 1100 - 250 * 138)


def fits(file: ContainerFile, memory: int, reduction: int) -> bool:
    try:
        Limits(max_memory=memory).at_once(
            tile_work(file.grid, file.grid.whole, 0, reduction=reduction)
        )
    except LimitError:
        return False
    return True


def test_levels_of_centres(golden_codecs: dict[str, Codec]) -> None:
    data = (DATA / "golden_vq" / "city-3.vqc").read_bytes()
    codec = golden_codecs["golden_vq"]
    found = codec.decompress(data, levels=1, scale=1 / 4)
    wanted = codec.decompress(data, levels=1).reduce(4)
    assert difference(found, wanted) <= 5
    assert difference(found, codec.decompress(data, scale=1 / 4)) > 5


def test_scales_are_four(tiny_codec: Codec) -> None:
    data = (DATA / "golden" / "lossless.vqc").read_bytes()
    full = decompress_with_released(data)
    assert difference(decompress_with_released(data, scale=1 / 4), full.reduce(4)) == 0
    assert (
        difference(
            tiny_codec.decompress(data, (5, 9, 20, 30), scale=1 / 2),
            full.reduce(2).crop((2, 4, 13, 20)),
        )
        == 0
    )
    for scale in (0, 2, 8, 1 / 3, 1 / 16):
        with pytest.raises(InputError, match="known: 1, 1/2, 1/4, 1/8"):
            tiny_codec.decompress(data, scale=scale)
        with pytest.raises(InputError, match="known"):
            decompress_with_released(data, scale=scale)


@pytest.mark.parametrize(
    ("width", "height", "size", "scale"),
    [
        (4000, 3000, 500, 1 / 8),
        (4000, 3000, 501, 1 / 4),
        (4000, 3000, 128, 1 / 8),
        (3000, 4000, 1001, 1 / 2),
        (4000, 3000, 2001, 1),
        (100, 50, 300, 1),
    ],
)
def test_scale_for_a_size(width: int, height: int, size: int, scale: float) -> None:
    assert scale_for(width, height, size) == scale


def test_draft(city: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MODEL", str(TINY))
    buffer = BytesIO()
    city.crop((0, 0, 190, 127)).save(buffer, "VQC", model=TINY)
    data = buffer.getvalue()
    image = Image.open(BytesIO(data))
    for size, shown in (
        ((190, 127), (190, 127)),
        ((96, 64), (190, 127)),
        ((95, 63), (95, 64)),
        ((40, 31), (48, 32)),
        ((1, 1), (24, 16)),
        ((90, 1), (95, 64)),
        ((400, 1), (190, 127)),
    ):
        drafted = image.draft(None, size)
        assert image.size == shown
        assert drafted is not None
        assert drafted[0] == "RGB"
        assert drafted[1][2:] == pytest.approx((190 * shown[0] / 190, 127 * shown[0] / 190), abs=1)
    image.draft("L", (23, 15))
    assert np.array_equal(np.asarray(image), np.asarray(Codec(TINY).decompress(data, scale=1 / 8)))
    assert image.draft(None, (1, 1)) is None  # it has been decoded
    assert image.size == (24, 16)


def test_thumbnails(city: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MODEL", str(TINY))
    path = tmp_path / "city.vqc"
    city.save(path, model=TINY, quality=90)
    asked: list[float] = []

    def decompress(*given: object, scale: float, **options: object) -> Image.Image:
        asked.append(scale)
        return decompress_with_released(*given, scale=scale, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("codec.api.decompress", decompress)
    with Image.open(path) as image:
        image.thumbnail((24, 16))
        assert image.size == (24, 16)
    with Image.open(path) as full:
        full.load()
        full.thumbnail((24, 16))
    assert asked == [1 / 4, 1]
    off = np.asarray(image).astype(int) - np.asarray(full)
    assert np.abs(off).mean() < 4


def test_command(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source, shown = tmp_path / "a.vqc", tmp_path / "a.png"
    source.write_bytes((DATA / "golden" / "city-q90.vqc").read_bytes())
    status, out, _ = run("decompress", source, "--scale", "1/4", "--json", *MODEL)
    assert status == 0
    facts = json.loads(out)
    assert (facts["width"], facts["height"]) == (48, 32)
    assert "tiles_read" not in facts
    with Image.open(shown) as image:
        assert image.size == (48, 32)
    run("decompress", source, "--scale", "1/2", "--region", "10,7,31,20", "-f", *MODEL)
    with Image.open(shown) as image:
        assert image.size == (16, 11)
    for size, expected in ((40, (40, 27)), (96, (96, 64)), (500, (192, 128))):
        run("decompress", source, "--size", size, "-f", *MODEL)
        with Image.open(shown) as image:
            assert image.size == expected
    folder = tmp_path / "thumbs"
    assert run("decompress", "-r", tmp_path, "-d", folder, "--size", 20, *MODEL)[0] == 0
    with Image.open(folder / "a.png") as image:
        assert image.size == (20, 13)
    status, _, err = run("decompress", source, "--scale", "1/2", "--size", 9, "-f", *MODEL)
    assert (status, "give --scale or --size, not both" in err) == (2, True)
    assert run("decompress", source, "--scale", "1/3", "-f", *MODEL)[0] == 2
    refused = run("decompress", source, "--size", 20, "--max-memory", "1Mi", "-f", *MODEL)
    fails(refused, 1, "--max-memory")


@pytest.mark.parametrize("scale", [0.3, 0, -1, 2, float("nan"), "1/2", [1], None])
def test_other_scales_are_refused(scale: Any) -> None:
    with pytest.raises(InputError, match="is no scale"):
        reduction_of(scale)
