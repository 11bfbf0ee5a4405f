"""Paths, pictures and checks that several test modules share. Importing this needs no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from codec.errors import CodecError
from codec.format.container import ContainerFile
from codec.format.header import Header
from codec.format.writing import write

if TYPE_CHECKING:
    import torch

    from codec.codec import Codec
    from codec.encoder.encoded import Encoded
    from codec.engine.base import Engine, Latents
    from codec.level_map import Levels
    from codec.tiles import Box

DATA = Path(__file__).parent / "data"
TINY = DATA / "tiny.safetensors"
TINY_VQ = DATA / "tiny_vq.safetensors"
MODEL = ("--model", str(TINY))
"""Options that choose the tiny model."""
Run = Callable[..., tuple[int, str, str]]
"""Type of the fixture `run`: the arguments of a command line to (exit status, stdout, stderr)."""


def fails(result: tuple[int, str, str], status: int, *words: str) -> None:
    """One line on stderr that holds the words, nothing on stdout, this exit status."""
    assert (result[0], result[1]) == (status, "")
    assert result[2].count("\n") == 1
    assert "Traceback" not in result[2]
    for word in words:
        assert word in result[2]


def heed_interrupts() -> None:
    """For a new process: tests that run in the background may have been started to ignore these."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def signalled_at_work(number: signal.Signals, *arguments: str | Path) -> tuple[int, str]:
    """Run a command line on a terminal and signal it once its progress bar appears.

    Returns:
        Exit status, and all that the terminal showed.
    """
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "codec", *arguments],
        stderr=terminal,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=heed_interrupts,
    )
    os.close(terminal)
    shown, signalled = b"", False
    with suppress(OSError):  # EIO: the last that had the terminal is gone
        while part := os.read(screen, 4096):
            shown += part
            if b"/" in shown and not signalled:
                process.send_signal(number)
                signalled = True
    os.close(screen)
    assert signalled, shown
    return process.wait(timeout=60), shown.decode()


def run_in_two_processes(arguments: str) -> None:
    """Run `python ARGUMENTS` under torchrun; it must succeed."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, *arguments.split()],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"


def flowers(width: int = 160, height: int = 120) -> Image.Image:
    """A part of a photograph, RGB."""
    with Image.open(DATA / "flowers.png") as image:
        return image.convert("RGB").crop((150, 150, 150 + width, 150 + height))


def crops_of_flowers(count: int, side: int) -> torch.Tensor:
    """Different crops of a photograph, [count, 3, side, side] in 0..1."""
    import torch

    with Image.open(DATA / "flowers.png") as image:
        samples = torch.from_numpy(np.asarray(image.convert("RGB")).copy())
    x = samples.permute(2, 0, 1).float() / 255
    rows, columns = x.shape[1] - side, x.shape[2] - side
    corners = [(37 * i % rows, 53 * i % columns) for i in range(count)]
    return torch.stack([x[:, r : r + side, c : c + side] for r, c in corners])


def analyse(engine: Engine, samples: np.ndarray, level: Levels) -> Latents:
    """(y, z) before rounding of samples [H, W, 3], sides multiples of 16."""
    return engine.latents(engine.features(samples), level)


def difference(a: Image.Image, b: Image.Image) -> int:
    """Largest absolute difference between samples of two images of one size and mode."""
    assert (a.size, a.mode) == (b.size, b.mode)
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


def squared_error_of(codec: Codec, encoded: Encoded, image: Image.Image) -> float:
    """Squared error of a file's reconstruction, summed over the samples that can be seen."""
    decoded = np.asarray(codec.decompress(encoded.data).convert("RGB")).astype(float)
    error = np.square(decoded - np.asarray(image.convert("RGB")))
    return float(error[np.asarray(image.convert("RGBA"))[..., 3] > 0].sum())


def cost(codec: Codec, encoded: Encoded, image: Image.Image) -> float:
    """bits + lambda 255^2 MSE pixels, with the distortion measured on the decoded file."""
    lmbda = codec.weights.config.lambda_of(encoded.header.level.position)
    return encoded.bits + lmbda * squared_error_of(codec, encoded, image) / 3


def encoded_with(
    codec: Codec,
    image: Image.Image,
    boxes: Iterable[Box],
    side: int = 256,
    effort: int = 1,
) -> Encoded:
    """A file with patches, its PSNR and reconstruction."""
    from codec.encoder.model import EncoderModel
    from codec.encoder.options import EncoderOptions
    from codec.encoder.picture import PictureEncoder
    from codec.encoder.plan import Plan
    from codec.picture.pixels import from_image
    from codec.tiles import Grid

    options = EncoderOptions(effort=effort)
    model = codec.model.with_derivatives() if options.rounds else codec.model
    plan = Plan.of(EncoderModel(model), options)
    picture, grid = from_image(image), Grid(image.height, image.width, side)
    encoder = PictureEncoder(plan, picture, grid, map, measure=True, reconstruct=True, boxes=boxes)
    return encoder.encode(codec.level_of(60))


def check_damage_is_found(codec: Codec, data: bytes) -> None:
    """Every flipped bit and every truncation of a file must be an error."""
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CodecError):
            codec.decompress(bytes(flipped))
    for length in range(len(data)):
        with pytest.raises(CodecError):
            codec.decompress(data[:length])


def resealed(name: str, **changes: object) -> bytes:
    """A golden file with header fields changed and its checksum made right again."""
    file = ContainerFile(BytesIO((DATA / "golden" / f"{name}.vqc").read_bytes()))
    header = vars(file.header) | changes
    return write(Header(**header), [file.read_tile(0)])
