"""The training run: one process per device, resumable at any step.

    vqcodec train PHOTOS --lambda 0.0018:0.18 --steps 20000 --out runs/photo
    torchrun --nproc-per-node 4 -m codec train ...          (the same on several GPUs)

The random generators of a step are seeded by (seed, rank, step), so that on a CPU a resumed run
repeats an uninterrupted one exactly. An interrupted run ends at the next step boundary and saves
its state.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from codec.errors import TrainingError
from codec.files import real
from codec.model.build import build_autoencoder
from codec.model.initialisation import (
    fit_codebooks,
    restart_dead_units,
    start_as_transform_codec,
)
from codec.model.metrics import psnr
from codec.model.objective import balance, evenness, rate_distortion, squared_error_weight
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.training.checkpoint import (
    Checkpoint,
    Position,
    restore_optimisers,
    save_checkpoint,
)
from codec.training.codebooks import CodebookUpkeep
from codec.training.devices import computes_in_bfloat16, join_process_group
from codec.training.extra import check_extra
from codec.training.interruption import StopSignals
from codec.training.level_maps import draw_maps, with_weighted_gradient
from codec.training.optimiser import build_optimisers, set_learning_rate
from codec.training.photos import (
    Photo,
    Pool,
    TilePool,
    centre_crops,
    find_photos,
    hold_out,
)
from codec.training.run_folder import LAST, TRUNK
from codec.training.run_log import RunLog
from codec.training.schedule import TrainingConfig
from codec.training.shards import ShardPool, find_shards, load_state
from codec.training.validation import CROP, reconstructions, validate
from codec.url import Place
from codec.weights.config import ModelConfig

MAX_BAD_STEPS = 50
"""Consecutive non-finite steps after which a run gives up."""
VALIDATION_CROPS = 32
INITIAL_CROPS = {"integer": 64, "vq": 256}
"""Number of 128x128 crops to which the linear layers or centres of a new model are fitted."""
RESTART_CROPS = 64
"""Number of these that decide which hidden units of an earlier model are dead."""


class Trainer:
    """State of a run between two steps.

    Args:
        run: folder of the run, which is not needed before the first checkpoint.
        photos: files and folders to train on, or shards, see `codec.training.shards`.
        model: configuration of the model; ignored when resuming.
        training: settings of the run.
        resume: checkpoint to continue from.
        initial: parameters to start from instead of a transform codec (DCT and PCA); codebooks and
            their prior may be absent.
        validation: files and folders to validate on, instead of a share of `photos`.

    Raises:
        TrainingError: a dependency is missing, or the settings do not fit the model or pictures.
    """

    def __init__(
        self,
        run: Path,
        photos: Sequence[Place],
        model: ModelConfig,
        training: TrainingConfig,
        resume: Checkpoint | None = None,
        initial: dict[str, Tensor] | None = None,
        validation: Sequence[Place] = (),
    ) -> None:
        check_extra()
        self.run, self.training = run, training
        self.rank, self.world, self.device = join_process_group()
        self.mixed_precision = computes_in_bfloat16(self.device)
        torch.manual_seed(training.seed)
        self.position = resume.position if resume else Position()
        model = resume.model if resume else model
        training.check_fits(model)
        self.pool, held_out = self._pictures(photos, validation)
        self.pool.advance_to(self.position.step)
        self.held_out, self._unreadable = centre_crops(held_out, CROP, VALIDATION_CROPS)
        if validation and self.held_out is None:
            raise TrainingError(
                f"none of {self._unreadable} pictures to validate on can be decoded; give others"
            )

        self.model = build_autoencoder(model)
        if resume:
            self.model.load_state_dict(resume.part("model"))
        else:
            self._start(initial)
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimisers = build_optimisers(self.model, fused=True)
        if resume:
            self.average.load_state_dict(resume.part("average"))
            restore_optimisers(resume, self.optimisers)
        self._clipped = [p for n, p in self.model.named_parameters() if n != "quantizer.centres"]
        self.upkeep: CodebookUpkeep | None = None
        if isinstance(self.model, VectorAutoencoder) and isinstance(
            self.average, VectorAutoencoder
        ):
            self.model.quantizer.rule = training.update_rule
            self.upkeep = CodebookUpkeep(self.model, self.average, len(self.pool), self.world)
        self._forward = self._prepare_forward()
        self._compiled_for: object = None
        self._bad_steps = 0
        self.skipped = 0

    def _pictures(
        self, photos: Sequence[Place], validation: Sequence[Place]
    ) -> tuple[Pool, Iterable[Photo]]:
        """The pool to train on, and pictures to validate on."""
        settings, step = self.training, self.position.step
        memory = settings.cache_mib << 20
        process = (settings.seed, self.rank, self.world)
        if shards := find_shards(photos):
            holdout = 0.0 if validation else settings.holdout
            state = load_state(self.run, step, self.rank) if step else None
            pool = ShardPool(shards, self.device, memory, *process, holdout, state, step)
            return pool, find_photos(validation) if validation else pool.held_out()
        if validation:
            held_out = find_photos(validation)
            kept = {real(photo) for photo in held_out}
            training_photos = [p for p in find_photos(photos) if real(p) not in kept]
        else:
            training_photos, held_out = hold_out(find_photos(photos), settings.holdout)
        return TilePool(training_photos, self.device, memory, *process), held_out

    def _start(self, initial: dict[str, Tensor] | None) -> None:
        count = INITIAL_CROPS[self.model.config.rounding]
        sample = self.pool.crops(count, 128, self._generator(-1))
        if initial is None:
            start_as_transform_codec(self.model, sample.cpu())
            return
        if isinstance(self.model, VectorAutoencoder) and "quantizer.centres" not in initial:
            self.model.load_state_dict(initial, strict=False)
            fit_codebooks(self.model, sample.cpu())
        else:
            self.model.load_state_dict(initial)
        restart_dead_units(self.model, sample[:RESTART_CROPS].cpu())

    def _prepare_forward(self) -> Callable[..., Any]:
        forward: nn.Module = self.model
        if self.world > 1:
            # The phase on rounded latents leaves the encoder without gradients.
            forward = DistributedDataParallel(
                forward, find_unused_parameters=True, broadcast_buffers=False
            )
        # A run has four pairs of crop and surrogate at most, with and without a map of levels, each
        # compiled for its own shapes.
        return torch.compile(forward, dynamic=False) if self.device.type == "cuda" else forward

    def _generator(self, step: int) -> torch.Generator:
        """Seed the global generators, of noise, and make one of the choice of data.

        Both are functions of (seed, rank, step), and independent: with one seed the noise of a step
        would be the numbers that its crops, levels and variations were drawn with.
        """
        mixed = np.random.SeedSequence((self.training.seed, self.rank, step + 2))  # from -2 on
        noise, data = (int(seed) >> 1 for seed in mixed.generate_state(2, np.uint64))
        torch.manual_seed(noise)
        return torch.Generator().manual_seed(data)

    @property
    def unreadable(self) -> int:
        """Number of pictures that were found unreadable so far, and left out."""
        # Pictures to validate on are the same for all processes: the first one counts them.
        return self.pool.skipped + (0 if self.rank else self._unreadable)

    @property
    def progress(self) -> float:
        """Progress of the run, 0..1."""
        return self.training.progress(self.position.step, self.position.elapsed)

    def step(self) -> dict[str, float] | None:
        """Take one optimiser step.

        Returns:
            Scalars for the log; None if a gradient was not finite, and the step was skipped.

        Raises:
            TrainingError: too many steps in a row were not finite.
        """
        began = time.perf_counter()
        step, progress = self.position.step, self.progress
        generator = self._generator(step)
        self.pool.advance_to(step)
        batch, side = self.training.crop_at(progress)
        surrogate = self.training.surrogate_at(progress)
        x = self.pool.crops(batch, side, generator, self.training.variety)
        x = x.to(self.device, memory_format=torch.channels_last)
        config = self.model.config
        level = draw_levels(config, batch, generator)
        lmbda = torch.tensor([config.lambda_of(v) for v in level.tolist()], device=self.device)

        share = balance(lmbda, config.lambda_of((config.anchors - 1) / 2)) / batch
        weight = share * squared_error_weight(lmbda, side**2)
        levels = draw_maps(level, side, config, self.training.maps, generator)

        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed_precision):
            result = self._forward(x, levels.to(self.device), surrogate, weight)
        x_hat = with_weighted_gradient(result.x_hat, levels, level, config)
        result = result._replace(x_hat=x_hat)
        loss = rate_distortion(x, result, lmbda, config.distortion)
        balanced = loss.value * share
        # The quantizer to centres applies `weight` to its own gradients, but no evenness.
        even = evenness(balanced) if config.rounding == "integer" else 1.0
        value = (balanced * even).sum()
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._clipped, self.training.clip_norm)
        rate = self.training.learning_rate_at(step, progress)
        finite = self._finite(norm)
        if finite:
            set_learning_rate(self.optimisers, rate)
            for optimiser in self.optimisers:
                optimiser.step()
            self._update_average(step)
        if self.upkeep:
            self.upkeep.after_step(x, progress)
        terms = torch.stack([value, loss.bpp.mean(), psnr(loss.mse).mean(), norm])
        value_, bpp, psnr_, norm_ = terms.tolist()
        self.position.step += 1
        shape = (batch, side, surrogate, levels.dim())
        if self.device.type != "cuda" or shape == self._compiled_for:  # compiling is no training
            self.position.elapsed += time.perf_counter() - began
        self._compiled_for = shape
        if not finite:
            return None
        return {
            "loss": value_,
            "bpp": bpp,
            "psnr": psnr_,
            "norm": norm_,
            "rate": rate,
            "crop": side,
        }

    def _finite(self, norm: Tensor) -> bool:
        if bool(torch.isfinite(norm)):
            self._bad_steps = 0
            return True
        self.skipped += 1
        self._bad_steps += 1
        if self._bad_steps >= MAX_BAD_STEPS:
            raise TrainingError(
                f"{MAX_BAD_STEPS} steps in a row were not finite; lower the learning rate"
            )
        return False

    def synchronise(self, stop: bool) -> bool:
        """Share the largest elapsed time among all processes, and so the schedule.

        Returns:
            Whether any process wants to stop.
        """
        if self.world == 1:
            return stop
        shared = torch.tensor([self.position.elapsed, float(stop)], dtype=torch.float64)
        shared = shared.to(self.device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        self.position.elapsed = float(shared[0])
        return bool(shared[1])

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.training.ema, (1 + step) / (10 + step))
        averaged: list[Tensor] = list(self.average.parameters())
        current: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def validate(self) -> list[dict[str, float]]:
        """Measure rate points of the averaged weights on the held-out photographs."""
        if self.held_out is None:
            return []
        crops = self.held_out.to(self.device)
        return [point._asdict() for point in validate(self.average, crops)]

    def log_validation(self, log: RunLog) -> list[dict[str, float]]:
        """Validate, and write reconstructions into the log; returns the rate points."""
        if self.held_out is not None:
            crops = self.held_out.to(self.device)
            log.write_pictures(self.position.step, reconstructions(self.average, crops))
        return self.validate()

    def sample_for_export(self) -> Tensor:
        """Draw the crops that the export measures on, the same for one pool and seed."""
        return export_sample(self.pool, self._generator(-2), self.training.export_crops)

    def save(self, name: str = LAST) -> None:
        """Write the exact state into the run folder, all but the pool by the first process."""
        self.pool.save(self.run / name, self.position.step)
        if self.rank == 0:
            save_checkpoint(
                self.run / name,
                self.training,
                self.position,
                self.model,
                self.average,
                self.optimisers,
            )

    def wait(self) -> None:
        """Wait for all processes, so that none waits inside a step, which is timed."""
        if self.world > 1:
            torch.distributed.barrier()

    def close(self) -> None:
        """End the decoding threads and leave the process group."""
        self.pool.close()
        if self.world > 1:
            self._forward = self.model
            gc.collect()  # the wrapper, in a cycle with its hooks, goes before its process group
            torch.distributed.destroy_process_group()


def train(
    trainer: Trainer,
    report: Callable[[float, dict[str, Any]], None] | None = None,
    log_every: int = 50,
    save_every_seconds: float = 600.0,
    stop_at: int | None = None,
) -> None:
    """Run to the end of the schedule, or to step `stop_at`.

    Args:
        trainer: state of the run.
        report: called with the progress and each entry of the log.
        log_every: steps per entry of the log; the last entry has what steps remain.
        save_every_seconds: time between checkpoints, each with a validation.
        stop_at: step at which to stop early.
    """
    # A run whose new length is behind it is exported, and its checkpoint keeps the length it had.
    began, saved = trainer.position.step, (trainer.run / LAST).is_file()
    with StopSignals() as signals:
        with RunLog(trainer.run) if trainer.rank == 0 else nullcontext() as log:
            _run(trainer, log, report, log_every, save_every_seconds, stop_at, signals)
        if trainer.position.step != began or not saved:
            trainer.save()
        trainer.wait()  # no process leaves while another still needs it


def _run(
    trainer: Trainer,
    log: RunLog | None,
    report: Callable[[float, dict[str, Any]], None] | None,
    log_every: int,
    save_every_seconds: float,
    stop_at: int | None,
    signals: StopSignals,
) -> None:
    saved = trainer.position.elapsed
    before_decay = trainer.progress < trainer.training.decay_from
    sums: dict[str, float] = {}
    count = 0
    attempts = 0
    stop = False
    while trainer.progress < 1 and trainer.position.step != stop_at and not stop:
        terms = trainer.step()
        stop = trainer.synchronise(signals.received is not None)
        attempts += 1
        for key, value in (terms or {}).items():
            sums[key] = sums.get(key, 0.0) + value
        count += terms is not None
        if before_decay and trainer.progress >= trainer.training.decay_from:
            before_decay = False
            trainer.save(TRUNK)
            trainer.wait()
        if attempts == log_every:
            entry = _entry(trainer, sums, count)
            sums, count, attempts = {}, 0, 0
            if trainer.position.elapsed - saved > save_every_seconds:
                saved = trainer.position.elapsed
                trainer.save()
                entry["validation"] = trainer.log_validation(log) if log else []
                trainer.wait()
            if log:
                log.write(entry)
            if report:
                report(trainer.progress, entry)
    if log and (attempts or not stop):
        entry = _entry(trainer, sums, count) if attempts else dict(vars(trainer.position))
        if not stop:
            entry["validation"] = trainer.log_validation(log)
        log.write(entry)
        if report:
            report(trainer.progress, entry)


def _entry(trainer: Trainer, sums: dict[str, float], count: int) -> dict[str, Any]:
    """Entry of the log over the steps since the last one, of which `count` were finite."""
    entry: dict[str, Any] = {key: value / count for key, value in sums.items()}
    entry |= {"skipped": trainer.skipped} | vars(trainer.position)
    return entry | (trainer.upkeep.statistics if trainer.upkeep else {})


def draw_levels(config: ModelConfig, batch: int, generator: torch.Generator) -> Tensor:
    """Draw one level per picture, [batch], stratified over the range of lambdas.

    Each of `batch` equal parts of the range gets one picture, at random inside it and in random
    order. Levels are in 0..anchors - 1; whole numbers for models that round to centres.
    """
    strata = torch.randperm(batch, generator=generator)
    positions = (strata + torch.rand(batch, generator=generator)) / batch
    if config.rounding == "vq":  # a whole number of residual levels
        return (positions * config.anchors).floor()
    return positions * (config.anchors - 1)


def export_sample(pool: Pool, generator: torch.Generator, count: int) -> Tensor:
    """Draw unvaried training crops for the export to measure on, uint8 [count, 3, 256, 256].

    Tables and kernels that were fitted to varied crops did 0.1 % worse, on varied pictures too.
    """
    crops = pool.crops(count, CROP, generator)
    return (crops * 255).round().to(torch.uint8).cpu()
