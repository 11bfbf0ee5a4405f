"""Cards of models: parsed strictly, and held against what the weights file does."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from codec.weights.config import ModelConfig
from codec.weights.released import released_models, short_id_of
from scripts.weights_check import Card, CardError, Point, check, check_row, main, quality_of
from tests.conftest import TINY, TINY_VQ

CARD = """# tiny

| | |
|---|---|
| id | `{id}` (first four bytes of the SHA-256) |
| licence | MIT |

## Crops, 2 pictures, real files

| quality | lambda | bpp | PSNR |
|---|---|---|---|
| 14.3 | 0.0035 | {bpp} | {psnr} |
| 100.0 | 0.1800 | 9.9999 | 10.00 |

| peer | BD-rate |
|---|---|
| jpeg | -44.8 % |
"""
VQ_CARD = """| id | `{id}` |

## Crops, 2 pictures

| levels | bpp | PSNR | saved |
|---|---|---|---|
| 2 | {bpp} | {psnr} | 12.3 % |
"""


@pytest.fixture
def pictures(city: Image.Image, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        city.crop((64 * i, 0, 64 * i + 64, 64)).save(path)
    return paths


def card_of(template: str, weights: Path, bpp: str = "0.5", psnr: str = "20.00") -> Card:
    return Card.parse(template.format(id=short_id_of(weights).hex(), bpp=bpp, psnr=psnr))


@pytest.mark.parametrize("card", sorted(released_models()[0].parent.glob("*.md")), ids=str)
def test_released_cards_name_the_weights_beside_them(card: Path) -> None:
    parsed = Card.parse(card.read_text())
    assert parsed.short_id == short_id_of(card.with_suffix(".safetensors")).hex()
    assert parsed.pictures == 24
    assert len(parsed.rows) == 8


def test_card_is_parsed() -> None:
    card = card_of(CARD, TINY)
    assert card.short_id == "b2baee18"
    assert (card.pictures, card.setting, len(card.rows)) == (2, "quality", 2)
    assert card.rows[0] == {"quality": "14.3", "lambda": "0.0035", "bpp": "0.5", "PSNR": "20.00"}
    assert card_of(VQ_CARD, TINY_VQ).rows == [{"levels": "2", "bpp": "0.5", "PSNR": "20.00"}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("| id |", "| name |", "has 0 rows"),
        ("{id}", "b2baee1", "has 0 rows"),
        ("| licence |", "| id | `00000000` |\n| licence |", "has 2 rows"),
        ("| quality | lambda |", "| quality | slope |", "has 0 tables"),
        ("2 pictures", "pictures", "without `N pictures`"),
        ("| 9.9999 |", "| 9.9999 | |", "a row of 5 cells"),
        ("9.9999", "about 10", "something else than numbers"),
        ("| peer | BD-rate |", "| levels | bpp | PSNR |", "has a row of 2 cells"),
    ],
)
def test_cards_that_lack_something_are_refused(old: str, new: str, message: str) -> None:
    assert old in CARD
    with pytest.raises(CardError, match=message):
        card_of(CARD.replace(old, new), TINY)


def test_a_table_may_not_be_there_twice() -> None:
    with pytest.raises(CardError, match="has 2 tables"):
        card_of(CARD + "\n| levels | bpp | PSNR |\n|---|---|---|\n| 1 | 1.0 | 2.0 |\n", TINY)


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


@pytest.mark.parametrize(
    ("template", "weights", "setting"), [(CARD, TINY, "14.3"), (VQ_CARD, TINY_VQ, "2")]
)
def test_measured_values_make_a_card_that_agrees(
    template: str,
    weights: Path,
    setting: str,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    false = card_of(template, weights, "0.00000", "1.0000")
    assert check(weights, false, pictures, {setting}) == [
        f"{false.setting} {setting} differs from the card"
    ]
    measured = capsys.readouterr().out.splitlines()[-1].split("|")[1:-2]
    *_, bpp, psnr = (cell.strip() for cell in measured)
    assert check(weights, card_of(template, weights, bpp, psnr), pictures, {setting}) == []
    assert "agrees" in capsys.readouterr().out


def test_cards_of_other_weights_or_pictures_are_told(pictures: list[Path]) -> None:
    assert (
        "00000000" in check(TINY, Card.parse(CARD.format(id="0" * 8, bpp=1, psnr=1)), [], set())[0]
    )
    card = card_of(CARD, TINY)
    assert check(TINY, card, pictures[:1], set()) == ["the card is of 2 pictures, 1 were given"]
    assert "it has 14.3, 100.0" in check(TINY, card, pictures, {"33"})[0]


def test_command_fails_in_one_line(pictures: list[Path]) -> None:
    result = CliRunner().invoke(main, [str(pictures[0].parent)])
    assert result.exit_code == 1
    assert result.output == "photo.md: the card is of 24 pictures, 2 were given\n"
