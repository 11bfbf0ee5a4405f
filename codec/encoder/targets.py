"""Meeting a size or a PSNR: levels are tried by exact costs, and only what fits is coded.

A file differs from its estimate: by a few bytes, since a stream is a whole number of words, and by
what is done beyond rounding, which makes it larger and better or smaller. So a level is looked for
among estimates, the file of that level is made, and if it misses, the same is done with all
estimates moved by the difference. Only a file on the right side of the target is given out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from codec.encoder.encoded import Encoded
from codec.encoder.options import EncoderOptions
from codec.encoder.patch_choice import PatchChoice
from codec.encoder.picture import PictureEncoder
from codec.encoder.rate_search import LevelSearch
from codec.errors import InputError
from codec.level import LOWEST, UNITS, Level
from codec.weights.config import ModelConfig

SIZE_TOLERANCE = 0.005
"""Tolerance of the logarithm of a file's size."""
PSNR_TOLERANCE = 0.02
"""Tolerance of a PSNR in dB."""
DECADES_OF_BYTES = 1.0
SPAN_OF_PSNR = 12.0
"""Span of size and PSNR over the whole ladder of the released model: first guesses of a search."""
LARGEST_SIZE = 1 << 62
"""Bytes of a file that no rate per pixel asks for."""
FLAWLESS = 140.0
"""dB that stand for infinitely many: more than one wrong sample in the largest picture leaves."""
ATTEMPTS = 5
"""Files that are made at most, with what the effort allows and without."""


@dataclass(frozen=True)
class _Target:
    """A quantity that rises with the level, and where it shall end."""

    value: float
    sign: int
    """1 if it is never to be above the value, -1 if never below."""
    tolerance: float
    """Distance to the value that is close enough."""
    span: float
    """Change over the whole ladder, roughly."""
    expect: Callable[[Level], float]
    """The quantity at a level by exact costs alone."""
    measure: Callable[[Encoded], float]
    """The quantity of a finished file."""

    def gap(self, encoded: Encoded) -> float:
        """Distance of a file to the value; negative on the wrong side."""
        return self.sign * (self.value - self.measure(encoded))


def meet(
    encoder: PictureEncoder,
    options: EncoderOptions,
    config: ModelConfig,
    choice: PatchChoice | None,
) -> Encoded:
    """The file that the options ask for; a target takes some trials.

    Args:
        encoder: of the picture, without patches; measures the PSNR if that is the target.
        options: quality, lambda or a target.
        config: of the model.
        choice: of patches for this encoder; None for no patches.

    Raises:
        InputError: the model cannot meet the target, or a value is out of its range.
    """
    if not options.has_target:
        level = options.level(config)
        return choice.encode(level) if choice else encoder.encode(level)
    if choice:
        return _met_with(choice, encoder, options, config)
    return _checked(_closest_of(encoder, options, config), encoder, options)


def _met_with(
    choice: PatchChoice, encoder: PictureEncoder, options: EncoderOptions, config: ModelConfig
) -> Encoded:
    """The best of the files that meet a target without patches, with those that pay at the level
    of that file, and with patches over everything.

    The best has the greatest PSNR for a size, and the fewest bytes for a PSNR.

    Raises:
        InputError: none meets it.
    """
    whole = choice.whole.encode(LOWEST) if choice.slender else None
    if whole and _meets(whole, encoder, options):
        return whole
    plain = _closest_of(encoder, options, config)
    if not choice.reconsider(plain):
        return _checked(plain, encoder, options)
    found = [(encoder, plain), (choice.whole, whole or choice.whole.encode(LOWEST))]
    chosen = choice.encoder(plain.header.level)
    if chosen not in (encoder, choice.whole):
        found.append((chosen, _closest_of(chosen, options, config)))
    meeting = [one for one in found if _meets(one[1], encoder, options)]
    if len(meeting) < 2:
        sign = 1 if options.target_psnr is None else -1
        nearest = min(meeting or found, key=lambda one: sign * _value(one[1], options))
        return _checked(nearest[1], encoder, options)
    if options.target_psnr is not None:
        return min((encoded for _, encoded in meeting), key=lambda one: len(one.data))
    return max(meeting, key=lambda one: one[0].trial(one[1].header.level).psnr)[1]


def _closest_of(encoder: PictureEncoder, options: EncoderOptions, config: ModelConfig) -> Encoded:
    """The file of an encoder that meets a target, or comes closest."""
    if options.target_psnr is not None:
        target = _psnr_target(encoder, options.target_psnr)
    else:
        target = _size_target(encoder, _most_bytes(encoder, options))
    return _closest(encoder, target, config.levels)


def _most_bytes(encoder: PictureEncoder, options: EncoderOptions) -> int:
    """Size that a target allows."""
    if options.target_bpp is not None:
        return math.floor(min(options.target_bpp * encoder.grid.whole.area / 8, LARGEST_SIZE))
    assert options.target_size is not None
    return options.target_size


def _value(encoded: Encoded, options: EncoderOptions) -> float:
    """What a target is about, of a file."""
    return len(encoded.data) if options.target_psnr is None else encoded.psnr


def _meets(encoded: Encoded, encoder: PictureEncoder, options: EncoderOptions) -> bool:
    value = _value(encoded, options)
    if options.target_psnr is not None:
        return value >= options.target_psnr
    return value <= _most_bytes(encoder, options)


