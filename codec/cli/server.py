"""A web server for the viewer on this machine: chosen files, and nothing else."""

from __future__ import annotations

import hmac
import secrets
import shutil
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from codec.cli import interruption
from codec.cli.site import Content
from codec.errors import OutputError

HOST = "127.0.0.1"
STOP = "stop"
TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".vqc": "image/x-vqc",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
}
"""Media types by suffix; the system's own table may say that .js is plain text."""
HEADERS = {
    "Cache-Control": "no-store",
    # Threads in WebAssembly need a page that is isolated from others.
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # addresses have the secret
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
PATIENCE = 30
"""Seconds that a connection may be silent."""


class ViewerServer(ThreadingHTTPServer):
    """A server of a table of addresses; there is no other way from an address to a file.

    Every address begins with a secret, which other pages and users do not know. Requests that
    name another host are refused, so that no foreign name can be made to lead here.

    Args:
        contents: files, or bytes, by their relative address.
        port: port on 127.0.0.1; 0 for any that is free.

    Raises:
        OutputError: the port cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, contents: Mapping[str, Content], port: int = 0) -> None:
        self.contents = contents
        self.token = secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise OutputError(
                f"port {port} of {HOST} cannot be used ({error.strerror}); choose another --port"
            ) from error

    def address(self, name: str) -> str:
        """Address of a page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/{name}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about browsers that hang up; other errors are faults of this program."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "vqcodec", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        self._send(self._found())

    def do_HEAD(self) -> None:
        self._send(self._found())

    def do_POST(self) -> None:
        self.close_connection = True  # what the request holds is not read
        if self._name() == STOP:
            self._send(b"", HTTPStatus.NO_CONTENT)
            self.server.shutdown()
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Tell nothing: the terminal belongs to the user."""

    def _name(self) -> str | None:
        """Relative address of a request that may be answered."""
        port = self.server.server_port
        if self.headers.get_all("Host") not in ([f"{HOST}:{port}"], [f"localhost:{port}"]):
            return None
        try:
            path = unquote(urlsplit(self.path).path)
        except ValueError:  # no address at all
            return None
        token, _, name = path.removeprefix("/").partition("/")
        same = hmac.compare_digest(token.encode(), self.server.token.encode())
        return name if same else None

    def _found(self) -> Content | None:
        name = self._name()
        return None if name is None else self.server.contents.get(name)

    def _send(self, content: Content | None, status: HTTPStatus = HTTPStatus.OK) -> None:
        if content is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            opened: BinaryIO = (
                BytesIO(content) if isinstance(content, bytes) else content.open("rb")
            )
        except OSError:  # removed since
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with opened as file:
            length = file.seek(0, 2)
            file.seek(0)
            self.send_response(status)
            if status != HTTPStatus.NO_CONTENT:
                suffix = Path(urlsplit(self.path).path).suffix.lower()
                self.send_header("Content-Type", TYPES.get(suffix, "application/octet-stream"))
                self.send_header("Content-Length", str(length))
            self._end()
            if self.command == "GET":
                shutil.copyfileobj(file, self.wfile)

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self._end()

    def _end(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()


def serve(server: ViewerServer) -> None:
    """Serve until the page, or an exception of a signal, says that it is enough."""
    with server:
        interruption.check()
        server.serve_forever(poll_interval=0.1)
