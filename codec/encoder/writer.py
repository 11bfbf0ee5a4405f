"""The writer as a whole: a picture and options to a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from codec.encoder.encoded import Encoded
from codec.encoder.lossless import encode_lossless
from codec.encoder.model import EncoderModel
from codec.encoder.options import EncoderOptions
from codec.encoder.patch_boxes import WRITTEN_PIXELS
from codec.encoder.patch_choice import PatchChoice
from codec.encoder.photograph_rates import photograph_rates
from codec.encoder.picture import PictureEncoder
from codec.encoder.plan import Plan
from codec.encoder.quality_map import offsets_of
from codec.encoder.targets import meet
from codec.errors import InputError, LimitError
from codec.format.header import MAX_SIDE
from codec.level_map import STEP
from codec.limits import Limits, Work, tile_work
from codec.loaded import LoadedModel
from codec.picture.patch import ENCODING_BYTES
from codec.picture.pixels import Picture, Source, from_image
from codec.pool import Progress, threaded_map
from codec.tiles import WINDOW, Grid


@dataclass(frozen=True)
class Report:
    """What is asked for besides the file."""

    measure: bool = False
    """The PSNR, which takes the synthesis of the whole picture."""
    reconstruct: bool = False
    """The reconstruction, which takes that synthesis too."""
    progress: Progress | None = None
    """Called with (steps done, steps in all) of the present trial, a step being a tile or a round
    of its search; by one thread at a time, but by any."""


class Writer:
    """Writes files of one model; may be used from several threads.

    Args:
        model: to code with.
        limits: on pixels and memory.
        threads: tiles in work at once, at most; None for as many as the engine has threads.
    """

    def __init__(self, model: LoadedModel, limits: Limits, threads: int | None = None) -> None:
        self._model = model
        self._limits = limits
        self._threads = threads

    @cached_property
    def _rounding(self) -> EncoderModel:
        return EncoderModel(self._model)

    @cached_property
    def _searching(self) -> EncoderModel:
        return EncoderModel(self._model.with_derivatives())

    def _plan(self, options: EncoderOptions) -> Plan:
        """What the effort does, with derivatives where that needs them."""
        plan = Plan.of(self._rounding, options)
        return replace(plan, model=self._searching) if plan.rounds else plan

    def encode(self, image: Source, options: EncoderOptions, report: Report) -> Encoded:
        """Compress a picture.

        Raises:
            InputError: the picture or a value is not supported, or a target out of reach.
            LimitError: too many pixels or too much memory.
        """
        config = self._model.config
        if options.lossless:
            return write_lossless(
                image, options, self._model.id, config.rounding, self._limits, report
            )
        picture, grid = _accepted(image, options, self._limits)
        plan = self._plan(options)
        grid, count = self._fitting(plan, grid, options, report)
        offsets = None
        if options.level_map is not None:
            offsets = offsets_of(options.level_map, picture.height, picture.width, config)
        with threaded_map(plan.model.engine, count) as mapper:
            encoder = PictureEncoder(
                plan,
                picture,
                grid,
                mapper,
                measure=_measures(options, report),
                reconstruct=report.reconstruct,
                trials=options.has_target,
                progress=report.progress,
                offsets=offsets,
            )
            rates = photograph_rates(self._model.id, config)
            if offsets is not None:
                rates = rates.over(STEP * int(offsets.min()), STEP * int(offsets.max()))
            choice = PatchChoice(encoder, rates) if options.patches == "auto" else None
            encoded = meet(encoder, options, config, choice)
        least = rates.least_psnr(encoded.header.level)
        return replace(encoded, below_promise=encoded.psnr < least)

    def _fitting(
        self, plan: Plan, grid: Grid, options: EncoderOptions, report: Report
    ) -> tuple[Grid, int]:
        """Tiles for which the memory suffices, and how many of them may be in work at once."""
        try:
            return grid, self._at_once(plan, grid, options, report)
        except LimitError:
            if options.tile_size is not None or grid.side:
                raise
            tiled = replace(options, tile_size=WINDOW)  # tiles need less
            grid = tiled.grid(grid.height, grid.width)
            return grid, self._at_once(plan, grid, options, report)

    def _at_once(self, plan: Plan, grid: Grid, options: EncoderOptions, report: Report) -> int:
        work = work_of(plan, grid, options, report)
        most = min(self._threads or plan.model.engine.threads, len(grid))
        remedy = "" if self._limits.allow(work) else self._remedy(plan, grid, options, report)
        return self._limits.at_once(work, most, remedy)

    def _remedy(self, plan: Plan, grid: Grid, options: EncoderOptions, report: Report) -> str:
        """What else than a higher limit would help; empty if nothing would."""
        lighter = {
            "lower the effort, or ": work_of(
                replace(plan, model=self._rounding, rounds=0), grid, options, report
            ),
            "do not measure, or ": work_of(plan, grid, options, Report()),
        }
        return next((what for what, less in lighter.items() if self._limits.allow(less)), "")


def write_lossless(
    image: Source,
    options: EncoderOptions,
    model_id: bytes,
    rounding: str,
    limits: Limits,
    report: Report,
) -> Encoded:
    """Compress a picture without loss; the model that the file names is not needed.

    Args:
        image: to be stored.
        options: with `lossless`.
        model_id: of the model that the file names.
        rounding: of that model.
        limits: on pixels and memory.
        report: what else is asked for.

    Raises:
        InputError, LimitError: as for `Writer.encode`.
    """
    picture, grid = _accepted(image, options, limits)
    return encode_lossless(
        picture, grid, model_id, rounding, limits, report.reconstruct, report.progress
    )


def _accepted(source: Source, options: EncoderOptions, limits: Limits) -> tuple[Picture, Grid]:
    """A picture that can be compressed, and its tiles."""
    picture = from_image(source, options.keep, options.to_8bit)
    if max(picture.height, picture.width) > MAX_SIDE:
        raise InputError(f"sides must lie in 1..{MAX_SIDE} pixels")
    limits.check_pixels(picture.width, picture.height)
    return picture, options.grid(picture.height, picture.width)


def _measures(options: EncoderOptions, report: Report) -> bool:
    return report.measure or options.target_psnr is not None


def work_of(plan: Plan, grid: Grid, options: EncoderOptions, report: Report) -> Work:
    """Memory of the work on a picture.

    Args:
        plan: what the effort does.
        grid: tiles of the picture.
        options: a target asks for trials, and maybe for the PSNR.
        report: what else is asked for.
    """
    engine, measures = plan.model.engine, _measures(options, report)
    patches = ENCODING_BYTES * min(grid.whole.area, WRITTEN_PIXELS)
    return tile_work(
        grid,
        grid.whole,
        engine.analysis_halo,
        engine.footprint,
        extra=plan.memory(grid),
        kept=plan.kept(grid, measures, report.reconstruct, options.has_target),
        instead=patches if options.patches == "auto" else 0,
        analyses=True,
    )
