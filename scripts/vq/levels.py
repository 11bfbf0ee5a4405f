"""Rate, PSNR and codebook usage of a model that rounds to centres, level by level."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.engine.torch import TorchEngine
from codec.entropy.indices import IndexCoder, RoundedIndices
from codec.entropy.model import CentreModel
from codec.level import Level
from codec.picture.pixels import from_image, pad_to_stride, psnr
from codec.weights.file import Weights


@dataclass(frozen=True)
class LevelReport:
    """Means over pictures with the first levels of the residual code; rates without container."""

    levels: int
    learned_bpp: float
    """Rate with the model's own prior and assignment."""
    learned_psnr: float
    """PSNR in dB."""
    uniform_bpp: float
    """Rate of the same indices at log2 K bits each."""
    uniform_psnr: float
    """PSNR in dB with the nearest centres, the optimal assignment for a uniform prior."""
    usage: float
    """Share of this level's centres that occur in any picture, 0..1."""
    perplexity: float
    """2^entropy of the frequencies of centres, mean over this level's codebooks."""

    @property
    def saved(self) -> float:
        """Share of the uniform prior's bits that the learned prior saves."""
        return 1 - self.learned_bpp / self.uniform_bpp


def with_nearest_centres(weights: Weights) -> Weights:
    """Copy of a model whose encoder assigns the nearest centres, whatever their rate."""
    config = dataclasses.replace(weights.config, assignment="nearest")
    text = json.dumps(config.to_dict(), sort_keys=True)
    return dataclasses.replace(weights, config_text=text)


def report_levels(weights: Weights, pictures: Iterable[Image.Image]) -> list[LevelReport]:
    """Measure a model at every number of levels.

    Args:
        weights: a model that rounds to centres.
        pictures: RGB or grey pictures that fit into memory untiled.
    """
    config = weights.config
    engine = TorchEngine(weights)
    coders = [IndexCoder(CentreModel(one)) for one in (weights, with_nearest_centres(weights))]
    learned_bpp = np.zeros(config.anchors)
    uniform_bpp = np.zeros(config.anchors)
    quality = np.zeros((2, config.anchors))
    counts = np.zeros((config.anchors, config.groups, config.centres))
    count = 0
    for picture in pictures:
        samples = from_image(picture).samples
        y, z = engine.latents(engine.features(pad_to_stride(samples)), config.highest_level)
        pixels = samples.shape[0] * samples.shape[1]
        count += 1
        for i, coder in enumerate(coders):
            for number in range(config.anchors):
                coded = coder.round(y, z, Level.of_anchor(number))
                decoded = engine.synthesise(coded.y_hat, Level.of_anchor(number))
                quality[i, number] += psnr(samples, _to_8bit(decoded, samples))
                if i == 0:
                    learned_bpp[number] += coded.bits / pixels
            if i == 0:
                counts += _occurrences(coded, config.centres)
        indices = coded.indices[0].size * np.arange(1, config.anchors + 1)
        uniform_bpp += indices * np.log2(config.centres) / pixels
    share = counts / counts.sum(-1, keepdims=True)
    entropy = -(share * np.log2(share, where=share > 0, out=np.zeros_like(share))).sum(-1)
    return [
        LevelReport(
            levels=number + 1,
            learned_bpp=float(learned_bpp[number] / count),
            learned_psnr=float(quality[0, number] / count),
            uniform_bpp=float(uniform_bpp[number] / count),
            uniform_psnr=float(quality[1, number] / count),
            usage=float((counts[number] > 0).mean()),
            perplexity=float(np.exp2(entropy[number]).mean()),
        )
        for number in range(config.anchors)
    ]


def _to_8bit(decoded: NDArray[np.float32], samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = samples.shape[:2]
    plain = decoded[:, :height, :width].transpose(1, 2, 0)
    return np.rint(plain.clip(0, 1) * 255).astype(np.uint8)


def _occurrences(coded: RoundedIndices, centres: int) -> NDArray[np.intp]:
    """Number of occurrences of each centre, [levels, G, K]."""
    flat = coded.indices.reshape(*coded.indices.shape[:2], -1)
    return np.array([[np.bincount(row, minlength=centres) for row in level] for level in flat])
