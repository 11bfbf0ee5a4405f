"""AVIF as a reference: one picture to a file or back in a process of its own, through Pillow.

    python scripts/bench/avif.py encode PICTURE FILE QUALITY
    python scripts/bench/avif.py decode FILE PICTURE

4:4:4, as our files are; all else as Pillow has it by default. Threads are those of OMP_NUM_THREADS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import AvifImagePlugin, Image

OPTIONS: dict[str, Any] = {"format": "AVIF", "subsampling": "4:4:4"}
BEST = 100


def quality_for(image: Image.Image, psnr: float, distance: Callable[..., float]) -> int:
    """The least quality that reaches a PSNR, or the best.

    Args:
        image: to encode.
        psnr: in dB.
        distance: PSNR of two images.
    """
    low, high = 0, BEST
    while low < high:
        middle = (low + high) // 2
        coded = BytesIO()
        image.save(coded, quality=middle, **OPTIONS)
        with Image.open(coded) as decoded:
            reached = distance(image, decoded.convert("RGB")) >= psnr
        low, high = (low, middle) if reached else (middle + 1, high)
    return high


def main(action: str, source: str, target: str, quality: str = "0") -> None:
    """Encode or decode a file."""
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = int(os.environ.get("OMP_NUM_THREADS", "0"))
    with Image.open(source) as image:
        if action == "encode":
            image.convert("RGB").save(target, quality=int(quality), **OPTIONS)
        else:
            image.save(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
