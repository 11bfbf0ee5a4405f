"""Files in stores, through fsspec, and what a store's refusal means.

This module alone imports fsspec, and does so when a URL is first opened. Which stores there are is
fsspec's matter, as are credentials, proxies, end points and retries: they come from its
configuration and from that of the store's own library.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import urlsplit

from codec.errors import CodecError, InputError, OutputError, OutputExistsError, too_long
from codec.url import Url

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from fsspec import AbstractFileSystem

Kind = Literal["file", "folder"]
READ_AHEAD = 1 << 20
"""Bytes that are asked for at once where parts of a file are read."""
SILENCE_SECONDS = 30.0
"""Time after which a web server that sends nothing has failed. aiohttp's own limit of five minutes
is for the whole of a transfer, which may take longer."""

_OBJECT_STORES = {"s3", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"}
"""Stores in which an upload is seen when it is complete and not before, and which know no folders.
Elsewhere a file is written under another name, and renamed."""
_BUCKETS = {"s3", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci"}
"""Stores whose files lie in buckets, which are there before."""
_WEB = {"http", "https"}
_READ_ONLY = _WEB | {"zip", "tar"}
_LIBRARIES = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "DefaultCredentialsError",
    "NoAuthTokenError",
    "ClientAuthenticationError",
)
_UNREACHABLE = ("ConnectionError", "ClientConnectionError", "EndpointConnectionError")
_TIMED_OUT = ("TimeoutError", "ConnectTimeoutError", "ReadTimeoutError", "FSTimeoutError")
_REFUSED = ("ClientResponseError",)
"""Names of classes: those of a library that may not be installed."""


@contextmanager
def _refusals(url: Url, kind: type[CodecError]) -> Iterator[None]:
    """Turn whatever a store's library raises into one line."""
    try:
        yield
    except (CodecError, MemoryError):
        raise
    except Exception as error:  # each library has classes of its own
        raise kind(f"{url}: {_reason(error, url)}") from error


def _names(error: BaseException) -> set[str]:
    return {parent.__name__ for parent in type(error).__mro__}


def _failure(error: Exception) -> Exception:
    """What an error is about: fsspec says that there is no file where a server does not answer, or
    forbids it, too."""
    cause = error.__cause__
    while isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        if _names(cause).intersection(_TIMED_OUT + _UNREACHABLE + _REFUSED):
            return cause
        cause = cause.__cause__
    return error


def _reason(error: Exception, url: Url) -> str:
    error = _failure(error)
    names = _names(error)
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ImportError):
        return _missing_library(url)
    if isinstance(error, ValueError) and "rotocol not known" in said:
        return f"no store of the kind {url.scheme}:// is known"
    if names.intersection(_NO_CREDENTIALS) or "credentials" in said.lower():
        return f"no credentials for this store are found, or they are not valid ({said})"
    if isinstance(error, FileNotFoundError):
        return "no such file" if _bucket_exists(url) else "the bucket does not exist"
    if isinstance(error, PermissionError) or getattr(error, "status", 0) in (401, 403):
        return f"the store forbids it ({said})"
    if names.intersection(_TIMED_OUT):
        return "the store did not answer in time"
    if names.intersection(_UNREACHABLE):
        return f"the store cannot be reached ({said})"
    return f"the store refused ({said})"


def _missing_library(url: Url) -> str:
    library = _LIBRARIES.get(url.scheme)
    if library:
        return f"stores of the kind {url.scheme}:// need {library}; pip install {library}"
    return "URLs need more libraries; pip install 'vqcodec[remote]'"


def _bucket_exists(url: Url) -> bool:
    """Whether the bucket of a URL exists, as far as one may know."""
    if url.scheme in _BUCKETS:
        try:
            _opened(url)[0].info(urlsplit(url.text).netloc)
        except FileNotFoundError:
            return False
        except Exception:  # there is something else to tell
            return True
    return True


def _opened(url: Url) -> tuple[AbstractFileSystem, str]:
    """File system and path; listings are not cached, since others write too."""
    return _file_system(url.text, use_listings_cache=False)


