"""Memory: estimates against what was measured, and what is taken in fact."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import cast

import pytest

from codec import limits
from codec.codec import Codec
from codec.encoder.options import EncoderOptions
from codec.encoder.writer import Report, work_of
from codec.engine.base import EngineName
from codec.limits import tile_work
from codec.tiles import LATENT_STRIDE
from tests.helpers import TINY

SIZES = {
    "0.39": (512, 768),
    "1.96": (1400, 1400),
    "4.05": (1640, 2470),
    "6.76": (2600, 2600),
    "12.0": (3000, 4000),
    "100.1": (8192, 12220),
}
"""Height and width by megapixels."""
ROW = re.compile(
    r"^    (?P<size>[\d.]+) MP +(?P<command>effort \d|decode)(?P<one>, one tile)? +"
    r"(?P<engine>onnx|torch|both) +(?P<threads>\d) +(?P<estimate>\d+) +(?P<peak>\d+)$",
    re.M,
)
ROWS = [found.groupdict() for found in ROW.finditer(limits.__doc__ or "")]
_CODECS: dict[str, Codec] = {}


def codec_of(engine: str) -> Codec:
    """A codec of the default model; of efforts from 2 on with both engines."""
    if engine != "onnx":
        pytest.importorskip("torch")
    name = "auto" if engine == "both" else engine
    if name not in _CODECS:
        _CODECS[name] = Codec(engine=cast(EngineName, name))
    return _CODECS[name]


def estimate(row: dict[str, str]) -> float:
    """Bytes that a command is said to take."""
    codec, threads = codec_of(row["engine"]), int(row["threads"])
    effort = int(row["command"].split()[1]) if row["command"] != "decode" else None
    options = EncoderOptions(effort=effort, tile_size=0 if row["one"] else None)
    grid = options.grid(*SIZES[row["size"]])
    if effort is None:
        engine = codec.model.engine
        halo = LATENT_STRIDE * engine.synthesis_halo
        work = tile_work(grid, grid.whole, halo, engine.footprint)
    else:
        work = work_of(codec._writer._plan(options), grid, options, Report())
    return work.fixed + min(threads, len(grid)) * work.tile


def test_the_table_has_all_kinds_of_rows() -> None:
    assert len(ROWS) == 16
    assert {row["engine"] for row in ROWS} == {"onnx", "torch", "both"}


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{row['size']}-{row['command']}-{row['engine']}" for row in ROWS]
)
def test_estimates_are_above_what_was_measured(row: dict[str, str]) -> None:
    found = estimate(row) / (1 << 20)
    assert math.ceil(found) == int(row["estimate"])
    assert found >= int(row["peak"])


def peak(more: str) -> int:
    """Most bytes that compressing takes in a process of its own."""
    code = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from codec.codec import Codec\n"
        "ramp = np.arange(2600, dtype=np.uint16)\n"
        "picture = ((ramp[:, None] // 7 + ramp[None] // 5)[..., None] + [0, 9, 50]) % 256\n"
        "picture, mask = picture.astype(np.uint8), (ramp[:40, None] + 3 * ramp[None, :40])\n"
        "mask = mask.astype(np.uint8)\n"
        "codec = Codec(sys.argv[1], threads=1)\n"
        f"codec.compress(picture, patches='never', effort=0, {more})\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    run = [sys.executable, "-c", code, str(TINY)]
    return 1024 * int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is told on Linux")
def test_what_maps_and_targets_take_counts() -> None:
    """A map little more than its grey samples, a target what is kept for the next trial."""
    pixels, plain = 2600 * 2600, peak("quality=30")
    model = Codec(TINY)._writer._plan(EncoderOptions()).model
    assert peak("quality=30, level_map=mask") - plain < 4 * pixels
    assert peak("target_bpp=0.5") - plain < (model.feature_bytes + 4) * pixels
