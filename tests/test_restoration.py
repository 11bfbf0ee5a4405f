from __future__ import annotations

import dataclasses
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codec.bitstream.container import ContainerFile, write
from codec.errors import FileFormatError, InputError, WeightsError
from codec.model.restoration import Kernels, responses, restore
from codec.pipeline import Codec
from codec.pipeline.restoration import MOST, LeastSquares
from codec.runtime.distortion import Distortion
from codec.runtime.weights import Weights, load_weights
from tests.conftest import TINY_FILTER, TINY_VQ, Run, cost, flowers, squared_error_of

COUNT = 6


def kernels() -> tuple[np.ndarray, np.ndarray]:
    """The first sharpens or blurs, the second changes contrast, the third brightness; the others
    are noise."""
    made = load_weights(TINY_FILTER).restoration
    assert made is not None
    return made


@pytest.fixture(scope="module")
def weights() -> Weights:
    return load_weights(TINY_FILTER)


@pytest.fixture(scope="module")
def restoring(weights: Weights) -> Codec:
    return Codec(weights)


def test_the_filter_is_the_sum_of_its_kernels(rng: np.random.Generator) -> None:
    made = Kernels(*map(torch.from_numpy, kernels()))
    shown = torch.from_numpy(rng.random((3, 20, 17), np.float32))
    weights = torch.tensor([3.0, -20.0, 7.0, 1.0])
    added = responses(shown, made)
    assert added.shape == (COUNT, 3, 20, 17)
    wanted = shown + torch.tensordot(weights, added[:4], 1)
    assert torch.allclose(restore(shown, made, weights), wanted, atol=1e-6)
    assert torch.equal(responses(shown, made, 3), added[:, :, ::3, ::3])


def test_border_samples_go_on(rng: np.random.Generator) -> None:
    made = Kernels(*map(torch.from_numpy, kernels()))
    shown = torch.full((3, 9, 9), 0.25)
    assert torch.allclose(responses(shown, made)[0], torch.zeros(3, 9, 9), atol=1e-7)


def test_least_squares_finds_the_weights(restoring: Codec, rng: np.random.Generator) -> None:
    """A picture that is exactly what a filter makes of the decoded one gives that filter back."""
    made = Kernels(*map(torch.from_numpy, kernels()))
    shown = (0.3 + 0.4 * rng.random((3, 300, 260))).astype(np.float32)
    wanted = (40, -30, 25, -60, 50, 9)
    target = restore(torch.from_numpy(shown), made, torch.tensor(wanted).float()).numpy()
    original = np.rint(target * 255).astype(np.uint8).transpose(1, 2, 0)

    def respond(samples: np.ndarray, stride: int) -> np.ndarray:
        return responses(torch.from_numpy(samples), made, stride).numpy()

    for windows in ([shown], [shown[:, :150], shown[:, 150:]]):
        fit = LeastSquares(COUNT, respond, grey=False)
        top = 0
        for part in windows:
            fit.add(part, original[top : top + part.shape[1]], None)
            top += part.shape[1]
        # The original is rounded to 8 bits, and no window sees beyond its border.
        assert np.abs(np.subtract(fit.solve(100.0), wanted)).max() <= 3
        assert fit.solve(1e-9) == ()  # no error is worth a byte
    hidden = LeastSquares(COUNT, respond, grey=False)
    hidden.add(shown, original, np.zeros(original.shape[:2], np.uint8))
    assert hidden.solve(100.0) == ()


def test_a_pattern_in_step_with_one_lattice_pays_on_the_other(rng: np.random.Generator) -> None:
    """What one of the two lattices sees alone is no reason for a filter."""
    made = Kernels(*map(torch.from_numpy, kernels()))
    shown = np.full((3, 350, 350), 0.5, np.float32)
    original = np.full((350, 350, 3), 128, np.uint8)
    original[::5, ::5] = 160

    def respond(samples: np.ndarray, stride: int) -> np.ndarray:
        return responses(torch.from_numpy(samples), made, stride).numpy()

    fit = LeastSquares(COUNT, respond, grey=False)
    fit.add(shown, original, None)
    filtered = restore(torch.from_numpy(shown), made, torch.tensor(fit.solve(1.0)).float())

    def squares(samples: np.ndarray) -> float:
        return float(np.square(samples.transpose(1, 2, 0) * 255.0 - original).sum())

    assert squares(filtered.numpy()) <= squares(shown)


