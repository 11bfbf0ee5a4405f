"""The web reader as `make web` builds it, and folders of pictures published with it."""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import Template
from urllib.parse import quote

from codec.cli.options import SUFFIX
from codec.cli.tasks import naming
from codec.cli.terminal import Progress
from codec.errors import InputError, OutputError, OutputExistsError
from codec.files import check_folder, files_in, open_file, real
from codec.format.container import ContainerFile
from codec.format.header import Header
from codec.picture.reduction import scale_for
from codec.url import Place
from codec.weights.released import DEFAULT_MODEL, find_by_id, find_weights, short_id_of

BUILT = Path(__file__).parents[1] / "web" / "dist"
"""Where `make web` puts the reader, and an installed package has it."""
VIEWER = "viewer.html"
GALLERY = "gallery.html"
"""Template of the page of a published folder."""
PAGE = "index.html"
READER, PICTURES, THUMBNAILS = "reader", "pictures", "thumbnails"
"""Folders of a published site."""
LIST = "pictures.json"
"""What a viewer steps through, beside the pictures."""
MODELS = "models"
"""Folder of the reader's weights."""
THUMBNAIL_FROM = 1_000_000
"""Pixels above which a published picture gets a thumbnail."""
THUMBNAIL, THUMBNAIL_QUALITY = 900, 60
"""Greatest side, for about twice the pixels that the page shows; quality."""
LEFT_OUT = {".map"}
"""Suffixes of built files that pages do without."""

Content = Path | bytes
"""A file, or what would be in it."""


@dataclass(frozen=True)
class Picture:
    """A compressed picture that is shown or published."""

    path: Place
    name: str
    """As it is shown; `/` between folders."""
    header: Header
    lossless: bool

    @property
    def large(self) -> bool:
        """Whether it takes a browser too long for a page of many."""
        return self.header.pixels > THUMBNAIL_FROM


def read_picture(path: Place, name: str) -> Picture:
    """What a page says of a picture, from its verified header and directory.

    Raises:
        InputError: the file cannot be read.
        FileFormatError: it is damaged, or no .vqc file.
    """
    with naming(path), open_file(path) as data:
        file = ContainerFile(data)
        shown = os.fsencode(name).decode(errors="replace")
        return Picture(path, shown, file.header, file.lossless)


