"""Metrics by name: what they need, what they give, and how rates are compared by them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from PIL import Image

from codec.errors import InputError
from codec.evaluation import metrics
from codec.evaluation.bd_rate import decibels
from codec.evaluation.guards import guards
from codec.model.perceptual import DISPLAY

Values = dict[str, float | None]
"""Results of an instrument by name; None where a picture is too small."""


@dataclass(frozen=True)
class Metric:
    """A number for the quality of a reconstruction."""

    name: str
    """Name in results."""
    title: str
    rising: bool
    """Whether higher is better."""
    digits: int
    """Number of decimals in tables."""
    scale: Callable[[float], float]
    """Function to a rising scale for BD-rates and plots; infinite for equal pictures."""
    axis: str
    """Label of that scale."""

    def worst(self, values: Mapping[str, float]) -> str:
        """Key of the worst value."""
        return (min if self.rising else max)(values, key=values.__getitem__)


@dataclass(frozen=True)
class Instrument:
    """What measures one or several metrics at once."""

    name: str
    """Name on the command line."""
    metrics: tuple[Metric, ...]
    measure: Callable[[Image.Image, Image.Image], Values]
    """Function of a picture of mode L, LA, RGB or RGBA and its reconstruction."""
    package: str = ""
    """Distribution that it needs."""
    module: str = ""
    """Module of that distribution."""
    program: str = ""
    """Program that it needs."""
    install: str = ""
    """Way to install what it needs."""
    choices: str = ""
    """Options in words."""

    @property
    def missing(self) -> str:
        """Reason why it cannot be used here, with the way to install it; empty if it can."""
        if self.module and not find_spec(self.module):
            return f"{self.package} not installed; {self.install}"
        if self.program and not shutil.which(self.program):
            return f"{self.program} not installed; {self.install}"
        return ""

    @property
    def description(self) -> str:
        """Implementation, version and options; part of the key of cached results."""
        release = f"{self.package} {version(self.package)}" if self.package else self.program
        return ", ".join(filter(None, (release, self.choices)))


def _of_psnr(original: Image.Image, decoded: Image.Image) -> Values:
    return {"psnr": metrics.psnr(original, decoded)}


def _of_ms_ssim(original: Image.Image, decoded: Image.Image) -> Values:
    return {"ms_ssim": metrics.ms_ssim(original, decoded)}


def _of_ssimulacra2(original: Image.Image, decoded: Image.Image) -> Values:
    return {"ssimulacra2": metrics.ssimulacra2(original, decoded)}


def _of_butteraugli(original: Image.Image, decoded: Image.Image) -> Values:
    norm, most = metrics.butteraugli(original, decoded) or (None, None)
    return {"butteraugli_3": norm, "butteraugli_max": most}


def _of_lpips(original: Image.Image, decoded: Image.Image) -> Values:
    return {"lpips": metrics.lpips(original, decoded)}


def _of_cvvdp(original: Image.Image, decoded: Image.Image) -> Values:
    return {"cvvdp": metrics.cvvdp(original, decoded)}


GUARDS = ("shift_r", "shift_g", "shift_b", "peak_2", "peak_4", "peak_8")
"""Names of the results of the instrument `guards`: shifts of the colours in grey levels, and peaks
at periods of 2, 4 and 8 pixels in dB."""


def _of_guards(original: Image.Image, decoded: Image.Image) -> Values:
    found = guards(original, decoded)
    return dict(zip(GUARDS, (*found.shift, *(found.peaks or (None,) * 3)), strict=True))


def _logarithm(distance: float) -> float:
    return -10 * math.log10(distance) if distance > 0 else math.inf


_LOG = "\N{MINUS SIGN}10 log10 of"
PSNR = Metric("psnr", "PSNR", True, 2, float, "PSNR in dB")
MS_SSIM = Metric(
    "ms_ssim",
    "MS-SSIM",
    True,
    5,
    lambda value: decibels(value) if value < 1 else math.inf,
    "dB: \N{MINUS SIGN}10 log10(1 \N{MINUS SIGN} MS-SSIM)",
)
SSIMULACRA2 = Metric(
    "ssimulacra2",
    "SSIMULACRA 2",
    True,
    2,
    lambda value: value if value < 100 else math.inf,
    "SSIMULACRA 2",
)
BUTTERAUGLI_3 = Metric(
    "butteraugli_3", "Butteraugli 3-norm", False, 3, _logarithm, f"{_LOG} the 3-norm of Butteraugli"
)
BUTTERAUGLI_MAX = Metric(
    "butteraugli_max", "Butteraugli max", False, 3, _logarithm, f"{_LOG} the maximum of Butteraugli"
)
LPIPS = Metric("lpips", "LPIPS", False, 4, _logarithm, f"{_LOG} LPIPS")
CVVDP = Metric(
    "cvvdp", "CVVDP", True, 3, lambda jod: _logarithm(10 - jod), f"{_LOG} (10 \N{MINUS SIGN} JOD)"
)

_EXTRA = "pip install 'vqcodec[evaluate]'"
INSTRUMENTS = {
    instrument.name: instrument
    for instrument in (
        Instrument("psnr", (PSNR,), _of_psnr),
        Instrument("ms-ssim", (MS_SSIM,), _of_ms_ssim, "pytorch-msssim"),
        Instrument(
            "ssimulacra2",
            (SSIMULACRA2,),
            _of_ssimulacra2,
            "frame-analytics",
            "frame_analytics",
            install=_EXTRA,
        ),
        Instrument(
            "butteraugli",
            (BUTTERAUGLI_3, BUTTERAUGLI_MAX),
            _of_butteraugli,
            program=metrics.BUTTERAUGLI,
            install="it comes with libjxl (Debian: apt-get install libjxl-devtools)",
            choices="80 nits",
        ),
        Instrument(
            "lpips",
            (LPIPS,),
            _of_lpips,
            "frame-analytics",
            "frame_analytics",
            install=_EXTRA,
            choices="AlexNet, version 0.1",
        ),
        Instrument(
            "cvvdp", (CVVDP,), _of_cvvdp, "cvvdp", "pycvvdp", install=_EXTRA, choices=DISPLAY
        ),
        Instrument("guards", (), _of_guards),
    )
}
"""All instruments by name."""
DEFAULT = ("psnr", "ms-ssim")
"""Instruments that are used if none are named."""


def find_instruments(names: Iterable[str]) -> tuple[list[Instrument], dict[str, str]]:
    """Instruments that are asked for, and those that are missing with the reason.

    PSNR is always among them: it tells which pictures were kept without loss. "all" stands for
    all that can be used here.

    Raises:
        InputError: a name is unknown, or what it needs is not installed.
    """
    asked = set(names)
    if unknown := sorted(asked - {*INSTRUMENTS, "all"}):
        known = ", ".join(INSTRUMENTS)
        raise InputError(f"unknown metric {unknown[0]!r}; known: {known}, and all")
    missing = {
        name: reason
        for name, instrument in INSTRUMENTS.items()
        if (name in asked or "all" in asked) and (reason := instrument.missing)
    }
    for name, reason in missing.items():
        if name in asked:
            raise InputError(f"{name} cannot be measured: {reason}")
    if "all" in asked:
        asked = set(INSTRUMENTS)
    chosen = [
        instrument
        for name, instrument in INSTRUMENTS.items()
        if (name in asked or name == PSNR.name) and name not in missing
    ]
    return chosen, missing


def metrics_of(names: Iterable[str]) -> list[Metric]:
    """Metrics of instruments."""
    return [metric for name in names for metric in INSTRUMENTS[name].metrics]
