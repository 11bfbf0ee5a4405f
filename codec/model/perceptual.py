"""SSIMULACRA 2, LPIPS and ColorVideoVDP; the one home of their packages.

As metrics they take sRGB samples [H, W, 3] of an original and of its reconstruction, with sides of
at least `LEAST_SIDE`, and raise ImportError where a package is missing; `ssimulacra2_error` is a
part of an objective.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import InputError

LEAST_SIDE = 32
"""Shortest side that all three metrics take."""
DISPLAY = "standard_4k"
"""Display of ColorVideoVDP: 30 inches, 3840x2160, 200 cd/m2, seen from 0.75 m."""

SCORE_POWER = 0.6276336467831387
"""Exponent of the last step of SSIMULACRA 2 (libjxl, tools/ssimulacra2.cc)."""
LEAST_GAP = 1e-3
"""Lower bound of (100 - score) / 10, below which the error has no gradient."""

Samples = NDArray[np.uint8]


def ssimulacra2_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Error e of SSIMULACRA 2, whose score is 100 - 10 e^0.6276, of each picture, [B].

    The score is no objective: its derivative is infinite where two pictures are equal.

    Args:
        x_hat: reconstructions [B, 3, H, W] in 0..1, sides of at least 128 for all six scales.
        x: originals, likewise.

    Raises:
        InputError: frame-analytics is not installed.
    """
    try:
        library = _frame_analytics()
    except ImportError as error:
        raise InputError(
            "SSIMULACRA 2 needs frame-analytics; pip install 'vqcodec[train]'"
        ) from error
    score: Tensor = library.ssimulacra2(x, x_hat, reduction="none")
    return ((100 - score) / 10).clamp_min(LEAST_GAP) ** (1 / SCORE_POWER)


def ssimulacra2(original: Samples, decoded: Samples) -> float:
    """SSIMULACRA 2.1: 100 for equal pictures, some 90 for no visible difference; no lower bound."""
    with torch.no_grad():  # inference mode would spoil the constants that it keeps for gradients
        return float(_frame_analytics().ssimulacra2(_tensor(original), _tensor(decoded)))


def lpips(original: Samples, decoded: Samples) -> float:
    """LPIPS with AlexNet, version 0.1 (Zhang et al. 2018): a distance, 0 for equal pictures."""
    with torch.inference_mode():
        return float(_frame_analytics().lpips(_tensor(original), _tensor(decoded), net="alex"))


def cvvdp(original: Samples, decoded: Samples) -> float:
    """ColorVideoVDP (Mantiuk et al. 2024) on `DISPLAY`: at most 10 JOD, for equal pictures."""
    with torch.inference_mode():
        return float(_color_video_vdp().predict(decoded, original, dim_order="HWC")[0])


def _tensor(samples: Samples) -> Tensor:
    return torch.from_numpy(samples.copy()).permute(2, 0, 1)[None]


@cache
def _frame_analytics() -> Any:
    import frame_analytics

    # Compiling takes 20 s, and again for each size of picture; a picture takes 0.2 s without.
    frame_analytics.set_compile_enabled(False)
    return frame_analytics


@cache
def _color_video_vdp() -> Any:
    # Imported by it, this tells of CUDA installations without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import pycvvdp

    return pycvvdp.cvvdp(display_name=DISPLAY, device=torch.device("cpu"), quiet=True)
