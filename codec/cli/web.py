"""`vqcodec view` and `vqcodec web`: the reader in a web page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from codec.cli.options import PATH, SUFFIX, PlaceType, model_option
from codec.cli.terminal import progress, say, tell
from codec.errors import InputError
from codec.files import STANDARD, open_file, real
from codec.url import Place, Url

FILES = "files"
"""Folder of the pictures' addresses."""


class LocalType(PlaceType):
    """Folders on this machine."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        place = super().convert(value, param, ctx)
        if isinstance(place, Url):
            self.fail(f"{place} is a URL; name a folder on this machine", param, ctx)
        return place


LOCAL = LocalType()


@click.command()
@click.argument("files", metavar="FILE...", type=PATH, nargs=-1, required=True)
@click.option(
    "--original", type=PATH, metavar="PICTURE", help="Shown beside the FILE that was made of it."
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Port of the page.  [default: a free one]"
)
@model_option
@click.option("--no-open", is_flag=True, help="Open no browser, only print the address.")
def view(
    files: tuple[Place, ...],
    original: Place | None,
    port: int | None,
    model: str | None,
    no_open: bool,
) -> None:
    """Show compressed FILEs in the browser.

    The page is served to this machine alone, under an address with a secret, which is printed. The
    command ends with Ctrl-C, or by Stop on the page.
    """
    import webbrowser

    from codec.cli.server import TYPES, ViewerServer, serve
    from codec.cli.site import (
        LIST,
        VIEWER,
        built_files,
        content_of,
        model_files,
        models_of,
        picture_list,
        read_picture,
    )

    if original and len(files) > 1:
        raise click.UsageError("--original goes with one FILE")
    if STANDARD in (*files, original):
        raise click.UsageError("a page cannot show standard input; name a file")
    built = built_files()
    pictures = [read_picture(path, path.name) for path in files]
    models = models_of(pictures, model)
    # Nothing is sent farther than to this machine.
    contents = {**built, **model_files(models.values(), effort=0)}
    entries = []
    for number, picture in enumerate(pictures):
        address = f"{FILES}/{number}{SUFFIX}"
        contents[address] = content_of(picture.path)
        entries.append({"src": address, "name": picture.name})
    if original:
        suffix = original.suffix.lower()
        if suffix == SUFFIX or not TYPES.get(suffix, "").startswith("image/"):
            raise InputError(f"{original}: not a picture that browsers show")
        open_file(original).close()
        entries[0]["original"] = f"{FILES}/original{suffix}"
        contents[entries[0]["original"]] = content_of(original)
    contents[LIST] = picture_list(entries, stop=True)
    server = ViewerServer(contents, port or 0)
    address = server.address(f"{VIEWER}?list={LIST}")
    say(address)
    if not no_open and not webbrowser.open(address):
        tell("vqcodec: no browser could be opened; open the address above")
    serve(server)


@click.command()
@click.argument("folder", metavar="DIR", type=LOCAL)
@click.option(
    "-o", "--out", type=LOCAL, metavar="OUT", required=True, help="Folder of the site, a new one."
)
@click.option("--title", help="Heading of the page.  [default: the name of DIR]")
@model_option
@click.option("-f", "--force", is_flag=True, help="Replace the site that is in OUT.")
@click.option("-Q", "--quiet", is_flag=True, help="Print nothing but errors.")
def web(
    folder: Path, out: Path, title: str | None, model: str | None, force: bool, quiet: bool
) -> None:
    """Publish the .vqc files of DIR, and of folders in it, as a static site.

    Hidden files and folders are left out, and so are sites that were published into DIR.
    OUT gets a page of all pictures, copies of them, thumbnails of those above a megapixel, the
    viewer and the models that it needs. Any web server can serve it, from any folder.
    """
    from codec.cli.site import (
        built_files,
        check_site,
        pictures_below,
        read_picture,
        write_site,
    )

    built_files()
    check_site(out, force)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is no folder" if folder.exists() else f"{folder}: no such folder"
        )
    if real(folder).is_relative_to(real(out)):
        raise click.UsageError(f"{folder} lies in {out}, which would be replaced")
    paths = pictures_below(folder)
    if not paths:
        raise InputError(f"{folder}: holds no {SUFFIX} file; `vqcodec compress -r -d` makes them")
    pictures = [read_picture(path, path.relative_to(folder).as_posix()) for path in paths]
    for name, files in Counter(picture.name for picture in pictures).items():
        if files > 1:  # names of bytes that are no text
            raise InputError(f"{folder}: {files} files would be published as {name}; rename them")
    with progress("publishing", not quiet) as show:
        write_site(pictures, out, title or real(folder).name, force, model, show)
    if not quiet:
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        count = "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
        tell(f"{out / 'index.html'}  {count}  {size} B")
