from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codec.codec import Codec
from codec.encoder.filter_fit import MOST, PIXELS, LeastSquares, filters_of
from codec.encoder.model import EncoderModel
from codec.encoder.options import EncoderOptions
from codec.encoder.picture import PictureEncoder
from codec.encoder.plan import Plan
from codec.encoder.search import Search
from codec.errors import FileFormatError, InputError, WeightsError
from codec.format.container import ContainerFile
from codec.format.writing import write
from codec.model.restoration import Kernels, restore
from codec.picture.pixels import from_image
from codec.tiles import Grid
from codec.weights.file import Weights, load_weights
from tests.helpers import TINY, TINY_VQ, Run, cost, flowers, squared_error_of

COUNT = 6


def kernels() -> tuple[np.ndarray, np.ndarray]:
    """The first sharpens or blurs, the second changes contrast, the third brightness; the others
    are noise."""
    made = load_weights(TINY).restoration
    assert made is not None
    return made


@pytest.fixture(scope="module")
def weights() -> Weights:
    return load_weights(TINY)


@pytest.fixture(scope="module")
def restoring(weights: Weights) -> Codec:
    return Codec(weights)


def filtered(shown: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    made = Kernels(*map(torch.from_numpy, kernels()))
    return restore(torch.from_numpy(shown), made, torch.tensor(weights).float()).numpy()


def test_the_filter_is_the_sum_of_its_kernels(rng: np.random.Generator) -> None:
    """Sample by sample of 5x5, from every colour to every colour."""
    shown = rng.random((3, 20, 17), np.float32)
    weights = [3.0, -20.0, 7.0, 1.0]
    made, offsets = kernels()
    around = np.pad(shown - 0.5, ((0, 0), (2, 2), (2, 2)), mode="edge")
    wanted = shown.astype(np.float64)
    for weight, kernel, offset in zip(weights, made, offsets, strict=False):
        wanted += weight * offset[:, None, None]
        for to, colour, row, column in np.ndindex(kernel.shape):
            read = around[colour, row : row + 20, column : column + 17]
            wanted[to] += weight * kernel[to, colour, row, column] * read
    assert np.allclose(filtered(shown, weights), wanted, atol=1e-6)


def test_border_samples_go_on() -> None:
    shown = np.full((3, 9, 9), 0.25, np.float32)  # the first kernel sums to 0
    assert np.allclose(filtered(shown, [50.0]), shown, atol=1e-6)


def fit_of(
    shown: np.ndarray, original: np.ndarray, alpha: np.ndarray | None = None, grey: bool = False
) -> LeastSquares:
    pixels = shown[0].size if alpha is None else int(np.count_nonzero(alpha))
    fit = LeastSquares(filters_of(*kernels(), grey), pixels)
    fit.add(shown, original, alpha)
    return fit


@pytest.mark.parametrize("side", [150, 400])
@pytest.mark.parametrize("grey", [False, True])
def test_least_squares_finds_the_weights(rng: np.random.Generator, side: int, grey: bool) -> None:
    """A picture that is exactly what a filter makes of the decoded one gives that filter back.

    The smaller one is used whole, of the larger one a lattice.
    """
    assert (side**2 >= 3 * PIXELS) == (side == 400)
    shown = (0.3 + 0.4 * rng.random((3, side, side))).astype(np.float32)
    wanted = (40, -30, 25, -60, 50, 9)
    target = filtered(shown, wanted)
    if grey:
        target = np.repeat(target.mean(0, keepdims=True), 3, 0)
    original = np.rint(target * 255).astype(np.uint8).transpose(1, 2, 0)
    fit = fit_of(shown, original, grey=grey)
    # The original is rounded to 8 bits.
    assert np.abs(np.subtract(fit.solve(100.0), wanted)).max() <= 3
    assert fit.solve(1e-9) == ()  # no error is worth a byte


def test_windows_make_up_the_picture(rng: np.random.Generator) -> None:
    shown = (0.3 + 0.4 * rng.random((3, 300, 260))).astype(np.float32)
    wanted = (40, -30, 25, -60, 50, 9)
    original = np.rint(filtered(shown, wanted) * 255).astype(np.uint8).transpose(1, 2, 0)
    fit = LeastSquares(filters_of(*kernels(), grey=False), shown[0].size)
    fit.add(shown[:, :150], original[:150], None)
    fit.add(shown[:, 150:], original[150:], None)
    # No window sees beyond its border.
    assert np.abs(np.subtract(fit.solve(100.0), wanted)).max() <= 3


def test_only_what_is_visible_counts(rng: np.random.Generator) -> None:
    """Of 600x600 pixels 60x60 are visible: all of these are used, and nothing else."""
    shown = (0.3 + 0.4 * rng.random((3, 600, 600))).astype(np.float32)
    wanted = (40, -30, 25, -60, 50, 9)
    original = np.rint(filtered(shown, wanted) * 255).astype(np.uint8).transpose(1, 2, 0)
    alpha = np.zeros(original.shape[:2], np.uint8)
    alpha[100:160, 200:260] = 1
    original[alpha == 0] = rng.integers(0, 256, 3)
    found = fit_of(shown, original, alpha).solve(100.0)
    assert np.abs(np.subtract(found, wanted)).max() <= 6
    assert fit_of(shown, original, np.zeros_like(alpha)).solve(100.0) == ()


@pytest.mark.parametrize("side", [100, 1000])
def test_noise_pays_for_nothing(rng: np.random.Generator, side: int) -> None:
    """The error has nothing to do with the reconstruction: weights that fit it do harm."""
    shown = (0.3 + 0.4 * rng.random((3, side, side))).astype(np.float32)
    noise = rng.normal(0, 6, (side, side, 1))  # the same in all colours
    original = np.rint(255 * shown.transpose(1, 2, 0) + noise).clip(0, 255).astype(np.uint8)
    for error_weight in (0.01, 0.1, 1.0):
        weights = fit_of(shown, original).solve(error_weight)
        if weights:
            added = filtered(shown, weights) - shown
            rest = original.transpose(2, 0, 1) - 255.0 * shown
            less = np.square(rest).sum() - np.square(rest - 255 * added).sum()
            assert error_weight * less > 8 * len(weights)


@pytest.mark.parametrize("quality", [0, 50, 100])
def test_the_filter_alone_saves_bits(restoring: Codec, quality: int) -> None:
    """Without a correction of the latents."""
    image = flowers(200, 150)
    plain = restoring.encode(image, quality, effort=0)
    plan = Plan.of(EncoderModel(restoring.model), EncoderOptions(effort=1))
    alone = dataclasses.replace(plan, share=0.0)
    encoder = PictureEncoder(alone, from_image(image), Grid(150, 200, 0), map)
    better = encoder.encode(restoring.level_of(quality))
    assert not plain.header.restoration
    assert 1 <= len(better.header.restoration) <= COUNT
    assert max(map(abs, better.header.restoration)) <= MOST
    assert cost(restoring, better, image) < cost(restoring, plain, image)
    assert len(better.data) == len(plain.data) + 1 + len(better.header.restoration)
    assert better.bits == pytest.approx(plain.bits + 8 * (1 + len(better.header.restoration)))


@pytest.mark.slow
@pytest.mark.parametrize("effort", [1, 4])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_file_is_what_the_encoder_says(restoring: Codec, mode: str, effort: int) -> None:
    image = flowers(200, 150)
    if mode == "RGBA":
        ramp = Image.linear_gradient("L").resize(image.size)
        image.putalpha(ramp.point(lambda value: max(value - 90, 0)))
    image = image.convert(mode)
    if effort > 1:  # pixels of two engines may differ
        restoring = Codec(restoring.weights, engine="torch")
    shown = restoring.encode(image, 60, effort=effort, reconstruct=True)
    decoded = restoring.decompress(shown.data)
    assert ContainerFile(BytesIO(shown.data)).header.restoration
    assert np.array_equal(np.asarray(decoded), np.asarray(shown.reconstruction))
    measured = restoring.encode(image, 60, effort=effort, measure=True)
    assert measured.data == shown.data
    assert measured.psnr == pytest.approx(shown.psnr)
    assert shown.psnr > restoring.encode(image, 60, effort=0, measure=True).psnr


def test_tiles_share_one_filter_and_leave_no_seam(restoring: Codec) -> None:
    image = flowers(340, 300)
    data = restoring.compress(image, 60, tile_size=256, patches="never")
    decoded = restoring.decompress_array(data)
    assert decoded.flags.writeable
    whole = decoded.astype(int)
    assert ContainerFile(BytesIO(data)).header.restoration
    part = restoring.decompress_array(data, (200, 190, 120, 100)).astype(int)
    assert np.abs(part - whole[190:290, 200:320]).max() <= 1
    assert restoring.encode(image, 60, tile_size=256, patches="never").data == data


@pytest.mark.slow
def test_targets_are_met(restoring: Codec) -> None:
    image = flowers(200, 150)
    size = len(restoring.compress(image, 50))
    found = restoring.encode(image, target_size=size)
    assert 0.98 * size < len(found.data) <= size
    plain = restoring.encode(image, 20, effort=0, measure=True)
    found = restoring.encode(image, target_psnr=plain.psnr)
    assert plain.psnr <= found.psnr < plain.psnr + 0.1
    assert len(found.data) < len(plain.data)
    assert squared_error_of(restoring, found, image) <= squared_error_of(restoring, plain, image)
    with pytest.raises(InputError, match="smallest"):
        restoring.compress(image, target_size=40)


class Blind(Plan):
    """A search that knows nothing of the filter."""

    def search(self, restoration: tuple[int, ...]) -> Search:
        return super().search(())


@pytest.mark.slow
@pytest.mark.parametrize("tile_size", [0, 256])
def test_the_search_reckons_with_the_filter(restoring: Codec, tile_size: int) -> None:
    """Better than with the filter alone, and than a search that knows nothing of it."""
    image = flowers(340, 300)

    def weighed(effort: int) -> float:
        encoded = restoring.encode(image, 60, effort=effort, tile_size=tile_size, patches="never")
        assert bool(encoded.header.restoration) == (effort > 0)
        return cost(restoring, encoded, image)

    plain, filtered, searched = map(weighed, (0, 1, 5))
    picture, grid = from_image(image), Grid(300, 340, tile_size)
    blind = Blind.of(EncoderModel(restoring.model.with_derivatives()), EncoderOptions(effort=5))
    encoded = PictureEncoder(blind, picture, grid, map).encode(restoring.level_of(60))
    assert searched < cost(restoring, encoded, image) < filtered < plain


def test_small_pictures_do_without(restoring: Codec) -> None:
    assert not ContainerFile(BytesIO(restoring.compress(flowers(4, 4), 0))).header.restoration
    assert restoring.decompress(restoring.compress(flowers(1, 1))).size == (1, 1)


def altered(data: bytes, restoration: tuple[int, ...]) -> bytes:
    file = ContainerFile(BytesIO(data))
    header = dataclasses.replace(file.header, restoration=restoration)
    return write(header, [file.read_tile(0)])


def test_untrusted_files(restoring: Codec, weights: Weights) -> None:
    data = restoring.compress(flowers(200, 150), 50)
    extreme = np.asarray(restoring.decompress(altered(data, (127, -128) * 3)))
    assert extreme.shape == (150, 200, 3)
    with pytest.raises(FileFormatError, match="kernels"):
        restoring.decompress(altered(data, (1,) * (COUNT + 1)))
    for cut in range(len(data)):
        with pytest.raises(FileFormatError):
            restoring.decompress(data[:cut])
    empty = bytearray(data)
    empty[18] = 0
    with pytest.raises(FileFormatError, match="without weights"):
        restoring.decompress(bytes(empty))
    tensors = {n: t for n, t in weights.tensors.items() if not n.startswith("restoration")}
    bare = Codec(dataclasses.replace(weights, tensors=tensors))
    with pytest.raises(FileFormatError, match="kernels"):
        bare.decompress(altered(bare.compress(flowers(200, 150), 50), (1,)))
    vq = Codec(load_weights(TINY_VQ))
    with pytest.raises(FileFormatError, match="kernels"):
        vq.decompress(altered(vq.compress(flowers(200, 150), 50), (1,)))


def test_weights_files(weights: Weights, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "restoring.safetensors"
    path.write_bytes(weights.to_bytes())
    assert load_weights(path).kernels == COUNT
    flowers(200, 150).save(tmp_path / "a.png")
    assert run("compress", tmp_path / "a.png", "--model", path)[0] == 0
    status, out, _ = run("info", tmp_path / "a.vqc", "--check", "--json")
    facts = json.loads(out)
    assert status == 0
    assert 2 <= facts["filter_bytes"] <= 1 + COUNT
    assert facts["container_bytes"] <= 32

    made, offsets = kernels()
    for parts in (
        {"kernels": made},
        {"offsets": offsets},
        {"kernels": made[:2], "offsets": offsets},
        {"kernels": made[..., :3], "offsets": offsets},
        {"kernels": made * np.float32("nan"), "offsets": offsets},
        {"kernels": made.astype(np.float64), "offsets": offsets},
        {"kernels": made[:0], "offsets": offsets[:0]},
        {"kernels": made, "offsets": offsets, "more": offsets},
    ):
        tensors = {n: t for n, t in weights.tensors.items() if not n.startswith("restoration")}
        tensors |= {f"restoration.{name}": part for name, part in parts.items()}
        with pytest.raises(WeightsError, match="restoration filter"):
            dataclasses.replace(weights, tensors=tensors).check_restoration()


def test_only_what_was_trained_for_it_has_a_filter(weights: Weights) -> None:
    config = json.loads(weights.config_text) | {"distortion": "ms-ssim"}
    other = dataclasses.replace(weights, config_text=json.dumps(config, sort_keys=True))
    with pytest.raises(WeightsError, match="only models for MSE"):
        other.check_restoration()


def test_kernels_that_overflow_show_something(weights: Weights) -> None:
    tensors = {**weights.tensors, "restoration.kernels": kernels()[0] * np.float32(1e38)}
    wild = Codec(dataclasses.replace(weights, tensors=tensors))
    image = flowers(200, 150)
    data = wild.compress(image, 50, effort=0)
    assert wild.decompress_array(altered(data, (127, -128, 127))).shape == (150, 200, 3)
    assert wild.compress(image, 50)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 24), (60, 60)])
