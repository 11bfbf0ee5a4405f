from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import codec
from codec.codec import Codec
from codec.engine.torch import TorchEngine
from codec.entropy.coder import symbol_coder
from codec.errors import (
    CodecError,
    DamagedFileError,
    InputError,
    ModelNotFoundError,
    WeightsError,
)
from codec.format.container import ContainerFile
from codec.level import Level
from codec.loaded import LoadedModel
from codec.pool import threaded_map
from codec.weights.file import Weights, load_weights
from codec.weights.released import released_models
from tests.helpers import DATA, TINY_VQ, check_damage_is_found, difference, resealed
from tests.make_golden import CONFORMANCE, FOLDERS

GOLDEN = DATA / "golden"


def test_iterators_and_buffers_will_do(tiny_codec: Codec, city: Image.Image) -> None:
    described = city.copy()
    described.info["xmp"] = b"<x/>"
    data = tiny_codec.compress(described, keep=iter(["xmp"]))
    for buffer in (bytearray(data), memoryview(data)):
        assert tiny_codec.decompress(buffer).info["xmp"] == b"<x/>"


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(1, 130),
    height=st.integers(1, 67),
    quality=st.floats(0, 100),
    grey=st.booleans(),
)
def test_every_size_survives(
    tiny_codec: Codec, width: int, height: int, quality: float, grey: bool
) -> None:
    with Image.open(DATA / "flowers.png") as image:
        picture = image.convert("L" if grey else "RGB").crop((9, 5, 9 + width, 5 + height))
    coded = tiny_codec.encode(picture, quality, reconstruct=True)
    decoded = tiny_codec.decompress(coded.data)
    assert (decoded.size, decoded.mode) == (picture.size, picture.mode)
    assert coded.reconstruction
    assert difference(decoded, coded.reconstruction) <= 1
    assert abs(len(coded.data) - coded.bits / 8) <= 0.003 * coded.bits / 8 + 48


def test_the_source_is_left_alone(tiny_codec: Codec, city: Image.Image) -> None:
    before = np.asarray(city).copy()
    tiny_codec.compress(city)
    assert np.array_equal(np.asarray(city), before)


def test_quality_and_lambda_name_the_same_levels(tiny_codec: Codec) -> None:
    assert tiny_codec.level_of(quality=0) == tiny_codec.level_of(lmbda=0.0018) == 0
    assert tiny_codec.level_of(quality=100) == tiny_codec.level_of(lmbda=0.18) == Level.of_anchor(7)
    assert tiny_codec.level_of() == tiny_codec.level_of(quality=50)


@pytest.mark.parametrize(
    "rate", [(-1, None), (101, None), (float("nan"), None), (None, 0.5), (50, 0.01)]
)
def test_rates_outside_the_model_are_refused(
    tiny_codec: Codec, city: Image.Image, rate: tuple[float | None, float | None]
) -> None:
    with pytest.raises(InputError):
        tiny_codec.compress(city, *rate)


def test_damage_is_never_a_picture(tiny_codec: Codec) -> None:
    check_damage_is_found(tiny_codec, (GOLDEN / "odd-q50.vqc").read_bytes())


def test_forged_headers_are_found(tiny_codec: Codec) -> None:
    with pytest.raises(DamagedFileError, match="level"):
        tiny_codec.decompress(resealed("city-q20", level=Level.of_anchor(7) + 1))
    with pytest.raises(CodecError):
        tiny_codec.decompress(resealed("city-q20", level=5))
    with pytest.raises(CodecError):
        tiny_codec.decompress(resealed("city-q20", width=300))
    with pytest.raises(InputError, match="65535x65535"):
        tiny_codec.decompress(resealed("city-q20", width=65535, height=65535))
    with pytest.raises(WeightsError, match="01020304"):
        tiny_codec.decompress(resealed("city-q20", model_id=b"\1\2\3\4"))


