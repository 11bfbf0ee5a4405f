"""Models of this codec under measurement, and -log2 P of their files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.codec import Codec
from codec.encoder.options import DEFAULT_EFFORT
from codec.entropy.coder import symbol_coder
from codec.entropy.latents import LatentCoder, RoundedLatents
from codec.evaluation.provenance import source_digest
from codec.evaluation.results import ModelBits
from codec.format.container import ContainerFile
from codec.format.patch_table import ENTRY
from codec.level import Level
from codec.picture.pixels import from_image
from codec.tiles import LATENT_STRIDE, Box, latent_size
from codec.training.noisy_rate import NoisyRate
from codec.weights.config import PASSES

FINEST = 0.5
"""Step of quality in the search for a size."""


class ModelCoder:
    """A model of this codec; see `codec.evaluation.coders.Coder`.

    Args:
        codec: loaded model.
        effort: encoder effort, 0..9.
        name: name in results; "vqcodec", the model's name and the effort by default.
    """

    def __init__(self, codec: Codec, effort: int = DEFAULT_EFFORT, name: str = "") -> None:
        self.codec = codec
        self._effort = effort
        weights, config = codec.weights, codec.weights.config
        tried = "" if effort == DEFAULT_EFFORT else f" effort {effort}"
        self.name = name or f"vqcodec {weights.name}{tried}"
        self.description = (
            f"vqcodec {version('vqcodec')} (source {source_digest()}), "
            f"model {weights.name} ({weights.short_id.hex()}), effort {effort}, "
            f"{codec.model.engine.description}"
        )
        top = config.anchors - 1
        steps = top if config.rounding == "vq" else round(100 / FINEST)
        self.settings = tuple(100 * n / top for n in range(top + 1)) if top else (50.0,)
        self.finer = tuple(100 * n / steps for n in range(steps + 1)) if top else (50.0,)

    def encode(self, image: Image.Image, setting: float) -> bytes:
        return self.codec.encode(image, setting, effort=self._effort).data

    def decode(self, data: bytes) -> Image.Image:
        return self.codec.decompress(data)

    def model_bits(self, image: Image.Image, setting: float, data: bytes) -> ModelBits:
        """Bits of a file from `encode` by part, and the rate of noisy latents."""
        lengths = [len(stream) for stream, _, _ in self._streams(data)]
        file = ContainerFile(BytesIO(data), self.codec.limits)
        restoration = 8.0 * file.header.restoration_bytes
        patches = 8.0 * sum(_patch_sizes(file))
        container = 8.0 * (len(data) - sum(lengths)) - restoration - patches
        if self.codec.weights.config.rounding == "vq":
            bits = self.codec.encode(image, setting).bits - patches
            return ModelBits(0.0, (bits,), container, None, len(lengths), patches=patches)
        sums = [[float(g.bits.sum()) for g in rounded.groups] for rounded, _ in self._rounded(data)]
        z, *passes = map(sum, zip(*sums, strict=True)) if sums else [0.0] * (1 + PASSES)
        noisy = self._noisy_rate.bits(from_image(image), self.codec.level_of(setting))
        return ModelBits(z, tuple(passes), container, noisy, len(lengths), restoration, patches)

    def position_bits(self, data: bytes) -> NDArray[np.float64] | None:
        """-log2 P of a file by latent position, [ceil(H/16), ceil(W/16)].

        Bits of a patch are spread over its positions. None for models that round to centres.
        """
        if self.codec.weights.config.rounding == "vq":
            return None
        file = ContainerFile(BytesIO(data), self.codec.limits)
        whole = np.zeros(latent_size(file.header.height, file.header.width))
        for size, box in zip(_patch_sizes(file), file.patches, strict=True):
            at = box.shrunk(LATENT_STRIDE)
            whole[at.slices] += 8 * size / at.area
        for rounded, box in self._rounded(data):
            whole[box.shrunk(LATENT_STRIDE).slices] += rounded.position_bits
        return whole

    def patches(self, data: bytes) -> tuple[Box, ...]:
        """Rectangles in pixels that a file stores without loss."""
        return tuple(ContainerFile(BytesIO(data), self.codec.limits).patches)

    def _streams(self, data: bytes) -> Iterator[tuple[bytes, Box, Level]]:
        """Stream, box of pixels and level of each coded tile of a file."""
        file = ContainerFile(BytesIO(data), self.codec.limits)
        for number in sorted(set(range(len(file.grid))) - file.covered):
            yield file.read_tile(number).stream, file.grid.box(number), file.header.level

    def _rounded(self, data: bytes) -> Iterator[tuple[RoundedLatents, Box]]:
        """Latents and box of pixels of each tile of a file."""
        for stream, box, level in self._streams(data):
            rows, columns = latent_size(box.height, box.width)
            yield self._reader.read_symbols(stream, rows, columns, level), box

    @cached_property
    def _reader(self) -> LatentCoder:
        coder = symbol_coder(self.codec.weights)
        assert isinstance(coder, LatentCoder)
        return coder

    @cached_property
    def _noisy_rate(self) -> NoisyRate:
        return NoisyRate(self.codec.weights)


def _patch_sizes(file: ContainerFile) -> list[int]:
    """Bytes of each patch with its entry in the table."""
    return [ENTRY.size + section.length for section in file.patch_sections()]
