"""Maps of levels: arithmetic, coding, files, and the masks that they are made from."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from codec.codec import Codec
from codec.decoder import level_map_of
from codec.encoder.quality_map import offsets_of
from codec.engine.onnx import OnnxEngine
from codec.engine.torch import TorchEngine
from codec.entropy.coder import symbol_coder
from codec.entropy.offsets import read_offsets, table_of, write_offsets
from codec.entropy.tables import TOTAL
from codec.errors import DamagedFileError, InputError
from codec.format.container import ContainerFile
from codec.level import Level
from codec.level_map import LevelMap, map_shape, of_hyper
from codec.picture.pixels import psnr
from codec.tiles import Box
from codec.weights.config import ModelConfig
from codec.weights.file import Weights
from tests.helpers import DATA, Run, check_damage_is_found, difference, fails, flowers
from tests.make_golden import uneven

TOP = Level.of_anchor(7)


def test_levels_by_hand() -> None:
    offsets = np.array([[0, 16], [-8, 0]], np.int8)
    levels = LevelMap(Level(8000), offsets, TOP).within(Box(0, 0, 4, 4))
    assert isinstance(levels, np.ndarray)
    # Row 1, column 1 lies in cell (0, 0); next are row 1 and column 1: 9*0 + 3*-8 + 3*16 + 0.
    assert levels[1, 1] == 8000 + 32 * (3 * -8 + 3 * 16)
    assert levels[0, 0] == 8000
    assert levels[0, 3] == 8000 + 32 * 16 * 16
    assert levels[3, 0] == 8000 - 32 * 16 * 8
    assert levels[2, 1] == 8000 + 32 * (9 * -8 + 16)


def test_levels_end_where_the_model_does() -> None:
    offsets = np.array([[127, -128]], np.int8)
    levels = LevelMap(Level.of_anchor(3), offsets, TOP).within(Box(0, 0, 4, 2))
    assert np.asarray(levels)[:, [0, 3]].tolist() == [[TOP, 0]] * 2


def test_levels_of_a_part_are_those_of_the_whole(rng: np.random.Generator) -> None:
    offsets = rng.integers(-30, 30, (5, 7), np.int8)
    levels = LevelMap(Level(9000), offsets, TOP)
    whole, box = np.asarray(levels.within(Box(0, 0, 13, 9))), Box(3, 2, 8, 9)
    assert np.array_equal(levels.within(box), whole[box.slices])


def test_levels_of_hyper_latents() -> None:
    levels = np.arange(6 * 9, dtype=np.int32).reshape(6, 9)
    assert np.asarray(of_hyper(levels)).tolist() == [
        [2 * 9 + 2, 2 * 9 + 6, 2 * 9 + 8],
        [5 * 9 + 2, 5 * 9 + 6, 5 * 9 + 8],
    ]
    assert of_hyper(Level(7)) == 7


@pytest.mark.parametrize("ratio", [0, 1, 128, 255])
def test_tables_of_differences(ratio: int) -> None:
    table = table_of(ratio)
    frequencies = table[0]
    assert (table.low[0], table.high[0], frequencies.sum()) == (-255, 255, TOTAL)
    assert np.array_equal(frequencies, frequencies[::-1])
    assert (np.diff(frequencies[255:]) <= 0).all()


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_offsets_round_trip(offsets: np.ndarray) -> None:
    assert np.array_equal(read_offsets(write_offsets(offsets), offsets.shape), offsets)


def test_even_offsets_take_few_bytes() -> None:
    offsets = np.zeros((94, 125), np.int8)
    offsets[30:60, 40:80] = 20
    assert len(write_offsets(offsets)) < 150


def test_impossible_offsets_are_damage() -> None:
    with pytest.raises(DamagedFileError):
        read_offsets(write_offsets(np.full((1, 3), 100, np.int8)) + b"\1\1\1\1\1", (1, 3))
    # Differences of 100 twice: the second offset would be 200.
    forged = write_offsets(np.array([[100], [0]], np.int8))
    for data in (forged[:-1] + b"\0", bytes([200]) + b"\xff" * 9):
        with pytest.raises(DamagedFileError):
            read_offsets(data, (4, 4))


def test_masks(tiny_config: ModelConfig) -> None:
    mask = np.full((40, 70), 128, np.uint8)
    mask[:, 64:] = 255
    mask[:20, :32] = 1
    whole = tiny_config.highest_level // 2 / 512
    offsets = offsets_of(mask, 40, 70, tiny_config)
    assert offsets is not None
    assert offsets.shape == map_shape(40, 70) == (2, 3)
    assert offsets[:, 2].tolist() == [round(whole)] * 2
    assert offsets[0, 0] == round((20 * 1 + 12 * 128) / 32 / 127 * whole - 128 / 127 * whole)
    assert offsets[:, 1].tolist() == [0, 0]


def test_masks_are_stretched(tiny_config: ModelConfig) -> None:
    mask = Image.new("L", (2, 1), 128)
    mask.putpixel((1, 0), 0)
    offsets = offsets_of(mask, 64, 128, tiny_config)
    assert offsets is not None
    assert (offsets[:, :2] == 0).all()
    assert (offsets[:, 2:] == offsets.min()).all()
    coloured = offsets_of(mask.convert("RGB"), 64, 128, tiny_config)
    assert coloured is not None
    assert np.array_equal(coloured, offsets)


def test_no_mask_is_refused_in_silence(tiny_codec: Codec, tiny_vq_config: ModelConfig) -> None:
    image = flowers(70, 40)
    for mask in (
        Image.new("I;16", (4, 4)),
        Image.new("RGBA", (4, 4)),
        Image.new("L", (0, 4)),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
        "mask.png",
    ):
        with pytest.raises(InputError, match="map"):
            tiny_codec.compress(image, level_map=mask)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="leave out the map"):
        tiny_codec.compress(image, lossless=True, level_map=np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="one quality"):
        offsets_of(np.zeros((4, 4), np.uint8), 40, 70, tiny_vq_config)


def test_a_neutral_mask_changes_nothing(tiny_codec: Codec) -> None:
    image = flowers(100, 70)
    neutral = np.full((3, 3), 128, np.uint8)
    assert tiny_codec.compress(image, level_map=neutral) == tiny_codec.compress(image)


@pytest.mark.parametrize("effort", [0, 1])
def test_an_even_map_is_another_quality(tiny_codec: Codec, effort: int) -> None:
    """Symbols, filter and pixels are those of the quality that the map makes."""
    image, white = flowers(100, 70), np.full((1, 1), 255, np.uint8)
    raised = tiny_codec.compress(image, 20, level_map=white, effort=effort, patches="never")
    plain = tiny_codec.compress(image, 70, effort=effort, patches="never")
    files = [ContainerFile(BytesIO(data)) for data in (raised, plain)]
    (mapped, flat) = (file.read_tile(0) for file in files)
    assert mapped.symbol_checksum == flat.symbol_checksum
    assert mapped.stream == flat.stream
    if not effort:
        shown = (tiny_codec.decompress(data) for data in (raised, plain))
        assert difference(*shown) == 0


def masked(width: int, height: int) -> np.ndarray:
    mask = np.full((height, width), 60, np.uint8)
    mask[: height // 2, : width // 2] = 220
    return mask


@pytest.mark.parametrize("effort", [0, 1, 3])
@pytest.mark.parametrize("tile_size", [0, 256])
def test_reconstructions_are_what_is_decoded(
    tiny_codec: Codec, effort: int, tile_size: int
) -> None:
    encoded = tiny_codec.encode(
        flowers(320, 256),
        50,
        level_map=masked(320, 256),
        reconstruct=True,
        effort=effort,
        tile_size=tile_size,
        patches="never",
    )
    assert encoded.reconstruction is not None
    shown = tiny_codec.decompress(encoded.data)
    assert difference(shown, encoded.reconstruction) <= (effort > 1)  # engines differ
    assert 8 * len(encoded.data) == pytest.approx(encoded.bits, abs=8 * 150)


@pytest.mark.slow
@pytest.mark.parametrize("effort", [0, 1, 2])
def test_quality_follows_the_mask(released_codec: Codec, effort: int) -> None:
    image, mask = flowers(320, 256), masked(320, 256)
    mapped, flat = (
        np.asarray(
            released_codec.decompress(
                released_codec.compress(image, 40, level_map=one, effort=effort, patches="never")
            )
        )
        for one in (mask, None)
    )
    original = np.asarray(image)
    for part, sign in (
        ((slice(96), slice(128)), 1),
        ((slice(160, None), slice(192, None)), -1),
    ):
        assert sign * (psnr(original[part], mapped[part]) - psnr(original[part], flat[part])) > 1.5


def test_a_search_lowers_the_cost_that_the_map_weighs(tiny_codec: Codec) -> None:
    image, config = flowers(160, 120), tiny_codec.weights.config

    def cost_at(effort: int) -> float:
        encoded = tiny_codec.encode(
            image, 50, effort=effort, level_map=masked(160, 120), patches="never"
        )
        levels = level_map_of(encoded.header, config).within(Box(0, 0, 10, 8))
        shown = np.asarray(tiny_codec.decompress(encoded.data))
        error = np.square(shown.astype(float) - np.asarray(image)).sum(2)
        lambdas = [[config.lambda_of(level / 4096) for level in row] for row in np.asarray(levels)]
        weights = np.repeat(np.repeat(lambdas, 16, 0), 16, 1)[:120]
        return encoded.bits + float((weights * error).sum()) / 3

    costs = [cost_at(effort) for effort in (0, 1, 2, 4)]
    assert sorted(costs, reverse=True) == costs


def test_regions_and_tiles_of_a_map(tiny_codec: Codec) -> None:
    image = flowers(320, 300)
    data = tiny_codec.compress(image, 50, level_map=masked(320, 300), tile_size=256, effort=0)
    whole = tiny_codec.decompress(data)
    for region in ((200, 0, 120, 300), (250, 240, 20, 30), (0, 0, 1, 1)):
        x, y, width, height = region
        part = tiny_codec.decompress(data, region)
        assert difference(part, whole.crop((x, y, x + width, y + height))) <= 1


def test_targets_hold_for_the_whole_picture(tiny_codec: Codec) -> None:
    image = flowers(160, 120)
    data = tiny_codec.compress(image, target_size=900, level_map=masked(160, 120))
    assert 600 < len(data) <= 900


def test_engines_agree(tiny_weights: Weights, rng: np.random.Generator) -> None:
    levels = rng.integers(0, tiny_weights.config.highest_level + 1, (5, 7)).astype(np.int32)
    samples = rng.integers(0, 256, (80, 112, 3), np.uint8)
    one, other = OnnxEngine(tiny_weights), TorchEngine(tiny_weights)
    (y, z) = one.latents(one.features(samples), levels)
    (other_y, other_z) = other.latents(other.features(samples), levels)
    assert np.abs(y - other_y).max() < 1e-4 * np.abs(y).max()
    assert np.abs(z - other_z).max() < 1e-4 * np.abs(z).max()
    shown, other_shown = (e.synthesise(np.rint(y), levels) for e in (one, other))
    assert np.abs(shown - other_shown).max() < 1e-4
    missing = rng.normal(0, 0.1, (3, 80, 112)).astype(np.float32)
    change, other_change = (e.change(missing, levels) for e in (one, other))
    assert np.abs(change - other_change).max() < 1e-4 * np.abs(change).max()


def test_positions_of_one_level_are_coded_as_one_level(
    tiny_weights: Weights, rng: np.random.Generator
) -> None:
    coder, level = symbol_coder(tiny_weights), Level(10_001)
    y = rng.normal(0, 2, (tiny_weights.config.latent, 5, 6)).astype(np.float32)
    z = rng.normal(0, 2, (tiny_weights.config.hyper, 2, 2)).astype(np.float32)
    everywhere = np.full((5, 6), level, np.int32)
    flat, mapped = coder.round(y, z, level), coder.round(y, z, everywhere)
    assert coder.write(flat) == coder.write(mapped)
    assert np.array_equal(coder.read(coder.write(flat), 5, 6, everywhere)[0], flat.y_hat)


def test_damage_is_found(tiny_codec: Codec) -> None:
    mask = uneven(70, 40)
    data = tiny_codec.compress(flowers(70, 40), level_map=mask, effort=0, patches="never")
    check_damage_is_found(tiny_codec, data)


def test_command(tmp_path: Path, run: Run) -> None:
    Image.fromarray(masked(96, 64)).save(tmp_path / "mask.png")
    flowers(96, 64).save(tmp_path / "a.png")
    model = ["--model", str(DATA / "tiny.safetensors")]
    arguments = ["compress", str(tmp_path / "a.png"), *model, "--map", str(tmp_path / "mask.png")]
    assert run(*arguments)[0] == 0
    status, out, _ = run("info", str(tmp_path / "a.vqc"))
    assert status == 0
    assert ", map " in out
    released = [*arguments[:2], str(tmp_path / "d.vqc"), *arguments[4:]]
    assert run(*released)[0] == 0
    assert ", varied by a map of levels\n" in run("info", str(tmp_path / "d.vqc"))[1]
    assert run("decompress", str(tmp_path / "a.vqc"), str(tmp_path / "b.png"), *model)[0] == 0
    status, _, err = run(*arguments, "-f", "--lossless")
    assert (status, "give --map or --lossless, not both" in err) == (2, True)
    fails(run(*arguments[:-1], str(tmp_path / "none.png"), "-f"), 1, "none.png: no such file")
    flowers(96, 64).save(tmp_path / "c.png")
    pictures = [str(tmp_path / "a.png"), str(tmp_path / "c.png"), "-d", str(tmp_path / "out")]
    status, _, err = run("compress", *pictures, *arguments[2:])
    assert (status, "--map is of one picture" in err) == (2, True)
    status, _, err = run("compress", "-", "-", "--map", "-")
    assert (status, "cannot both be standard input" in err) == (2, True)


def test_masks_are_not_what_other_options_speak_of(tmp_path: Path, run: Run) -> None:
    grey = Image.new("L", (96, 64), 60)
    flowers(96, 64).save(tmp_path / "a.png")
    Image.new("I;16", grey.size, 20_000).save(tmp_path / "deep.png")
    grey.save(tmp_path / "two.gif", save_all=True, append_images=[Image.new("L", grey.size)])
    command = ["compress", tmp_path / "a.png", "--model", DATA / "tiny.safetensors", "--map"]
    for name, reason in {
        "deep.png": "has more than 8 bits per sample; name a picture of 8",
        "two.gif": "has several frames; name a picture of one",
    }.items():
        status, _, err = run(*command, tmp_path / name, "--to-8bit")
        assert (status, err) == (1, f"vqcodec: {tmp_path / 'a.png'}: {tmp_path / name}: {reason}\n")


@pytest.mark.parametrize("side", [2, 4, 8])
def test_reduced_pictures_of_a_map(tiny_weights: Weights, tiny_codec: Codec, side: int) -> None:
    """The tiny model has no fitted stems, so that its own is averaged; without its filter."""
    data = tiny_codec.compress(
        flowers(128, 96), 50, level_map=masked(128, 96), effort=0, patches="never"
    )
    whole = np.asarray(tiny_codec.decompress(data), np.float64)
    shape = 96 // side, side, 128 // side, side, 3
    means = whole.reshape(shape).mean((1, 3))
    shown, other = (
        Codec(tiny_weights, engine=engine).decompress(data, scale=1 / side)
        for engine in ("onnx", "torch")
    )
    assert psnr(np.rint(means).astype(np.uint8), np.asarray(shown)) > 30
    assert difference(shown, other) <= 1