def test_what_is_no_compressed_file(tiny_codec: Codec, tmp_path: Path) -> None:
    """Among it an image of Pillow, which seeks frames, and files that give no bytes."""
    path = GOLDEN / "city-q20.vqc"
    pillow = Image.open(DATA / "city.png")
    for wrong in (pillow, pillow.convert("L"), str(path), path, 3, None):
        with pytest.raises(InputError, match=f"cannot be of type {type(wrong).__name__}"):
            tiny_codec.decompress(wrong)  # type: ignore[arg-type]
    reading, writing = os.pipe()
    with (
        path.open() as text,
        (tmp_path / "new").open("wb") as written,
        os.fdopen(writing, "wb"),
        os.fdopen(reading, "rb") as pipe,
    ):
        for file in (text, written, pipe):
            with pytest.raises(InputError, match="open for reading bytes, and seekable"):
                codec.decompress(file)  # type: ignore[arg-type]
    with path.open("rb") as right:
        assert tiny_codec.decompress(right).size == (192, 128)


def test_a_missing_model_is_named(tiny_weights: Weights) -> None:
    data = (GOLDEN / "city-q20.vqc").read_bytes()
    with pytest.raises(ModelNotFoundError, match=tiny_weights.short_id.hex()):
        codec.decompress(data)


def test_one_codec_serves_several_threads(tiny_codec: Codec, city: Image.Image) -> None:
    expected = tiny_codec.compress(city, 40)
    results: list[bytes] = []

    def work() -> None:
        results.append(tiny_codec.compress(city, 40))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(threads)
    for data in results:
        decoded = tiny_codec.decompress(data)
        assert difference(decoded, tiny_codec.decompress(expected)) <= 1


