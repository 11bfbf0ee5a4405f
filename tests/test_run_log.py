"""What a run writes about its course."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

from codec.model.autoencoder import RoundingAutoencoder
from codec.training.run_log import RunLog
from codec.training.validation import reconstructions
from codec.weights.config import ModelConfig
from tests.helpers import crops_of_flowers


def crops(count: int) -> torch.Tensor:
    return (crops_of_flowers(count, 256) * 255).round().to(torch.uint8)


def test_reconstructions_are_ordered_by_rate(tiny_autoencoder: RoundingAutoencoder) -> None:
    held_out = crops(5)
    pictures = reconstructions(tiny_autoencoder, held_out)
    assert (pictures.shape, pictures.dtype) == ((4, 4, 3, 128, 128), torch.uint8)
    assert torch.equal(pictures[:, 0], held_out[:4, :, 64:192, 64:192])
    x = pictures[:, 0].float() / 255
    for column, anchor in ((1, 0), (2, 3), (3, 7)):
        with torch.no_grad():
            x_hat = tiny_autoencoder(x, torch.full((4,), float(anchor)), "rounded").x_hat
        loss = (pictures[:, column].float() - 255 * x_hat.clamp(0, 1)).abs().max()
        assert loss <= 0.51  # of rounding to 8 bits
    assert not torch.equal(pictures[:, 1], pictures[:, 3])


def test_a_model_of_one_rate_has_one_reconstruction(tiny_config: ModelConfig) -> None:
    config = dataclasses.replace(tiny_config, anchors=1, lambda_min=0.01, lambda_max=0.01)
    pictures = reconstructions(RoundingAutoencoder(config).eval(), crops(1))
    assert pictures.shape == (1, 2, 3, 128, 128)


def test_events_hold_a_grid_of_pictures(tmp_path: Path) -> None:
    pictures = torch.randint(0, 256, (2, 4, 3, 16, 16), dtype=torch.uint8)
    with RunLog(tmp_path) as log:
        log.write({"step": 7, "loss": 1.0})
        log.write_pictures(7, pictures)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()[IMAGES] == ["validation/reconstructions"]
    (event,) = events.Images("validation/reconstructions")
    assert event.step == 7
    grid = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
    assert grid.shape == (2 * 18 + 2, 4 * 18 + 2, 3)  # with a border of 2 pixels around each
    for row in range(2):
        for column in range(4):
            top, left = 2 + 18 * row, 2 + 18 * column
            cell = grid[top : top + 16, left : left + 16]
            assert np.array_equal(cell, pictures[row, column].permute(1, 2, 0).numpy())
