from __future__ import annotations

import dataclasses
import json
import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec.pillow_plugin  # noqa: F401
from codec.codec import Codec
from codec.encoder.derivatives import Curvature, SteadyGradient
from codec.encoder.model import EncoderModel
from codec.encoder.options import ROUNDS, EncoderOptions
from codec.encoder.plan import Plan
from codec.encoder.rdoq import rdoq_of
from codec.encoder.search import Caution, Descent, kept, steps
from codec.engine.base import Slopes
from codec.entropy.latents import LatentCoder
from codec.entropy.model import IntegerModel
from codec.errors import InputError, LimitError
from codec.level import Level
from codec.limits import Limits
from codec.loading import load
from codec.tiles import Grid
from codec.weights.file import Weights, load_weights
from tests.helpers import TINY, TINY_VQ, Run, cost, flowers


@pytest.mark.parametrize(
    ("distortion", "compares"), [("mse", True), ("looks", False), ("ms-ssim", False)]
)
def test_search_of_tiles_is_compared_where_squared_error_is_the_objective(
    tiny_weights: Weights, distortion: str, compares: bool
) -> None:
    text = json.dumps({**tiny_weights.config.to_dict(), "distortion": distortion}, sort_keys=True)
    model = load(dataclasses.replace(tiny_weights, config_text=text))
    plan = Plan(EncoderModel(model), rounds=1, looks_back=False)
    assert plan.compares(Grid(512, 512, 256)) == compares
    assert not plan.compares(Grid(512, 512))


@pytest.mark.parametrize(
    ("path", "effort", "rounds", "looks_back"),
    [(TINY, 0, 0, False), (TINY, 1, 0, True), (TINY, 5, 8, True), (TINY_VQ, 5, 0, False)],
)
def test_plans_have_what_helps_a_model(
    path: Path, effort: int, rounds: int, looks_back: bool
) -> None:
    plan = Plan.of(EncoderModel(load(path)), EncoderOptions(effort=effort))
    assert (plan.rounds, plan.looks_back) == (rounds, looks_back)


@pytest.mark.slow
@pytest.mark.parametrize("quality", [0, 40, 100])
def test_never_worse_and_clearly_better_with_patience(tiny_codec: Codec, quality: int) -> None:
    image = flowers()
    costs = [
        cost(tiny_codec, tiny_codec.encode(image, quality, effort=effort), image)
        for effort in (0, 2, 5, 8)
    ]
    assert all(later <= costs[0] for later in costs)
    assert costs[2] < 0.995 * costs[0]
    assert costs[3] <= costs[2] + 1


@pytest.mark.slow
def test_the_released_model_gains_too(released_codec: Codec) -> None:
    image = flowers(256, 192)
    plain, better = (released_codec.encode(image, 50, effort=effort) for effort in (0, 6))
    assert cost(released_codec, better, image) < 0.99 * cost(released_codec, plain, image)


@pytest.mark.slow
def test_the_file_is_what_the_encoder_says(tiny_codec: Codec) -> None:
    image = flowers()
    encoded = tiny_codec.encode(image, 60, effort=5, measure=True)
    decoded = np.asarray(tiny_codec.decompress(encoded.data)).astype(float)
    mse = np.square(decoded - np.asarray(image)).mean()
    assert encoded.psnr == pytest.approx(10 * math.log10(255**2 / mse), abs=0.01)
    assert len(encoded.data) <= encoded.bits / 8 + 40
    shown = tiny_codec.encode(image, 60, effort=5, reconstruct=True)
    assert shown.data == encoded.data
    assert np.abs(np.asarray(shown.reconstruction) - decoded).max() <= 1


def test_the_same_picture_gives_the_same_file(tiny_codec: Codec) -> None:
    files = {tiny_codec.compress(flowers(), 50, effort=4) for _ in range(2)}
    assert len(files) == 1


