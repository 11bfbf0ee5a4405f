"""PSNR, MS-SSIM and SSIMULACRA 2 on tensors; the one home of the packages that measure them.

`codec.picture.pixels` has the PSNR of 8-bit samples, `codec.evaluation.metrics` both of pictures.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import InputError

LEAST_ERROR = 1e-8
"""Lower bound of a mean squared error, 80 dB, so that means over pictures stay finite."""

SCORE_POWER = 0.6276336467831387
"""Exponent of the last step of SSIMULACRA 2 (libjxl, tools/ssimulacra2.cc)."""
LEAST_SCORE_GAP = 1e-3
"""Lower bound of (100 - score) / 10, where the power's inverse has a derivative of 0."""


def psnr(mse: Tensor) -> Tensor:
    """PSNR in dB, at most 80, of mean squared errors of samples in 0..1."""
    return -10 * mse.clamp_min(LEAST_ERROR).log10()


def ms_ssim(x_hat: Tensor, x: Tensor, peak: float = 1.0) -> Tensor:
    """MS-SSIM (Wang, Simoncelli, Bovik 2003) of each picture, mean over channels, [B].

    Args:
        x_hat: reconstructions [B, C, H, W] in 0..peak, sides of at least 161.
        x: originals, likewise.
        peak: largest value of a sample.

    Raises:
        InputError: pytorch-msssim is not installed.
    """
    try:
        from pytorch_msssim import ms_ssim as measure  # of an extra
    except ImportError as error:
        raise InputError("MS-SSIM needs pytorch-msssim; pip install 'vqcodec[search]'") from error
    similarity: Tensor = measure(x_hat, x, data_range=peak, size_average=False)
    return similarity


def ssimulacra2_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Error e of SSIMULACRA 2, whose score is 100 - 10 e^0.6276, of each picture, [B].

    The score is no objective: its derivative is infinite where the pictures are equal.

    Args:
        x_hat: reconstructions [B, 3, H, W] in 0..1, sides of at least 128 for all six scales.
        x: originals, likewise.

    Raises:
        InputError: frame-analytics is not installed.
    """
    try:
        from frame_analytics import set_compile_enabled, ssimulacra2  # of an extra
    except ImportError as error:
        raise InputError(
            "SSIMULACRA 2 needs frame-analytics; pip install 'vqcodec[train]'"
        ) from error
    set_compile_enabled(False)  # compiling takes longer than it saves in a run on CPU cores
    score: Tensor = ssimulacra2(x_hat, x, reduction="none")
    return ((100 - score) / 10).clamp_min(LEAST_SCORE_GAP) ** (1 / SCORE_POWER)


def ms_ssim_of(decoded: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    """MS-SSIM of 8-bit samples [H, W, 3], sides of at least 161; see `ms_ssim`."""
    x_hat, x = (
        torch.from_numpy(samples.copy()).permute(2, 0, 1)[None].float()
        for samples in (decoded, original)
    )
    with torch.inference_mode():
        return float(ms_ssim(x_hat, x, peak=255.0))
