"""Compress and decompress one picture with the released model, through real files.

python scripts/demo.py PICTURE
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from codec import Codec
from codec.picture.pixels import psnr

FOLDER = Path(".demo")
QUALITIES = (10, 30, 50, 70, 90)


def main(source: Path) -> None:
    """Write .demo/NAME-qN.vqc and the decoded PNGs, and print their rate and PSNR."""
    FOLDER.mkdir(exist_ok=True)
    codec = Codec()
    with Image.open(source) as image:
        original = image.convert("RGB")
    print(f"{source}: {original.width}x{original.height}, {source.stat().st_size} bytes as PNG")
    print("quality    bytes     bpp   PSNR dB   decoded picture")
    for quality in QUALITIES:
        coded = FOLDER / f"{source.stem}-q{quality}.vqc"
        shown = coded.with_suffix(".png")
        coded.write_bytes(codec.compress(original, quality))
        codec.decompress(coded.read_bytes()).save(shown)
        size = coded.stat().st_size
        with Image.open(shown) as decoded:
            distortion = psnr(np.asarray(original), np.asarray(decoded))
        bpp = 8 * size / (original.width * original.height)
        print(f"{quality:7d} {size:8d} {bpp:7.3f} {distortion:9.2f}   {shown}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
