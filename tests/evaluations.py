"""Evaluations with made-up numbers, for tests of tables, plots and pages."""

from __future__ import annotations

import numpy as np
from PIL import Image

from codec.evaluation.report import Comparison, Shown
from codec.evaluation.results import Curve, Evaluation, Measurement, ModelBits
from tests.helpers import DATA

HOSTILE = '<script>alert("x")</script>\' onerror="y" &amp; ' + "long" * 60 + ".png"
"""Name of a picture that would break out of text and attributes of a page."""
_SETTINGS = (10.0, 30.0, 50.0, 70.0, 90.0)


def evaluation_of(
    pictures: dict[str, tuple[int, int]],
    peers: tuple[str, ...] = ("jpeg", "avif"),
    similar: bool = True,
    published: bool = True,
) -> Evaluation:
    """An evaluation with made-up numbers: every codec takes some per cent more than ours."""
    measurements = []
    for number, codec in enumerate(("vqcodec", *peers)):
        for name, (width, height) in pictures.items():
            for step, setting in enumerate(_SETTINGS):
                size = round(width * height * 0.03 * 1.7**step * (1 + 0.25 * number)) + 40
                bits = 8.0 * size - 8 * 30
                model = ModelBits(0.1 * bits, (0.5 * bits, 0.4 * bits), 8 * 26.0, 1.02 * bits)
                measurements.append(
                    Measurement(
                        picture=name,
                        codec=codec,
                        setting=setting,
                        pixels=width * height,
                        size=size,
                        psnr=28 + 2.5 * step,
                        ms_ssim=1 - 0.08 / 1.8**step if similar else None,
                        encode_seconds=0.2 / (number + 1),
                        decode_seconds=0.1 / (number + 1),
                        model=None if number else model,
                    )
                )
    curve = Curve("paper-2018", "a table in a paper", (0.2, 0.5, 1.0), (27.0, 31.0, 35.0), None)
    return Evaluation(
        command="vqcodec evaluate photos --report out",
        machine="one core, numpy 2",
        pictures=pictures,
        measurements=measurements,
        missing={"jxl": "cjxl is not installed"},
        published=[curve] if published else [],
        descriptions={"vqcodec": "model tiny (01234567)", "jpeg": "libjpeg-turbo <3.1>"},
    )


def _shown(codec: str, image: Image.Image, size: int, psnr: float) -> Shown:
    bpp = 8 * size / (image.width * image.height)
    return Shown(codec, 30.0, size, bpp, psnr, None, image)


def comparison_of(
    name: str, width: int, height: int, peers: int = 2, mode: str = "RGB"
) -> Comparison:
    """A photograph as ours and the peers would have coded it."""
    with Image.open(DATA / "flowers.png") as image:
        original = image.convert(mode).resize((width, height))
    return Comparison(
        name=name,
        original=original,
        ours=_shown("vqcodec", original, 900, 33.0),
        peers=[
            _shown(peer, original, size, psnr)
            for peer, size, psnr in (("jpeg", 890, 28.0), ("avif", 950, 32.0))
        ][:peers],
        bit_map=np.arange(-(-height // 16) * -(-width // 16), dtype=float).reshape(
            -(-height // 16), -1
        ),
    )
