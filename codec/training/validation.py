"""Real rounded rate and distortion on pictures that are not trained on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from codec.model.build import Autoencoder
from codec.model.objective import rate_distortion

CROP = 256
BATCH = 8


class RatePoint(NamedTuple):
    """Means over the held-out crops at one lambda."""

    lmbda: float
    bpp: float
    psnr: float
    """dB, of 8-bit output."""
    objective: float


@torch.no_grad()
def validate(model: Autoencoder, crops: Tensor) -> list[RatePoint]:
    """Measure a model at each of its lambdas, with rounded latents and 8-bit output.

    Args:
        crops: held-out pictures, uint8 [n, 3, 256, 256], on the model's device.
    """
    points = []
    for anchor in range(model.config.anchors):
        lmbda = model.config.lambda_of(anchor)
        totals = torch.zeros(3, device=crops.device)
        for batch in torch.split(crops, BATCH):
            x = batch.float() / 255
            level = torch.full((len(x),), float(anchor), device=x.device)
            result = model(x, level, "rounded")
            eight_bit = (result.x_hat.clamp(0, 1) * 255).round() / 255
            loss = rate_distortion(
                x,
                result._replace(x_hat=eight_bit),
                torch.full_like(level, lmbda),
                model.config.distortion,
            )
            psnr = -10 * loss.mse.clamp_min(1e-8).log10()
            totals += torch.stack([loss.bpp.sum(), psnr.sum(), loss.value.sum()])
        points.append(RatePoint(lmbda, *(totals / len(crops)).tolist()))
    return points
