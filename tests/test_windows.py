"""Tiles and windows change no latent and no sample: halos are as wide as the transforms see."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from codec.codec import Codec
from codec.encoder.model import EncoderModel
from codec.encoder.tile import SourceTile, window_features
from codec.engine.base import Latents
from codec.engine.receptive_field import analysis_halo, synthesis_halo
from codec.engine.torch import TorchEngine
from codec.errors import DamagedFileError
from codec.level import Level
from codec.level_map import LevelMap
from codec.model.transforms import build_transforms
from codec.picture.pixels import Picture, from_image
from codec.pool import threaded_map
from codec.tiles import LATENT_STRIDE, Box, Grid
from codec.weights.config import ModelConfig
from codec.windows import windows
from tests.helpers import DATA

LEVEL = Level.of_anchor(3)


@pytest.fixture(scope="module")
def large() -> Picture:
    with Image.open(DATA / "flowers.png") as image:
        return from_image(image.convert("RGB").resize((620, 555)))


@pytest.fixture(scope="module", params=["tiny", "released"])
def model(request: pytest.FixtureRequest, tiny_codec: Codec) -> EncoderModel:
    return EncoderModel((Codec() if request.param == "released" else tiny_codec).model)


def latents_of(model: EncoderModel, picture: Picture, grid: Grid) -> Iterator[tuple[Box, Latents]]:
    for box in grid.boxes():
        features = window_features(model.engine, picture, box)
        tile = SourceTile(model, picture, box, features, picture.whole.area, lambda _: None)
        yield box, tile.latents(LevelMap(LEVEL, None, LEVEL))


@pytest.mark.slow
def test_latents_of_tiles_are_those_of_the_whole(model: EncoderModel, large: Picture) -> None:
    whole = Grid(large.height, large.width)
    ((_, (y, z)),) = latents_of(model, large, whole)
    for box, (tile_y, tile_z) in latents_of(model, large, dataclasses.replace(whole, side=256)):
        rows, columns = box.shrunk(LATENT_STRIDE).slices
        assert np.abs(tile_y - y[:, rows, columns]).max() < 1e-3 * np.abs(y).max()
        rows, columns = box.shrunk(64).slices
        assert np.abs(tile_z - z[:, rows, columns]).max() < 1e-3 * np.abs(z).max()


@pytest.mark.slow
def test_windows_reconstruct_what_the_whole_does(model: EncoderModel, large: Picture) -> None:
    """The same latents, synthesised in one piece and in windows: at most one grey level."""
    grid = Grid(large.height, large.width)
    ((_, latents),) = latents_of(model, large, grid)
    y_hat = model.coder.round(*latents, LEVEL).y_hat
    whole = model.engine.synthesise(y_hat, LEVEL)[:, : large.height, : large.width]
    tiled = dataclasses.replace(grid, side=256)
    shown = np.full_like(whole, np.nan)
    for box, samples in windows(
        tiled,
        grid.whole,
        model.engine.synthesis_halo,
        lambda number: y_hat[:, *tiled.box(number).shrunk(LATENT_STRIDE).slices],
        lambda y, _, inner: model.engine.synthesise(y, LEVEL, inner=inner),
        map,
    ):
        assert np.isnan(shown[:, *box.slices]).all()
        shown[:, *box.slices] = samples
    grey_levels = np.rint(whole.clip(0, 1) * 255) - np.rint(shown.clip(0, 1) * 255)
    assert np.abs(grey_levels).max() <= 1


@pytest.mark.parametrize("transform", ["lowres", "gdn"])
@pytest.mark.parametrize("blocks", [(0, 0), (3, 1), (1, 4), (2, 4)])
@pytest.mark.parametrize("filter4", [0, 4])
def test_halos_cover_the_receptive_field(
    transform: str, blocks: tuple[int, int], filter4: int
) -> None:
    config = ModelConfig(
        transform=transform,  # type: ignore[arg-type]
        channels8=4,
        channels16=4,
        blocks8=blocks[0],
        blocks16=blocks[1],
        filter4=filter4,
        latent=4,
        hyper=4,
        prior=4,
    )
    g_a, g_s = build_transforms(config)
    for parameter in (*g_a.parameters(), *g_s.parameters()):
        torch.nn.init.uniform_(parameter, 0.01, 0.1)
    level = torch.zeros(1)
    x = torch.rand(1, 3, 512, 512, requires_grad=True)
    g_a(x, level)[:, :, 16, 16].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    halo = analysis_halo(config)
    assert halo % 64 == 0
    assert rows.min() >= 256 - halo
    assert rows.max() < 272 + halo
    y = torch.rand(1, 4, 32, 32, requires_grad=True)
    g_s(y, level)[:, :, 256:272].sum().backward()
    assert y.grad is not None
    rows = y.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.min() >= 16 - synthesis_halo(config)
    assert rows.max() <= 16 + synthesis_halo(config)


def test_threads_give_results_in_order(engine: TorchEngine) -> None:
    threads = torch.get_num_threads()
    with threaded_map(engine, 3) as mapper:
        assert list(mapper(lambda n: n * n, range(50))) == [n * n for n in range(50)]
    assert torch.get_num_threads() == threads


def test_threads_take_no_more_than_they_need(engine: TorchEngine) -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    with threaded_map(engine, 2) as mapper:
        results = mapper(str, items())
        assert next(results) == "0"
        assert len(taken) <= 6
        assert [*results] == [str(number) for number in range(1, 50)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_threads_fetch_each_tile_once(engine: TorchEngine, count: int) -> None:
    grid = Grid(1000, 1300, 256)
    fetched: list[int] = []

    def fetch(number: int) -> NDArray[np.float32]:
        fetched.append(number)
        box = grid.box(number).shrunk(LATENT_STRIDE)
        return np.full((1, box.height, box.width), number, np.float32)

    def synthesise(y_hat: NDArray[np.float32], place: Box, inner: Box) -> NDArray[np.float32]:
        assert (place.width, place.height) == (y_hat.shape[2], y_hat.shape[1])
        return np.repeat(y_hat[:, *inner.slices].repeat(16, 1).repeat(16, 2), 3, axis=0)

    with threaded_map(engine, count) as mapper:
        shown = list(windows(grid, grid.whole, 6, fetch, synthesise, mapper))
    assert sorted(fetched) == list(range(len(grid)))
    assert sum(box.area for box, _ in shown) == grid.whole.area
    for box, samples in shown:
        assert (samples == next(grid.touched(box))).all()


def test_a_hidden_line_does_not_fetch_a_tile_twice() -> None:
    grid = Grid(3000, 2000, 0)
    fetched: list[int] = []

    def fetch(number: int) -> NDArray[np.float32]:
        fetched.append(number)
        return np.zeros((1, 188, 125), np.float32)

    def synthesise(y_hat: NDArray[np.float32], place: Box, inner: Box) -> NDArray[np.float32]:
        return np.zeros((3, 16 * inner.height, 16 * inner.width), np.float32)

    def hidden(box: Box) -> bool:
        return box.top < 1500 < box.bottom

    shown = list(windows(grid, grid.whole, 6, fetch, synthesise, map, hidden))
    lines = {box.top for box, _ in shown}
    assert min(lines) < 1500 < max(lines)
    assert fetched == [0]


def test_damage_of_a_tile_ends_all_threads(engine: TorchEngine) -> None:
    grid = Grid(1000, 1300, 256)

    def fetch(number: int) -> NDArray[np.float32]:
        raise DamagedFileError("damaged")

    with threaded_map(engine, 3) as mapper, pytest.raises(DamagedFileError):
        list(windows(grid, grid.whole, 6, fetch, lambda y, *_: y, mapper))
