"""The web reader as `make web` builds it, and folders of pictures published with it."""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import Template
from urllib.parse import quote

from codec.cli.tasks import naming
from codec.errors import (
    InputError,
    ModelNotFoundError,
    OutputError,
    OutputExistsError,
)
from codec.files import check_folder, open_file
from codec.format.container import ContainerFile, Header

BUILT = Path(__file__).parents[1] / "web" / "dist"
"""Where `make web` puts the reader, and an installed package has it."""
VIEWER = "viewer.html"
GALLERY = "gallery.html"
"""Template of the page of a published folder."""
PAGE = "index.html"
READER, PICTURES = "reader", "pictures"
"""Folders of a published site."""
LIST = "pictures.json"
"""What a viewer steps through, beside the pictures."""
MODELS = "models"
INDEX = f"{MODELS}/INDEX.json"
"""Names, files and digests of the models by their short ids."""

Content = Path | bytes
"""A file, or what would be in it."""


@dataclass(frozen=True)
class Picture:
    """A compressed picture that is shown or published."""

    path: Path
    name: str
    """As it is shown; `/` between folders."""
    header: Header
    lossless: bool
    size: int
    """Bytes of the file."""


def read_picture(path: Path, name: str) -> Picture:
    """What a page says of a picture, from its verified header and directory.

    Raises:
        InputError: the file cannot be read.
        FileFormatError: it is damaged, or no .vqc file.
    """
    with naming(path), open_file(path) as data:
        file = ContainerFile(data)
        shown = os.fsencode(name).decode(errors="replace")
        return Picture(path, shown, file.header, file.lossless, file.size)


class Site:
    """The built web reader.

    Args:
        folder: of the built files; where `make web` puts them if it is None.

    Raises:
        InputError: it was not built.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder = folder or BUILT
        try:
            self._models: dict[str, dict[str, str]] = json.loads((folder / INDEX).read_bytes())
        except FileNotFoundError as error:
            raise InputError(
                "the web reader is not built; run `make web` in the source repository"
            ) from error

    def files(self, models: Iterable[str] | None = None) -> dict[str, Content]:
        """Files of the reader by their relative address.

        Args:
            models: ids of those whose weights are among them; None for all.
        """
        chosen = self._models if models is None else {name: self._models[name] for name in models}
        weights = {f"{MODELS}/{entry['file']}" for entry in chosen.values()}
        found: dict[str, Content] = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            left_out = name == GALLERY or (name.startswith(f"{MODELS}/") and name not in weights)
            if path.is_file() and not left_out:
                found[name] = path
        return found | {INDEX: json.dumps(chosen, indent=1).encode()}

    def models_of(self, pictures: Iterable[Picture]) -> list[str]:
        """Ids of the models that pictures need.

        Raises:
            ModelNotFoundError: the reader was built without one.
        """
        needed: dict[str, Path] = {}
        for picture in pictures:
            if not picture.lossless:
                needed.setdefault(picture.header.model_id.hex(), picture.path)
        for model_id, path in needed.items():
            if model_id not in self._models:
                known = ", ".join(f"{e['name']} ({i})" for i, e in self._models.items()) or "none"
                raise ModelNotFoundError(
                    f"{path}: made with model {model_id}, without which the web reader was built; "
                    f"it has {known}"
                )
        return sorted(needed)


def picture_list(entries: Iterable[dict[str, str]], stop: bool = False) -> bytes:
    """JSON of the pictures that a viewer steps through.

    Args:
        entries: `src`, `name` and, where there is one, `original`; addresses are relative.
        stop: whether what serves the list ends when `stop` beside it is posted to.
    """
    return json.dumps({"pictures": list(entries), "stop": stop}, indent=1).encode()


def check_site(out: Path, force: bool) -> None:
    """Fail early if a site cannot be written.

    Raises:
        OutputExistsError: `out` is there, and not empty, and `force` is not set.
        OutputError: it is no folder, or holds anything but a site of this program, or cannot be
            made.
    """
    check_folder(out)
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not _is_site(out):
        raise OutputError(f"{out}: holds other files; name a new folder")
    if not force:
        raise OutputExistsError(f"{out}: exists already; overwrite it with force", field="force")


def _is_site(folder: Path) -> bool:
    own = {PAGE, LIST, READER, PICTURES}
    return {path.name for path in folder.iterdir()} == own


def write_site(site: Site, pictures: Sequence[Picture], out: Path, title: str, force: bool) -> None:
    """Publish pictures: a page of all of them, the viewer and what it needs, whole or not at all.

    Args:
        site: the built reader.
        pictures: each with a name of its own.
        out: folder of the new site, `index.html` in it.
        title: heading of the page.
        force: whether an older site is replaced.

    Raises:
        OutputExistsError, OutputError: as `check_site`, or the disk refuses.
        ModelNotFoundError: the reader was built without a picture's model.
    """
    files = site.files(site.models_of(pictures))
    check_site(out, force)
    beside = out.resolve().parent / f".vqcodec.{os.urandom(8).hex()}"
    new, old = beside / "new", beside / "old"
    try:
        new.mkdir(parents=True)
        for name, content in files.items():
            _write(content, new / READER / name)
        for picture in pictures:
            _write(picture.path, new / PICTURES / picture.name)
        entries = ({"src": _address(p), "name": p.name} for p in pictures)
        (new / LIST).write_bytes(picture_list(entries))
        template = (site.folder / GALLERY).read_text(encoding="utf-8")
        (new / PAGE).write_text(gallery(template, pictures, title), encoding="utf-8")
        if out.exists():
            out.rename(old)
        new.rename(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def gallery(template: str, pictures: Sequence[Picture], title: str) -> str:
    """HTML of the page of all pictures."""
    items = []
    for number, picture in enumerate(pictures):
        header = picture.header
        label = html.escape(str(PurePosixPath(picture.name).with_suffix("")))
        viewer = f"{READER}/{VIEWER}?list=../{LIST}#{number + 1}"
        items.append(
            f'<li><a href="{viewer}"><vqc-img src="{html.escape(_address(picture))}" '
            f'alt="{label}" width="{header.width}" height="{header.height}"></vqc-img>'
            f"<span>{label}</span></a></li>"
        )
    count = "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
    return Template(template).substitute(
        title=html.escape(title), count=count, items="\n".join(items)
    )


def _address(picture: Picture) -> str:
    return quote(f"{PICTURES}/{picture.name}")


def _write(content: Content, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        shutil.copyfile(content, target)
