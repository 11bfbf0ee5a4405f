"""Print a table for each statement of the theory.

With a folder of PNG pictures the last table compares sizes of real files with -log2 P.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import get_args

import click
import numpy as np
import torch
from PIL import Image

from codec.codec import Codec
from codec.entropy.tables import TOTAL
from codec.evaluation.measuring import measure
from codec.evaluation.ours import ModelCoder
from codec.evaluation.subjects import Reading, read_subject
from codec.model.densities import sigma_of_level
from codec.model.vector_quantizer import Rule
from codec.training.export import gaussian_tables
from codec.weights.config import ModelConfig
from scripts.theory.statements import (
    discretisation,
    encoder_gradient,
    gaussian_channel,
    integral_over_cell,
    normal_density,
    stationary_centres,
    triangle_cell,
    uniform_noise_channel,
)

WIDTHS = (0.5, 0.8, 1.0, 1.25, 2.0)
LEVELS = (0, 8, 16, 24, 32, 48, 63)
PICTURE = Path(__file__).parents[2] / "tests" / "data" / "flowers.png"
TINY = ModelConfig(channels8=16, channels16=24, blocks8=1, blocks16=1, latent=24, hyper=8, prior=8)


def heading(text: str, columns: str) -> None:
    """Print a title and the head of a table; columns are separated by bars."""
    names = columns.split("|")
    print(f"\n{text}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")


def information() -> None:
    """Print rates of coders, and the mutual information that they bound (statement 1)."""
    text = "1. I(x, z) = inf_Q E KL(P(z|x), Q): rate of a coder Q in nats, by Q's width"
    heading(text, "channel|width|rate|information|excess|KL(P(z), Q)")
    for width in WIDTHS:
        for name, bound in (
            ("Gaussian noise, closed form", gaussian_channel(2.0, 0.5, width)),
            ("uniform noise, as in training", uniform_noise_channel(2.0, width)),
        ):
            excess = bound.rate - bound.information
            print(
                f"| {name} | {width:g} | {bound.rate:.6f} | {bound.information:.6f} | "
                f"{excess:.6f} | {bound.divergence:.6f} |"
            )


def gradients() -> None:
    """Print gradients of the encoder through rounding and through noise (statement 2)."""
    with Image.open(PICTURE) as image:
        samples = np.asarray(image.convert("RGB").crop((0, 0, 64, 64)))
    x = torch.from_numpy(samples.copy()).permute(2, 0, 1)[None].float() / 255
    text = "2. Largest gradient of a parameter of the encoder"
    heading(text, "latents|of -ln P(z)|of Dist(x, g(z))")
    for name, rounded in (("round(f(x))", True), ("f(x) + uniform noise", False)):
        found = encoder_gradient(TINY, x, rounded)
        print(f"| {name} | {found.rate:g} | {found.distortion:g} |")


def densities() -> None:
    """Print frequency tables against integrals of the density (statement 3)."""
    text = "3. The tables of files against E_eps p(z + eps), and against p(z) itself"
    columns = "sigma|table - integral, of 2^24|(P - p) / max P|nats per symbol lost by p"
    heading(text, columns)
    tables = gaussian_tables()
    for level in LEVELS:
        sigma = sigma_of_level(torch.tensor(float(level), dtype=torch.float64))
        symbols = torch.arange(len(tables[level]), dtype=torch.float64) + int(tables.low[level])
        integral = integral_over_cell(partial(normal_density, sigma=sigma), symbols).numpy()
        error = np.abs(tables[level] - TOTAL * integral).max()
        found = discretisation(level)
        print(f"| {found.sigma:.4g} | {error:.2f} | {found.error:.2e} | {found.nats:.2e} |")
    mass, density = triangle_cell(torch.tensor([1.0, 2.5, -3.25], dtype=torch.float64), 6.0)
    difference = float((mass - density).abs().max())
    print(f"\nA density that is linear on the cell: |P - p| at most {difference:.1e}.")


def stationary_points() -> None:
    """Print distances of stationary centres from class means by rule (statement 4)."""
    text = "4. Centres at a stationary point: the mean of their class under one rule only"
    heading(text, "rule|largest gradient left|distance from the class mean")
    for rule in get_args(Rule):
        found = stationary_centres(rule)
        print(f"| {rule} | {found.gradient:.1e} | {found.distance:.2e} |")


def file_sizes(folder: Path, models: tuple[str, ...]) -> None:
    """Print sizes of files of the PNG pictures in a folder against -log2 P (statement 5)."""
    pictures = [read_subject(p.stem, p, Reading()) for p in sorted(folder.glob("*.png"))]
    text = f"5. Real files of {len(pictures)} pictures against -log2 P(z)"
    heading(text, "model|rounding|quality|bytes|-log2 P|file - model, bytes|at most %")
    for model in models:
        coder = ModelCoder(Codec(model))
        weights = coder.codec.weights
        for quality in (0.0, 50.0, 100.0):
            found = [measure(coder, picture, quality) for picture in pictures]
            excess = [m.excess for m in found]
            expected = sum(m.size for m in found) - sum(excess)
            relative = max(m.excess / (m.size - m.excess) for m in found)
            print(
                f"| {weights.name} | {weights.config.rounding} | {quality:g} | "
                f"{sum(m.size for m in found)} | {expected:.0f} | "
                f"{min(excess):.1f} to {max(excess):.1f} | {100 * relative:.2f} |",
                flush=True,
            )


@click.command()
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--model", "models", multiple=True, default=("photo", "vq"), show_default=True)
def main(folder: Path | None, models: tuple[str, ...]) -> None:
    """Print a table for each statement of the theory; the fifth measures PNG pictures in FOLDER."""
    information()
    gradients()
    densities()
    stationary_points()
    if folder:
        file_sizes(folder, models)


if __name__ == "__main__":
    main()
