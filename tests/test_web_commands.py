"""`vqcodec view` serves what it was given and nothing else; `vqcodec web` writes whole sites."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codec.cli import server as serving
from codec.cli.server import ViewerServer, serve
from codec.cli.site import model_files, models_of, read_picture
from codec.format.directory import Tile
from codec.format.header import Header
from codec.format.writing import write
from codec.level import Level
from codec.web.reader_weights import packed_models
from codec.weights.released import short_id_of
from tests.helpers import MODEL, TINY, Run, fails, heed_interrupts

BUILD = {
    "gallery.html": "<title>$title</title><p>$count</p>\n<ul>\n$items\n</ul>",
    "viewer.html": "<!doctype html>",
    "vqcodec.js": "export {}",
    "vqcodec.js.map": "{}",
    "models/other.zz": "not of these pictures",
    "types/api.d.ts": "export {}",
}


def file_of(model: bytes = short_id_of(TINY)) -> bytes:
    """A .vqc file as far as its checksums go."""
    return write(Header(40, 30, grey=False, level=Level(0), model_id=model), [Tile(b"", 0)])


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dist"
    for name, text in BUILD.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr("codec.cli.site.BUILT", folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.vqc"
    path.write_bytes(file_of())
    return path


@pytest.fixture
def server(picture: Path) -> Iterator[ViewerServer]:
    contents: dict[str, Path | bytes] = {
        "a.vqc": picture,
        "viewer.html": b"page",
        "gone": picture.with_name("gone"),
    }
    server = ViewerServer(contents)
    thread = threading.Thread(target=serve, args=(server,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def ask(
    server: ViewerServer, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Status, body and headers of an answer; the path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def test_chosen_files_are_served(server: ViewerServer, picture: Path) -> None:
    status, body, headers = ask(server, f"/{server.token}/a.vqc?list=x")
    assert (status, body) == (200, picture.read_bytes())
    assert headers["Content-Type"] == "image/x-vqc"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Referrer-Policy"] == "no-referrer"
    status, body, headers = ask(server, f"/{server.token}/viewer.html")
    assert (status, body) == (200, b"page")
    assert headers["Content-Type"].startswith("text/html")
    status, body, headers = ask(server, f"/{server.token}/a.vqc", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(picture.stat().st_size)
    host = f"localhost:{server.server_port}"
    assert ask(server, f"/{server.token}/a.vqc", host=host)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a.vqc",
        "/wrong/a.vqc",
        "/{token}",
        "/{token}/",
        "/{token}/gone",
        "/{token}/./a.vqc",
        "/{token}/../a.vqc",
        "/{token}/%2e%2e/%2e%2e/etc/passwd",
        "/{token}/..%2f..%2fetc/passwd",
        "/{token}//etc/passwd",
        "/{token}/\\..\\a.vqc",
        "/{token}/a.vqc%00",
        "/%ff/a.vqc",
        "http://[/{token}/a.vqc",
    ],
)
def test_nothing_else_is_served(
    server: ViewerServer, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status, body, _ = ask(server, path.format(token=server.token))
    assert (status, body) == (404, b"")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost:80"])
def test_foreign_names_of_the_host_are_refused(server: ViewerServer, host: str) -> None:
    for method, path in (("GET", "a.vqc"), ("POST", "stop")):
        assert ask(server, f"/{server.token}/{path}", method, host)[0] == 404
    assert ask(server, f"/{server.token}/a.vqc")[0] == 200


def test_only_who_knows_the_secret_stops_the_server(server: ViewerServer) -> None:
    for method, path in (("POST", "/stop"), ("POST", "/x/stop"), ("GET", f"/{server.token}/stop")):
        assert ask(server, path, method)[0] == 404
    assert ask(server, f"/{server.token}/a.vqc")[0] == 200
    assert ask(server, f"/{server.token}/stop", "POST")[0] == 204
    server.shutdown()  # waits for the loop to end
    with pytest.raises(OSError):  # noqa: PT011
        ask(server, f"/{server.token}/a.vqc")


def test_secrets_differ() -> None:
    tokens = set()
    for _ in range(2):
        with ViewerServer({}) as server:
            tokens.add(server.token)
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 20


def test_a_browser_that_hangs_up_is_no_news(
    server: ViewerServer, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        raise ConnectionResetError
    except OSError:
        server.handle_error(None, ("127.0.0.1", 1))
    assert capfd.readouterr() == ("", "")


def test_view_serves_the_viewer_and_the_pictures(
    built: Path, picture: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = picture.with_suffix(".png")
    original.write_bytes(b"picture")
    opened: list[str] = []
    contents: dict[str, Path | bytes] = {}

    def launch(url: str) -> bool:
        opened.append(url)
        return True

    def look(server: ViewerServer) -> None:
        contents.update(server.contents)
        server.server_close()

    monkeypatch.setattr("codec.cli.server.serve", look)
    monkeypatch.setattr("webbrowser.open", launch)
    status, out, err = run("view", picture, "--original", original, *MODEL)
    assert (status, err, opened) == (0, "", [out.strip()])
    assert re.fullmatch(
        r"http://127\.0\.0\.1:\d+/[\w-]{20,}/viewer\.html\?list=pictures\.json\n", out
    )
    listed = contents.pop("pictures.json")
    assert isinstance(listed, bytes)
    entry = {"src": "files/0.vqc", "name": "a.vqc", "original": "files/original.png"}
    assert json.loads(listed) == {"pictures": [entry], "stop": True}
    models = {f"models/{name}": data for name, data in packed_models([TINY], 0).items()}
    assert len(models) == 2
    assert contents == {
        **models,
        "gallery.html": built / "gallery.html",
        "viewer.html": built / "viewer.html",
        "vqcodec.js": built / "vqcodec.js",
        "files/0.vqc": picture.resolve(),
        "files/original.png": original.resolve(),
    }
    assert run("view", picture, "--no-open", *MODEL)[0] == 0
    assert len(opened) == 1
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    status, out, err = run("view", picture, *MODEL)
    assert (status, err.count("\n"), "open the address" in err) == (0, 1, True)


def test_view_takes_files_of_stores(
    built: Path, picture: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    contents: dict[str, Path | bytes] = {}

    def look(server: ViewerServer) -> None:
        contents.update(server.contents)
        server.server_close()

    monkeypatch.setattr("codec.cli.server.serve", look)
    archive = picture.with_name("a.zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(picture, "a.vqc")
    url = f"zip://a.vqc::{archive.as_uri()}"
    assert run("view", url, "--no-open", *MODEL)[0] == 0
    assert contents["files/0.vqc"] == picture.read_bytes()


def test_view_says_what_is_wrong(built: Path, picture: Path, run: Run) -> None:
    fails(run("view", picture.with_name("none.vqc")), 1, "no such file")
    broken = picture.with_name("broken.vqc")
    broken.write_bytes(picture.read_bytes()[:-1])
    fails(run("view", picture, broken), 4, "broken.vqc: damaged")
    broken.write_bytes(file_of(b"none"))
    fails(run("view", broken, *MODEL), 5, "broken.vqc: made with model 6e6f6e65, ", "--model")
    fails(
        run("view", picture, "--original", picture, *MODEL), 1, "not a picture that browsers show"
    )
    missing = picture.with_name("none.png")
    fails(run("view", picture, "--original", missing, *MODEL), 1, "none.png: no such file")
    assert run("view", picture, broken, "--original", "a.png")[0] == 2
    assert run("view", "-")[0] == 2


def test_a_port_that_is_taken(built: Path, picture: Path, run: Run) -> None:
    with ViewerServer({}) as other:
        fails(run("view", picture, "--no-open", "--port", other.server_port, *MODEL), 1, "--port")


def test_where_the_reader_was_not_built(
    picture: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.cli.site.BUILT", tmp_path / "none")
    fails(run("view", picture), 1, "not built", "make web")
    fails(run("web", tmp_path, "-o", tmp_path / "site"), 1, "not built", "make web")
    assert not (tmp_path / "site").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_view(built: Path, picture: Path, number: signal.Signals) -> None:
    code = (
        "import pathlib, sys\nfrom codec.cli import main, site\n"
        "site.BUILT = pathlib.Path(sys.argv.pop(1))\nmain(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, built, "view", picture, "--no-open", *MODEL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=heed_interrupts,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "My <pictures>"
    (folder / "sub").mkdir(parents=True)
    (folder / "a & b.vqc").write_bytes(file_of())
    (folder / "sub" / "c.VQC").write_bytes(file_of())
    (folder / "notes.txt").write_text("no picture")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_site_holds_pictures_viewer_and_the_models_they_need(
    built: Path, folder: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "site"
    status, stdout, err = run("web", folder, "-o", out, *MODEL)
    size = sum(map(len, tree(out).values()))
    assert (status, stdout, err) == (0, "", f"{out}/index.html  2 pictures  {size} B\n")
    files = tree(out)
    page = files.pop("index.html").decode()
    listed = json.loads(files.pop("pictures.json"))
    assert listed == {
        "pictures": [
            {"src": "pictures/a%20%26%20b.vqc", "name": "a & b.vqc"},
            {"src": "pictures/sub/c.VQC", "name": "sub/c.VQC"},
        ],
        "stop": False,
    }
    models = {f"reader/models/{name}": data for name, data in packed_models([TINY]).items()}
    assert files == {
        **models,
        "pictures/a & b.vqc": file_of(),
        "pictures/sub/c.VQC": file_of(),
        "reader/viewer.html": b"<!doctype html>",
        "reader/vqcodec.js": b"export {}",
    }
    assert "<title>My &lt;pictures&gt;</title><p>2 pictures</p>" in page
    assert page.count("<li>") == 2
    assert 'href="reader/viewer.html?list=../pictures.json#2"' in page
    assert '<vqc-img src="pictures/a%20%26%20b.vqc" alt="a &amp; b" width="40" height="30">' in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["My <pictures>", "dist", "site"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_names_that_become_one_are_refused(built: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for byte in (b"\xfe", b"\xff"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + byte + b".vqc")).write_bytes(file_of())
    told = "2 files would be published as \N{REPLACEMENT CHARACTER}.vqc; rename them"
    fails(run("web", folder, "-o", tmp_path / "site", *MODEL), 1, told)
    assert not (tmp_path / "site").exists()


def test_sites_are_made_on_this_machine(
    built: Path, folder: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "site"
    for places in ((folder, "s3://bucket/site"), ("s3://bucket/coded", out)):
        status, _, err = run("web", places[0], "-o", places[1], *MODEL)
        assert (status, "is a URL; name a folder on this machine" in err) == (2, True)
    assert run("web", folder, "-o", f"file://{out}", "-Q", *MODEL) == (0, "", "")
    assert (out / "index.html").is_file()


def test_sites_are_replaced_only_when_asked(
    built: Path, folder: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "site"
    out.mkdir()  # an empty folder is nobody's
    assert run("web", folder, "-o", out, "-Q", *MODEL) == (0, "", "")
    before = tree(out)
    (folder / "a & b.vqc").unlink()
    fails(run("web", folder, "-o", out, *MODEL), 3, "exists already; overwrite it with -f")
    assert tree(out) == before
    assert run("web", folder, "-o", out, "-f", "-Q", "--title", "New", *MODEL) == (0, "", "")
    assert [name for name in tree(out) if name.startswith("pictures/")] == ["pictures/sub/c.VQC"]
    assert "<title>New</title>" in (out / "index.html").read_text()
    (out / "mine.txt").write_text("mine")
    fails(run("web", folder, "-o", out, "-f", *MODEL), 1, "holds other files")
    assert (out / "mine.txt").read_text() == "mine"


def test_a_site_inside_of_its_folder_is_no_picture_of_it(
    built: Path, folder: Path, run: Run
) -> None:
    out = folder / "site"
    assert run("web", folder, "-o", out, "-Q", *MODEL)[0] == 0
    before = tree(out)
    assert run("web", folder, "-o", out, "-Q", "-f", *MODEL)[0] == 0
    assert tree(out) == before
    other = folder.parent / "other"
    assert run("web", folder, "-o", other, "-Q", *MODEL)[0] == 0
    assert tree(other).keys() == before.keys()
    assert run("web", out / "pictures", "-o", out, "-f")[0] == 2
    assert tree(out) == before


def test_what_is_hidden_is_not_published(built: Path, folder: Path, run: Run) -> None:
    picture = next(folder.rglob("*.vqc"))
    hidden = folder / ".trash"
    hidden.mkdir()
    shutil.copy(picture, hidden / "secret.vqc")
    shutil.copy(picture, folder / ".secret.vqc")
    out = folder.parent / "site"
    assert run("web", folder, "-o", out, "-Q", *MODEL)[0] == 0
    assert not [path for path in out.rglob("*") if "secret" in path.name]
    assert "secret" not in (out / "index.html").read_text()


def test_no_half_of_a_site_is_left(
    built: Path, folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    (folder / "z.vqc").write_bytes(b"no picture")
    fails(run("web", folder, "-o", out, *MODEL), 4, "z.vqc: not a vqcodec file")
    (folder / "z.vqc").write_bytes(file_of(b"none"))
    fails(run("web", folder, "-o", out, *MODEL), 5, "z.vqc: made with model 6e6f6e65, ")
    (folder / "z.vqc").unlink()
    fails(run("web", tmp_path / "none", "-o", out), 1, "no such folder")
    fails(run("web", folder / "notes.txt", "-o", out), 1, "is no folder")
    (tmp_path / "empty").mkdir()
    fails(run("web", tmp_path / "empty", "-o", out), 1, "holds no .vqc file")
    assert not out.exists()
    assert run("web", folder, "-o", out, "-Q", *MODEL)[0] == 0
    before = tree(out)
    real_rename = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return real_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    fails(run("web", folder, "-o", out, "-f", *MODEL), 1, "No space left")
    assert tree(out) == before
    assert not list(tmp_path.glob(".vqcodec*"))


def test_lossless_files_need_no_model(tmp_path: Path) -> None:
    from PIL import Image

    import codec

    path = tmp_path / "flat.vqc"
    path.write_bytes(codec.compress(Image.new("L", (20, 10)), lossless=True))
    assert models_of([read_picture(path, "flat.vqc")], None) == {}
    assert model_files([]) == {"models/INDEX.json": b"{}\n"}


@pytest.mark.slow
def test_large_pictures_get_thumbnails(built: Path, tmp_path: Path, run: Run) -> None:
    from PIL import Image

    import codec

    (tmp_path / "in").mkdir()
    image = Image.new("L", (1001, 1000), 90)
    image.info["exif"] = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
    (tmp_path / "in" / "large.vqc").write_bytes(codec.compress(image, lossless=True))
    out = tmp_path / "site"
    assert run("web", tmp_path / "in", "-o", out, "-Q") == (0, "", "")
    fails(run("web", tmp_path / "in", "-o", out), 3, "-f")  # a site with thumbnails is one too
    small = codec.decompress((out / "thumbnails" / "large.vqc").read_bytes())
    assert (small.size, "exif" in small.info) == ((900, 899), False)
    page = (out / "index.html").read_text()
    assert 'src="thumbnails/large.vqc" alt="large" width="1001" height="1000"' in page
    index = json.loads((out / "reader" / "models" / "INDEX.json").read_bytes())
    assert [entry["name"] for entry in index.values()] == ["photo"]


def test_types_do_not_depend_on_the_system() -> None:
    assert serving.TYPES[".js"].startswith("text/javascript")
    assert serving.TYPES[".wasm"] == "application/wasm"
