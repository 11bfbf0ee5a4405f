from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.bitstream.container import OVERHEAD, Container, Header, read, read_header, write
from codec.errors import (
    CodecError,
    DamagedFileError,
    FileFormatError,
    InputError,
    UnsupportedFileError,
)

HEADER = Header(width=768, height=512, grey=False, level=14336, model_id=b"\xde\xad\xbe\xef")
FILE = Container(HEADER, b"stream", 0x01020304)


def sealed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def test_bytes_are_frozen() -> None:
    assert write(FILE).hex() == (
        "895651430d0a"
        "01"
        "00"
        "0003"
        "0002"
        "0038"
        "deadbeef"
        "73747265616d"
        "04030201" + struct.pack("<I", zlib.crc32(write(FILE)[:-4])).hex()
    )


def test_container_takes_at_most_32_bytes() -> None:
    assert len(write(FILE)) - len(FILE.stream) == OVERHEAD <= 32


@given(
    width=st.integers(1, 65535),
    height=st.integers(1, 65535),
    grey=st.booleans(),
    level=st.integers(0, 65535),
    model_id=st.binary(min_size=4, max_size=4),
    stream=st.binary(max_size=50),
    checksum=st.integers(0, 2**32 - 1),
)
def test_round_trip(
    width: int, height: int, grey: bool, level: int, model_id: bytes, stream: bytes, checksum: int
) -> None:
    container = Container(Header(width, height, grey, level, model_id), stream, checksum)
    assert read(write(container)) == container


def test_every_flipped_bit_is_found() -> None:
    data = write(FILE)
    for position in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(FileFormatError):
            read(bytes(flipped))


def test_every_truncation_and_trailing_bytes_are_found() -> None:
    data = write(FILE)
    for length in range(len(data)):
        with pytest.raises(FileFormatError):
            read(data[:length])
    with pytest.raises(DamagedFileError):
        read(data + b"\0")


@given(st.binary(max_size=200))
def test_random_bytes_raise_format_errors(data: bytes) -> None:
    with pytest.raises(FileFormatError):
        read(data)
    with pytest.raises(FileFormatError):
        read(data[:0] + b"\x89VQC\r\n" + data)


def test_each_fault_has_its_error() -> None:
    body = write(FILE)[:-4]
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
        read(write(FILE)[:20])


def test_pixel_limit() -> None:
    header = read_header(write(FILE))
    header.check_pixels(768 * 512)
    with pytest.raises(InputError, match="768x512"):
        header.check_pixels(768 * 512 - 1)


def test_errors_share_a_base() -> None:
    with pytest.raises(CodecError):
        read(b"nothing")
