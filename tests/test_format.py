"""A reader written from codec/FORMAT.md alone, in integers, against what the codec decodes.

It imports nothing of the codec but the encoder that makes the files; names are those of the page.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open

from codec.codec import Codec
from codec.weights.released import find_weights
from tests.helpers import DATA, TINY, flowers

Ints = NDArray[np.int64]
LOWEST, HIGHEST, WRAP = -(2**21), 2**21 - 1, 2**64 - 1


class Weights:
    """Tensors and configuration of a model."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "numpy") as file:
            self.config: dict[str, Any] = json.loads(file.metadata()["config"])
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def __getitem__(self, name: str) -> Ints:
        return np.asarray(self.tensors[name], np.int64)

    def row(self, name: str, level: int) -> Ints:
        table, r, f = self[name], level >> 12, level & 4095
        return table[r] if f == 0 else (table[r] * (4096 - f) + table[r + 1] * f + 2048) >> 12

    def rows(self, name: str, levels: Ints) -> Ints:
        """Rows at the levels of positions [h, w], [n, h, w]."""
        return np.stack([[self.row(name, level) for level in row] for row in levels]).transpose(
            2, 0, 1
        )

    def table(self, kind: str, number: int) -> tuple[int, Ints]:
        """(least symbol, frequencies)."""
        start = int(self[f"tables.{kind}.size"][:number].sum())
        size = int(self[f"tables.{kind}.size"][number])
        frequencies = self[f"tables.{kind}.frequencies"][start : start + size]
        return int(self[f"tables.{kind}.low"][number]), frequencies


class RangeDecoder:
    """Three numbers of 64 bits."""

    def __init__(self, stream: bytes) -> None:
        assert not stream.endswith(b"\0")
        padded = stream + bytes(-len(stream) % 4)
        self.words = [word for (word,) in struct.iter_unpack("<I", padded)]
        self.read = 0
        self.lower, self.range = 0, WRAP
        self.point = self.next() << 32 | self.next()

    def next(self) -> int:
        self.read += 1
        return self.words[self.read - 1] if self.read <= len(self.words) else 0

    def decode(self, frequencies: Ints) -> int:
        scale = self.range >> 24
        q = (self.point - self.lower & WRAP) // scale
        assert q < 2**24
        ends = np.cumsum(frequencies)
        k = int(np.searchsorted(ends, q, side="right"))
        self.lower = self.lower + scale * int(ends[k] - frequencies[k]) & WRAP
        self.range = scale * int(frequencies[k])
        if self.range < 2**32:
            self.lower, self.range = self.lower << 32 & WRAP, self.range << 32
            self.point = (self.point << 32 & WRAP) + self.next()
        return k

    def exhausted(self) -> bool:
        return self.read >= len(self.words) and self.point - self.lower & WRAP < 2**33 - 1


def pointwise(x: Ints, weight: Ints, bias: Ints, low: int = LOWEST) -> Ints:
    bias = bias if bias.ndim > 1 else bias[:, None, None]
    total = np.tensordot(weight, x, 1) + 1024 * bias + 2**15
    return np.clip(total >> 16, low, HIGHEST)


def depthwise(x: Ints, weight: Ints, bias: Ints) -> Ints:
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    total = np.zeros_like(x) + (1024 * bias + 2**15)[:, None, None]
    for i in range(3):
        for j in range(3):
            total += weight[:, i, j, None, None] * padded[:, i : i + height, j : j + width]
    return np.clip(total >> 16, 0, HIGHEST)


