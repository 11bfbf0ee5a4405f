"""Stores that tests talk to, all on 127.0.0.1."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from scripts.cluster_check import BUCKET, S3, s3_server


@contextmanager
def s3_store() -> Iterator[str]:
    """A bucket of an S3 server, which this process and those that it starts know."""
    with (
        s3_server() as address,
        pytest.MonkeyPatch.context() as patch,
        s3_of(address, patch),
    ):
        import fsspec

        fsspec.filesystem("s3").mkdir(BUCKET)
        yield BUCKET


@contextmanager
def s3_of(address: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """`s3://` is at this address, for this process and those that it starts."""
    from s3fs import S3FileSystem

    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL_S3"]:
        patch.delenv(name, raising=False)
    for name, value in (S3 | {"AWS_ENDPOINT_URL": address}).items():
        patch.setenv(name, value)
    patch.setenv("AWS_CONFIG_FILE", os.devnull)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


@contextmanager
def web_server(status: int, body: bytes = b"", endless: bool = False) -> Iterator[str]:
    """A server that has one answer for everything; status 0 means none at all, and an endless one
    repeats the body."""
    held = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            if not status:
                held.wait()
                return
            self.send_response(status)
            if not endless:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            with suppress(OSError):  # once nobody reads any more
                while endless:
                    self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = answer  # noqa: N815 - names that http.server prescribes

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        held.set()
        server.shutdown()
        server.server_close()
        thread.join()
