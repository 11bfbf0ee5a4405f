"""Stems of the synthesis at reduced sizes, fitted to photographs.

    python -m scripts.reduced_stems FOLDER [--model NAME]

Each photograph is coded at two random qualities; the stems are the least squares from activations
of g_s at 1/8 to the means of the reconstruction over 8x8, 4x4 and 2x2 squares. They are kept in
codec/engine/reduced.safetensors by the id of the model, in the place of those of an earlier model
of the same name.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import click
import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn import functional as F

from codec.codec import Codec
from codec.decoder import TileDecoder, level_map_of
from codec.engine.reduced import REDUCTIONS, STEM, blocks_before
from codec.engine.tensors import transform_tensors
from codec.files import open_file
from codec.format.container import ContainerFile
from codec.limits import Limits
from codec.model.rate import Gain
from codec.model.transforms import LowResSynthesis
from codec.picture.reading import open_picture
from codec.weights.config import MIDDLE_GREY
from codec.weights.file import Weights

TABLE = Path(__file__).parent.parent / "codec" / "engine" / "reduced.safetensors"
QUALITIES = 2
"""Qualities that each photograph is coded at."""
RIDGE = 1e-6
"""Relative to the mean of the diagonal."""


def synthesis_of(weights: Weights) -> nn.ModuleDict:
    """The inverse gain and g_s of a model with `lowres`."""
    config = weights.config
    parts = nn.ModuleDict({"g_s": LowResSynthesis(config), "gain": Gain(config)})
    tensors = {
        name: torch.from_numpy(array.astype(np.float32))
        for name, array in transform_tensors(weights).items()
        if name.split(".")[0] in parts
    }
    parts.load_state_dict(tensors)
    return parts.eval()


class LeastSquares:
    """Affine map from activations to targets; sums are enough."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._square = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self._product = torch.zeros(inputs + 1, outputs, dtype=torch.float64)

    def add(self, x: Tensor, target: Tensor) -> None:
        """Count in the positions of x [1, inputs, H, W] and target [1, outputs, H, W]."""
        rows = F.pad(x.flatten(2)[0].T.double(), (0, 1), value=1.0)
        self._square += rows.T @ rows
        self._product += rows.T @ target.flatten(2)[0].T.double()

    def solve(self) -> tuple[Tensor, Tensor]:
        """(weight [outputs, inputs], bias [outputs])."""
        ridge = RIDGE * self._square.diagonal().mean() * torch.eye(len(self._square))
        solution = torch.linalg.solve(self._square + ridge, self._product)
        return solution[:-1].T, solution[-1]


@torch.inference_mode()
def fit(codec: Codec, photographs: list[Path]) -> dict[str, np.ndarray]:
    """Fit the stems of a model; gives their tensors without the model's id."""
    weights, config = codec.weights, codec.weights.config
    modules, rng = synthesis_of(weights), np.random.default_rng(0)
    sums = {
        reduction: LeastSquares(config.channels8, 3 * (STEM // reduction) ** 2)
        for reduction in REDUCTIONS
    }
    for path in photographs:
        with open_file(path) as source:
            image = open_picture(source, Limits()).image.convert("RGB")
        width, height = (16 * (length // 16) for length in image.size)
        image = image.crop((0, 0, width, height))
        for quality in rng.uniform(0, 100, QUALITIES):
            data = codec.compress(image, quality, effort=0, patches="never", tile_size=0)
            samples = torch.from_numpy(codec.decompress_array(data)).permute(2, 0, 1)[None] / 255
            file = ContainerFile(BytesIO(data))
            level = torch.tensor([file.header.level.position])
            levels = level_map_of(file.header, config)
            y_hat = torch.from_numpy(TileDecoder(file, codec.model, levels).latents(0))[None]
            y = modules["gain"].inverse(y_hat, level)  # type: ignore[operator]
            for reduction, equations in sums.items():
                before = blocks_before(config, reduction)
                h = modules["g_s"].features(y, level, *before)  # type: ignore[operator]
                means = F.avg_pool2d(samples - MIDDLE_GREY, reduction)
                equations.add(h, F.pixel_unshuffle(means, STEM // reduction))
    found = {}
    for reduction, equations in sums.items():
        for part, tensor in zip(("weight", "bias"), equations.solve(), strict=True):
            found[f"{reduction}.{part}"] = np.ascontiguousarray(tensor.numpy(), np.float16)
    return found


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "names", multiple=True, default=["photo"], show_default=True)
@click.option("--count", type=click.IntRange(min=1), help="Number of photographs; all by default.")
def main(folder: Path, names: tuple[str, ...], count: int | None) -> None:
    """Fit stems to the photographs in FOLDER."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".avif"))[:count]
    for name in names:
        codec = Codec(name)
        tensors: dict[str, np.ndarray] = {}
        known: dict[str, str] = {}
        if TABLE.exists():
            with safe_open(TABLE, "numpy") as file:
                known = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        known = {key: old for key, old in known.items() if old != codec.weights.name}
        tensors = {key: array for key, array in tensors.items() if key.split(".")[0] in known}
        model = codec.model.id.hex()
        tensors |= {f"{model}.{key}": array for key, array in fit(codec, paths).items()}
        TABLE.write_bytes(save(tensors, known | {model: codec.weights.name}))
        print(f"{name}: fitted to {len(paths)} photographs", flush=True)


if __name__ == "__main__":
    main()
