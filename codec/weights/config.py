"""Everything that fixes the shape of a model; it travels in the weights file as JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from codec.errors import WeightsError
from codec.level import LOWEST, UNITS, Level

Distortion = Literal["mse", "ms-ssim", "looks"]
MS_SSIM_SIDE = 161
"""Pixels that MS-SSIM needs a side: five scales, each half of the last, and a window of 11."""

MAX_WIDTH = 4096
MAX_DEPTH = 64
MAX_CENTRES = 4096
MAX_CODEBOOK_VALUES = 1 << 26
MAX_GATE_BOUND = 1e6
"""Transforms run in float32, which has no numbers above 3e38."""
MAX_ANCHORS = 16
"""Levels go into 16 bits of a file, see `codec.level`."""
MIDDLE_GREY = 0.5
"""Sample that the transforms take for zero."""
PASSES = 4
"""Passes in which the prior codes y, each a part of the channels; rounding to centres has two per
residual level."""
BEFORE: Mapping[str, Any] = {"gate_bound": 0.0, "gates16": True, "filter4": 0, "hidden16": 0}
"""Values of fields that stored configurations of released models leave out."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a rounding autoencoder.

    The defaults are the shape of the released model. `lambda_min == lambda_max` together
    with `anchors == 1` is a model for one rate only.

    With `rounding` "vq", y is rounded to sums of `anchors` residual levels of centres instead
    of to integers: the ladder of lambdas becomes the ladder of levels.
    """

    transform: Literal["lowres", "gdn"] = "lowres"
    """`lowres`: residual blocks at 1/8 and 1/16. `gdn`: 5x5 convolutions with GDN (2017/2018)."""
    channels8: int = 192
    """Width at 1/8 (`lowres`), or N of every hidden layer (`gdn`)."""
    channels16: int = 320
    """Width of the trunk at 1/16; at least `latent`, or the trunk is the bottleneck."""
    blocks8: int = 2
    """Of four that a model had, the third and fourth of g_s and g_a were worth 0.7 to 6.9 % of the
    objective before any further training, and took half of the transforms' time."""
    blocks16: int = 3
    gates16: bool = False
    """Whether the blocks at 1/16 have a gated branch too. Trained on two CPU cores, where a step
    sees 512 places at 1/16, it switched itself off: without it the objective was 0.1 % worse."""
    hidden16: int = 160
    """Width of the hidden layers of the blocks at 1/16, 0 for that of their trunk. Of 320 the half
    with the smaller weights was worth 0.3 % of the objective before any further training."""
    filter4: int = 0
    """Width of the filter at 1/4 that g_s of `lowres` ends with, 0 for none. A model of four hours'
    training lost less than 0.1 % of the objective without its own of 96, a quarter of g_s."""
    latent: int = 320
    """Channels M of y; a multiple of 4, since each pass holds such a part of them."""
    hyper: int = 128
    """Channels of z."""
    prior: int = 192
    """Width of the exact prior networks."""
    distortion: Distortion = "mse"
    """Distortion of the objective, see `codec.model.objective`."""
    lambda_min: float = 0.0018
    lambda_max: float = 0.18
    anchors: int = 8
    """Number of lambdas, log-spaced, at which gains are learned; residual levels with "vq"."""
    gate_bound: float = 4.0
    """Largest gate in a block of `lowres`, 0 for none: photographs stay below 4, but a product of
    two branches without a bound grows with the square of what it sees, block after block, and
    full contrast from pixel to pixel overflows."""
    rounding: Literal["integer", "vq"] = "integer"
    """Rounding to integers (Balle et al. 2018) or to the nearest of K centres (VQ-VAE)."""
    centres: int = 64
    """K, the centres of each codebook ("vq" only, like all fields below)."""
    groups: int = 8
    """G, the parts of a latent vector that have a codebook each (product quantisation)."""
    index_prior: Literal["learned", "uniform"] = "learned"
    """Entropy model of the indices: a network, or log2 K bits for each."""
    assignment: Literal["nearest", "rate-weighted"] = "nearest"
    """How indices are chosen: argmin |L - C|^2, or that minus ln P / lambda'."""

    def __post_init__(self) -> None:
        sizes = (self.channels8, self.channels16, self.latent, self.hyper, self.prior)
        if self.transform not in ("lowres", "gdn"):
            raise WeightsError(f"unknown transform {self.transform!r}; known: lowres, gdn")
        if min(sizes) < 1 or max(sizes) > MAX_WIDTH:
            raise WeightsError(f"the widths of a model must lie in 1..{MAX_WIDTH}")
        if not all(0 <= depth <= MAX_DEPTH for depth in (self.blocks8, self.blocks16)):
            raise WeightsError(f"the depths of a model must lie in 0..{MAX_DEPTH}")
        if not 0 <= self.filter4 <= MAX_WIDTH:
            raise WeightsError(f"the width of the filter at 1/4 must lie in 0..{MAX_WIDTH}")
        if not 0 <= self.hidden16 <= MAX_WIDTH:
            raise WeightsError(f"the width of hidden layers at 1/16 must lie in 0..{MAX_WIDTH}")
        if self.rounding == "integer" and self.latent % PASSES:
            raise WeightsError(f"the latent channels must be a multiple of {PASSES}")
        if not 0 <= self.gate_bound <= MAX_GATE_BOUND:
            raise WeightsError(f"the bound of the gates must lie in 0..{MAX_GATE_BOUND:g}")
        if not 0 < self.lambda_min <= self.lambda_max < math.inf:
            raise WeightsError("lambdas must satisfy 0 < lambda_min <= lambda_max")
        if not 1 <= self.anchors <= MAX_ANCHORS:
            raise WeightsError(f"the number of anchors must lie in 1..{MAX_ANCHORS}")
        if (self.anchors == 1) != (self.lambda_min == self.lambda_max):
            raise WeightsError("one anchor goes with one lambda, several anchors with a range")
        if self.distortion not in get_args(Distortion):
            known = ", ".join(get_args(Distortion))
            raise WeightsError(f"unknown distortion {self.distortion!r}; known: {known}")
        if self.rounding not in ("integer", "vq"):
            raise WeightsError(f"unknown rounding {self.rounding!r}; known: integer, vq")
        self._check_codebooks()

    def _check_codebooks(self) -> None:
        if self.index_prior not in ("learned", "uniform"):
            raise WeightsError(f"unknown prior of indices {self.index_prior!r}")
        if self.assignment not in ("nearest", "rate-weighted"):
            raise WeightsError(f"unknown assignment of indices {self.assignment!r}")
        if self.assignment == "rate-weighted" and self.index_prior == "uniform":
            raise WeightsError("a uniform prior has no rates to weigh; assign the nearest centres")
        if not 2 <= self.centres <= MAX_CENTRES:
            raise WeightsError(f"the number of centres must lie in 2..{MAX_CENTRES}")
        if self.rounding == "vq" and (self.groups < 1 or self.latent % self.groups):
            raise WeightsError(f"the groups must divide the {self.latent} latent channels")
        if self.rounding == "vq" and self.anchors * self.centres * self.latent > (
            MAX_CODEBOOK_VALUES
        ):
            raise WeightsError("the codebooks are too large")

    @property
    def units16(self) -> int:
        """Hidden units of the first branch of a block at 1/16."""
        return self.hidden16 or self.channels16

    @property
    def dimensions(self) -> int:
        """D, the dimensions of a centre."""
        return self.latent // self.groups

    @property
    def weighs_error(self) -> bool:
        """Whether what squared error asks for is worth doing: it is the objective or much of it."""
        return self.distortion != "ms-ssim"

    @property
    def restorable(self) -> bool:
        """Whether the model may have a restoration filter, which is solved for by squared error."""
        return self.rounding == "integer" and self.weighs_error

    @property
    def compensable(self) -> bool:
        """Whether latents can be corrected by their reconstruction, which is for less squared
        error, and asks g_a for its skip path."""
        return self.restorable and self.transform == "lowres"

    @property
    def level_step(self) -> int:
        """Distance of the levels that a file may have; with "vq" they are those of the anchors."""
        return UNITS if self.rounding == "vq" else 1

    @property
    def highest_level(self) -> Level:
        """The level of the last anchor; the lowest one is `codec.level.LOWEST`."""
        return Level.of_anchor(self.anchors - 1)

    @property
    def levels(self) -> range:
        """The levels that a file may have, as integers."""
        return range(LOWEST, self.highest_level + 1, self.level_step)

    def level_of(self, lmbda: float) -> float:
        """Position of a lambda on the ladder of anchors, in [0, anchors - 1], log-linear."""
        if self.anchors == 1:
            return 0.0
        span = math.log(self.lambda_max / self.lambda_min)
        return (self.anchors - 1) * math.log(lmbda / self.lambda_min) / span

    def lambda_of(self, level: float) -> float:
        """The lambda at a position on the ladder; inverse of `level_of`."""
        if self.anchors == 1:
            return self.lambda_min
        ratio = self.lambda_max / self.lambda_min
        return float(self.lambda_min * ratio ** (level / (self.anchors - 1)))

    @property
    def log_lambda_step(self) -> float:
        """Difference of log lambda between neighbouring anchors; 0 with one anchor."""
        steps = max(self.anchors - 1, 1)
        return math.log(self.lambda_max / self.lambda_min) / steps

    def assignment_lambda(self, level: float) -> float:
        """lambda' at which a residual level weighs |L - C_k|^2 against -ln P(k).

        bits/pixel + lambda 255^2 MSE, times pixels and ln 2, is -ln P + lambda' |x - x^|^2 with
        lambda' = lambda 255^2 ln 2 / 3 (three colours), and the transforms start orthonormal,
        so that |L - L^|^2 stands for |x - x^|^2.
        """
        return self.lambda_of(level) * 255**2 * math.log(2) / 3

    def quality_of(self, level: float) -> float | None:
        """Quality 0..100 at a position on the ladder; None if the model has one rate only."""
        return None if self.anchors == 1 else 100 * level / (self.anchors - 1)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Build from parsed JSON; fields that an older file lacks are what they were then.

        Raises:
            WeightsError: a field is unknown, of the wrong type or out of range.
        """
        values = dict(values)
        if values.pop("passes", PASSES) != PASSES:
            raise WeightsError(f"a prior of a model has {PASSES} passes; train this one again")
        fields = {f.name: type(f.default) for f in dataclasses.fields(cls)}
        for name, value in values.items():
            kind = fields.get(name)
            if kind is None:
                raise WeightsError(f"the model's configuration has an unknown field: {name}")
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise WeightsError(f"the model's {name} must be {kind.__name__}")
        return cls(**{**BEFORE, **values})