def _checked(encoded: Encoded, encoder: PictureEncoder, options: EncoderOptions) -> Encoded:
    """A file, if it meets a target.

    Raises:
        InputError: it does not.
    """
    if _meets(encoded, encoder, options):
        return encoded
    value = _value(encoded, options)
    if options.target_psnr is not None:
        raise InputError(
            f"no file of {options.target_psnr} dB found; of those tried the best has {value:.2f}; "
            "ask for less, or keep every sample with lossless",
            field="lossless",
        )
    raise InputError(
        f"no file of {_most_bytes(encoder, options)} bytes found; of those tried the smallest has "
        f"{value:.0f}; ask for more, or make the picture smaller"
    )


def _size_target(encoder: PictureEncoder, size: int) -> _Target:
    return _Target(
        value=math.log(max(size, 1)),
        sign=1,
        tolerance=SIZE_TOLERANCE,
        span=DECADES_OF_BYTES * math.log(10),
        expect=cache(lambda level: math.log(encoder.estimate(level).size)),
        measure=lambda encoded: math.log(len(encoded.data)),
    )


def _psnr_target(encoder: PictureEncoder, psnr: float) -> _Target:
    return _Target(
        value=psnr,
        sign=-1,
        tolerance=PSNR_TOLERANCE,
        span=SPAN_OF_PSNR,
        expect=cache(lambda level: min(encoder.estimate(level, measure=True).psnr, FLAWLESS)),
        measure=lambda encoded: min(encoded.psnr, FLAWLESS),
    )


class _Attempts:
    """Files of an encoder for a target, each made once; the one that comes closest is kept.

    One on the right side of the target comes closer than any on the other.
    """

    def __init__(self, encoder: PictureEncoder, target: _Target) -> None:
        self._encoder = encoder
        self._target = target
        self._gaps: dict[tuple[Level, bool], float] = {}
        self._best: tuple[tuple[bool, float], Encoded] | None = None

    def gap(self, level: Level, rounding_only: bool) -> float:
        """Distance of a file to the target; negative on the wrong side.

        Args:
            level: of the file.
            rounding_only: whether the effort is left out.
        """
        key = level, rounding_only
        if key not in self._gaps:
            encoded = self._encoder.encode(level, rounding_only)
            gap = self._gaps[key] = self._target.gap(encoded)
            rank = gap >= 0, -abs(gap)
            if self._best is None or rank > self._best[0]:
                self._best = rank, encoded
        return self._gaps[key]

    @property
    def meets(self) -> bool:
        """Whether one is on the right side."""
        return self._best is not None and self._best[0][0]

    @property
    def closest(self) -> Encoded:
        """The file that comes closest, once there is one."""
        assert self._best is not None
        return self._best[1]


def _closest(encoder: PictureEncoder, target: _Target, levels: range) -> Encoded:
    """The file that comes closest from the right side; if none does, from the other side, where
    the end of the ladder is tried too and, as of flat pictures, that of its anchors which is
    expected to come closest."""
    attempts = _Attempts(encoder, target)
    ways = (False, True) if encoder.does_more else (True,)
    for rounding_only in ways:
        _try(attempts, target, levels, rounding_only)
        if attempts.meets:
            return attempts.closest
    anchors = levels[:: max(1, UNITS // levels.step)]
    last = Level(min(anchors, key=lambda level: target.sign * target.expect(Level(level))))
    for rounding_only in ways:
        attempts.gap(last, rounding_only)
    return attempts.closest


def _try(attempts: _Attempts, target: _Target, levels: range, rounding_only: bool) -> None:
    """Make some files, ever closer to a target, with what the effort allows or without."""

    def trial(number: int) -> tuple[int, float]:
        return number, target.expect(Level(levels[number]))

    top = len(levels) - 1
    search = LevelSearch(trial, 0, top, target.span / max(top, 1), target.tolerance)
    moved, tried = 0.0, dict[int, bool]()
    for _ in range(ATTEMPTS):
        aim = target.value - moved
        number = search.greatest_below(aim) if target.sign > 0 else search.least_above(aim)
        if number is None:
            number = 0 if target.sign > 0 else top
        number = _between(tried, number, target.sign)
        if number in tried:
            break
        gap = attempts.gap(Level(levels[number]), rounding_only)
        tried[number] = gap >= 0
        if 0 <= gap <= target.tolerance:
            break
        measured = target.value - target.sign * gap
        difference = measured - target.expect(Level(levels[number]))
        moved = difference + target.sign * min(max(0.0, -gap), target.tolerance / 2)


def _between(tried: dict[int, bool], number: int, sign: int) -> int:
    """A number, or half way between those on the right side of the target and those on the wrong
    side if it is not there: files may differ from their estimates by more at one than at another.

    Args:
        tried: whether the files of some numbers were on the right side.
        number: to try next.
        sign: 1 if the right side is below, -1 if it is above.
    """
    right = [sign * one for one, is_right in tried.items() if is_right]
    wrong = [sign * one for one, is_right in tried.items() if not is_right]
    if not (right and wrong) or max(right) < sign * number < min(wrong):
        return number
    return sign * ((max(right) + min(wrong)) // 2)