@pytest.mark.parametrize("quality", [0, 50, 100])
def test_never_worse_and_better_here(restoring: Codec, quality: int) -> None:
    image = flowers(200, 150)
    plain, better = (restoring.encode_only(image, quality, effort=effort) for effort in (0, 1))
    assert not plain.header.restoration
    assert 1 <= len(better.header.restoration) <= COUNT
    assert max(map(abs, better.header.restoration)) <= MOST
    assert cost(restoring, better, image) < cost(restoring, plain, image)
    assert len(better.data) == len(plain.data) + 1 + len(better.header.restoration)
    assert better.bits == pytest.approx(plain.bits + 8 * (1 + len(better.header.restoration)))


@pytest.mark.parametrize("effort", [1, 4])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_file_is_what_the_encoder_says(restoring: Codec, mode: str, effort: int) -> None:
    image = flowers(200, 150)
    if mode == "RGBA":
        ramp = Image.linear_gradient("L").resize(image.size)
        image.putalpha(ramp.point(lambda value: max(value - 90, 0)))
    image = image.convert(mode)
    shown = restoring.encode(image, 60, effort=effort)
    decoded = restoring.decompress(shown.data)
    assert ContainerFile(BytesIO(shown.data)).header.restoration
    assert np.array_equal(np.asarray(decoded), np.asarray(shown.reconstruction))
    measured = restoring.encode_only(image, 60, effort=effort, measure=True)
    assert measured.data == shown.data
    assert measured.psnr == pytest.approx(shown.psnr)
    assert shown.psnr > restoring.encode_only(image, 60, effort=0, measure=True).psnr


def test_tiles_share_one_filter_and_leave_no_seam(restoring: Codec) -> None:
    image = flowers(340, 300)
    data = restoring.compress(image, 60, tile_size=256)
    whole = restoring.decompress_array(data).astype(int)
    assert ContainerFile(BytesIO(data)).header.restoration
    part = restoring.decompress_array(data, (200, 190, 120, 100)).astype(int)
    assert np.abs(part - whole[190:290, 200:320]).max() <= 1
    assert restoring.encode(image, 60, tile_size=256).data == data


def test_targets_are_met(restoring: Codec) -> None:
    image = flowers(200, 150)
    size = len(restoring.compress(image, 50))
    found = restoring.encode_only(image, target_size=size)
    assert 0.98 * size < len(found.data) <= size
    plain = restoring.encode_only(image, 20, effort=0, measure=True)
    found = restoring.encode_only(image, target_psnr=plain.psnr)
    assert plain.psnr <= found.psnr < plain.psnr + 0.1
    assert len(found.data) < len(plain.data)
    assert squared_error_of(restoring, found, image) <= squared_error_of(restoring, plain, image)
    with pytest.raises(InputError, match="smallest"):
        restoring.compress(image, target_size=40)


@pytest.mark.parametrize("tile_size", [0, 256])
def test_the_search_reckons_with_the_filter(
    restoring: Codec, tile_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better than with the filter alone, and than a search that knows nothing of it."""
    image = flowers(340, 300)

    def weighed(effort: int) -> float:
        encoded = restoring.encode_only(image, 60, effort=effort, tile_size=tile_size)
        assert bool(encoded.header.restoration) == (effort > 0)
        return cost(restoring, encoded, image)

    plain, filtered, searched = map(weighed, (0, 1, 5))
    monkeypatch.setattr(
        "codec.pipeline.tile_coder.Distortion", lambda *arguments: Distortion(*arguments[:-1])
    )
    assert searched < weighed(5) < filtered < plain


def test_small_pictures_do_without(restoring: Codec) -> None:
    assert not ContainerFile(BytesIO(restoring.compress(flowers(4, 4), 0))).header.restoration
    assert restoring.decompress(restoring.compress(flowers(1, 1))).size == (1, 1)


def altered(data: bytes, restoration: tuple[int, ...]) -> bytes:
    file = ContainerFile(BytesIO(data))
    header = dataclasses.replace(file.header, restoration=restoration)
    return write(header, [file.read_tile(0)])


def test_strangers_files(restoring: Codec, tiny_codec: Codec) -> None:
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
    plain = tiny_codec.compress(flowers(200, 150), 50)
    with pytest.raises(FileFormatError, match="kernels"):
        tiny_codec.decompress(altered(plain, (1,)))
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
            dataclasses.replace(weights, tensors=tensors).check_tables()
