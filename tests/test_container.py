from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import (
    DamagedFileError,
    FileFormatError,
    InputError,
    LimitError,
    UnsupportedFileError,
)
from codec.format.container import ContainerFile
from codec.format.directory import MAX_CHUNK_BYTES, Tile
from codec.format.header import Header
from codec.format.writing import write
from codec.level import Level
from codec.limits import Limits
from codec.picture.metadata import KINDS, MAX_BYTES, Metadata
from codec.tiles import Grid

HEADER = Header(width=768, height=512, grey=False, level=Level(14336), model_id=b"\xde\xad\xbe\xef")
TILE = Tile(b"stream", 0x01020304)
PLAIN = write(HEADER, [TILE])
METADATA = Metadata(b"profile", b"", b"<x/>")
ALPHA = Header(600, 300, grey=True, level=Level(7), model_id=b"abcd", alpha=True)
FULL = write(ALPHA, [Tile(bytes([65 + n]) * n, n, b"alpha") for n in range(6)], 256, METADATA)
"""Three tiles by two, with alpha and metadata."""


def read(data: bytes) -> tuple[Header, list[Tile], int, Metadata]:
    """All of a file, verified."""
    file = ContainerFile(BytesIO(data))
    tiles = [file.read_tile(number) for number in range(len(file.grid))]
    return file.header, tiles, file.grid.side, file.read_metadata()


def sealed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def test_bytes_are_frozen() -> None:
    assert PLAIN.hex() == (
        "895651430d0a"
        "01"
        "00"
        "0003"
        "0002"
        "0038"
        "deadbeef"
        "73747265616d"
        "04030201" + struct.pack("<I", zlib.crc32(PLAIN[:-4])).hex()
    )


def test_rounding_has_a_flag() -> None:
    header = Header(16, 16, grey=False, level=Level.of_anchor(2), model_id=b"abcd", vq=True)
    data = write(header, [TILE])
    assert data[7] == 0x02
    assert read(data)[0] == header
    assert header.levels == 3
    assert HEADER.levels is None


def test_bytes_with_a_directory_are_frozen() -> None:
    def crc(content: bytes) -> str:
        return struct.pack("<I", zlib.crc32(content)).hex()

    directory = "895651430d0a010d58022c01070061626364"  # flags 1 + 4 + 8
    directory += "040002"  # tiles of 4 * 64 pixels, two chunks
    icc, xmp = zlib.compress(b"profile", 9), zlib.compress(b"<x/>", 9)
    directory += f"69636320{len(icc):02x}000000" + crc(icc)
    directory += f"786d7020{len(xmp):02x}000000" + crc(xmp)
    payload = icc + xmp
    for number in range(6):
        content = bytes([65 + number]) * number + b"alpha"
        payload += content
        directory += f"{number:02x}00000005000000{number:02x}000000" + crc(content)
    head = bytes.fromhex(directory)
    assert head + struct.pack("<I", zlib.crc32(head)) + payload == FULL


def test_container_takes_26_bytes() -> None:
    assert len(PLAIN) - len(TILE.stream) == 26


@st.composite
def files(draw: st.DrawFn) -> tuple[Header, list[Tile], int, Metadata]:
    side = draw(st.sampled_from([0, 256, 320, 1024]))
    size = st.integers(1, 3000)
    width, height = draw(size), draw(size)
    alpha = draw(st.booleans())
    side = side if side < max(width, height) else 0
    level, model = Level(draw(st.integers(0, 65535))), draw(st.binary(min_size=4, max_size=4))
    header = Header(width, height, draw(st.booleans()), level, model, alpha)
    count = len(Grid(height, width, side))
    content = st.binary(max_size=5)
    tiles = [
        Tile(draw(content), draw(st.integers(0, 2**32 - 1)), draw(content) if alpha else b"")
        for _ in range(count)
    ]
    metadata = Metadata(*(draw(content) for _ in KINDS))
    return header, tiles, side, metadata


@given(files())
@settings(max_examples=100, deadline=None)
def test_round_trip(parts: tuple[Header, list[Tile], int, Metadata]) -> None:
    header, tiles, side, metadata = parts
    assert read(write(header, tiles, side, metadata)) == parts