def content_of(place: Place) -> Content:
    """A file as a site or a server takes it; of one in a store, its bytes.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(place, Path):
        return real(place)
    with open_file(place) as file:
        return file.read()


def built_files() -> dict[str, Path]:
    """Files of the built reader without any model, by their relative address.

    Raises:
        InputError: it was not built.
    """
    if not (BUILT / VIEWER).is_file():
        raise InputError("the web reader is not built; run `make web` in the source repository")
    return {
        path.name: path
        for path in sorted(BUILT.iterdir())
        if path.suffix not in LEFT_OUT and path.is_file()
    }


def models_of(pictures: Iterable[Picture], model: str | None) -> dict[bytes, Path]:
    """Weights files of the models that pictures need, by short id; without loss they need none.

    Args:
        pictures: compressed pictures.
        model: name or weights file of a model that is not a released one.

    Raises:
        ModelNotFoundError: a picture's model is neither.
    """
    given = find_weights(model) if model else None
    known = {short_id_of(given): given} if given else {}
    needed: dict[bytes, Path] = {}
    for picture in pictures:
        short_id = picture.header.model_id
        if not picture.lossless and short_id not in needed:
            with naming(picture.path):
                needed[short_id] = known.get(short_id) or find_by_id(short_id)
    return needed


def model_files(models: Iterable[Path], effort: int = 9) -> dict[str, Content]:
    """The reader's weights of models by their relative address.

    Args:
        models: weights files.
        effort: of zlib, 0 to 9.

    Raises:
        WeightsError: one is damaged.
    """
    from codec.web.reader_weights import packed_models

    packed = packed_models(sorted(set(models)), effort)
    return {f"{MODELS}/{name}": content for name, content in packed.items()}


def thumbnail(picture: Picture, models: Mapping[bytes, Path]) -> bytes:
    """A small copy of a large picture, made with the default model.

    Args:
        picture: compressed picture.
        models: weights files by short id.

    Raises:
        CodecError: the picture is damaged, or too large.
    """
    from codec.api import compress, decompress

    header = picture.header
    scale = scale_for(header.width, header.height, THUMBNAIL)
    with naming(picture.path), open_file(picture.path) as data:
        image = decompress(data, models.get(header.model_id), scale=scale)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return compress(image, THUMBNAIL_QUALITY, keep=("icc",))


def picture_list(entries: Iterable[dict[str, str]], stop: bool = False) -> bytes:
    """JSON of the pictures that a viewer steps through.

    Args:
        entries: `src`, `name` and, where there is one, `original`; addresses are relative.
        stop: whether what serves the list ends when `stop` beside it is posted to.
    """
    return json.dumps({"pictures": list(entries), "stop": stop}, indent=1).encode()


def pictures_below(folder: Path) -> list[Path]:
    """Compressed pictures of a folder and of folders in it, but for what is hidden (its name begins
    with a dot) and for the copies in sites that were published there.

    Raises:
        InputError: a folder cannot be read.
    """
    found = []
    for path in files_in(folder, {SUFFIX}):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        above = path.parents[: len(path.relative_to(folder).parts) - 1]
        if not hidden and not any(is_site(parent) for parent in above):
            found.append(path)
    return found


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
    if not is_site(out):
        raise OutputError(f"{out}: holds other files; name a new folder")
    if not force:
        raise OutputExistsError(f"{out}: exists already; overwrite it with force", field="force")


def is_site(folder: Path) -> bool:
    """Whether a folder holds a site of this program and nothing else."""
    own = {PAGE, LIST, READER, PICTURES}
    return own == {path.name for path in folder.iterdir()} - {THUMBNAILS}


def write_site(
    pictures: Sequence[Picture],
    out: Path,
    title: str,
    force: bool,
    model: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Publish pictures: a page of all of them, the viewer and what it needs, whole or not at all.

    Args:
        pictures: each with a name of its own.
        out: folder of the new site, `index.html` in it.
        title: heading of the page.
        force: whether an older site is replaced.
        model: name or weights file of a model that is not a released one.
        progress: called with (pictures done, pictures in all).

    Raises:
        InputError: the reader was not built.
        OutputExistsError, OutputError: as `check_site`, or the disk refuses.
        CodecError: a picture's model is not known, or a large picture cannot be decoded.
    """
    built = built_files()
    models = models_of(pictures, model)
    used = set(models.values())
    if any(picture.large for picture in pictures):
        used.add(find_weights(DEFAULT_MODEL))
    files: dict[str, Content] = {**built, **model_files(used)}
    del files[GALLERY]
    check_site(out, force)
    beside = out.resolve().parent / f".vqcodec.{os.urandom(8).hex()}"
    new, old = beside / "new", beside / "old"
    try:
        new.mkdir(parents=True)
        for name, content in files.items():
            _write(content, new / READER / name)
        for number, picture in enumerate(pictures, 1):
            _write(content_of(picture.path), new / PICTURES / picture.name)
            if picture.large:
                _write(thumbnail(picture, models), new / THUMBNAILS / picture.name)
            if progress:
                progress(number, len(pictures))
        entries = ({"src": _address(PICTURES, p), "name": p.name} for p in pictures)
        (new / LIST).write_bytes(picture_list(entries))
        page = gallery((BUILT / GALLERY).read_text(encoding="utf-8"), pictures, title)
        (new / PAGE).write_text(page, encoding="utf-8")
        if out.exists():
            out.rename(old)
        new.rename(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(beside, ignore_errors=True)


def gallery(template: str, pictures: Sequence[Picture], title: str) -> str:
    """HTML of the page of all pictures."""
    items = []
    for number, picture in enumerate(pictures):
        header = picture.header
        label = html.escape(str(PurePosixPath(picture.name).with_suffix("")))
        source = _address(THUMBNAILS if picture.large else PICTURES, picture)
        viewer = f"{READER}/{VIEWER}?list=../{LIST}#{number + 1}"
        items.append(
            f'<li><a href="{viewer}"><vqc-img src="{html.escape(source)}" '
            f'alt="{label}" width="{header.width}" height="{header.height}"></vqc-img>'
            f"<span>{label}</span></a></li>"
        )
    count = "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
    return Template(template).substitute(
        title=html.escape(title), count=count, items="\n".join(items)
    )


def _address(folder: str, picture: Picture) -> str:
    return quote(f"{folder}/{picture.name}")


def _write(content: Content, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        shutil.copyfile(content, target)