@pytest.mark.slow
def test_tiles_are_refined_too(tiny_codec: Codec) -> None:
    image = flowers(400, 300)
    plain, better = (
        tiny_codec.encode(image, 60, tile_size=256, effort=effort, patches="never")
        for effort in (0, 5)
    )
    assert cost(tiny_codec, better, image) < 0.995 * cost(tiny_codec, plain, image)


@pytest.mark.slow
def test_grey_and_hidden_pixels(tiny_codec: Codec) -> None:
    grey = flowers().convert("L")
    plain, better = (tiny_codec.encode(grey, 60, effort=effort) for effort in (0, 5))
    assert better.header.grey
    assert cost(tiny_codec, better, grey) < cost(tiny_codec, plain, grey)

    clear = flowers()
    mask = Image.new("L", clear.size, 255)
    mask.paste(0, (0, 0, 80, 120))
    clear.putalpha(mask)
    encodings = [tiny_codec.encode(clear, 60, effort=effort, measure=True) for effort in (0, 5)]
    lmbda = tiny_codec.weights.config.lambda_of(encodings[0].header.level.position)
    weight = lmbda * 255**2 * 80 * 120
    costs = [e.bits + weight * 10 ** (-e.psnr / 10) for e in encodings]
    assert costs[1] < costs[0]


@pytest.mark.slow
@pytest.mark.parametrize("effort", [2, 4])
def test_targets_are_met(tiny_codec: Codec, effort: int) -> None:
    image = flowers()
    size = len(tiny_codec.compress(image, 55))
    encoded = tiny_codec.encode(image, target_size=size, effort=effort)
    assert 0.98 * size < len(encoded.data) <= size
    psnr = tiny_codec.encode(image, 55, measure=True).psnr
    found = tiny_codec.encode(image, target_psnr=psnr, effort=effort)
    assert psnr <= found.psnr < psnr + 0.2
    with pytest.raises(InputError, match="smallest"):
        tiny_codec.compress(image, target_size=40, effort=effort)


def test_models_that_round_to_centres_do_not_search() -> None:
    codec = Codec(load_weights(TINY_VQ))
    assert codec.compress(flowers(), 50, effort=9) == codec.compress(flowers(), 50)


def test_curvature_of_positions_scales_that_of_photographs() -> None:
    curvature = Curvature((2, 3, 3), np.array([5.0, 7.0]))
    places = np.arange(9, dtype=np.float32).reshape(3, 3) + 1
    gradient = np.zeros((2, 3, 3), np.float32)
    curvature.add(np.zeros((2, 3, 3), np.float32), Slopes(gradient, None, places).times(3.0))
    times = curvature.estimate() / (np.array([5.0, 7.0])[:, None, None] * places)
    assert times.min() > 0
    assert np.allclose(times, times[0, 0, 0])


def test_efforts_are_checked(tiny_codec: Codec) -> None:
    assert list(ROUNDS) == sorted(ROUNDS)
    assert ROUNDS[0] == ROUNDS[1] == 0 < ROUNDS[2]
    for effort in (-1, 10):
        with pytest.raises(InputError, match=r"0\.\.9"):
            tiny_codec.compress(flowers(), effort=effort)