def _file_system(text: str, **options: Any) -> tuple[AbstractFileSystem, str]:
    import fsspec

    for scheme in set(re.findall(r"\bhttps?(?=://)", text)):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(None, sock_connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
        configured = fsspec.config.conf.get(scheme, {}).get("client_kwargs", {})
        options[scheme] = {"client_kwargs": {"timeout": timeout} | configured}
    fs, path = fsspec.core.url_to_fs(text, **options)
    return fs, path


def kind_of(url: Url, error: type[CodecError] = InputError) -> Kind | None:
    """What a URL names, or None if there is nothing.

    Raises:
        InputError: the store refuses to tell, or as `error` says.
    """
    with _refusals(url, error):
        fs, path = _opened(url)
        try:
            return "folder" if fs.info(path)["type"] == "directory" else "file"
        except FileNotFoundError as error:
            if _failure(error) is error:
                return None
            raise


def find(url: Url) -> Iterator[Url]:
    """Files below a folder, in order of their names.

    Raises:
        InputError: the store refuses.
    """
    with _refusals(url, InputError):
        fs, path = _opened(url)
        top = path.rstrip("/")
        details = fs.find(path, detail=True).items()
        names = [name for name, info in details if info["type"] == "file"]
        found = sorted(names, key=lambda name: name.split("/"))
    for name in found:
        yield url / name.removeprefix(top).lstrip("/")


def read(url: Url, max_bytes: int) -> bytes:
    """All bytes of a file.

    Raises:
        InputError: the store refuses.
        LimitError: the file is longer than `max_bytes`.
    """
    with _refusals(url, InputError):
        fs, path = _opened(url)
        if url.scheme in _WEB:
            data = _streamed(fs, path, max_bytes + 1)
        else:
            try:
                data = fs.cat_file(path, start=0, end=max_bytes + 1)
            except Exception:
                if not _is_empty(fs, path):
                    raise
                data = b""
    if len(data) > max_bytes:
        raise too_long(url, max_bytes)
    return data


def _streamed(fs: AbstractFileSystem, path: str, most: int) -> bytes:
    """Bytes of a web page, at most so many: a server without ranges sends all that it has, which
    may never end."""
    data = bytearray()
    with fs.open(path, "rb", block_size=0, size=1) as stream:  # a stream; no look at the size first
        while len(data) < most and (piece := stream.read(min(most - len(data), READ_AHEAD))):
            data += piece
    return bytes(data)


def _is_empty(fs: AbstractFileSystem, path: str) -> bool:
    """Whether a file has no bytes, of which many stores refuse the first."""
    with suppress(Exception):
        return bool(fs.info(path)["size"] == 0)
    return False


def open_parts(url: Url, max_bytes: int) -> BinaryIO:
    """A file of which only the parts that are read are fetched; a short one is fetched at once.

    Raises:
        InputError: the store refuses, now or when a part is read.
        LimitError: the file is longer than `max_bytes`.
    """
    with _refusals(url, InputError):
        fs, path = _opened(url)
        size = fs.info(path)["size"]
    if size is None or size <= READ_AHEAD:
        return io.BytesIO(read(url, max_bytes))
    if size > max_bytes:
        raise too_long(url, max_bytes)
    return io.BufferedReader(_Parts(url, fs, path, size), READ_AHEAD)


class _Parts(io.RawIOBase):
    """Ranges of a file in a store; all of it where a server knows no ranges and sends the whole."""

    def __init__(self, url: Url, fs: AbstractFileSystem, path: str, size: int) -> None:
        self._url, self._fs, self._path, self._size = url, fs, path, size
        self._at = 0
        self._whole: bytes | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        data = self._part(end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _part(self, end: int) -> bytes:
        if self._whole is None:
            with _refusals(self._url, InputError):
                data: bytes = self._fs.cat_file(self._path, start=self._at, end=end)
            if len(data) <= end - self._at:
                return data
            if len(data) != self._size:
                raise InputError(f"{self._url}: the store sends other bytes than were asked for")
            self._whole = data
        return self._whole[self._at : end]


def check_writable(url: Url) -> None:
    """Fail early where nothing can be written.

    Raises:
        OutputError: the store is read only, its library is missing, or the bucket does not exist.
    """
    if url.scheme in _READ_ONLY:
        raise OutputError(f"{url}: {url.scheme}:// is for reading only; name another output")
    _check_bucket(Url(f"{url.scheme}://{urlsplit(url.text).netloc}"))


@lru_cache(maxsize=64)
def _check_bucket(bucket: Url) -> None:
    with _refusals(bucket, OutputError):
        _opened(bucket)
        if not _bucket_exists(bucket):
            raise FileNotFoundError


def write(url: Url, content: bytes, force: bool) -> None:
    """Write a file whole or not at all.

    Without `force` an existing file is left alone even if it appeared in the meantime, as far as
    the store has a way to say so.

    Raises:
        OutputExistsError: it exists and `force` is not set.
        OutputError: the store refuses.
    """
    check_writable(url)
    mode = "overwrite" if force else "create"
    try:
        with _refusals(url, OutputError):
            fs, path = _opened(url)
            if url.scheme in _OBJECT_STORES:
                fs.pipe_file(path, content, mode=mode)
            else:
                _write_and_rename(fs, path, content, force)
    except OutputError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise exists_already(url) from error
        raise


def exists_already(url: Url) -> OutputExistsError:
    """The error for a target that exists."""
    return OutputExistsError(f"{url}: exists already; overwrite it with force", field="force")


def _write_and_rename(fs: AbstractFileSystem, path: str, content: bytes, force: bool) -> None:
    folder = fs._parent(path)
    fs.makedirs(folder, exist_ok=True)
    partial = f"{folder}/.vqcodec.{os.urandom(8).hex()}"
    try:
        fs.pipe_file(partial, content)
        if not force and fs.exists(path):
            raise FileExistsError(path)
        fs.mv(partial, path)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(partial)
        raise


@lru_cache(maxsize=8)
def local_copy(url: Url) -> Path:
    """A copy of a file on this machine, for as long as this process runs.

    Raises:
        InputError: the store refuses.
    """
    with _refusals(url, InputError):
        if kind_of(url) is None:
            raise FileNotFoundError
        fs, path = _file_system(f"simplecache::{url}")
        with fs.open(path, "rb") as file:
            return Path(file.name)
