"""Coverage-guided fuzzing of everything that reads untrusted bytes, with tiny models.

    pip install '.[fuzz]'
    python scripts/fuzz.py [CORPUS_FOLDER] [-max_total_time=1800] [other options of libFuzzer]

The first byte of an input chooses the target: files as they are, files whose checksums are put
right (or a fuzzer would never get past them), alpha planes, patches, weights files as they are,
weights whose id is put right and that code then, and pictures to compress. Whatever is raised but a
`CodecError` is a crash; libFuzzer watches memory and time.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
import tempfile
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["codec"]):
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from codec.codec import Codec
    from codec.entropy.coder import symbol_coder
    from codec.entropy.model import with_self_check
    from codec.errors import CodecError
    from codec.format.container import ContainerFile
    from codec.format.patch_table import Patch, covered_tiles, read_table
    from codec.format.writing import write
    from codec.limits import Limits
    from codec.picture.alpha import decode_alpha
    from codec.picture.patch import decode_patch, encode_patch
    from codec.picture.pixels import from_image
    from codec.picture.reading import open_picture
    from codec.tiles import Box, Grid
    from codec.weights.config import MAX_WIDTH, ModelConfig
    from codec.weights.file import Weights, load_weights

DATA = Path(__file__).parents[1] / "tests" / "data"
LIMITS = Limits(max_pixels=1 << 15, max_memory=1 << 30)
HEADER_SIZE = 18
VQ_FLAG, DIRECTORY_FLAG, ALPHA_FLAG, FILTER_FLAG, PATCH_FLAG, MAP_FLAG = 2, 4, 8, 16, 32, 64
MODES = ("L", "LA", "RGB", "RGBA")
TRANSFORMS = ("g_a.", "g_s.", "h_a.", "gain.", "restoration.")
"""Beginnings of the names of tensors that only an engine reads."""
EXTREMES = (0.0, -0.0, 6e-8, 6e4, -6e4, 3e38, -3e38, float("inf"), float("-inf"), float("nan"))
CHOICES = ("lowres", "gdn", "integer", "vq", "mse", "ms-ssim", "looks", "learned", "uniform")
PICTURE = Image.effect_noise((70, 50), 60).convert("RGB")


class Kind:
    """A tiny model and one of its files."""

    def __init__(self, model: str, folder: str, file: str) -> None:
        self.weights = load_weights(DATA / f"{model}.safetensors")
        self.codec = Codec(self.weights, limits=LIMITS, threads=1)
        self.folder = DATA / folder
        self.golden = (self.folder / f"{file}.vqc").read_bytes()


INTEGERS = Kind("tiny", "golden", "odd-q50")
CENTRES = Kind("tiny_vq", "golden_vq", "odd-2")
KINDS = (INTEGERS, CENTRES)
scratch = Path(tempfile.mkdtemp(), "fuzzed.safetensors")


def kind_of(flags: bytes) -> Kind:
    """Model of a file by its flags, if any."""
    return CENTRES if flags and flags[0] & VQ_FLAG else INTEGERS


def decode(data: bytes) -> None:
    """Decode a file, as `decompress` and `info --check` do."""
    with suppress(CodecError):
        ContainerFile(BytesIO(data)).verify()
    kind_of(data[7:8]).codec.decompress(data)


def decode_sealed(data: bytes) -> None:
    """Decode a file after correcting its model id and all checksums of bytes."""
    kind = kind_of(data[1:2])
    body = bytearray(kind.golden[:HEADER_SIZE] + data[8:])
    body[7 : HEADER_SIZE - 4] = data[1:8].ljust(7, b"\0")
    body[7] &= 0x7F
    if not body[7] & DIRECTORY_FLAG:
        decode(bytes(body) + struct.pack("<I", zlib.crc32(body)))
        return
    begin = HEADER_SIZE
    if body[7] & FILTER_FLAG and len(body) > HEADER_SIZE:
        begin += 1 + body[HEADER_SIZE]
    if body[7] & MAP_FLAG and len(body) >= begin + 4:
        (length,) = struct.unpack_from("<I", body, begin)
        struct.pack_into("<I", body, begin, length % 300)
        begin += 4 + length % 300
    fixed = bytes(body[begin : begin + 5]).ljust(5, b"\0")
    units, chunks, patches = struct.unpack("<HBH", fixed)
    patches *= bool(body[7] & PATCH_FLAG)
    start = begin + (5 if body[7] & PATCH_FLAG else 3)
    table = start + 12 * chunks
    start_of_tiles = table + 16 * patches
    if len(body) < start_of_tiles:
        return
    width, height = struct.unpack_from("<HH", body, 8)
    grid = Grid(height, width, 64 * units)
    boxes = [box for box, _, _ in read_table(bytes(body[table:start_of_tiles]), grid.whole)]
    tiles = len(grid) - len(covered_tiles(boxes, grid))
    lengths = 2 if body[7] & ALPHA_FLAG else 1
    entry = 8 + 4 * lengths
    end = start_of_tiles + entry * tiles
    payload = end + 4
    # Where the lengths of each part stand, how many there are, and where its checksum is.
    parts = [(start + 12 * n + 4, 1, start + 12 * n + 8) for n in range(chunks)]
    parts += [(table + 16 * n + 8, 1, table + 16 * n + 12) for n in range(patches)]
    firsts = (start_of_tiles + entry * n for n in range(min(tiles, 1000)))
    parts += [(first, lengths, first + entry - 4) for first in firsts]
    for first, count, checksum in parts:
        if checksum + 4 > len(body):
            break
        sizes = [size % 300 for size in struct.unpack_from(f"<{count}I", body, first)]
        struct.pack_into(f"<{count}I", body, first, *sizes)
        part = body[payload : payload + sum(sizes)]
        struct.pack_into("<I", body, checksum, zlib.crc32(part))
        payload += sum(sizes)
    directory = bytes(body[:end])
    decode(directory + struct.pack("<I", zlib.crc32(directory)) + bytes(body[end + 4 : payload]))


def read_patch(data: bytes) -> None:
    """Decode a patch of a size and mode given by the input."""
    height, width, mode = data[1:2] or b"\7", data[2:3] or b"\7", data[3:4] or b"\0"
    image = decode_patch(data[4:], width[0] + 1, height[0] + 1, MODES[mode[0] % len(MODES)])
    assert image.size == (width[0] + 1, height[0] + 1)


def read_alpha(data: bytes) -> None:
    """Decode an alpha plane of a size given by the input."""
    height, width = data[1:2] or b"\7", data[2:3] or b"\7"
    decode_alpha(data[3:], height[0] + 1, width[0] + 1)


def read_weights(data: bytes) -> None:
    """Load a weights file."""
    scratch.write_bytes(data[1:])
    symbol_coder(load_weights(scratch))


def read_consistent_weights(data: bytes) -> None:
    """Code with a tiny model of altered tensors or configuration, whose id and digest match."""
    provider = atheris.FuzzedDataProvider(data[1:])
    kind = KINDS[provider.ConsumeIntInRange(0, len(KINDS) - 1)]
    tensors = dict(kind.weights.tensors)
    transforms = [name for name in sorted(tensors) if name.startswith(TRANSFORMS)]
    names = transforms if provider.ConsumeBool() else sorted(tensors)
    for _ in range(provider.ConsumeIntInRange(0, 4)):
        name = names[provider.ConsumeIntInRange(0, len(names) - 1)]
        if name in tensors:
            alter(tensors, name, provider)
    config = kind.weights.config_text
    if provider.ConsumeBool():
        config = altered_config(config, provider)
    forged = with_self_check(Weights("forged", config, tensors, {}))
    scratch.write_bytes(forged.to_bytes())
    codec = Codec(load_weights(scratch), limits=LIMITS, threads=1, engine="onnx")
    decodes = provider.ConsumeBool()
    with suppress(CodecError):
        if decodes:
            codec.decompress(named(kind.golden, codec.model.id))
        else:
            codec.compress(PICTURE, provider.ConsumeIntInRange(0, 100), patches="never")


def alter(
    tensors: dict[str, NDArray[Any]], name: str, provider: atheris.FuzzedDataProvider
) -> None:
    """Alter a tensor's numbers, length, shape or type, or leave it out."""
    array = tensors[name]
    flat = array.copy().reshape(-1)
    what = provider.ConsumeIntInRange(0, 6)
    if what <= 1 and len(flat) and array.dtype.kind == "i":
        info = np.iinfo(array.dtype)
        where = provider.ConsumeIntInRange(0, len(flat) - 1)
        flat[where] = provider.ConsumeIntInRange(int(info.min), int(info.max))
        tensors[name] = flat.reshape(array.shape)
    elif what <= 1 and len(flat):
        value = EXTREMES[provider.ConsumeIntInRange(0, len(EXTREMES) - 1)]
        where = provider.ConsumeIntInRange(0, len(flat) - 1)
        with np.errstate(over="ignore"):
            flat[slice(None) if what else where] = value
        tensors[name] = flat.reshape(array.shape)
    elif what == 2:
        tensors[name] = flat[: provider.ConsumeIntInRange(0, len(flat))]
    elif what == 3:
        tensors[name] = array.T
    elif what == 4:
        tensors[name] = array[None]
    elif what == 5:
        kinds = (np.float16, np.float32, np.float64, np.int32, np.int8, np.bool_)
        with np.errstate(all="ignore"):
            tensors[name] = array.astype(kinds[provider.ConsumeIntInRange(0, len(kinds) - 1)])
    else:
        del tensors[name]