def test_memory_of_the_search_is_charged(tiny_weights: Weights) -> None:
    image = Image.new("RGB", (900, 900))
    codec = Codec(tiny_weights, limits=Limits(max_memory=1 << 30))
    assert codec.compress(image, 0)
    with pytest.raises(LimitError, match="lower the effort"):
        codec.compress(image, 0, effort=2)


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 4])
def test_progress_counts_rounds(tiles: int) -> None:
    seen: list[tuple[int, int]] = []
    image = flowers() if tiles == 1 else flowers(300, 300)
    codec = Codec(TINY, threads=1)
    size = 0 if tiles == 1 else 256
    codec.encode(image, 50, effort=3, tile_size=size, progress=lambda *told: seen.append(told))
    assert {total for _, total in seen} == {tiles * (ROUNDS[3] + 2)}  # rounded first, coded last
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.slow
def test_command_and_plugin(run: Run, tmp_path: Path) -> None:
    flowers().save(tmp_path / "a.png")
    command = ["compress", tmp_path / "a.png", tmp_path / "a.vqc", "--model", TINY, "-f", "--json"]
    found = []
    for effort in ([], ["--effort", 1], ["--effort", 5]):
        status, out, _ = run(*command, *effort)
        assert status == 0
        found.append(json.loads(out))
    assert found[0]["bytes"] == found[1]["bytes"]
    assert (found[2]["bytes"], found[2]["psnr"]) != (found[0]["bytes"], found[0]["psnr"])
    assert run(*command, "--effort", 10)[0] == 2

    saved = BytesIO()
    flowers().save(saved, "VQC", model=str(TINY), effort=5)
    assert len(saved.getvalue()) == found[2]["bytes"]


def test_curvature_is_drawn_towards_channel_and_position(rng: np.random.Generator) -> None:
    truth = np.outer([1.0, 100.0], [1, 1, 1, 3, 3, 3]).reshape(2, 2, 3).astype(np.float32)
    for half in (None, np.array([0.5, 50.0])):
        curvature, still = Curvature(truth.shape, half), np.zeros_like(truth)
        for _ in range(5):
            sample = (truth * rng.standard_normal(truth.shape) ** 2).astype(np.float32)
            curvature.add(still, Slopes(still, sample))
            curvature.add(still, Slopes(still, None))
        estimate = curvature.estimate()
        assert np.all(estimate > 0)
        assert np.all(estimate[1] > 5 * estimate[0])


def test_curvature_is_expected_of_photographs_and_of_slopes() -> None:
    """One sample hardly tells channels apart that are known to differ; a slope betrays more."""
    sample, still = np.ones((2, 3, 3), np.float32), np.zeros((2, 3, 3), np.float32)
    steep = still.copy()
    steep[0, 1, 2] = -50
    curvature = Curvature(sample.shape, np.array([0.5, 50.0]))
    curvature.add(still, Slopes(steep, sample))
    estimate = curvature.estimate()
    assert np.all(estimate[1] > 20 * estimate[0, 0, 0])
    assert estimate[0, 1, 2] > 3 * estimate[0, 0, 0]


def test_one_latent_position_spoils_no_means() -> None:
    sample, still = np.ones((2, 10, 10), np.float32), np.zeros((2, 10, 10), np.float32)
    calm, spoilt = (Curvature(sample.shape, np.array([0.5, 0.5])) for _ in range(2))
    calm.add(still, Slopes(still, sample.copy()))
    sample[:, 4, 4] = 1e9
    spoilt.add(still, Slopes(still, sample))
    ratio = spoilt.estimate() / calm.estimate()
    assert ratio[:, 4, 4].min() > 3
    ratio[:, 4, 4] = 1
    assert ratio.max() < 1.5


def test_steps_tell_the_curvature() -> None:
    """The slope of a parabola of curvature 5, where every sample says 1."""
    sample = np.ones((2, 3, 3), np.float32)
    curvature, y = Curvature(sample.shape, None), np.zeros_like(sample)
    curvature.add(y.copy(), Slopes(5 * y, sample))
    before = curvature.estimate()
    y[0, 1, 2] += 1  # a step
    y[1] += 0.5  # no steps: means that moved
    curvature.add(y, Slopes(5 * y, None))
    estimate = curvature.estimate()
    assert before[0, 1, 2] + 1 < estimate[0, 1, 2] < 6
    assert np.all(estimate[0, 0] == before[0, 0])
    # What other steps did to the slope is no curvature: it is bounded.
    curvature.add(np.zeros_like(y), Slopes(np.full_like(y, 1e9), None))
    curvature.add(np.zeros_like(y), Slopes(np.zeros_like(y), None))
    assert np.all((curvature.estimate() > 0) & (curvature.estimate() < 15))


