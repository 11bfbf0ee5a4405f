"""Claims of cards, held against what the weights file does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from codec.weights.config import ModelConfig
from codec.weights.released import short_id_of
from scripts.cards import CardError, Measurement, Model, read_models
from scripts.weights_check import Claims, Point, check, check_row, main, quality_of
from tests.helpers import TINY, TINY_VQ

COLUMNS = {"quality": "{:.1f}", "lambda": "{:.4f}", "bpp": "{:.4f}", "PSNR": "{:.2f}"}
ROWS: list[list[Any]] = [[14.3, 0.0035, 0.5, 20.0], [100.0, 0.18, 9.9999, 10.0]]
VQ_COLUMNS = {"levels": "{}", "bpp": "{:.4f}", "PSNR": "{:.2f}", "saved": "{:.1f} %"}
VQ_ROWS: list[list[Any]] = [[2, 0.5, 20.0, 12.3]]


def card(columns: dict[str, str], rows: list[list[Any]], pictures: int | None = 2) -> Model:
    """A model's card; its id is not checked."""
    rates = Measurement(
        "Crops", "0" * 8, "command", "abc1234", "2026-11-28", "a machine", columns, rows, pictures
    )
    return Model("tiny", "0" * 64, {}, {"rates": rates}, [])


def claims_of(
    weights: Path, bpp: float = 0.5, psnr: float = 20.0, short_id: str | None = None
) -> Claims:
    """Claims of a tiny model, with values for its first row."""
    if weights == TINY_VQ:
        claims = Claims.of(card(VQ_COLUMNS, [[2, bpp, psnr, 12.3]]))
    else:
        claims = Claims.of(card(COLUMNS, [[14.3, 0.0035, bpp, psnr], ROWS[1]]))
    return Claims(short_id or short_id_of(weights).hex(), *list(vars(claims).values())[1:])


@pytest.fixture
def pictures(city: Image.Image, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        city.crop((64 * i, 0, 64 * i + 64, 64)).save(path)
    return paths


@pytest.mark.parametrize("model", read_models().values(), ids=lambda model: model.name)
def test_released_models_claim_eight_rates_of_24_pictures(model: Model) -> None:
    claims = Claims.of(model)
    assert (claims.pictures, len(claims.rows)) == (24, 8)


def test_claims_are_what_the_card_prints() -> None:
    claims = Claims.of(card(COLUMNS | {"MS-SSIM": "{:.4f}"}, [[*row, 0.9] for row in ROWS]))
    assert (claims.pictures, claims.setting, len(claims.rows)) == (2, "quality", 2)
    assert claims.rows[0] == {
        "quality": "14.3",
        "lambda": "0.0035",
        "bpp": "0.5000",
        "PSNR": "20.00",
    }
    claims = Claims.of(card(VQ_COLUMNS, VQ_ROWS))
    assert claims.rows == [{"levels": "2", "bpp": "0.5000", "PSNR": "20.00"}]


@pytest.mark.parametrize(
    ("columns", "pictures", "message"),
    [
        ({"slope": "{}", "lambda": "{}", "bpp": "{}", "PSNR": "{}"}, 2, "need the columns"),
        ({"quality": "{}", "lambda": "{}", "bits": "{}", "PSNR": "{}"}, 2, "need the columns"),
        (COLUMNS, None, "of how many pictures"),
    ],
)
def test_cards_that_lack_something_are_refused(
    columns: dict[str, str], pictures: int | None, message: str
) -> None:
    with pytest.raises(CardError, match=message):
        Claims.of(card(columns, ROWS, pictures))


def test_qualities_of_anchors_are_exact() -> None:
    config = ModelConfig()
    assert quality_of({"quality": "14.3"}, config) == 100 / 7
    assert quality_of({"quality": "50.0"}, config) == 50
    assert quality_of({"levels": "3"}, config) == 200 / 7


def test_what_agrees_and_what_does_not() -> None:
    row = {"quality": "14.3", "lambda": "0.0035", "bpp": "1.1234", "PSNR": "30.00"}

    def agrees(bpp: float, psnr: float, lmbda: float = 0.00348) -> bool:
        return check_row(row, Point(bpp, 0.0, psnr), lmbda)[1]

    assert agrees(1.12448, 30.014)
    assert agrees(1.12232, 29.986)
    assert not agrees(1.12456, 30.0)
    assert not agrees(1.12224, 30.0)
    assert not agrees(1.1234, 30.016)
    assert not agrees(1.1234, 29.984)
    assert not agrees(1.1234, 30.0, 0.0036)


@pytest.mark.parametrize(("weights", "setting"), [(TINY, "14.3"), (TINY_VQ, "2")])
def test_measured_values_make_a_card_that_agrees(
    weights: Path, setting: str, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    false = claims_of(weights, 0.0, 1.0)
    assert check(weights, false, pictures, {setting}) == [
        f"{false.setting} {setting} differs from the card"
    ]
    measured = capsys.readouterr().out.splitlines()[-1].split("|")[1:-2]
    bpp, psnr = (float(cell) for cell in measured[-2:])
    assert check(weights, claims_of(weights, bpp, psnr), pictures, {setting}) == []
    assert "agrees" in capsys.readouterr().out


def test_cards_of_other_weights_or_pictures_are_told(pictures: list[Path]) -> None:
    assert "ffffffff" in check(TINY, claims_of(TINY, short_id="f" * 8), [], set())[0]
    claims = claims_of(TINY)
    assert check(TINY, claims, pictures[:1], set()) == ["the card is of 2 pictures, 1 were given"]
    assert "it has 14.3, 100.0" in check(TINY, claims, pictures, {"33"})[0]


def test_command_fails_in_one_line(pictures: list[Path]) -> None:
    result = CliRunner().invoke(main, [str(pictures[0].parent)])
    assert result.exit_code == 1
    assert result.output == "photo.json: the card is of 24 pictures, 2 were given\n"