@pytest.mark.parametrize("data", [PLAIN, FULL])
def test_every_flipped_bit_is_found(data: bytes) -> None:
    for position in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(FileFormatError):
            read(bytes(flipped))


@pytest.mark.parametrize("data", [PLAIN, FULL])
def test_every_truncation_and_trailing_bytes_are_found(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(FileFormatError):
            read(data[:length])
    with pytest.raises(DamagedFileError):
        read(data + b"\0")


@given(st.binary(max_size=200))
def test_random_bytes_raise_format_errors(data: bytes) -> None:
    with pytest.raises(FileFormatError):
        read(data)
    for flags in (b"\1\0", b"\1\4", b"\1\14"):
        with pytest.raises(FileFormatError):
            read(b"\x89VQC\r\n" + flags + data)


def test_each_fault_has_its_error() -> None:
    body = PLAIN[:-4]
    with pytest.raises(FileFormatError, match="empty"):
        read(b"")
    with pytest.raises(FileFormatError, match="not a vqcodec file"):
        read(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(UnsupportedFileError, match="version 2"):
        read(sealed(body[:6] + b"\2" + body[7:]))
    with pytest.raises(UnsupportedFileError, match="0x80"):
        read(sealed(body[:7] + b"\x80" + body[8:]))
    with pytest.raises(DamagedFileError, match="0x512"):
        read(sealed(body[:8] + b"\0\0" + body[10:]))
    with pytest.raises(DamagedFileError, match="truncated"):
        read(PLAIN[:20])
    with pytest.raises(DamagedFileError, match="without a directory"):
        read(sealed(body[:7] + b"\x08" + body[8:]))


def directory_file(rest: bytes, header: Header = HEADER, payload: bytes = b"") -> bytes:
    """A file whose directory says what is given, with its checksum right."""
    head = bytearray(write(header, [TILE])[:18])
    head[7] |= 0x04
    return sealed(bytes(head) + rest) + payload


def test_forged_directories_are_found() -> None:
    tile = struct.pack("<III", 0, 0, 0)
    assert read(directory_file(struct.pack("<HB", 0, 0) + tile))[1] == [Tile(b"", 0)]
    for side in (1, 3, 12, 1023, 65535):  # too small, or no smaller than the picture
        with pytest.raises(DamagedFileError, match="tiles"):
            read(directory_file(struct.pack("<HB", side, 0) + tile * 6))
    with pytest.raises(DamagedFileError, match="parts"):
        read(
            directory_file(struct.pack("<HB", 0, 0) + struct.pack("<III", 5, 0, 0), payload=b"1234")
        )
    with pytest.raises(DamagedFileError, match="parts"):
        read(directory_file(struct.pack("<HB", 0, 0) + struct.pack("<III", 2**32 - 1, 0, 0)))
    exif = struct.pack("<4sII", b"exif", 0, 0)
    with pytest.raises(DamagedFileError, match="exif"):
        read(directory_file(struct.pack("<HB", 0, 2) + exif * 2 + tile))
    length = MAX_CHUNK_BYTES + 1
    long = struct.pack("<4sII", b"exif", length, 0)
    with pytest.raises(DamagedFileError, match="exif"):
        ContainerFile(
            BytesIO(directory_file(struct.pack("<HB", 0, 1) + long + tile, payload=bytes(length)))
        )


def with_chunk(stored: bytes) -> bytes:
    """A file whose EXIF chunk has these bytes, with all checksums right."""
    chunk = struct.pack("<4sII", b"exif", len(stored), zlib.crc32(stored))
    tile = struct.pack("<III", 0, 0, 0)
    return directory_file(struct.pack("<HB", 0, 1) + chunk + tile, payload=stored)


def test_metadata_is_deflated() -> None:
    padded = b"<x/>" + b" " * 40_000
    data = write(HEADER, [TILE], 0, Metadata(b"profile", b"II*\0", padded))
    assert len(data) < 300
    assert read(data)[3] == Metadata(b"profile", b"II*\0", padded)


@pytest.mark.slow
def test_metadata_of_noise_fits_up_to_the_limit() -> None:
    noise = random.Random(0).randbytes(MAX_BYTES)
    assert read(write(HEADER, [TILE], 0, Metadata(exif=noise)))[3].exif == noise


def test_metadata_that_is_no_zlib_stream_is_damage() -> None:
    stored = zlib.compress(b"II*\0", 9)
    assert read(with_chunk(stored))[3].exif == b"II*\0"
    dictionary = zlib.compressobj(zdict=b"II*\0")
    preset = dictionary.compress(b"II*\0") + dictionary.flush()
    bare = stored[2:-4]
    for wrong in (b"", b"II*\0", bare, stored + b"x", preset, stored[:-1] + b"x"):
        file = with_chunk(wrong)
        with pytest.raises(DamagedFileError, match="exif"):
            ContainerFile(BytesIO(file)).read_metadata()
        with pytest.raises(DamagedFileError, match="exif"):
            ContainerFile(BytesIO(file)).verify()
    for length in range(len(stored)):
        with pytest.raises(DamagedFileError, match="exif"):
            read(with_chunk(stored[:length]))


@pytest.mark.slow
@pytest.mark.parametrize("length", [MAX_BYTES + 1, 1 << 28])
def test_metadata_cannot_be_a_bomb(length: int) -> None:
    deflate = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    parts = [
        deflate.compress(zeros[: min(1 << 20, length - at)]) for at in range(0, length, 1 << 20)
    ]
    bomb = with_chunk(b"".join([*parts, deflate.flush()]))
    assert len(bomb) < 2 << 20
    file = ContainerFile(BytesIO(bomb), Limits())
    tracemalloc.start()
    with pytest.raises(DamagedFileError, match="impossible exif"):
        file.read_metadata()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * MAX_BYTES


def test_chunks_of_the_future() -> None:
    tile = struct.pack("<III", 0, 0, 0)
    skipped = struct.pack("<4sII", b"new ", 2, zlib.crc32(b"hi"))
    file = directory_file(struct.pack("<HB", 0, 1) + skipped + tile, payload=b"hi")
    assert read(file)[3] == Metadata()
    ContainerFile(BytesIO(file)).verify()
    twice = directory_file(struct.pack("<HB", 0, 2) + skipped * 2 + tile, payload=b"hihi")
    assert read(twice)[3] == Metadata()
    ContainerFile(BytesIO(twice)).verify()
    damaged = bytearray(twice)
    damaged[-1] ^= 1
    with pytest.raises(DamagedFileError):
        ContainerFile(BytesIO(damaged)).verify()
    needed = struct.pack("<4sII", b"NEW ", 2, zlib.crc32(b"hi"))
    with pytest.raises(UnsupportedFileError, match="NEW"):
        read(directory_file(struct.pack("<HB", 0, 1) + needed + tile, payload=b"hi"))


def test_a_part_is_read_without_the_others() -> None:
    file = ContainerFile(BytesIO(FULL))
    before = file.bytes_read
    assert file.read_tile(3) == Tile(b"DDD", 3, b"alpha")
    assert file.bytes_read - before == 8
    damaged = bytearray(FULL)
    damaged[-1] ^= 1
    file = ContainerFile(BytesIO(damaged))
    assert file.read_tile(3).stream == b"DDD"
    with pytest.raises(DamagedFileError):
        file.read_tile(5)
    with pytest.raises(DamagedFileError):
        file.verify()


def test_a_huge_header_costs_nothing() -> None:
    """Not even what its own directory would take."""
    huge = Header(65535, 65535, grey=False, level=Level(0), model_id=b"abcd")
    bomb = directory_file(struct.pack("<HB", 4, 255) + bytes(1000), huge)
    tracemalloc.start()
    with pytest.raises(DamagedFileError, match="truncated"):
        ContainerFile(BytesIO(bomb))
    with pytest.raises(LimitError, match="65535x65535"):
        ContainerFile(BytesIO(bomb), Limits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_long_metadata_is_refused() -> None:
    with pytest.raises(InputError, match="too long"):
        write(HEADER, [TILE], 0, Metadata(xmp=bytes(MAX_BYTES + 1)))


def test_pixel_limit() -> None:
    ContainerFile(BytesIO(PLAIN), Limits(max_pixels=768 * 512))
    with pytest.raises(LimitError, match="768x512"):
        ContainerFile(BytesIO(PLAIN), Limits(max_pixels=768 * 512 - 1))
