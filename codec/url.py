"""URLs as places of files: names and parents, known without any library of a store.

A URL may be chained, as `zip://photos/a.png::s3://bucket/photos.zip` is: a file inside a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import quote, unquote

from codec.errors import InputError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")  # of one letter is a drive of Windows
_DISKS = ("file://", "local://")  # the second is fsspec's, which decodes nothing
_WEB = ("http://", "https://")
_NO_NAME = re.compile(r"[/\\\x00-\x1f\ufffd]")  # the last is for bytes that are no UTF-8


@dataclass(frozen=True, order=True)
class Url:
    """A file or folder in a store, with the part of `pathlib`'s interface that is of names."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def scheme(self) -> str:
        """Kind of the store, in lower case."""
        return self.text.partition("://")[0].lower()

    def _split(self) -> tuple[str, str, str]:
        """Scheme, path, and what follows it: the rest of a chain, or the query of a web page."""
        start = self.text.index("://") + 3
        ends = ("::", "?", "#") if self.text.lower().startswith(_WEB) else ("::",)
        found = (self.text.find(end, start) for end in ends)
        end = min((at for at in found if at >= 0), default=len(self.text))
        return self.text[:start], self.text[start:end].rstrip("/"), self.text[end:]

    def _decoded(self, part: str) -> str:
        """Part of a path without percent-encoding, which URLs of the web have, where it stays one
        part."""
        plain = unquote(part) if self.text.lower().startswith(_WEB) else part
        return part if plain in ("", ".", "..") or _NO_NAME.search(plain) else plain

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self._decoded(self._split()[1].rpartition("/")[2])

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Url:
        """What it lies in; a bucket lies in itself."""
        scheme, path, rest = self._split()
        folder, slash, _ = path.rpartition("/")
        return Url(scheme + (folder if slash or rest.startswith("::") else path) + rest)

    def with_name(self, name: str) -> Url:
        """Another file in the same folder; a query belongs to its file and is left out."""
        scheme, path, rest = self._split()
        folder, slash, _ = path.rpartition("/")
        name = quote(name) if self.text.lower().startswith(_WEB) else name
        return Url(scheme + folder + slash + name + (rest if rest.startswith("::") else ""))

    def __truediv__(self, part: str | PurePath) -> Url:
        below = part.as_posix() if isinstance(part, PurePath) else part
        if below in ("", "."):
            return self
        scheme, path, rest = self._split()
        return Url(f"{scheme}{path}{'/' if path else ''}{below}{rest}")

    def relative_to(self, other: Url) -> PurePosixPath:
        """Path from a folder to what lies in it."""
        (_, path, _), (_, folder, _) = self._split(), other._split()
        below = path.removeprefix(folder).lstrip("/")
        return PurePosixPath(*map(self._decoded, below.split("/")))


Place = Path | Url
"""Where a file is: on a disk of this machine, or in a store."""


def place_of(text: str) -> Place:
    """The place that a text names; one of `file://` or `local://` is a path like any other.

    Raises:
        InputError: it names nothing, or a file of another machine.
    """
    if not text:
        raise InputError("an empty name; name a file or folder")
    found = _SCHEME.match(text)
    if not found:
        return Path(text)
    scheme, path = found[0].lower(), text[found.end() :]
    if "::" in text or scheme not in _DISKS:
        return Url(text)
    if scheme == "local://":
        return Path(path)
    path = path.removeprefix("localhost")
    if not path.startswith("/"):
        raise InputError(f"{text}: names a file of another machine; name one of this")
    return Path(unquote(path))
