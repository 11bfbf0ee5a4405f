"""Tables of models' cards, and of the pages that quote them, from one JSON file per model.

    python -m scripts.cards [--check]

weights/NAME.json holds the id of a model, `facts` about how it was made, `measurements` (each a
table with the model, commit, date, machine and command that it is of) and `highlights`, cells of
these tables with a line of text. A Markdown page asks for them by a comment, and the program
writes what it asks for between that comment and the next `<!-- end -->`:

    <!-- facts -->                   in weights/NAME.md: the facts about NAME
    <!-- table rates -->             in weights/NAME.md: a measurement of NAME
    <!-- table NAME efforts -->      elsewhere
    <!-- highlights NAME -->

With --check nothing is written; pages that differ from the JSON files are an error.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from scripts.bench.tables import table

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "weights"
PAGES = ("*.md", "codec/**/*.md", "scripts/*.md", "weights/*.md")
BLOCK = re.compile(
    r"<!-- (facts|table|highlights)((?: [\w.-]+)*) -->\n(.*?)<!-- end -->", re.DOTALL
)
ID_DIGITS = 8
"""Hexadecimal digits of a model's id that files, cards and tables name."""

Cell = str | int | float | None


class CardError(ValueError):
    """A JSON file or a page that asks for something of it is wrong."""


@dataclass(frozen=True)
class Measurement:
    """A table of measured values with model, command, commit, date and machine."""

    title: str
    model: str
    """First eight digits of the model's id."""
    command: str
    """Command that measures the values; `{model}` is the model's name."""
    commit: str
    """Commit whose tree was measured."""
    date: str
    machine: str
    columns: Mapping[str, str]
    """Format string of each column, by its name."""
    rows: list[list[Cell]]
    """Cells in the order of the columns; None is an empty cell."""
    pictures: int | None = None
    """Number of measured pictures."""

    def __post_init__(self) -> None:
        missing = [f.name for f in fields(self)[:-1] if not getattr(self, f.name)]
        if missing:
            raise CardError(f"lacks {' and '.join(missing)}")
        if not re.fullmatch(r"[0-9a-f]{7,40}", self.commit):
            raise CardError(f"names no commit, {self.commit!r}")
        if any(len(row) != len(self.columns) for row in self.rows):
            raise CardError(f"has a row of another length than its {len(self.columns)} columns")

    def texts(self) -> list[list[str]]:
        """Formatted cells."""
        formats = self.columns.values()
        return [
            ["" if v is None else f.format(v) for f, v in zip(formats, row, strict=True)]
            for row in self.rows
        ]

    def cell(self, row: str, column: str) -> str:
        """A cell by the text of its row's first cell and the name of its column.

        Raises:
            CardError: there is no such row or column.
        """
        found = [cells for cells in self.texts() if cells[0] == row]
        if column not in self.columns or len(found) != 1:
            raise CardError(f"has no cell {row!r}, {column!r}")
        return found[0][list(self.columns).index(column)]


