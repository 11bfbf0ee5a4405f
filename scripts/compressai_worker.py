"""Times one codec on pictures, in an environment of its own; see `compressai_side_by_side`.

python scripts/compressai_worker.py ours|compressai|compressai-pretrained PICTURE...

Prints JSON: seconds of the import and of the model, and of both directions for each picture: from
a Pillow image to coded bytes, and back to a Pillow image. Runs under either interpreter, so it
imports what it times and the standard library alone.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

ARCHITECTURE = "mbt2018-mean"
QUALITY = 3
STRIDE = 64

OPERATOR = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

Coder = tuple[Callable[[Any], Any], Callable[[Any], Any]]
"""(image to what was coded, and back)."""


def load_ours() -> Coder:
    """The codec with its default model and quality."""
    import codec.pipeline

    loaded = codec.pipeline.Codec()
    return loaded.compress, loaded.decompress


def import_compressai() -> None:
    """Import it, if need be beside a torchvision whose operators do not load.

    The package index has a torchvision for GPUs, whose operators are missing beside a PyTorch for
    CPUs. CompressAI calls none of them, but the import wants two to be declared.
    """
    try:
        importlib.import_module("compressai.zoo")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        import torch

        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", OPERATOR)
        importlib.import_module("compressai.zoo")


def load_compressai(pretrained: bool) -> Coder:
    """The mean-scale hyperprior of CompressAI; pads and crops as its own programs do."""
    import torch
    from compressai.zoo import image_models  # type: ignore[import-not-found]
    from torchvision.transforms.functional import (  # type: ignore[import-not-found]
        to_pil_image,
        to_tensor,
    )

    model = image_models[ARCHITECTURE](quality=QUALITY, pretrained=pretrained).eval()
    model.update(force=True)

    def compress(image: Any) -> Any:
        right, below = -image.width % STRIDE, -image.height % STRIDE
        x = torch.nn.functional.pad(to_tensor(image)[None], (0, right, 0, below))
        with torch.inference_mode():
            return model.compress(x), image.size

    def decompress(coded: Any) -> Any:
        result, (width, height) = coded
        with torch.inference_mode():
            x_hat = model.decompress(result["strings"], result["shape"])["x_hat"]
        return to_pil_image(x_hat[0, :, :height, :width].clamp(0, 1))

    return compress, decompress


def run(name: str, paths: list[str]) -> dict[str, Any]:
    """Import, load, warm up on the first picture, then time all of them."""
    began = time.perf_counter()
    if name == "ours":
        import codec.pipeline  # noqa: F401
    else:
        import_compressai()
    imported = time.perf_counter()
    coder = load_ours() if name == "ours" else load_compressai(name.endswith("pretrained"))
    loaded = time.perf_counter()
    from PIL import Image

    compress, decompress = coder
    pictures: dict[str, list[float]] = {}
    for path in [paths[0], *paths]:  # the first one twice: its first time warms up
        with Image.open(path) as file:
            image = file.convert("RGB")
        start = time.perf_counter()
        coded = compress(image)
        middle = time.perf_counter()
        shown = decompress(coded)
        pictures[path] = [middle - start, time.perf_counter() - middle]
        if shown.size != image.size:
            sys.exit(f"{name} returns another size for {path}")
    return {"import": imported - began, "model": loaded - imported, "pictures": pictures}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2:])))
