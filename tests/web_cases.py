"""Files for the reader in a web page, with what the reader in Python makes of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from PIL import Image

from codec.codec import Codec
from codec.decoder import decode
from codec.errors import CodecError
from codec.format.container import ContainerFile
from codec.format.header import parse_header
from codec.limits import Limits
from codec.weights.released import find_by_id, short_id_of
from tests.helpers import TINY, TINY_VQ

Region = tuple[int, int, int, int]
Results = list[dict[str, Any]]
"""What `check.js` says of each case."""

WEB = Path(__file__).parents[1] / "codec" / "web"


@cache
def _codec(path: Path) -> Codec:
    return Codec(path)


def codec_of(data: bytes) -> Codec:
    """The codec of the model that a file names.

    Raises:
        CodecError: there is none, or the file has no header.
    """
    short_id = parse_header(data)[0].model_id
    test_models = {short_id_of(path): path for path in (TINY, TINY_VQ)}
    return _codec(test_models.get(short_id) or find_by_id(short_id))


def decoded(data: bytes, region: Region | None = None) -> Image.Image:
    """What a file shows."""
    file = ContainerFile(BytesIO(data), Limits())
    codec = _codec(TINY) if file.lossless else codec_of(data)
    return codec.decompress(data, region=region)


def error_of(data: bytes) -> str:
    """Name of the error that a file is; empty for none."""
    try:
        decoded(data)
    except CodecError as error:
        return type(error).__name__
    return ""


def symbols_of(data: bytes, region: Region | None = None) -> list[int]:
    """Checksums of the symbols of the tiles that are read for a region."""
    file = ContainerFile(BytesIO(data))
    if file.lossless:
        return []
    decode(file, codec_of(data).model, Limits(), threads=1, region=region)
    return [file.read_tile(number).symbol_checksum for number in sorted(file.tiles_read)]


@dataclass
class Cases:
    """A folder of cases, see `codec/web/test/check.js`.

    Args:
        folder: to write into.
    """

    folder: Path
    cases: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, data: bytes, region: Region | None = None) -> None:
        """A file, with the picture that it shows."""
        image = decoded(data, region)
        rgba = np.asarray(image.convert("RGBA"))
        self._add(
            name,
            data,
            width=image.width,
            height=image.height,
            rgba=self._store(f"{name}.rgba", rgba.tobytes()),
            symbols=symbols_of(data, region),
            **({} if region is None else {"region": region}),
        )

    def add_error(self, name: str, data: bytes) -> None:
        """A file, with the error that it is."""
        self._add(name, data, error=error_of(data))

    def add_damage(self, name: str, data: bytes) -> None:
        """A file of which each bit is flipped, and which is cut at each byte."""
        flips = (flipped(data, bit) for bit in range(8 * len(data)))
        cuts = (data[:length] for length in range(len(data)))
        self._add(name, data, bits=list(map(error_of, flips)), cuts=list(map(error_of, cuts)))

    def add_any(self, name: str, data: bytes) -> None:
        """A file, with what it shows or the error that it is."""
        (self.add_error if error_of(data) else self.add)(name, data)

    def add_many(self, name: str, files: list[bytes]) -> None:
        """Files of which only the error counts, or that there is none."""
        lengths, errors = list(map(len, files)), list(map(error_of, files))
        self._add(name, b"".join(files), lengths=lengths, errors=errors)

    def write(self) -> None:
        """Write the list."""
        (self.folder / "cases.json").write_text(json.dumps(self.cases))

    def _add(self, name: str, data: bytes, **what: object) -> None:
        self.cases.append({"name": name, "file": self._store(f"{name}.vqc", data), **what})

    def _store(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name


def flipped(data: bytes, bit: int) -> bytes:
    """The data with a bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def run(*command: str | Path) -> str:
    """Output of a command in the reader's folder."""
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_node(folder: Path, *kernels: str) -> Results:
    """Check the cases of a folder that has the built reader, its `test` and `cases`.

    Args:
        folder: that has them.
        kernels: "script" for those in JavaScript.
    """
    program = folder / "test" / "node.js"
    results: Results = json.loads(run("node", program, folder / "cases", *kernels))
    return results


def in_browser(folder: Path, program: str) -> Results:
    """The same in a browser; files come from a plain server."""
    handler = partial(_Quiet, directory=folder)
    browser = "firefox" if "firefox" in program else "chromium"
    path = shutil.which(program)
    assert path
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        results: Results = json.loads(run("node", "test/browser.js", browser, path, address))
        server.shutdown()
    return results


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *message: object) -> None:
        pass
