"""PSNR and MS-SSIM on tensors; the one home of pytorch-msssim.

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
        raise InputError("MS-SSIM needs pytorch-msssim; pip install 'vqcodec[train]'") from error
    similarity: Tensor = measure(x_hat, x, data_range=peak, size_average=False)
    return similarity


def ms_ssim_of(decoded: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    """MS-SSIM of 8-bit samples [H, W, 3], sides of at least 161; see `ms_ssim`."""
    x_hat, x = (
        torch.from_numpy(samples.copy()).permute(2, 0, 1)[None].float()
        for samples in (decoded, original)
    )
    with torch.inference_mode():
        return float(ms_ssim(x_hat, x, peak=255.0))
