"""Pictures, files and models in stores: memory, S3, the web, archives."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import fsspec
import pytest

from codec import remote
from codec.errors import InputError, OutputError, OutputExistsError
from codec.files import MAX_BYTES, check_target, open_file, write_file
from codec.url import Url, place_of
from tests.helpers import DATA, MODEL, TINY, Run, fails
from tests.stores import s3_of, s3_store, web_server

CITY = (DATA / "city.png").read_bytes()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_store() as url:
        yield url


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """A folder in a store."""
    if request.param == "s3":
        base = request.getfixturevalue("s3")
        yield f"{base}/{abs(hash(request.node.name))}"
        return
    yield "memory://photos"
    fsspec.filesystem("memory").store.clear()


def put(url: str, content: bytes) -> Url:
    place = Url(url)
    remote.write(place, content, force=True)
    return place


def names(url: str) -> list[str]:
    return [str(place.relative_to(Url(url))) for place in remote.find(Url(url))]


def test_places() -> None:
    assert place_of("photos/a.png") == Path("photos/a.png")
    assert place_of("C:/photos/a.png") == Path("C:/photos/a.png")
    assert place_of("file:///photos/a%20b.png") == Path("/photos/a b.png")
    assert place_of("s3://bucket/a.png") == Url("s3://bucket/a.png")


@pytest.mark.parametrize(
    ("text", "name", "parent", "sibling"),
    [
        ("s3://b/p/a.tar.png", "a.tar.png", "s3://b/p", "s3://b/p/x.vqc"),
        ("s3://b/a.png", "a.png", "s3://b", "s3://b/x.vqc"),
        ("https://h/p/a.png?k=/1", "a.png", "https://h/p?k=/1", "https://h/p/x.vqc"),
        (
            "zip://p/a.png::s3://b/z.zip",
            "a.png",
            "zip://p::s3://b/z.zip",
            "zip://p/x.vqc::s3://b/z.zip",
        ),
        ("zip://a.png::z.zip", "a.png", "zip://::z.zip", "zip://x.vqc::z.zip"),
    ],
)
def test_names_of_urls(text: str, name: str, parent: str, sibling: str) -> None:
    url = Url(text)
    assert (url.name, url.suffix) == (name, ".png")
    assert str(url.parent) == parent
    assert str(url.with_name("x.vqc")) == sibling
    assert url.parent / name == url or "?" in text
    assert url.relative_to(url.parent) == PurePosixPath(name)


def test_compress_and_decompress(store: str, tmp_path: Path, run: Run) -> None:
    put(f"{store}/in/city.png", CITY)
    status, _, err = run("compress", f"{store}/in/city.png", f"{store}/out/city.vqc", *MODEL)
    assert (status, err.count("\n")) == (0, 1), err
    assert run("compress", DATA / "city.png", tmp_path / "city.vqc", *MODEL)[0] == 0
    coded = remote.read(Url(f"{store}/out/city.vqc"), MAX_BYTES)
    assert coded == (tmp_path / "city.vqc").read_bytes()
    for target in (f"{store}/back.png", str(tmp_path / "back.png")):
        assert run("decompress", f"{store}/out/city.vqc", target, *MODEL)[0] == 0
    assert remote.read(Url(f"{store}/back.png"), MAX_BYTES) == (tmp_path / "back.png").read_bytes()
    status, out, _ = run("info", "--json", f"{store}/out/city.vqc")
    assert (status, json.loads(out)["bytes"]) == (0, len(coded))


def test_folders_keep_their_sub_tree(store: str, run: Run) -> None:
    for name in ("a.png", "sub/a.png"):
        put(f"{store}/in/{name}", CITY)
    put(f"{store}/in/broken.png", b"no picture")
    put(f"{store}/in/notes.txt", b"")
    command = ("compress", "-r", f"{store}/in", "-d", f"{store}/out", *MODEL)
    status, _, err = run(*command)
    assert status == 1
    assert "2 done, 0 skipped, 1 failed" in err
    assert "1 other file left out, by suffix: 1 .txt" in err
    assert f"{store}/in/broken.png: not a picture" in err
    assert names(f"{store}/out") == ["a.vqc", "sub/a.vqc"]
    assert f"{store}/out/a.vqc: exists already" in run(*command)[2]
    assert "0 done, 2 skipped, 1 failed" in run(*command, "--skip-existing")[2]
    assert run("decompress", "-r", f"{store}/out", "-d", f"{store}/back", *MODEL)[0] == 0
    assert names(f"{store}/back") == ["a.png", "sub/a.png"]


def test_existing_files_are_kept_without_force(store: str, run: Run) -> None:
    source, target = put(f"{store}/a.png", CITY), put(f"{store}/a.vqc", b"mine")
    fails(run("compress", source, *MODEL), 3, f"{target}: exists already; overwrite it with -f")
    with pytest.raises(OutputExistsError):  # where it appears after it was looked for
        remote.write(target, b"new", force=False)
    assert remote.read(target, MAX_BYTES) == b"mine"
    assert run("compress", "-f", source, *MODEL)[0] == 0
    assert remote.read(target, MAX_BYTES) != b"mine"


def test_an_upload_that_fails_leaves_the_old_file(store: str) -> None:
    target = put(f"{store}/a.vqc", b"mine")

    def halfway(file: object) -> None:
        assert hasattr(file, "write")
        file.write(b"new")
        raise OutputError("refused")

    with pytest.raises(OutputError, match="refused"):
        write_file(target, halfway, force=True)
    assert remote.read(target, MAX_BYTES) == b"mine"
    assert names(store) == ["a.vqc"]


def test_a_store_without_uploads_gets_another_name_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec's disks, which are written to in place."""
    url = Url(f"local://{tmp_path}/new/a.vqc")
    remote.write(url, b"one", force=False)
    with pytest.raises(OutputExistsError):
        remote.write(url, b"two", force=False)
    from fsspec.implementations.local import LocalFileSystem

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "mv", full)
    with pytest.raises(OutputError, match=r"a\.vqc: the store refused \(.*No space left"):
        remote.write(url, b"two", force=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.vqc"]
    assert (tmp_path / "new" / "a.vqc").read_bytes() == b"one"


def test_regions_fetch_parts(s3: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "READ_AHEAD", 256)
    options = ("--tile-size", 256, "-q", 90, *MODEL)
    assert run("compress", DATA / "flowers.png", f"{s3}/tiles.vqc", *options)[0] == 0
    fetched = []
    readinto = remote._Parts.readinto

    def counted(self: remote._Parts, buffer: memoryview) -> int:
        fetched.append(readinto(self, buffer))
        return fetched[-1]

    monkeypatch.setattr(remote._Parts, "readinto", counted)
    size = len(remote.read(Url(f"{s3}/tiles.vqc"), MAX_BYTES))
    region = ("--region", "370,270,10,10")
    assert run("decompress", f"{s3}/tiles.vqc", "memory://part.png", *region, *MODEL)[0] == 0
    assert 0 < sum(fetched) < size / 2


def test_a_server_that_knows_no_ranges_sends_the_whole_file_once(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "READ_AHEAD", 256)
    coded, out = tmp_path / "tiles.vqc", tmp_path / "part.png"
    options = ("--tile-size", 256, "-q", 90, *MODEL)
    assert run("compress", DATA / "flowers.png", coded, *options)[0] == 0
    region = ("--region", "370,270,10,10")
    with web_server(200, coded.read_bytes()) as web:
        file = remote.open_parts(Url(f"{web}/tiles.vqc"), MAX_BYTES)
        file.seek(1000)
        assert file.read(700) == coded.read_bytes()[1000:1700]
        assert run("decompress", f"{web}/tiles.vqc", out, *region, *MODEL)[0] == 0
    assert run("decompress", coded, tmp_path / "here.png", *region, *MODEL)[0] == 0
    assert out.read_bytes() == (tmp_path / "here.png").read_bytes()


def test_archives_and_the_web_are_read(tmp_path: Path, run: Run) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("in/city.png", CITY)
    out = tmp_path / "out"
    command = ("compress", "-r", f"zip://::{archive}", "-d", out, *MODEL)
    assert run(*command)[0] == 0
    assert (out / "in" / "city.vqc").is_file()
    with web_server(200, CITY) as web:
        assert run("compress", f"{web}/city.png?size=1", out / "web.vqc", *MODEL)[0] == 0
        assert (out / "web.vqc").read_bytes() == (out / "in" / "city.vqc").read_bytes()
        result = run("compress", f"{web}/city.png", *MODEL)
    fails(result, 1, "http:// is for reading only; name another output")
    fails(run("compress", DATA / "city.png", f"zip://a.vqc::{archive}"), 1, "for reading only")


def test_models_may_be_urls(store: str, run: Run) -> None:
    model = put(f"{store}/tiny.safetensors", TINY.read_bytes())
    assert run("compress", DATA / "city.png", f"{store}/a.vqc", "--model", model)[0] == 0
    assert run("compress", DATA / "city.png", f"{store}/b.vqc", *MODEL)[0] == 0
    one, other = (remote.read(Url(f"{store}/{name}.vqc"), MAX_BYTES) for name in "ab")
    assert one == other
    missing = run("compress", DATA / "city.png", "-f", f"{store}/c.vqc", "--model", f"{model}x")
    fails(missing, 5, "tiny.safetensorsx: no such file")


def test_urls_that_lead_nowhere(store: str, run: Run) -> None:
    fails(run("compress", f"{store}/none.png"), 1, f"{store}/none.png: no such file")
    fails(run("decompress", f"{store}/none.vqc", "a.png"), 1, f"{store}/none.vqc: no such file")
    fails(run("info", f"{store}/none.vqc"), 1, f"{store}/none.vqc: no such file")
    put(f"{store}/empty.png", b"")
    fails(run("compress", f"{store}/empty.png"), 1, f"{store}/empty.png: ", "empty")
    put(f"{store}/a.png", CITY)
    fails(run("compress", store), 1, "is a folder")
    status, _, err = run("compress", "--preserve", f"{store}/a.png")
    assert (status, "--preserve is for files on disks" in err) == (2, True)
    with pytest.raises(InputError, match="longer than 100 bytes"):
        open_file(Url(f"{store}/a.png"), 100)


def test_buckets_that_do_not_exist(s3: str, run: Run) -> None:
    there = "s3://nowhere"
    fails(run("compress", f"{there}/a.png"), 1, "the bucket does not exist")
    fails(run("compress", DATA / "city.png", f"{there}/a.vqc"), 1, f"{there}: the bucket does not")
    assert run("compress", "-r", there, "-d", s3)[0] == 1
    put(f"{s3}/a/city.png", CITY)
    result = run("compress", "-r", f"{s3}/a", "-d", f"{there}/out")
    fails(result, 1, f"{there}: the bucket does not exist")


def test_a_web_server_that_never_ends(tmp_path: Path, run: Run) -> None:
    with web_server(200, bytes(1 << 20), endless=True) as web:
        result = run("compress", f"{web}/a.png", tmp_path / "a.vqc", "--max-memory", "9Mi", *MODEL)
    fails(result, 1, "a.png: longer than 9437184 bytes; allow more with --max-memory")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://h/in/a%20b.png", "a b.png"),
        ("https://h/in/%E5%9F%8E.png", "\u57ce.png"),
        ("https://h/in/100%25.png?a%20b", "100%.png"),
        ("https://h/in/a%2Fb.png", "a%2Fb.png"),
        ("https://h/in/..%5Ca.png", "..%5Ca.png"),
        ("https://h/in/%2E%2E", "%2E%2E"),
        ("https://h/in/%ff.png", "%ff.png"),
        ("s3://b/in/a%20b.png", "a%20b.png"),
    ],
)
def test_names_of_the_web_are_decoded(text: str, name: str) -> None:
    url = Url(text)
    assert (url.name, url.relative_to(url.parent)) == (name, PurePosixPath(name))
    assert url.with_name(url.name).name == name