def test_little_that_is_visible(size: tuple[int, int], released_codec: Codec) -> None:
    image = flowers(300, 300)
    mask = Image.new("L", image.size, 0)
    mask.paste(255, (100, 90, 100 + size[0], 90 + size[1]))
    image.putalpha(mask)
    for quality in (20, 50, 100):
        plain, better = (released_codec.encode(image, quality, effort=effort) for effort in (0, 1))
        # Rounding to 8 bits is not reckoned with.
        assert cost(released_codec, better, image) < 1.001 * cost(released_codec, plain, image)


@pytest.mark.slow
def test_bfloat16_and_windows(restoring: Codec, weights: Weights) -> None:
    """An untiled picture that is reconstructed in several windows, and other arithmetic."""
    image = flowers(100, 100).resize((2100, 1030))
    coded = restoring.encode(image, 60, reconstruct=True)
    assert coded.data == restoring.compress(image, 60)
    assert ContainerFile(BytesIO(coded.data)).header.restoration
    whole = np.asarray(restoring.decompress(coded.data)).astype(int)
    assert np.array_equal(whole, np.asarray(coded.reconstruction))
    part = restoring.decompress_array(coded.data, (1000, 500, 100, 60)).astype(int)
    assert np.abs(part - whole[500:560, 1000:1100]).max() <= 1
    fast = Codec(weights, precision="bfloat16").decompress_array(coded.data).astype(int)
    assert np.abs(fast - whole).mean() < 3
