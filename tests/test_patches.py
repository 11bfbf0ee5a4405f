"""Patches: rectangles stored without loss, from the table in the file to the picture."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
import zlib
from contextlib import suppress
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codec.api import decompress
from codec.codec import Codec
from codec.encoder.model import EncoderModel
from codec.encoder.options import EncoderOptions
from codec.encoder.patch_boxes import checked_boxes
from codec.encoder.picture import PictureEncoder
from codec.encoder.plan import Plan
from codec.errors import CodecError, DamagedFileError, InputError
from codec.format.container import ContainerFile
from codec.format.directory import Tile
from codec.format.header import Header
from codec.format.patch_table import MAX_PATCH_SIDE, Patch, covered_tiles, problem_of
from codec.format.writing import write
from codec.level import Level
from codec.picture.patch import Cover, decode_patch, encode_patch
from codec.picture.pixels import from_image
from codec.tiles import Box, Grid
from tests.helpers import DATA, TINY_VQ, Run, check_damage_is_found, difference, encoded_with

WHOLE = Box(0, 0, 600, 300)
BOXES = (Box(0, 0, 256, 256), Box(320, 16, 352, 48), Box(512, 272, 600, 300))
HEADER = Header(600, 300, grey=False, level=Level(7), model_id=b"abcd")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("RGB").resize((600, 300))


@pytest.fixture(scope="module")
def patched(tiny_codec: Codec, photo: Image.Image) -> list[bytes]:
    """With one tile, and with a tile that is covered."""
    return [encoded_with(tiny_codec, photo, BOXES, side, effort=0).data for side in (0, 256)]


def with_alpha(image: Image.Image) -> Image.Image:
    """A picture that is transparent in its corners, where its colours are noise."""
    noise = np.random.default_rng(0).integers(0, 256, (image.height, image.width, 3), np.uint8)
    alpha = np.asarray(Image.radial_gradient("L").resize(image.size)).astype(int)
    alpha = (255 - alpha).clip(60) - 60
    samples = np.where(alpha[..., None] > 0, np.asarray(image), noise)
    return Image.fromarray(np.dstack([samples, alpha]).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_streams_of_patches_come_back(mode: str, rng: np.random.Generator) -> None:
    samples = rng.integers(0, 256, (37, 53, 3), np.uint8)
    if mode.startswith("L"):
        samples[:] = samples[..., :1]
    alpha = rng.integers(0, 2, (37, 53), np.uint8) * 200 if mode.endswith("A") else None
    data = encode_patch(samples, alpha, exact=True)
    decoded = np.asarray(decode_patch(data, 53, 37, mode)).reshape(37, 53, -1)
    colours = 1 if mode.startswith("L") else 3
    assert np.array_equal(decoded[..., :colours], samples[..., :colours])
    if alpha is not None:
        assert np.array_equal(decoded[..., -1], alpha)


def test_an_opaque_patch_of_a_picture_with_alpha() -> None:
    data = encode_patch(np.full((16, 16, 3), 7, np.uint8))
    assert decode_patch(data, 16, 16, "RGBA").getextrema() == ((7, 7),) * 3 + ((255, 255),)


def webp(image: Image.Image, **options: object) -> bytes:
    target = BytesIO()
    image.save(target, "WEBP", **options)
    return target.getvalue()


def test_nothing_but_a_picture_of_its_size_is_decoded(rng: np.random.Generator) -> None:
    """The header that says size and kind is the reader's own, whatever a file holds."""
    noise = Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8))
    stream = encode_patch(np.asarray(noise))
    frames = {"save_all": True, "append_images": [noise.rotate(90)], "lossless": True}
    wrong = [b"", b"\0", stream[: len(stream) // 2], webp(noise), webp(noise, **frames)]
    for data in wrong:
        with pytest.raises(DamagedFileError, match="patch"):
            decode_patch(data, 48, 48, "RGB")
    larger = decode_patch(stream, 16, 16, "RGB")  # fewer pixels than there are
    assert larger.size == (16, 16)
    with pytest.raises(DamagedFileError, match="patch"):
        decode_patch(stream, 16368, 1024, "RGB")  # more than there are


@pytest.mark.parametrize(
    ("boxes", "problem"),
    [
        ([(0, 0, 38, 19)], None),
        ([(0, 0, 1, 1), (1, 0, 2, 1), (0, 1, 38, 2)], None),
        ([(0, 0, 0, 1)], "sides"),
        ([(0, 0, 1, 0)], "sides"),
        ([(0, 0, 39, 1)], "outside"),
        ([(0, 0, 1, 20)], "outside"),
        ([(38, 0, 39, 1)], "outside"),
        ([(0, 19, 1, 20)], "outside"),
        ([(0, 0, 1, 1), (0, 0, 1, 1)], "order"),
        ([(1, 0, 2, 1), (0, 0, 1, 1)], "order"),
        ([(0, 1, 1, 2), (0, 0, 1, 1)], "order"),
        ([(0, 0, 2, 1), (1, 0, 3, 1)], "overlap"),
        ([(5, 0, 6, 9), (0, 8, 38, 9)], "overlap"),
        ([(5, 0, 6, 9), (0, 2, 2, 3), (5, 8, 6, 9)], "overlap"),
    ],
)
def test_problems_of_rectangles(boxes: list[tuple[int, ...]], problem: str | None) -> None:
    found = problem_of([Box(*box) for box in boxes], WHOLE)
    assert found is None if problem is None else found and problem in found


def test_patches_have_a_largest_size() -> None:
    wide = Box(0, 0, 65535, 65535)
    longest = Box(0, 0, MAX_PATCH_SIDE, 1)
    assert problem_of([longest, Box(MAX_PATCH_SIDE, 0, 2 * MAX_PATCH_SIDE, 1)], wide) is None
    assert "sides" in str(problem_of([Box(0, 0, MAX_PATCH_SIDE + 1, 1)], wide))
    assert "sides" in str(problem_of([Box(0, 0, 1, MAX_PATCH_SIDE + 1)], wide))
    assert problem_of([Box(0, 0, 256, 256)], wide) is None
    assert "pixels" in str(problem_of([Box(0, 0, 256, 257)], wide))


def test_too_many_patches() -> None:
    wide = Box(0, 0, 65535, 65535)
    many = [Box(n % 4096, n // 4096, n % 4096 + 1, n // 4096 + 1) for n in range(65_536)]
    assert problem_of(many[:-1], wide) is None
    assert "more than" in str(problem_of(many, wide))


@given(st.data())
@settings(max_examples=60)
def test_overlaps_are_those_of_pixels(data: st.DataObject) -> None:
    columns, rows = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    whole = Box(0, 0, 16 * columns - 3, 16 * rows - 5)
    boxes = []
    for _ in range(data.draw(st.integers(1, 4))):
        left, top = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
        right = data.draw(st.integers(left + 1, columns))
        boxes.append(Box(left, top, right, data.draw(st.integers(top + 1, rows))))
    boxes.sort(key=lambda box: (box.top, box.left))
    counts = np.zeros((whole.height, whole.width), int)
    pixels = [box.enlarged(16) & whole for box in boxes]
    for box in pixels:
        counts[box.slices] += 1
    assert (problem_of(boxes, whole) is None) == (counts.max() <= 1)
    if counts.max() > 1:
        return
    cover = Cover(pixels, whole)
    left, top = data.draw(st.integers(0, whole.width - 1)), data.draw(st.integers(0, 4))
    part = Box(left, top, data.draw(st.integers(left + 1, whole.width)), whole.height)
    assert cover.area(part) == counts[part.slices].sum()
    assert cover.hides(part) == counts[part.slices].all()
    mask = cover.mask(part)
    assert np.array_equal(
        np.zeros(counts.shape)[part.slices] if mask is None else mask, counts[part.slices]
    )


def test_covered_tiles_are_counted_by_pixels() -> None:
    grid = Grid(300, 600, 256)
    assert covered_tiles(BOXES, grid) == {0}
    halves = [Box(0, 0, 256, 128), Box(0, 128, 256, 256), Box(256, 256, 600, 300)]
    assert covered_tiles(halves, grid) == {0, 4, 5}
    assert covered_tiles([Box(0, 0, 600, 300)], Grid(300, 600)) == {0}


@pytest.mark.parametrize(
    ("boxes", "problem"),
    [
        ([Box(8, 0, 16, 16)], "lattice"),
        ([Box(0, 0, 600, 290)], "lattice"),
        ([Box(0, 0, 32, 16), Box(16, 0, 48, 16)], "overlap"),
        ([Box(592, 0, 608, 16)], "lattice"),
        ([Box(0, 0, 0, 0)], "sides"),
    ],
)
def test_the_writer_refuses_impossible_patches(boxes: list[Box], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        checked_boxes(boxes, WHOLE)
    assert checked_boxes(reversed(BOXES), WHOLE) == BOXES


def test_bytes_of_the_directory_are_frozen() -> None:
    patches = [Patch(Box(256, 16, 512, 256), b"abc"), Patch(Box(592, 288, 600, 300), b"")]
    data = write(HEADER, [Tile(b"tile", 5)], 0, None, patches)

    def crc(content: bytes) -> str:
        return struct.pack("<I", zlib.crc32(content)).hex()

    directory = "895651430d0a012458022c01070061626364"  # flags 4 + 32
    directory += "0000000200"  # one tile, no chunk, two patches
    directory += "1000010010000f0003000000" + crc(b"abc")
    directory += "250012000100010000000000" + crc(b"")
    directory += "0400000005000000" + crc(b"tile")
    head = bytes.fromhex(directory)
    assert data == head + struct.pack("<I", zlib.crc32(head)) + b"abctile"
    file = ContainerFile(BytesIO(data))
    assert file.patches == tuple(patch.box for patch in patches)
    assert [file.read_patch(0), file.read_patch(1)] == [b"abc", b""]
    assert file.read_tile(0) == Tile(b"tile", 5)
    assert not file.lossless


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("side", [0, 256])
@pytest.mark.parametrize("effort", [0, 1, 2])
def test_patches_are_exact_and_the_rest_is_what_was_coded(
    tiny_codec: Codec, photo: Image.Image, mode: str, side: int, effort: int
) -> None:
    image = (with_alpha(photo) if mode.endswith("A") else photo).convert(mode)
    encoded = encoded_with(tiny_codec, image, BOXES, side, effort)
    decoded, original = tiny_codec.decompress(encoded.data), np.asarray(image)
    assert encoded.reconstruction
    assert difference(decoded, encoded.reconstruction) <= 1
    samples = np.asarray(decoded)
    for box in BOXES:
        shown, here = samples[box.slices], original[box.slices]
        if mode.endswith("A"):
            assert np.array_equal(shown[..., -1], here[..., -1])
            here, shown = (part[here[..., -1] > 0] for part in (here, shown))
        assert np.array_equal(shown, here)
    if mode.endswith("A"):
        assert np.array_equal(samples[..., -1], original[..., -1])
    seen = original[..., -1] > 0 if mode.endswith("A") else np.ones(original.shape[:2], bool)
    colours = np.asarray(image.convert("RGB")).astype(float) - np.asarray(decoded.convert("RGB"))
    mse = np.square(colours[seen]).mean()
    assert encoded.psnr == pytest.approx(10 * np.log10(255**2 / mse), abs=0.01)
    file = ContainerFile(BytesIO(encoded.data))
    assert file.covered == ({0} if side else set())
    assert encoded.patch_pixels == sum(box.area for box in BOXES)
    assert encoded.patch_bytes == sum(section.length for section in file.patch_sections())


@pytest.mark.slow
def test_encoders_with_other_patches_share_work_and_agree_with_new_ones(
    tiny_codec: Codec, photo: Image.Image
) -> None:
    plan = Plan.of(EncoderModel(tiny_codec.model), EncoderOptions(effort=1))
    image = with_alpha(photo)
    grid, level = Grid(300, 600, 256), tiny_codec.level_of(60)
    first = PictureEncoder(plan, from_image(image), grid, map, trials=True)
    plain = first.encode(level)
    for boxes in (BOXES[:1], BOXES, ()):
        alone = PictureEncoder(plan, from_image(image), grid, map, boxes=boxes).encode(level)
        assert first.with_patches(boxes).encode(level).data == alone.data
    assert first.encode(level).data == plain.data


@pytest.mark.slow
@settings(max_examples=20)
@given(st.data())
def test_regions_with_patches(tiny_codec: Codec, patched: list[bytes], data: st.DataObject) -> None:
    coded = data.draw(st.sampled_from(patched))
    left, top = data.draw(st.integers(0, 599)), data.draw(st.integers(0, 299))
    width = data.draw(st.integers(1, 600 - left))
    height = data.draw(st.integers(1, 300 - top))
    whole = tiny_codec.decompress(coded)
    region = tiny_codec.decompress(coded, (left, top, width, height))
    assert difference(region, whole.crop((left, top, left + width, top + height))) <= 1


def test_a_region_reads_only_its_patches(tiny_codec: Codec, patched: list[bytes]) -> None:
    data = bytearray(patched[1])
    file = ContainerFile(BytesIO(data))
    steps: list[tuple[int, int]] = []
    tiny_codec.decompress(file, (20, 20, 100, 100), progress=lambda *step: steps.append(step))
    assert (file.tiles_read, steps) == (set(), [(10_000, 10_000)])
    data[file.patch_sections()[0].offset] ^= 1
    assert tiny_codec.decompress(bytes(data), (500, 270, 100, 30)).size == (100, 30)
    with pytest.raises(DamagedFileError, match="checksum"):
        tiny_codec.decompress(bytes(data))
    with pytest.raises(DamagedFileError, match="checksum"):
        ContainerFile(BytesIO(data)).verify()


def test_progress_counts_every_pixel_once(tiny_codec: Codec, patched: list[bytes]) -> None:
    steps: list[tuple[int, int]] = []
    tiny_codec.decompress(patched[1], progress=lambda *step: steps.append(step))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1] == (WHOLE.area, WHOLE.area)
    assert {total for _, total in steps} == {WHOLE.area}


def test_a_patch_of_another_picture_is_damage(tiny_codec: Codec, photo: Image.Image) -> None:
    """A file that is sound but for what libwebp says of a stream."""
    encoded = encoded_with(tiny_codec, photo, BOXES[:1], 256, effort=0)
    file = ContainerFile(BytesIO(encoded.data))
    tiles = [file.read_tile(n) for n in range(1, 6)]
    for wrong in (b"", file.read_patch(0)[:1000], webp(photo)):
        patches = [replace(encoded.patches[0], data=wrong)]
        data = write(file.header, tiles, 256, None, patches)
        ContainerFile(BytesIO(data)).verify()
        with pytest.raises(DamagedFileError, match="patch"):
            tiny_codec.decompress(data)


@pytest.mark.parametrize("effort", [0, 1, 2])
@pytest.mark.parametrize("side", [0, 256])
def test_patches_over_everything_leave_nothing_to_code(
    tiny_codec: Codec, photo: Image.Image, effort: int, side: int
) -> None:
    boxes = [Box(0, 0, 304, 112), Box(304, 0, 600, 112), Box(0, 112, 600, 300)]
    encoded = encoded_with(tiny_codec, photo, boxes, side, effort)
    file = ContainerFile(BytesIO(encoded.data))
    assert file.lossless
    assert file.tile_sections() == []
    assert not file.header.restoration
    assert encoded.psnr == math.inf
    assert encoded.reconstruction
    assert encoded.reconstruction.tobytes() == photo.tobytes()
    assert decompress(encoded.data).tobytes() == photo.tobytes()  # though no model is installed


def test_a_covered_tile_of_a_model_that_rounds_to_centres() -> None:
    codec = Codec(TINY_VQ)
    with Image.open(DATA / "golden_vq" / "patches-2.png") as image:
        shown = np.asarray(image)
    data = (DATA / "golden_vq" / "patches-2.vqc").read_bytes()
    decoded = np.asarray(codec.decompress(data, levels=1))
    for box in ContainerFile(BytesIO(data)).patches:
        assert np.array_equal(decoded[box.slices], shown[box.slices])


def test_info_tells_of_patches(run: Run) -> None:
    path = DATA / "golden" / "all-patches-q70.vqc"
    status, out, _ = run("info", "--check", "--json", path)
    facts = json.loads(out)
    file = ContainerFile(BytesIO(path.read_bytes()))
    assert status == 0
    assert (facts["lossless"], facts["patches"], facts["tiles"]) == (False, 2, 2)
    assert facts["patch_pixels"] == 64 * 16 + 16 * 70
    assert facts["patch_bytes"] == sum(section.length for section in file.patch_sections())
    parts = ("coded_bytes", "patch_bytes", "alpha_bytes", "filter_bytes", "container_bytes")
    assert sum(facts[part] for part in parts) + sum(facts["metadata_bytes"].values()) == file.size
    share = facts["patch_bytes"] / file.size
    _, out, _ = run("info", path)
    assert f"11.3% of the pixels without loss, in 2 patches, {share:.1%} of the bytes" in out


def forged(*entries: tuple[int, ...], count: int | None = None, header: Header = HEADER) -> bytes:
    """A file of one tile and empty patches, whose table says what is given, checksums right.

    Args:
        entries: left, top, width and height of each patch in units of the lattice.
        count: number of patches that it claims.
        header: with the size of the picture.
    """
    head = bytearray(write(header, [Tile(b"", 0)])[:18])
    head[7] |= 0x24
    head += struct.pack("<HBH", 0, 0, len(entries) if count is None else count)
    for entry in entries:
        head += struct.pack("<HHHHII", *entry, 0, 0)
    head += struct.pack("<III", 0, 0, 0)
    return bytes(head) + struct.pack("<I", zlib.crc32(head))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([], "no patches"),
        ([(0, 0, 0, 1)], "sides"),
        ([(0, 0, 1, 0)], "sides"),
        ([(0, 0, 1024, 1)], "sides"),
        ([(0, 0, 39, 1)], "outside"),
        ([(37, 18, 1, 2)], "outside"),
        ([(65535, 65535, 1023, 1023)], "outside"),
        ([(0, 0, 2, 2), (1, 1, 2, 2)], "overlap"),
        ([(1, 0, 1, 1), (0, 0, 1, 1)], "order"),
        ([(0, 0, 1, 1), (0, 0, 1, 1)], "order"),
    ],
)
def test_forged_tables_are_damage(entries: list[tuple[int, ...]], problem: str) -> None:
    with pytest.raises(DamagedFileError, match=problem):
        ContainerFile(BytesIO(forged(*entries)))


def test_a_sound_table_of_empty_patches_is_read() -> None:
    file = ContainerFile(BytesIO(forged((0, 0, 1, 1), (37, 18, 1, 1))))
    assert file.patches == (Box(0, 0, 16, 16), Box(592, 288, 600, 300))


def test_tables_that_claim_more_than_there_is() -> None:
    for count in (2, 65_535):
        with pytest.raises(DamagedFileError):
            ContainerFile(BytesIO(forged((0, 0, 1, 1), count=count)))
    plain = bytearray(write(HEADER, [Tile(b"", 0)]))
    plain[7] |= 0x20
    plain[-4:] = struct.pack("<I", zlib.crc32(plain[:-4]))
    with pytest.raises(DamagedFileError, match="without a directory"):
        ContainerFile(BytesIO(plain))


@pytest.mark.slow
def test_a_long_table_of_a_huge_picture_costs_little() -> None:
    huge = replace(HEADER, width=65_535, height=65_535)
    data = forged(*((n % 4096, n // 4096, 1, 1) for n in range(8_000)), header=huge)
    tracemalloc.start()
    assert len(ContainerFile(BytesIO(data)).patches) == 8_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 * len(data)


@pytest.fixture(scope="module")
def small_file(tiny_codec: Codec) -> bytes:
    """Two tiles, one of them covered, with alpha, metadata and a patch in the other."""
    image = Image.linear_gradient("L").resize((272, 16))
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    image.info["xmp"] = b"<x/>"
    boxes = [Box(32, 0, 48, 16), Box(256, 0, 272, 16)]
    return encoded_with(tiny_codec, image, boxes, 256, effort=0).data


@pytest.mark.slow
def test_damage_is_never_a_picture(tiny_codec: Codec, small_file: bytes) -> None:
    check_damage_is_found(tiny_codec, small_file)


@settings(max_examples=150)
@given(st.data())
def test_mutations_with_right_checksums_raise_nothing_else(
    tiny_codec: Codec, small_file: bytes, data: st.DataObject
) -> None:
    """Any bytes of any patch, and any bytes of the table, which is sealed again."""
    file = ContainerFile(BytesIO(small_file))
    streams = [bytearray(file.read_patch(n)) for n in range(2)]
    mutated = data.draw(st.sampled_from(streams))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        mutated[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    patches = [Patch(box, bytes(s)) for box, s in zip(file.patches, streams, strict=True)]
    whole = bytearray(write(file.header, [file.read_tile(0)], 256, file.read_metadata(), patches))
    end = file.metadata_sections["xmp"].offset - 4
    table = end - 16 - 2 * 16
    if data.draw(st.booleans()):
        whole[table + data.draw(st.integers(0, 31))] = data.draw(st.integers(0, 255))
    whole[end : end + 4] = struct.pack("<I", zlib.crc32(whole[:end]))
    with suppress(CodecError):
        assert tiny_codec.decompress(bytes(whole)).size == (272, 16)
    with suppress(CodecError):
        ContainerFile(BytesIO(whole)).verify()