def test_names_of_pictures_of_the_web(tmp_path: Path, run: Run) -> None:
    with web_server(200, CITY) as web:
        assert run("compress", f"{web}/old%20city.png", "-d", tmp_path, *MODEL)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["old city.vqc"]


def test_a_web_server_that_is_silent(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.2)
    with web_server(0) as web:
        result = run("compress", f"{web}/a.png", tmp_path / "a.vqc", *MODEL)
        fails(result, 1, f"{web}/a.png: the store did not answer in time")
        chained = f"zip://a.png::{web}/a.zip"
        result = run("compress", chained, tmp_path / "a.vqc", *MODEL)
        fails(result, 1, f"{chained}: the store did not answer in time")
        for picture in (f"{web}/a.png", chained):
            for read in (remote.kind_of, remote.local_copy, lambda url: remote.open_parts(url, 9)):
                with pytest.raises(InputError, match="did not answer in time"):
                    read(Url(picture))
    with web_server(403) as web, pytest.raises(InputError, match="the store forbids it"):
        remote.open_parts(Url(f"{web}/a.vqc"), 9)


DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def test_refusals_of_a_store(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    options = {"config_kwargs": {"read_timeout": 0.1, "connect_timeout": 0.1}}
    options["config_kwargs"]["retries"] = {"max_attempts": 1}  # type: ignore[assignment]
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    picture = "s3://elsewhere/a.png"
    with web_server(403, DENIED) as web, s3_of(web, monkeypatch):
        fails(run("compress", picture), 1, f"{picture}: the store forbids it")
        result = run("compress", DATA / "city.png", "s3://elsewhere/a.vqc", "-f", *MODEL)
        fails(result, 1, "s3://elsewhere/a.vqc: the store forbids it")
        fails(run("compress", f"{web}/a.png", "a.vqc"), 1, f"{web}/a.png: the store forbids it")
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    with web_server(0) as web, s3_of(web, monkeypatch):
        fails(run("compress", picture), 1, f"{picture}: the store did not answer in time")
    with s3_of(web, monkeypatch):
        fails(run("compress", picture), 1, f"{picture}: the store cannot be reached")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        fails(run("compress", picture), 1, f"{picture}: no credentials for this store")
        fails(run("compress", DATA / "city.png", "s3://elsewhere/a.vqc"), 1, "no credentials")


def test_kinds_of_stores(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(run("compress", "gs://b/a.png"), 1, "gs://b/a.png: ", "pip install gcsfs")
    fails(run("compress", "nowhere://b/a.png"), 1, "no store of the kind nowhere:// is known")
    monkeypatch.setitem(sys.modules, "fsspec", None)  # as if it were not installed
    fails(run("compress", "memory://a.png"), 1, "memory://a.png: ", "'vqcodec[remote]'")
    with pytest.raises(OutputError, match="remote"):
        check_target(Url("memory://a.vqc"), force=True)


def test_paths_do_without_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom codec.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    assert not {'fsspec', 's3fs', 'ray'} & set(sys.modules)\n"
    )
    arguments = ["compress", str(DATA / "city.png"), str(tmp_path / "a.vqc"), *MODEL]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, text=True)
    assert done.returncode == 0


def test_evaluate_reads_pictures_of_stores(store: str, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    put(f"{store}/in/sub/city.png", CITY)
    options = ("--against", "none", "-q", 50, "--metrics", "psnr", "--cache", tmp_path, "--json")
    status, out, _ = run("evaluate", f"{store}/in", *options, *MODEL)
    assert (status, [m["picture"] for m in json.loads(out)["measurements"]]) == (0, ["sub/city"])
    assert run("evaluate", f"{store}/none.png", *options, *MODEL)[0] == 1