def shuffle(x: Ints) -> Ints:
    channels, height, width = x.shape
    out = np.empty((channels // 4, 2 * height, 2 * width), np.int64)
    for a in range(2):
        for b in range(2):
            out[:, a::2, b::2] = x[2 * a + b :: 4]
    return out


def block(x: Ints, weights: Weights, name: str) -> Ints:
    def parameters(part: str) -> tuple[Ints, Ints]:
        name_of_part = f"prior.{name}.{part}"
        return weights[f"{name_of_part}.weight"], weights[f"{name_of_part}.bias"]

    h = pointwise(x, *parameters("w1"), low=0)
    h = pointwise(depthwise(h, *parameters("dw")), *parameters("w2"))
    return np.clip(x + h, LOWEST, HIGHEST)


def positions(height: int, width: int, number: int) -> list[tuple[int, int]]:
    """Positions of a class of four, row by row."""
    everywhere = [(r, c) for r in range(height) for c in range(width)]
    return [(r, c) for r, c in everywhere if 2 * ((r + c) % 2) + r % 2 == number]


def group(decoder: RangeDecoder, weights: Weights, kind: str, numbers: list[int]) -> list[int]:
    """Symbols of a group whose tables are known, in the order of its array."""
    symbols = [0] * len(numbers)
    for number in sorted(set(numbers)):
        low, frequencies = weights.table(kind, number)
        for at, own in enumerate(numbers):
            if own == number:
                symbols[at] = low + decoder.decode(frequencies)
    return symbols


def read_map(data: bytes, height: int, width: int) -> Ints:
    """Offsets of the cells of a picture."""
    u = [2**22]
    for _ in range(255):
        u.append(u[-1] * data[0] >> 8)
    whole = u[0] + 2 * sum(u[1:])
    table = [1 + u[abs(v)] * (2**24 - 511) // whole for v in range(-255, 256)]
    table[255] += 2**24 - sum(table)
    decoder, frequencies = RangeDecoder(data[1:]), np.array(table)
    o = np.zeros((-(-height // 32), -(-width // 32)), np.int64)
    for r, c in np.ndindex(*o.shape):
        a, b = o[r, c - 1] if c else 0, o[r - 1, c] if r else 0
        corner = o[r - 1, c - 1] if r and c else 0
        p = min(max(a + b - corner, min(a, b)), max(a, b)) if r and c else b if r else a
        o[r, c] = p + decoder.decode(frequencies) - 255
    assert decoder.exhausted()
    return o


def levels_of(header: int, offsets: Ints | None, rows: int, columns: int, top: int) -> Ints:
    """Levels of the latent positions of a picture."""
    levels = np.full((rows, columns), header)
    if offsets is not None:
        for i, j in np.ndindex(rows, columns):
            near, next_ = (i // 2, j // 2), []
            for at, cell, count in zip((i, j), near, offsets.shape, strict=True):
                next_.append(min(max(cell + (1 if at % 2 else -1), 0), count - 1))
            (r, c), (s, d) = near, next_
            total = 9 * offsets[r, c] + 3 * offsets[s, c] + 3 * offsets[r, d] + offsets[s, d]
            levels[i, j] = min(max(header + 32 * total, 0), top)
    return levels


def decode_z(decoder: RangeDecoder, weights: Weights, levels: Ints) -> Ints:
    contexts, (height, width) = weights["tables.z_context"], levels.shape
    z = np.zeros((weights.config["hyper"], height, width), np.int64)
    for diagonal in range(height + width - 1):
        places = [(r, diagonal - r) for r in range(height) if 0 <= diagonal - r < width]
        cells = [(n, r, c) for n in range(len(z)) for r, c in places]
        numbers = []
        for n, r, c in cells:
            left = z[n, r, c - 1] if c else z[n, r - 1, c] if r else 0
            up = z[n, r - 1, c] if r else left
            left, up = np.clip([left, up], -2, 2)
            anchor = (levels[r, c] + 2048) // 4096
            numbers.append(int(contexts[anchor, 5 * (left + 2) + up + 2, n]))
        for cell, symbol in zip(cells, group(decoder, weights, "z", numbers), strict=True):
            z[cell] = symbol
    return z


PASSES = [
    ("", [], "first_head"),
    ("first_split.context", ["first_split.block"], "first_split.head"),
    ("context", ["context_block1", "context_block2"], "second_head"),
    ("second_split.context", ["second_split.block"], "second_split.head"),
]


def read_integers(decoder: RangeDecoder, weights: Weights, levels: Ints) -> list[int]:
    """All symbols of a tile in the order of the checksum, from the levels of its positions."""
    height, width = levels.shape
    hyper_rows, hyper_columns = (
        [min(4 * i + 2, side - 1) for i in range(-(-side // 4))] for side in levels.shape
    )
    hyper_levels = levels[np.ix_(hyper_rows, hyper_columns)]
    z = decode_z(decoder, weights, hyper_levels)
    symbols = [int(symbol) for symbol in z.reshape(-1)]
    h = pointwise(1024 * z, weights["prior.stem.weight"], weights["prior.stem.bias"])
    h += weights.rows("prior.level_bias", hyper_levels) + 32 >> 6
    h = np.clip(h, LOWEST, HIGHEST)
    for name, up in (("block64", "up64"), ("block32", "up32")):
        h = block(h, weights, name)
        h = shuffle(pointwise(h, weights[f"prior.{up}.weight"], weights[f"prior.{up}.bias"]))
    features = block(h[:, :height, :width], weights, "block16")
    channels = weights.config["latent"]
    part = channels // 4
    y = np.zeros((channels, height, width), np.int64)
    for k, (context, blocks, head) in enumerate(PASSES):
        if context:
            name = f"prior.{context}"
            added = pointwise(y, weights[f"{name}.weight"], weights[f"{name}.bias"])
            features = np.clip(features + added, LOWEST, HIGHEST)
            for inner in blocks:
                features = block(features, weights, inner)
        bias = weights.rows(f"prior.{head}.level_bias", levels)
        mean, scale = np.split(pointwise(features, weights[f"prior.{head}.weight"], bias), 2)
        number = np.clip(scale + 512 >> 10, 0, 63)
        cells = [
            ((c ^ k) * part + row, *place)
            for row in range(part)
            for c in range(4)
            for place in positions(height, width, c)
        ]
        found = group(decoder, weights, "y", [int(number[cell]) for cell in cells])
        for cell, q in zip(cells, found, strict=True):
            y[cell] = np.clip(1024 * q + mean[cell], LOWEST, HIGHEST)
        symbols += found
    return symbols


def read_indices(
    decoder: RangeDecoder, weights: Weights, level: int, height: int, width: int
) -> list[int]:
    """All indices of a tile in the order of coding."""
    groups, centres = weights.config["groups"], weights.config["centres"]
    powers = np.append(weights["prior.powers"], 0)
    state = np.zeros((weights.config["prior"], height, width), np.int64)
    symbols: list[int] = []

    def places(parity: int) -> Iterator[tuple[int, int]]:
        for r in range(height):
            yield from ((r, c) for c in range(width) if (r + c) % 2 == parity)

    for number in range(level // 4096 + 1):
        for pass_ in range(2):
            bias = weights["prior.pass_bias"][number, pass_]
            h = np.clip(state + bias[:, None, None], LOWEST, HIGHEST)
            h = block(block(h, weights, "block1"), weights, "block2")
            head = weights["prior.head_weight"][number], weights["prior.head_bias"][number]
            logits = pointwise(h, *head)
            for g in range(groups):
                for place in places(int(g >= groups // 2) ^ pass_):
                    own = logits[(slice(g * centres, (g + 1) * centres), *place)]
                    e = powers[np.minimum(own.max() - own, len(powers) - 1)]
                    f = 1 + e * (2**24 - centres) // e.sum()
                    f[np.argmax(e)] += 2**24 - f.sum()
                    index = decoder.decode(f)
                    symbols.append(index)
                    added = weights["prior.embedding"][number, g * centres + index]
                    state[(slice(None), *place)] += added
    return symbols


@dataclass
class Head:
    """What both kinds of files begin with."""

    flags: int
    width: int
    height: int
    level: int
    offsets: Ints | None
    end: int

    def levels(self, weights: Weights) -> Ints:
        """Levels of the latent positions of the picture."""
        size = -(-self.height // 16), -(-self.width // 16)
        return levels_of(self.level, self.offsets, *size, 4096 * (weights.config["anchors"] - 1))


def read_head(data: bytes) -> Head:
    magic, version, flags, width, height, level = struct.unpack("<6sBBHHH", data[:14])
    assert (magic, version, flags & 0x80) == (b"\x89VQC\r\n", 1, 0)
    at = 19 + data[18] if flags & 0x10 else 18
    offsets = None
    if flags & 0x40:
        (length,) = struct.unpack_from("<I", data, at)
        offsets = read_map(data[at + 4 : at + 4 + length], height, width)
        at += 4 + length
    return Head(flags, width, height, level, offsets, at)


def read_plain(data: bytes) -> tuple[Head, bytes, int]:
    """Head, stream and symbol checksum."""
    head = read_head(data)
    assert not head.flags & 0x2C
    checksum, whole = struct.unpack("<II", data[-8:])
    assert zlib.crc32(data[:-4]) == whole
    return head, data[head.end : -8], checksum


@pytest.mark.slow
@pytest.mark.parametrize(("model", "quality"), [("photo", 37.0), ("photo", 0.0), ("vq", 20.0)])
def test_a_reader_written_from_the_page_gets_the_symbols(model: str, quality: float) -> None:
    image: Image.Image = flowers(140, 80)
    head, stream, checksum = read_plain(Codec(model).compress(image, quality))
    assert bool(head.flags & 2) == (model == "vq")
    weights, decoder = Weights(find_weights(model)), RangeDecoder(stream)
    if model == "vq":
        symbols = read_indices(decoder, weights, head.level, 5, 9)
    else:
        symbols = read_integers(decoder, weights, head.levels(weights))
    assert zlib.crc32(np.array(symbols, "<i2").tobytes()) == checksum
    assert decoder.exhausted()


@pytest.mark.parametrize("name", ["map-q50", "grey-map-q90"])
def test_a_reader_written_from_the_page_gets_symbols_of_a_map(name: str) -> None:
    head, stream, checksum = read_plain((DATA / "golden" / f"{name}.vqc").read_bytes())
    weights, decoder = Weights(TINY), RangeDecoder(stream)
    levels = head.levels(weights)
    assert len(np.unique(levels)) > 5
    symbols = read_integers(decoder, weights, levels)
    assert zlib.crc32(np.array(symbols, "<i2").tobytes()) == checksum
    assert decoder.exhausted()


@dataclass
class Directory:
    """A file with a directory; boxes are (left, top, right, bottom) in pixels."""

    head: Head
    grey: bool
    alpha: bool
    patches: list[tuple[tuple[int, int, int, int], bytes]] = field(default_factory=list)
    tiles: list[tuple[tuple[int, int, int, int], bytes, int]] = field(default_factory=list)
    """Box, stream and symbol checksum of the tiles that are coded."""


def read_directory(data: bytes) -> Directory:
    head = read_head(data)
    flags, width, height, at = head.flags, head.width, head.height, head.end
    assert (flags & 0x04, flags & 0x02) == (4, 0)
    read = Directory(head, bool(flags & 1), bool(flags & 8))
    side, chunks = struct.unpack_from("<HB", data, at)
    at += 3
    count = 0
    if flags & 0x20:
        (count,) = struct.unpack_from("<H", data, at)
        at += 2
    lengths = [struct.unpack_from("<I", data, at + 12 * n + 4)[0] for n in range(chunks)]
    at += 12 * chunks
    rows = [struct.unpack_from("<HHHHII", data, at + 16 * n) for n in range(count)]
    at += 16 * count
    covered = np.zeros((height, width), bool)
    boxes = []
    for left, top, across, down, _, _ in rows:
        box = (
            16 * left,
            16 * top,
            min(16 * (left + across), width),
            min(16 * (top + down), height),
        )
        boxes.append(box)
        covered[box[1] : box[3], box[0] : box[2]] = True
    side = 64 * side or max(width, height)
    tiles = [
        (x, y, min(x + side, width), min(y + side, height))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
    tiles = [box for box in tiles if not covered[box[1] : box[3], box[0] : box[2]].all()]
    entry = struct.Struct("<IIII" if read.alpha else "<III")
    entries = [entry.unpack_from(data, at + entry.size * n) for n in range(len(tiles))]
    at += entry.size * len(tiles)
    assert zlib.crc32(data[:at]) == struct.unpack_from("<I", data, at)[0]
    at += 4 + sum(lengths)
    for box, row in zip(boxes, rows, strict=True):
        content = data[at : at + row[4]]
        assert zlib.crc32(content) == row[5]
        read.patches.append((box, content))
        at += len(content)
    for box, (length, *alpha, symbols, checksum) in zip(tiles, entries, strict=True):
        assert zlib.crc32(data[at : at + length + sum(alpha)]) == checksum
        read.tiles.append((box, data[at : at + length], symbols))
        at += length + sum(alpha)
    assert at == len(data)
    return read


def patch_samples(data: bytes, width: int, height: int, grey: bool, alpha: bool) -> Ints:
    """Samples [height, width, channels] of the bytes of a patch, in a WebP file around them."""
    n, odd = len(data), len(data) % 2
    head = b"RIFF" + struct.pack("<I", n + 17 + 1 - odd) + b"WEBPVP8L" + struct.pack("<I", n + 5)
    head += b"\x2f" + struct.pack("<I", width - 1 + 2**14 * (height - 1) + 2**28 * alpha)
    with Image.open(BytesIO(head + data + bytes(1 - odd))) as image:
        assert image.format == "WEBP"
        samples = np.asarray(image.convert("RGBA"), np.int64)
    channels = ([1] if grey else [0, 1, 2]) + [3] * alpha
    return samples[..., channels]


@pytest.mark.parametrize(
    "name",
    [
        "patches-q60",
        "grey-patches-q40",
        "all-patches-q70",
        "all-map-q30",
        "lossless",
        "grey-lossless",
        "all-lossless",
    ],
)
def test_a_reader_written_from_the_page_gets_patches(name: str) -> None:
    path = DATA / "golden" / f"{name}.vqc"
    read = read_directory(path.read_bytes())
    with Image.open(path.with_suffix(".png")) as image:
        shown = np.asarray(image, np.int64).reshape(image.height, image.width, -1)
    assert read.patches
    for (left, top, right, bottom), content in read.patches:
        samples = patch_samples(content, right - left, bottom - top, read.grey, read.alpha)
        assert np.array_equal(samples, shown[top:bottom, left:right])
    assert bool(read.tiles) != ("lossless" in name)
    weights = Weights(TINY)
    for (left, top, right, bottom), stream, checksum in read.tiles:
        decoder, levels = RangeDecoder(stream), read.head.levels(weights)
        here = levels[top // 16 : -(-bottom // 16), left // 16 : -(-right // 16)]
        symbols = read_integers(decoder, weights, here)
        assert zlib.crc32(np.array(symbols, "<i2").tobytes()) == checksum
        assert decoder.exhausted()