@pytest.mark.slow
def test_threads_that_code_tiles_at_once_leave_the_number_of_threads_alone(
    tiny_weights: Weights, city: Image.Image
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        codec = Codec(tiny_weights, threads=2, engine="torch")
        both = threading.Barrier(2, timeout=60)
        large = city.resize((520, 300))
        expected = codec.compress(large, 40, tile_size=256)
        results: list[bytes] = []

        def work() -> None:
            both.wait()
            results.extend(codec.compress(large, 40, tile_size=256) for _ in range(4))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [expected] * 8
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_any_engine_precision_decodes(tiny_weights: Weights, city: Image.Image) -> None:
    exact, fast = Codec(tiny_weights), Codec(tiny_weights, precision="bfloat16")
    for encoder in (exact, fast):
        coded = encoder.encode(city, 70)
        for decoder in (exact, fast):  # decompress raises if one symbol differs
            assert decoder.decompress(coded.data).size == city.size


ENVIRONMENTS: list[dict[str, str]] = [
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Prescott", "ATEN_CPU_CAPABILITY": "default"},
    {"OPENBLAS_CORETYPE": "Sandybridge", "ATEN_CPU_CAPABILITY": "avx2"},
    {"OPENBLAS_CORETYPE": "Haswell", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    {"NPY_DISABLE_CPU_FEATURES": "AVX512_ICL X86_V4"},
]

DIGEST = """
import hashlib, sys
from io import BytesIO
from pathlib import Path
from codec.format.container import ContainerFile
from codec.entropy.coder import symbol_coder
from codec.weights.file import load_weights
from codec.decoder import level_map_of
from codec.tiles import LATENT_STRIDE, latent_size
digest = hashlib.sha256()
for weights, *files in (argument.split("|") for argument in sys.argv[1:]):
    loaded = load_weights(Path(weights))
    coder = symbol_coder(loaded)
    for file in files:
        parsed = ContainerFile(BytesIO(Path(file).read_bytes()))
        levels = level_map_of(parsed.header, loaded.config)
        for number in sorted(set(range(len(parsed.grid))) - parsed.covered):
            box, tile = parsed.grid.box(number), parsed.read_tile(number)
            size = latent_size(box.height, box.width)
            here = levels.within(box.shrunk(LATENT_STRIDE))
            y_hat, checksum = coder.read(tile.stream, *size, here)
            assert checksum == tile.symbol_checksum
            digest.update(y_hat.tobytes())
assert "torch" not in sys.modules
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_symbols_are_the_same_everywhere() -> None:
    """The same files, other processes, threads, BLAS kernels and instruction sets."""
    sources = [
        (DATA / f"{model}.safetensors", (DATA / folder).glob("*.vqc"))
        for folder, (model, _) in FOLDERS.items()
    ]
    for path in released_models():
        sources.append((path, CONFORMANCE.glob(f"{path.stem}-[0-9]*.vqc")))
    arguments = ["|".join(map(str, (weights, *sorted(files)))) for weights, files in sources]
    base = {k: v for k, v in os.environ.items() if not k.endswith("_THREADS")}
    digests = set()
    for environment in ENVIRONMENTS:
        run = subprocess.run(
            [sys.executable, "-c", DIGEST, *arguments],
            env=base | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        digests.add(run.stdout)
    assert len(digests) == 1


def test_public_names() -> None:
    assert {*codec.__all__, "__version__"} <= set(dir(codec))
    assert codec.__version__ == version("vqcodec")
    for name in codec.__all__:
        assert getattr(codec, name).__doc__
    with pytest.raises(AttributeError):
        codec.nonsense  # noqa: B018


def test_threads_that_meet_torch_while_tiles_are_coded(tiny_weights: Weights) -> None:
    """A thread that first uses torch then has the user's number of threads, and leaves it alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        engine = TorchEngine(tiny_weights)
        with threaded_map(engine, 4) as mapper, ThreadPoolExecutor(1) as fresh:
            assert list(mapper(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
            assert (
                fresh.submit(
                    lambda: Codec(tiny_weights, engine="torch").model.engine.threads
                ).result()
                == 4
            )
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 4
    finally:
        torch.set_num_threads(before)


def test_engines_that_do_not_fit(tiny_weights: Weights, city: Image.Image) -> None:
    with pytest.raises(InputError, match="the engine is of model"):
        LoadedModel(load_weights(TINY_VQ), TorchEngine(tiny_weights), symbol_coder(tiny_weights))
    plain = Codec(LoadedModel(tiny_weights, TorchEngine(tiny_weights), symbol_coder(tiny_weights)))
    assert plain.decompress(plain.compress(city, effort=1)).size == city.size
    with pytest.raises(InputError, match="derivatives; choose torch"):
        plain.compress(city, effort=2)
    with pytest.raises(InputError, match="unknown precision 'float16'"):
        Codec(tiny_weights, precision="float16")  # type: ignore[arg-type]
    for threads in (0, 1.5, "2"):
        with pytest.raises(InputError, match="threads must be a whole number"):
            Codec(tiny_weights, threads=threads)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="device None"):
        Codec(tiny_weights, device=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"effort": 1.0},
        {"effort": "1"},
        {"patches": True},
        {"lossless": "yes"},
        {"target_size": "3"},
        {"quality": "50"},
        {"keep": "icc"},
        {"keep": None},
        {"keep": [1, "a"]},
        {"keep": [[]]},
        {"target_bpp": 10**400},
        {"target_psnr": 10**400},
    ],
)
def test_options_of_wrong_types(
    tiny_codec: Codec, city: Image.Image, options: dict[str, object]
) -> None:
    with pytest.raises(InputError):
        tiny_codec.compress(city, **options)  # type: ignore[arg-type]


def test_what_is_no_file(tiny_codec: Codec) -> None:
    with pytest.raises(InputError, match="type str; give its bytes"):
        tiny_codec.decompress("photo.vqc")  # type: ignore[arg-type]


@pytest.mark.parametrize("region", [(0, 0, 1), (0.5, 0, 10, 10), "abcd", 5])
def test_what_is_no_region(tiny_codec: Codec, city: Image.Image, region: object) -> None:
    with pytest.raises(InputError, match="in whole pixels"):
        tiny_codec.decompress(tiny_codec.compress(city), region)  # type: ignore[arg-type]


def test_files_are_let_go_once_decoded(tiny_codec: Codec, city: Image.Image) -> None:
    city.putalpha(Image.radial_gradient("L").resize(city.size))
    file = ContainerFile(BytesIO(tiny_codec.compress(city)))
    alive = weakref.ref(file)
    gc.disable()
    try:
        tiny_codec.decompress(file)
        del file
        assert alive() is None
    finally:
        gc.enable()


def test_options_that_do_not_exist_are_named(tiny_codec: Codec, city: Image.Image) -> None:
    with pytest.raises(InputError, match="unknown option 'qualty'; known: quality, lmbda,"):
        tiny_codec.compress(city, qualty=50)  # type: ignore[call-arg]


def test_importing_the_package_imports_neither_torch_nor_numpy() -> None:
    code = "import codec, sys; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
