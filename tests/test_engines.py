"""The engines on ONNX Runtime and on torch: one model, the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from codec.codec import Codec
from codec.engine import onnx_graphs
from codec.engine.base import Engine
from codec.engine.onnx import OnnxEngine
from codec.engine.tensors import transform_shapes, transform_tensors
from codec.engine.torch import TorchEngine
from codec.errors import InputError, WeightsError
from codec.level import Level
from codec.model.hyperprior import HyperAnalysis
from codec.model.rate import Gain
from codec.model.transforms import build_transforms
from codec.tiles import Box
from codec.weights.config import ModelConfig
from codec.weights.file import Weights
from tests.helpers import TINY, difference, flowers

SMALL: dict[str, Any] = {
    "channels8": 12,
    "channels16": 20,
    "blocks8": 2,
    "blocks16": 1,
    "hidden16": 12,
    "filter4": 8,
    "latent": 16,
    "hyper": 4,
    "prior": 8,
}
SHAPES: dict[str, dict[str, Any]] = {
    "lowres": {},
    "gates": {"gates16": True, "gate_bound": 0.0},
    "bare": {"filter4": 0, "blocks8": 0, "blocks16": 0},
    "one rate": {"anchors": 1, "lambda_min": 0.01, "lambda_max": 0.01},
    "vq": {"rounding": "vq", "groups": 2, "centres": 4},
    "gdn": {"transform": "gdn"},
    "gdn vq": {"transform": "gdn", "rounding": "vq", "groups": 2, "centres": 4},
}


@pytest.fixture(params=SHAPES)
def weights(request: pytest.FixtureRequest, rng: np.random.Generator) -> Weights:
    """Transforms with random parameters, none of them at its initial value."""
    config = ModelConfig(**(SMALL | SHAPES[request.param]))
    g_a, g_s = build_transforms(config)
    parts: dict[str, torch.nn.Module] = {"g_a": g_a, "g_s": g_s}
    if config.rounding == "integer":
        parts |= {"gain": Gain(config), "h_a": HyperAnalysis(config)}
    tensors = {}
    for name, array in torch.nn.ModuleDict(parts).state_dict().items():
        spread = 0.5 / np.sqrt(max(array[0].numel(), 1)) if array.ndim > 1 else 0.1
        noisy = array.numpy() + rng.normal(0, spread, array.shape)
        tensors[name] = noisy.astype(np.float32 if "gain" in name else np.float16)
    if config.restorable:
        tensors["restoration.kernels"] = rng.normal(0, 1e-3, (4, 3, 3, 5, 5)).astype(np.float32)
        tensors["restoration.offsets"] = rng.normal(0, 1e-3, (4, 3)).astype(np.float32)
    return Weights("random", json.dumps(config.to_dict(), sort_keys=True), tensors, {})


def near(found: np.ndarray, wanted: np.ndarray) -> bool:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype == np.float32
    return bool(np.abs(found - wanted).max(initial=0) <= 2e-5 * np.abs(wanted).max(initial=1))


@pytest.mark.parametrize("anchor", [0, 2.3, 7])
def test_both_engines_give_the_same_numbers(
    weights: Weights, anchor: float, rng: np.random.Generator
) -> None:
    one: Engine = OnnxEngine(weights)
    other: Engine = TorchEngine(weights)
    config = weights.config
    level = Level.at(min(anchor, config.anchors - 1))
    if config.rounding == "vq":
        level = Level.of_anchor(round(level.position))
    samples = rng.integers(0, 256, (80, 112, 3), np.uint8)
    (y, z), (other_y, other_z) = (e.latents(e.features(samples), level) for e in (one, other))
    assert near(y, other_y)
    assert near(z, other_z)
    restoration = (90, -127, 3) if config.restorable else ()
    shown = one.synthesise(np.rint(y), level, restoration)
    assert near(shown, other.synthesise(np.rint(y), level, restoration))
    assert near(one.restore(shown, restoration), other.restore(shown, restoration))
    if config.compensable:
        missing = rng.normal(0, 0.1, (3, 48, 64)).astype(np.float32)
        assert near(one.change(missing, level), other.change(missing, level))


def test_a_halo_is_as_wide_as_the_synthesis_sees(
    weights: Weights, rng: np.random.Generator
) -> None:
    level = weights.config.highest_level
    restoration = (90, -127, 3) if weights.config.restorable else ()
    for engine in (OnnxEngine(weights), TorchEngine(weights)):
        halo = engine.synthesis_halo
        y_hat = np.rint(rng.normal(0, 2, (weights.config.latent, 2 * halo + 2, halo + 4)))
        y_hat = y_hat.astype(np.float32)
        whole = engine.synthesise(y_hat, level, restoration)
        for inner in (Box(0, halo, 3, halo + 2), Box(2, 0, halo + 4, halo + 2)):
            shown = engine.synthesise(y_hat, level, restoration, inner)
            assert near(shown, whole[:, *inner.enlarged(16).slices])


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_samples_are_the_same(
    weights: Weights, reduction: int, rng: np.random.Generator
) -> None:
    """By both engines, in one piece and from a window and its halo; with `gdn` means of all."""
    level = weights.config.highest_level
    restoration = (90, -127, 3) if weights.config.restorable else ()
    engines: tuple[Engine, ...] = (OnnxEngine(weights), TorchEngine(weights))
    halo = engines[0].reduced_halo(reduction)
    assert halo == engines[1].reduced_halo(reduction) <= engines[0].synthesis_halo
    y_hat = rng.normal(0, 2, (weights.config.latent, 2 * halo + 2, halo + 4)).astype(np.float32)
    inner = Box(1, halo, 4, halo + 2)
    found = [e.synthesise_reduced(y_hat, level, reduction, restoration) for e in engines]
    assert near(*found)
    for engine in engines:
        part = engine.synthesise_reduced(y_hat, level, reduction, restoration, inner)
        assert near(part, found[0][:, *inner.enlarged(16 // reduction).slices])
    if weights.config.transform == "gdn":
        full = engines[0].synthesise(y_hat, level, restoration).clip(0, 1)
        assert near(found[0][:, -1, 0], full[:, -reduction:, :reduction].mean((1, 2)))
    elif not weights.config.filter4:
        full = engines[0].synthesise(y_hat, level)
        assert near(found[0][:, -1, 0], full[:, -reduction:, :reduction].mean((1, 2)))


def test_what_overflows_is_grey(weights: Weights) -> None:
    level = weights.config.highest_level
    y_hat = np.full((weights.config.latent, 3, 4), 3e38, np.float32)
    for engine in (OnnxEngine(weights), TorchEngine(weights)):
        assert np.isfinite(engine.synthesise(y_hat, level)).all()


def test_shapes_are_those_of_the_modules(weights: Weights) -> None:
    names = {n: a.shape for n, a in weights.tensors.items() if not n.startswith("restoration")}
    assert transform_shapes(weights.config) == names


def test_graphs_are_what_onnx_reads(weights: Weights) -> None:
    """Its own checker finds every operation, attribute and shape in order, and what it writes
    again is the same, byte for byte."""
    config, tensors = weights.config, transform_tensors(weights)
    built = [onnx_graphs.features(config, tensors), onnx_graphs.synthesis(config, tensors)]
    if config.transform == "lowres":
        built.append(onnx_graphs.latents(config, tensors))
    if config.rounding == "integer":
        built.append(onnx_graphs.hyper(config, tensors))
    for graph, written in [*built, onnx_graphs.restore()]:
        model = onnx.load_from_string(written)
        assert model.SerializeToString() == written
        for tensor in model.graph.initializer:
            if tensor.external_data:
                array = graph.tensors[tensor.name]
                assert tuple(tensor.dims) == array.shape
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        onnx.checker.check_model(model, full_check=True)
        assert len({node.name for node in model.graph.node}) == len(model.graph.node)


@pytest.mark.parametrize("engine", [OnnxEngine, TorchEngine])
def test_tensors_that_do_not_fit(weights: Weights, engine: type) -> None:
    def changed(**changes: np.ndarray | None) -> Weights:
        named = {f"g_a.{name.replace('__', '.')}": array for name, array in changes.items()}
        tensors = {**weights.tensors, **named}
        kept = {name: array for name, array in tensors.items() if array is not None}
        return Weights("changed", weights.config_text, kept, {})

    first = next(name for name in weights.tensors if name.startswith("g_a."))
    name, array = first.removeprefix("g_a.").replace(".", "__"), weights.tensors[first]
    for change in (
        {name: None},
        {name: array[..., :-1]},
        {name: array[None]},
        {"more": array},
    ):
        with pytest.raises(WeightsError, match="transforms' tensors do not fit"):
            engine(changed(**change))
    for kind in (np.int32, np.float64, np.bool_):
        with pytest.raises(WeightsError, match="must be float16 or float32"):
            engine(changed(**{name: array.astype(kind)}))


@pytest.mark.slow
@pytest.mark.parametrize("effort", [0, 1])
@pytest.mark.parametrize("model", ["photo", "photo-mse", "vq"])
def test_files_of_either_engine_decode_with_the_other(model: str, effort: int) -> None:
    codecs = [Codec(model, engine=engine) for engine in ("onnx", "torch")]
    grey = flowers(70, 50).convert("L")
    clear = flowers(300, 150)
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    for image, quality in ((clear, 0), (grey, 50), (clear, 100)):
        for encoder, decoder in (codecs, codecs[::-1]):
            coded = encoder.encode(image, quality, effort=effort, tile_size=256, reconstruct=True)
            assert coded.reconstruction
            assert difference(decoder.decompress(coded.data), coded.reconstruction) <= 1
            region = (30, 20, 33, 17)
            parts = [codec.decompress(coded.data, region) for codec in codecs]
            assert difference(*parts) <= 1


def test_the_engine_is_chosen(tiny_weights: Weights, city: Image.Image) -> None:
    assert Codec(tiny_weights).model.engine.description.startswith("onnxruntime")
    for options in ({"engine": "torch"}, {"precision": "bfloat16"}):
        described = Codec(tiny_weights, **options).model.engine.description  # type: ignore[arg-type]
        assert described.startswith("torch")
    with pytest.raises(InputError, match="unknown engine 'tf'; known: auto, onnx, torch"):
        Codec(tiny_weights, engine="tf")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="float32 on cpu; choose torch") as caught:
        Codec(tiny_weights, device="cuda", engine="onnx")
    assert caught.value.field == "engine"
    with pytest.raises(InputError, match="engine with derivatives"):
        Codec(tiny_weights, engine="onnx").compress(city, effort=2)


def test_derivatives_are_loaded_once_and_late(tiny_weights: Weights, city: Image.Image) -> None:
    codec = Codec(tiny_weights)
    first = codec.compress(city, effort=1)
    searched = codec.compress(city, effort=2)
    assert searched == Codec(tiny_weights, engine="torch").compress(city, effort=2)
    assert codec.compress(city, effort=1) == first
    assert codec.model.with_derivatives() is codec.model.with_derivatives()


WITHOUT_TORCH = (
    "import sys\nfor name in ('torch', 'torchvision'): sys.modules[name] = None\n"
    "from codec.cli import main\nmain(sys.argv[1:])"
)


def test_commands_without_torch(tmp_path: Path) -> None:
    flowers(64, 48).save(tmp_path / "a.png")

    def run(*arguments: object) -> tuple[int, str]:
        command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert run("compress", "-Q", tmp_path / "a.png") == (0, "")
    assert run("decompress", "-Qf", tmp_path / "a.vqc", tmp_path / "b.png") == (0, "")
    install = "PyTorch: pip install 'vqcodec[train]'\n"
    compress = ("compress", "-Qf", tmp_path / "a.png")
    for options, reason in {
        ("--effort", 5): "efforts 2 to 9 need",
        ("--engine", "torch"): "the engine torch needs",
        ("--device", "cuda"): "float32 on cuda needs",
        ("--precision", "bfloat16"): "bfloat16 on cpu needs",
    }.items():
        status, told = run(*compress, *options)
        assert status == 1
        assert told.endswith(f"a.png: {reason} {install}")
        assert told.count("\n") == 1
    status, told = run("train", tmp_path, "--out", tmp_path / "run")
    assert status == 1
    assert "pip install 'vqcodec[train]'" in told
    assert told.count("\n") == 1
    status, told = run("evaluate", tmp_path)
    assert status == 1
    assert told == "vqcodec: torch not installed; pip install 'vqcodec[evaluate]'\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.vqc", "b.png"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are not listed here")
def test_onnx_runtime_starts_no_thread_of_its_own() -> None:
    """As one that sends what it is used for over the network."""
    code = (
        "import os\nfrom codec.codec import Codec\nimport numpy as np\n"
        f"codec = Codec({str(TINY)!r})\ncodec.compress(np.zeros((64, 64), np.uint8))\n"
        "assert len(os.listdir('/proc/self/task')) == 1"
    )
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], env=os.environ | one, check=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is not limited like this here")
def test_too_little_memory_is_the_error_that_python_has_for_it() -> None:
    code = (
        "import resource\nfrom pathlib import Path\nimport numpy as np\nfrom codec import Codec\n"
        "codec = Codec()\ncodec.compress(np.zeros((64, 64, 3), np.uint8), effort=0)\n"
        "used = 4096 * int(Path('/proc/self/statm').read_text().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, 2 * (used + (100 << 20),))\n"
        "try:\n    codec.compress(np.zeros((1400, 1400, 3), np.uint8), effort=0, patches='never')\n"
        "except MemoryError:\n    print('told')"
    )
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | one,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")
