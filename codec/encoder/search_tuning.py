"""Constants of the search, chosen by the bits that it saves.

All were tuned on 4 to 16 held-out tiles of 256x256 at four or five levels, with 1 to 48 rounds;
EFFORT.md has the formulas that they stand in.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchTuning:
    """Assumptions and bounds of the search."""

    corrections: int = 2
    """Corrections before the descent, which saves more when it starts from corrected latents."""
    selection: float = 0.2
    """Least predicted gain of a step relative to the largest at its position, with many rounds
    left,"""
    last_selection: float = 0.45
    """and what the last round adds."""
    damping: float = 0.45
    """Factor on the curvature, with many rounds left,"""
    last_damping: float = 0.5
    """and what the last round adds."""
    half_as_cautious: int = 3
    """Rounds left at which half of these two is added: later rounds mend what earlier ones
    spoil."""
    threshold: float = 1.7
    """Least predicted gain of a step in bits."""
    context: float = 5.5
    """Curvature in bits added in the first half of the passes, from which the others are
    predicted."""
    channel_in_photographs: float = 0.7
    """Prior of a latent's curvature: share of that of its channel in photographs,"""
    channel_in_picture: float = 0.53
    """of the mean of its channel in this picture,"""
    position: float = 0.24
    """and of the first times the relative curvature at its position."""
    gradient: float = 0.1
    """Curvature added per unit of gradient. Gradients come from rounding errors, of half a step at
    most, times curvatures; single steps of latents with large ones met 2 to 4 times the curvature
    of their channel in photographs."""
    prior_samples: int = 8
    """Weight of the prior in samples of the curvature, whose deviation is 1.4 times their mean."""
    ms_ssim_excess: float = 2.0
    """Prior of the curvature of MS-SSIM, relative to photographs: along single steps it is larger
    than on average. With 1.5, 8 rounds saved 0.4 % less; without the position 1.5 % less."""
    secant_samples: int = 8
    """Weight of a secant in samples of the curvature."""
    secant_bound: float = 10.0
    """Largest ratio of a secant to the samples: steps of other latents change the gradient too."""
    sample_bound: float = 30.0
    """Largest ratio of a sample to the curvature of its channel in photographs."""
    rounds_per_sample: int = 4
    """Rounds that share a sample of the curvature, which takes a third of the time of a round."""
    least_step: float = 0.6
    """Change of a latent that counts as a step; means of later passes move by less."""
    memory: float = 0.4
    """Share of earlier rounds in the gradient that a round uses."""
    astray: float = 1.5
    """Cost relative to the best at which the search returns to the best: the synthesis can amplify
    without bound where steps lead, and neighbouring latents follow."""
    least_patience: int = 4
    """Rounds without progress, after the first half, before it does so too: at least these,"""
    patience: int = 6
    """or all rounds divided by this."""
    settling: int = 12
    """Rounds after that, at most."""
    least_gain: float = 1.0
    """Bits that a candidate must save."""


TUNING = SearchTuning()
