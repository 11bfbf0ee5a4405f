"""Cards of models: JSON files read strictly, and pages that say what these files say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codec.weights.released import DEFAULT_MODEL, find_weights, released_models, short_id_of
from scripts.cards import CardError, Model, pages, read_models, rendered, stale

ROOT = Path(__file__).parents[1]
ID = "0123456789abcdef" * 4
MEASURED: dict[str, Any] = {
    "title": "Rates",
    "model": ID[:8],
    "command": "vqcodec evaluate FOLDER --model {model}",
    "commit": "abc1234",
    "date": "2026-11-28",
    "machine": "two cores",
    "columns": {"quality": "{:.1f}", "against": "{}", "BD-rate": "{:+.1f} %"},
    "rows": [[14.3, "jpeg", -44.84], [100.0, "webp", None]],
}
HIGHLIGHT = {"what": "Bits", "measurement": "rates", "row": "14.3", "column": "BD-rate"}
CARD: dict[str, Any] = {
    "id": ID,
    "facts": {"licence": "MIT"},
    "highlights": [HIGHLIGHT],
    "measurements": {"rates": MEASURED},
}


def read(folder: Path, card: object, name: str = "tiny") -> Model:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(card))
    return Model.read(path)


def changed(**values: Any) -> dict[str, Any]:
    return CARD | {"measurements": {"rates": MEASURED | values}}


def test_pages_say_what_the_json_files_say() -> None:
    assert [str(page.relative_to(ROOT)) for page, _ in stale(ROOT)] == []


def test_every_released_model_has_a_card_of_its_own_weights() -> None:
    models = read_models()
    assert sorted(models) == [path.stem for path in released_models()]
    for path in released_models():
        assert models[path.stem].short_id == short_id_of(path).hex()
        assert "<!-- facts -->" in path.with_suffix(".md").read_text()


def test_the_readme_shows_numbers_of_a_model() -> None:
    assert "<!-- highlights " in (ROOT / "README.md").read_text()


def test_a_table_is_rendered(tmp_path: Path) -> None:
    models = {"tiny": read(tmp_path, CARD)}
    text = "before\n<!-- table tiny rates -->\nold\n<!-- end -->\nafter\n"
    assert rendered(tmp_path / "page.md", text, models) == (
        "before\n"
        "<!-- table tiny rates -->\n\n"
        "Rates. Model `01234567`, commit `abc1234`, 2026-11-28, two cores.\n\n"
        "    vqcodec evaluate FOLDER --model tiny\n\n"
        "| quality | against | BD-rate |\n"
        "|---------|---------|---------|\n"
        "| 14.3    | jpeg    | -44.8 % |\n"
        "| 100.0   | webp    |         |\n"
        "\n<!-- end -->\nafter\n"
    )


def test_rendering_again_changes_nothing(tmp_path: Path) -> None:
    models = {"tiny": read(tmp_path, CARD)}
    text = "<!-- facts -->\n<!-- end -->\n\n<!-- highlights -->\n<!-- end -->\n"
    once = rendered(tmp_path / "tiny.md", text, models)
    assert "| licence | MIT |" in once
    assert "| Bits | -44.8 %  | `vqcodec evaluate FOLDER --model tiny` |" in once
    assert rendered(tmp_path / "tiny.md", once, models) == once


def test_a_card_follows_its_model_to_another_name(tmp_path: Path) -> None:
    models = {"other": read(tmp_path, CARD, "other")}
    text = "<!-- table rates -->\n<!-- end -->\n"
    assert "--model other" in rendered(tmp_path / "other.md", text, models)


def test_a_page_or_a_file_that_was_edited_is_told(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    read(tmp_path / "weights", CARD)
    page = tmp_path / "README.md"
    page.write_text("<!-- table tiny rates -->\n<!-- end -->\n")
    for found, right in stale(tmp_path):
        found.write_text(right)
    assert list(stale(tmp_path)) == []
    page.write_text(page.read_text().replace("-44.8", "-54.8"))
    assert [found for found, _ in stale(tmp_path)] == [page]
    page.write_text(page.read_text().replace("-54.8", "-44.8"))
    assert list(stale(tmp_path)) == []
    read(tmp_path / "weights", changed(rows=[[14.3, "jpeg", -44.9]]))
    assert [found for found, _ in stale(tmp_path)] == [page]


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (changed(model="ffffffff"), "measurement rates is of another model, ffffffff"),
        (changed(commit=""), "measurement rates lacks commit"),
        (changed(commit="today"), "measurement rates names no commit, 'today'"),
        (changed(machine=""), "measurement rates lacks machine"),
        (changed(command="", date=""), "measurement rates lacks command and date"),
        (changed(rows=[[1.0, "jpeg"]]), "a row of another length than its 3 columns"),
        (changed(pictured=24), "no card of a model"),
        ({"id": ID, "measurements": {}}, "no card of a model"),
        ([], "no card of a model"),
    ],
)
def test_files_that_lack_something_are_refused(card: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(CardError, match=message):
        read(tmp_path, card)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table tiny sizes -->\n<!-- end -->", "tiny.json has no measurement sizes"),
        ("<!-- table huge rates -->\n<!-- end -->", "there is no table huge rates"),
        ("<!-- table tiny -->\n<!-- end -->", "there is no table page tiny"),
        ("<!-- facts -->\n<!-- end -->", "there is no facts page"),
        ("<!-- facts tiny -->\n<!-- facts tiny -->\n<!-- end -->", "facts tiny has no end"),
    ],
)
def test_pages_that_ask_for_nothing_known_are_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CardError, match=message):
        rendered(tmp_path / "page.md", text, {"tiny": read(tmp_path, CARD)})


@pytest.mark.parametrize(("row", "column"), [("15.0", "BD-rate"), ("14.3", "bpp")])
def test_a_highlight_of_no_cell_is_refused(row: str, column: str, tmp_path: Path) -> None:
    card = CARD | {"highlights": [HIGHLIGHT | {"row": row, "column": column}]}
    with pytest.raises(CardError, match="has no cell"):
        rendered(
            tmp_path / "tiny.md",
            "<!-- highlights -->\n<!-- end -->",
            {"tiny": read(tmp_path, card)},
        )


def test_all_pages_are_looked_at() -> None:
    found = {str(page.relative_to(ROOT)) for page in pages()}
    assert {"README.md", "codec/FORMAT.md", "weights/photo.md"} <= found


def test_the_check_writes_nothing() -> None:
    command = [sys.executable, "-m", "scripts.cards", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all pages agree with weights/*.json\n")


def test_tables_of_patches_are_of_the_default_model() -> None:
    measured = json.loads((ROOT / "codec" / "encoder" / "patches.json").read_text())
    assert measured["model"] == short_id_of(find_weights(DEFAULT_MODEL)).hex()