def altered_config(text: str, provider: atheris.FuzzedDataProvider) -> str:
    """A model's configuration with another value of a field, or any text."""
    if not provider.ConsumeIntInRange(0, 7):
        return str(provider.ConsumeUnicodeNoSurrogates(200))
    values = json.loads(text)
    fields = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
    name = list(fields)[provider.ConsumeIntInRange(0, len(fields) - 1)]
    was = values.get(name, fields[name])
    if isinstance(was, bool):
        values[name] = not was
    elif isinstance(was, int):
        values[name] = provider.ConsumeIntInRange(-1, MAX_WIDTH)
    elif isinstance(was, float):
        values[name] = provider.ConsumeFloat()
    else:
        values[name] = CHOICES[provider.ConsumeIntInRange(0, len(CHOICES) - 1)]
    return json.dumps(values, sort_keys=True)


def named(file: bytes, model: bytes) -> bytes:
    """A file without directory that names another model."""
    body = file[: HEADER_SIZE - 4] + model + file[HEADER_SIZE:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def read_picture(data: bytes) -> None:
    """Read a picture and convert it to samples."""
    from_image(open_picture(BytesIO(data[1:]), LIMITS).image).samples  # noqa: B018


TARGETS = (
    decode,
    decode_sealed,
    decode_sealed,
    read_alpha,
    read_weights,
    read_consistent_weights,
    read_picture,
    read_patch,
)


def one_input(data: bytes) -> None:
    """Run the target that the first byte names."""
    if not data:
        return
    target = TARGETS[data[0] % len(TARGETS)]
    with suppress(CodecError):
        target(data[1:] if target is decode else data)


def tiled(grey: bool) -> bytes:
    """Make a file with tiles, alpha and metadata."""
    samples = np.zeros((70, 300, 2 if grey else 4), np.uint8)
    samples[:, :, -1] = np.arange(300) % 256
    image = from_image(samples).image
    image.info["xmp"] = b"<x/>"
    return (CENTRES if grey else INTEGERS).codec.compress(image, 10, tile_size=256, patches="never")


def patched(grey: bool) -> bytes:
    """Make a file with tiles, of which patches cover the second and a part of the first."""
    file = ContainerFile(BytesIO(tiled(grey)))
    patches = []
    for box in (Box(256, 0, 300, 70), Box(16, 16, 48, 32)):
        samples = np.zeros((box.height, box.width, 3), np.uint8)
        samples[::2] = 200
        patches.append(Patch(box, encode_patch(samples, samples[..., 0])))
    return write(file.header, [file.read_tile(0)], 256, file.read_metadata(), patches)


def seed(folder: Path) -> None:
    """Seeds of a corpus: golden files, a tiny model, a few pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (file for kind in KINDS for file in kind.folder.iterdir()):
        if file.suffix == ".vqc":
            content = file.read_bytes()
            (folder / f"raw-{file.name}").write_bytes(b"\0" + content)
            checksum = 0 if content[7] & DIRECTORY_FLAG else 4
            sealed = content[7:14] + content[HEADER_SIZE : len(content) - checksum]
            (folder / f"sealed-{file.name}").write_bytes(b"\1" + sealed)
        elif file.suffix == ".png" and file.stat().st_size < 5000:
            (folder / file.name).write_bytes(b"\6" + file.read_bytes())
    for name, grey in (("grey", True), ("colour", False)):
        for kind, content in (("tiled", tiled(grey)), ("patched", patched(grey))):
            decode_sealed(sealed := b"\1" + content[7:14] + content[HEADER_SIZE:])
            (folder / f"{kind}-{name}").write_bytes(sealed)
            (folder / f"{kind}-raw-{name}").write_bytes(b"\0" + content)
    noise = np.random.default_rng(0).integers(0, 4, (9, 17, 3), np.uint8)
    for number, size in enumerate((b"\x08\x10", b"\x10\x08")):
        (folder / f"patch-{number}").write_bytes(b"\7" + size + b"\2" + encode_patch(noise))
    for number in range(8):
        forgery = np.random.default_rng(number).bytes(80)
        (folder / f"forgery-{number}").write_bytes(b"\5" + forgery)
    (folder / "tiny").write_bytes(b"\4" + (DATA / "tiny.safetensors").read_bytes()[:20_000])


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            seed(Path(argument))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
