"""Rate and distortion with rounded latents, on pictures that are not trained on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from codec.model.build import Autoencoder
from codec.model.metrics import psnr
from codec.model.objective import rate_distortion

CROP = 256
BATCH = 8
PICTURES = 4
"""Crops that are reconstructed for the log."""
PICTURE_SIDE = 128


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
        model: in evaluation mode.
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
            loss = rate_distortion(
                x,
                result._replace(x_hat=_eight_bit(result.x_hat) / 255),
                torch.full_like(level, lmbda),
                model.config.distortion,
            )
            totals += torch.stack([loss.bpp.sum(), psnr(loss.mse).sum(), loss.value.sum()])
        points.append(RatePoint(lmbda, *(totals / len(crops)).tolist()))
    return points


@torch.no_grad()
def reconstructions(model: Autoencoder, crops: Tensor) -> Tensor:
    """Originals and their reconstructions at the lowest, a middle and the highest rate.

    Args:
        model: in evaluation mode.
        crops: held-out pictures, uint8 [n, 3, 256, 256], on the model's device.

    Returns:
        uint8 [at most 4, 4, 3, 128, 128] on the CPU: the middles of the first crops, each followed
        by its reconstructions; by fewer if the model has fewer rates.
    """
    margin = (crops.shape[-1] - PICTURE_SIDE) // 2
    inner = slice(margin, margin + PICTURE_SIDE)
    originals = crops[:PICTURES, :, inner, inner]
    top = model.config.anchors - 1
    columns = [originals]
    for anchor in sorted({0, top // 2, top}):
        level = torch.full((len(originals),), float(anchor), device=crops.device)
        result = model(originals.float() / 255, level, "rounded")
        columns.append(_eight_bit(result.x_hat).to(torch.uint8))
    return torch.stack(columns, 1).cpu()


def _eight_bit(x_hat: Tensor) -> Tensor:
    """Samples in 0..1 to whole numbers in 0..255."""
    return (x_hat.clamp(0, 1) * 255).round()