def test_slopes_follow_own_steps_at_once_and_swings_of_others_slowly() -> None:
    steady, curvature = SteadyGradient(), np.full((1, 1, 2), 5, np.float32)
    y = np.zeros((1, 1, 2), np.float32)
    own, seen = [], []
    for number in range(8):
        y[0, 0, 0] = number % 3  # steps along its parabola; the other stays
        swing = 10.0 * (-1) ** number
        gradient = np.array([[[5 * y[0, 0, 0], swing]]], np.float32)
        slope = steady.add(y.copy(), gradient, curvature)
        own.append(slope[0, 0, 0] == pytest.approx(gradient[0, 0, 0], abs=1e-4))
        seen.append(abs(float(slope[0, 0, 1])))
    assert all(own)
    assert seen[0] == 10
    assert max(seen[2:]) < 6


class Flat:
    """Nothing that is reconstructed matters."""

    def error(self, y_hat: NDArray[np.float32]) -> float:
        return 0.0

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        nothing = np.zeros_like(y_hat)
        return 0.0, Slopes(nothing, nothing if sampled else None)


def test_a_search_that_finds_nothing_ends(tiny_weights: Weights) -> None:
    model = EncoderModel(load(tiny_weights))
    y, z = np.full((16, 6, 5), 3, np.float32), np.zeros((8, 2, 2), np.float32)
    told: list[int] = []
    refined = Descent(model, y, z, Level(20_000), Flat(), 0.0).run(80, told.append)
    assert told == list(range(1, len(told) + 1))
    assert 40 < len(told) < 80  # half of the rounds are always made
    assert np.all(refined.rounded.y_hat == model.round(y, z, Level(20_000)).y_hat)


