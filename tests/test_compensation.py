"""Latents that make up for rounding: what the step is, and that it pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from codec.codec import Codec
from codec.model.transforms import LowResAnalysis, build_transforms
from codec.weights.config import ModelConfig
from tests.conftest import cost, flowers


def test_the_skip_path_is_all_of_a_fresh_analysis() -> None:
    """Its blocks start as the identity, so that it is linear but for its middle grey."""
    config = ModelConfig(channels8=24, channels16=40, blocks8=2, blocks16=2, latent=12)
    g_a, _ = build_transforms(config)
    assert isinstance(g_a, LowResAnalysis)
    with torch.no_grad():
        for parameter in (g_a.stem.weight, g_a.down.weight, g_a.head.weight, g_a.scale.log_scale):
            parameter.add_(0.1 * torch.randn_like(parameter))
        for part in (g_a.stem, g_a.down, g_a.head):
            part.bias.normal_()
        x, dx = torch.rand(2, 1, 3, 48, 32)
        level = torch.full((1,), 2.5)
        change = g_a(x + dx, level) - g_a(x, level)
    assert torch.allclose(g_a.change(dx, level), change, atol=1e-5)


@pytest.mark.parametrize(("quality", "saved"), [(0, 0.004), (50, 0.01), (100, 0.03)])
def test_it_pays(
    released_codec: Codec, quality: int, saved: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured: 0.7, 1.8 and 4.9 % less than with the restoration filter alone."""
    image = flowers(200, 150)
    better = cost(released_codec, released_codec.encode_only(image, quality), image)
    monkeypatch.setattr(ModelConfig, "compensable", False)
    plain = cost(released_codec, released_codec.encode_only(image, quality), image)
    assert better < (1 - saved) * plain


def test_tiles_too(released_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile takes those around it as they are before rounding: nearly as good as the whole."""
    image = flowers(230, 200).resize((460, 400))

    def weighed(tile_size: int) -> float:
        encoded = released_codec.encode_only(image, 50, tile_size=tile_size)
        return cost(released_codec, encoded, image)

    whole, tiled = weighed(0), weighed(256)
    monkeypatch.setattr(ModelConfig, "compensable", False)
    gains = weighed(0) - whole, weighed(256) - tiled
    assert gains[0] > 0
    assert gains[1] > 0.8 * gains[0]


@pytest.mark.parametrize("effort", [1, 2])
def test_strips_make_no_difference(
    released_codec: Codec, effort: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 16 rows each here; the filter reads two beyond."""
    image = flowers(200, 150)
    whole = released_codec.encode_only(image, 60, effort=effort)
    assert whole.header.restoration
    monkeypatch.setattr("codec.encoder.compensation.STRIP_PIXELS", 1)
    assert released_codec.encode_only(image, 60, effort=effort).data == whole.data


def test_grey_and_hidden_pixels(released_codec: Codec) -> None:
    """What is hidden makes no difference: a mask of 64 pixels hides whole latents."""
    grey = flowers(192, 128).convert("L")
    costs = [
        cost(released_codec, released_codec.encode_only(grey, 60, effort=effort), grey)
        for effort in (0, 1)
    ]
    assert costs[1] < 0.99 * costs[0]

    mask = np.full((128, 192), 255, np.uint8)
    mask[:, :64] = 0
    psnrs = []
    for effort in (0, 1):
        clear = flowers(192, 128)
        clear.putalpha(Image.fromarray(mask))
        psnrs.append(released_codec.encode_only(clear, 60, effort=effort, measure=True).psnr)
    assert psnrs[1] > psnrs[0]


def test_only_models_of_squared_error_with_a_skip_path() -> None:
    assert ModelConfig().compensable
    assert not ModelConfig(transform="gdn").compensable
    assert not ModelConfig(distortion="ms-ssim").compensable
    assert not ModelConfig(rounding="vq").compensable
