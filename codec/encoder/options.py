"""Options of the encoder, checked."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal, TypedDict, get_args

from codec.encoder.quality_map import Mask
from codec.errors import InputError
from codec.level import UNITS, Level
from codec.picture.metadata import KINDS
from codec.tiles import UNTILED_PIXELS, WINDOW, Grid, check_tile_size
from codec.weights.config import ModelConfig

DEFAULT_QUALITY = 50.0
ROUNDS = (0, 0, 1, 2, 4, 8, 12, 20, 32, 48)
"""Rounds of the search for better symbols, by effort."""
DEFAULT_EFFORT = 1
RATES = ("quality", "lmbda", "target_bpp", "target_size", "target_psnr")
"""Options of which at most one is given."""
Patches = Literal["auto", "never"]


class RateOptions(TypedDict, total=False):
    """Keyword arguments of the encoder besides quality and lambda; see `EncoderOptions`."""

    target_bpp: float | None
    target_size: int | None
    target_psnr: float | None
    keep: Iterable[str]
    tile_size: int | None
    to_8bit: bool
    effort: int | None
    patches: Patches
    lossless: bool
    level_map: Mask | None


@dataclass(frozen=True)
class EncoderOptions:
    """Checked options; at most one of `RATES` is given.

    Raises:
        InputError: an option is out of range, or two contradict each other.
    """

    quality: float | None = None
    """0..100, log-linear in lambda."""
    lmbda: float | None = None
    """Slope of the model's objective, bits/pixel + lambda 255^2 MSE, or what
    `codec.model.objective` has for MS-SSIM or for looks."""
    target_bpp: float | None = None
    """Bits per pixel of the whole file, never exceeded."""
    target_size: int | None = None
    """Bytes of the whole file, never exceeded."""
    target_psnr: float | None = None
    """dB over all colours, reached or exceeded."""
    keep: Iterable[str] = KINDS
    """Kinds of metadata to keep: "icc", "exif", "xmp"."""
    tile_size: int | None = None
    """Side of the tiles, a multiple of 64; 0 for one tile; None to choose by the size, or by the
    memory that there is."""
    to_8bit: bool = False
    """Accept pictures of 16 bits."""
    effort: int | None = None
    """0: round. 1, as for None: also correct latents by their reconstruction, and fit a restoration
    filter. 2 to 9: also search for better symbols, in 1 to 48 rounds; the rate-distortion cost
    never rises, but maybe in several tiles of models for MS-SSIM or looks. Models for MS-SSIM only
    search; models that round to centres ignore the effort."""
    patches: Patches = "auto"
    """Whether rectangles for which the model does badly are stored without loss, where that is
    better."""
    level_map: Mask | None = None
    """Where quality matters: a grey picture of any size, stretched over this one, in which 128
    leaves the quality as it is, white adds 50 points and black takes away 50. It is followed by
    cells of 32x32 pixels and gradually between them. A target holds for the whole picture. Only for
    models that round to integers, of a range of lambdas."""
    lossless: bool = False
    """Store the whole picture without loss, colours under full transparency included; goes with
    neither a rate nor an effort."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", _names(self.keep))
        for name in (*RATES, "tile_size", "effort"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, Real):
                raise InputError(f"{name} must be a number, not {type(given).__name__}")
        rates = [name for name in RATES if getattr(self, name) is not None]
        if len(rates) > 1:
            raise InputError(f"give one of {' and '.join(rates)}, not both")
        for name in rates:
            largest = math.inf if name == "target_size" else sys.float_info.max
            if name.startswith("target") and not 0 < getattr(self, name) <= largest:
                raise InputError(f"{name} must be a positive number")
            if getattr(self, name) == math.inf:
                raise InputError(f"{name} must be a finite number")
        unknown = set(self.keep) - set(KINDS)
        if unknown:
            raise InputError(f"unknown metadata {sorted(unknown)}; known: {', '.join(KINDS)}")
        whole = isinstance(self.effort, Integral | None)
        if not whole or (self.effort is not None and self.effort not in range(len(ROUNDS))):
            raise InputError(f"efforts are whole numbers in 0..{len(ROUNDS) - 1}")
        if self.patches not in get_args(Patches):
            raise InputError(f"patches must be one of {' and '.join(get_args(Patches))}")
        if not isinstance(self.lossless, bool):
            raise InputError("lossless must be true or false")
        if self.lossless:
            self._check_lossless(rates)
        if not isinstance(self.tile_size, Integral | None):
            raise InputError("tile_size must be a whole number")
        check_tile_size(self.tile_size or 0)

    def _check_lossless(self, rates: list[str]) -> None:
        given = [*rates, *(["effort"] if self.effort is not None else [])]
        if given:
            raise InputError(f"lossless leaves nothing to choose; leave out {given[0]}")
        if self.level_map is not None:
            raise InputError("lossless leaves nothing to choose; leave out the map")
        if self.patches == "never":
            raise InputError('lossless is made of patches; leave out patches="never"')

    @classmethod
    def of(cls, **given: Any) -> EncoderOptions:
        """Options from keyword arguments.

        Raises:
            InputError: an option is unknown, or as for the class.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise InputError(f"unknown option {unknown[0]!r}; known: {', '.join(known)}")
        return cls(**given)

    @property
    def rounds(self) -> int:
        """Rounds of the search for better symbols, at most."""
        return ROUNDS[DEFAULT_EFFORT if self.effort is None else self.effort]

    @property
    def looks_back(self) -> bool:
        """Whether to correct latents by their reconstruction and to fit a restoration filter."""
        return self.effort is None or self.effort > 0

    @property
    def has_target(self) -> bool:
        """Whether the level must be searched for."""
        targets = (self.target_bpp, self.target_size, self.target_psnr)
        return any(target is not None for target in targets)

    def level(self, config: ModelConfig) -> Level:
        """Level of a quality or lambda, the nearest that the model has.

        Raises:
            InputError: a value is outside what the model was trained for.
        """
        if self.lmbda is not None:
            low, high = config.lambda_min, config.lambda_max
            if not low * 0.9999 <= self.lmbda <= high * 1.0001:
                raise InputError(f"lambda must lie in {low:g}..{high:g} for this model")
            position = config.level_of(min(max(self.lmbda, low), high))
        else:
            quality = DEFAULT_QUALITY if self.quality is None else self.quality
            if not 0 <= quality <= 100:
                raise InputError("quality must lie in 0..100")
            position = quality / 100 * (config.anchors - 1)
        step = config.level_step
        return Level(round(position * UNITS / step) * step)

    def grid(self, height: int, width: int) -> Grid:
        """Tiles of a picture of this size."""
        side = self.tile_size
        if side is None:
            side = 0 if self.lossless or height * width <= UNTILED_PIXELS else WINDOW
        return Grid(height, width, side if side < max(height, width) else 0)


def _names(keep: Iterable[str]) -> tuple[str, ...]:
    """Names of metadata as a tuple, since an iterator can be read only once."""
    if isinstance(keep, Iterable) and not isinstance(keep, str):
        names = tuple(keep)
        if all(isinstance(name, str) for name in names):
            return names
    raise InputError('keep is a collection of names, such as ["icc"]', field="keep")