@dataclass(frozen=True)
class Model:
    """Facts and measurements of a model from weights/NAME.json."""

    name: str
    id: str
    """SHA-256 in hex."""
    facts: Mapping[str, str]
    measurements: Mapping[str, Measurement]
    highlights: list[dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> Model:
        """Read and check a JSON file.

        Raises:
            CardError: a field is missing or unknown, or a measurement is of another model.
        """
        measurements = {}
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            for key, fields_of in values["measurements"].items():
                try:
                    measurements[key] = measured = Measurement(**fields_of)
                except CardError as error:
                    raise CardError(f"measurement {key} {error}") from error
                if measured.model != values["id"][:ID_DIGITS]:
                    raise CardError(f"measurement {key} is of another model, {measured.model}")
            values = {"highlights": []} | values | {"measurements": measurements}
            return cls(path.stem, **values)
        except CardError as error:
            raise CardError(f"{path.name}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CardError(f"{path.name}: no card of a model ({error})") from error

    @property
    def short_id(self) -> str:
        return self.id[:ID_DIGITS]

    def measurement(self, key: str) -> Measurement:
        """A measurement by its key.

        Raises:
            CardError: there is none.
        """
        if key not in self.measurements:
            raise CardError(f"{self.name}.json has no measurement {key}")
        return self.measurements[key]


def facts_of(model: Model) -> str:
    """The facts about a model as a table."""
    rows = {"id": f"`{model.short_id}` (first four bytes of the SHA-256)"} | dict(model.facts)
    return "| | |\n|---|---|\n" + "".join(f"| {key} | {fact} |\n" for key, fact in rows.items())


def table_of(model: Model, key: str) -> str:
    """Title, table and source of a measurement."""
    measured = model.measurement(key)
    command = wrapped(measured.command.format(model=model.name))
    rows = table(measured.columns, measured.texts())
    return f"{paragraph(f'{measured.title}. {source_of(measured)}')}\n\n{command}\n\n{rows}\n"


def highlights_of(model: Model) -> str:
    """The highlights of a model as a table, each with its command."""
    rows, sources = [], []
    for highlight in model.highlights:
        measured = model.measurement(highlight["measurement"])
        value = measured.cell(highlight["row"], highlight["column"])
        rows.append([highlight["what"], value, f"`{measured.command.format(model=model.name)}`"])
        sources.append(source_of(measured))
    source = paragraph(" ".join(dict.fromkeys(sources)))
    return f"{table(['', 'measured', 'command'], rows)}\n\n{source}\n"


def source_of(measured: Measurement) -> str:
    """The model, commit, date and machine of a measurement, as a sentence."""
    return (
        f"Model `{measured.model}`, commit `{measured.commit}`, {measured.date}, "
        f"{measured.machine}."
    )


def paragraph(text: str) -> str:
    """Text in lines of at most 100 characters."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def wrapped(command: str, width: int = 92) -> str:
    """A command as an indented block, continued on further lines where it is long."""
    lines = [""]
    for part in re.split(r" (?=-)", command):  # options stay with their values
        if len(lines[-1]) + len(part) >= width:
            lines.append("   ")
        lines[-1] += f"{' ' * bool(lines[-1])}{part}"
    return " \\\n".join(f"    {line}" for line in lines)


def read_models(folder: Path = WEIGHTS) -> dict[str, Model]:
    """All models of a folder by name."""
    return {path.stem: Model.read(path) for path in sorted(folder.glob("*.json"))}


def rendered(page: Path, text: str, models: Mapping[str, Model]) -> str:
    """Fill the generated blocks of a page.

    Args:
        page: where the text is from; in a card the name of its model may be left out.
        text: Markdown.
        models: by name.

    Raises:
        CardError: a comment asks for something that no model has.
    """

    def block(match: re.Match[str]) -> str:
        kind, names = match[1], match[2].split()
        expected = 2 if kind == "table" else 1
        if len(names) == expected - 1:
            names.insert(0, page.stem)
        if len(names) != expected or names[0] not in models:
            raise CardError(f"{page.name}: there is no {kind} {' '.join(names)}")
        if "<!--" in match[3]:
            raise CardError(f"{page.name}: {kind} {' '.join(names)} has no end")
        model = models[names[0]]
        if kind == "table":
            made = table_of(model, names[1])
        else:
            made = facts_of(model) if kind == "facts" else highlights_of(model)
        return f"<!-- {kind}{match[2]} -->\n\n{made}\n<!-- end -->"

    return BLOCK.sub(block, text)


def pages(root: Path = ROOT) -> Iterator[Path]:
    """The Markdown pages of the repository."""
    for pattern in PAGES:
        found = sorted(root.glob(pattern))
        yield from (page for page in found if "node_modules" not in page.parts)


def stale(root: Path = ROOT) -> Iterable[tuple[Path, str]]:
    """Pages that differ from the JSON files, and the text that they should have."""
    models = read_models(root / "weights")
    for page in pages(root):
        text = page.read_text()
        if (right := rendered(page, text, models)) != text:
            yield page, right


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail if a page differs.")
def main(check: bool) -> None:
    """Write the tables of all pages from weights/*.json."""
    try:
        found = list(stale())
    except CardError as error:
        sys.exit(str(error))
    names = [str(page.relative_to(ROOT)) for page, _ in found]
    if check and found:
        sys.exit(f"differ from weights/*.json, run `make cards`: {', '.join(names)}")
    for page, text in found:
        page.write_text(text)
    print("\n".join(names) or "all pages agree with weights/*.json")


if __name__ == "__main__":
    main()