class Trap:
    """The greater a latent, the better; but beyond a border all is lost."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def error(self, y_hat: NDArray[np.float32]) -> float:
        return 1e6 - 100 * float(y_hat.sum()) if y_hat.max() < 2.5 else 1e9

    def slopes(self, y_hat: NDArray[np.float32], sampled: bool = True) -> tuple[float, Slopes]:
        self.seen.append(self.error(y_hat))
        gradient = np.full_like(y_hat, -100)
        return self.seen[-1], Slopes(gradient, 0 * gradient if sampled else None)


def test_a_search_that_went_astray_goes_back_to_the_best(tiny_weights: Weights) -> None:
    model = EncoderModel(load(tiny_weights))
    y, z = np.zeros((16, 6, 5), np.float32), np.zeros((8, 2, 2), np.float32)
    trap = Trap()
    refined = Descent(model, y, z, Level(20_000), trap, 1.0).run(12, lambda _: None)
    astray = [number for number, error in enumerate(trap.seen) if error == 1e9]
    assert astray
    # The round after it is at symbols that are not lost.
    assert all(trap.seen[number + 1] < 1e9 for number in astray if number + 1 < len(trap.seen))
    assert trap.error(refined.rounded.y_hat) == min(trap.seen)
    assert refined.cost == refined.rounded.bits + min(trap.seen)


def test_steps_are_those_that_pay(tiny_weights: Weights, rng: np.random.Generator) -> None:
    coder = LatentCoder(IntegerModel(tiny_weights))
    y = rng.normal(scale=5, size=(16, 6, 5)).astype(np.float32)
    rounded = coder.round(y, np.zeros((8, 2, 2), np.float32), Level(20_000))
    caution = Caution(selection=0.7, damping=1.0, threshold=0.01, context=0.0)
    calm, stiff = np.zeros_like(y), np.full_like(y, 1e6)
    assert not steps(rounded, calm, stiff, caution).any()
    # Without an error in the way, symbols go to where they cost less.
    taken = steps(rounded, calm, calm, caution)
    assert set(np.unique(taken)) == {-1, 0, 1}
    moved = coder.round(rounded.y_hat + taken, np.zeros((8, 2, 2), np.float32), Level(20_000))
    assert moved.passes[0].bits.sum() < rounded.passes[0].bits.sum()
    # A steep error decides the direction.
    steep = steps(rounded, np.full_like(y, 1e4), calm, caution)
    assert set(np.unique(steep)) <= {-1, 0}


def test_a_latent_position_takes_its_best_steps_alone(tiny_weights: Weights) -> None:
    coder = LatentCoder(IntegerModel(tiny_weights))
    y = np.zeros((16, 6, 5), np.float32)
    rounded = coder.round(y, np.zeros((8, 2, 2), np.float32), Level(20_000))
    gradient = np.zeros_like(y)
    gradient[3, 1, 1], gradient[4, 1, 1], gradient[5, 1, 1] = 2000, -1800, 400
    gradient[5, 1, 2] = 400
    taken = steps(rounded, gradient, np.full_like(y, 50), Caution(0.7, 1, 1, 0))
    assert {tuple(at): taken[tuple(at)] for at in np.argwhere(taken)} == {
        (3, 1, 1): -1,
        (4, 1, 1): 1,
        (5, 1, 2): -1,
    }


@pytest.mark.parametrize("side", [-1, 1])
def test_steps_end_where_tables_end(tiny_weights: Weights, side: int) -> None:
    """However steep the error is, a latent at the end of its table goes no further."""
    coder = LatentCoder(IntegerModel(tiny_weights))
    z = np.zeros((8, 2, 2), np.float32)
    rounded = coder.round(np.full((16, 6, 5), side * 1e6, np.float32), z, Level(20_000))
    slope = np.full((16, 6, 5), -side * 1e6, np.float32)
    outwards = steps(rounded, slope, np.zeros_like(slope), Caution(0.7, 1, 1, 0))
    assert not np.any(outwards == side)
    assert np.any(steps(rounded, -slope, np.zeros_like(slope), Caution(0.7, 1, 1, 0)) == -side)


def test_a_single_pixel_is_searched_without_warnings(tiny_codec: Codec) -> None:
    coded = tiny_codec.encode(Image.new("RGB", (1, 1), (200, 30, 90)), effort=5, reconstruct=True)
    assert coded.reconstruction
    assert coded.reconstruction.size == (1, 1)


def with_curvature(weights: Weights, curvature: float) -> Weights:
    shape = weights.config.anchors, weights.config.latent
    tensors = {**weights.tensors, "tables.curvature": np.full(shape, curvature, np.float32)}
    return dataclasses.replace(weights, tensors=tensors)


@pytest.mark.slow
@pytest.mark.parametrize("quality", [0, 60])
def test_the_search_starts_from_what_rate_and_distortion_chose(
    tiny_weights: Weights, quality: int
) -> None:
    codec = Codec(with_curvature(tiny_weights, 0.05))
    image = flowers()
    costs = [
        cost(codec, codec.encode(image, quality, effort=effort), image) for effort in (0, 2, 4, 6)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


def test_rounds_keep_what_rate_and_distortion_chose(
    tiny_weights: Weights, rng: np.random.Generator
) -> None:
    config = tiny_weights.config
    weights = with_curvature(tiny_weights, 0.01)
    coder = LatentCoder(IntegerModel(weights))
    rdoq = rdoq_of(weights, coder.model)
    assert rdoq
    y = rng.normal(size=(config.latent, 6, 6)).astype(np.float32)
    z = rng.normal(size=(config.hyper, 2, 2)).astype(np.float32)
    first = coder.round(y, z, Level(0), rdoq.rule(Level(0)))
    assert first.checksum != coder.round(y, z, Level(0)).checksum
    assert coder.round(kept(y, first), z, Level(0)).checksum == first.checksum
