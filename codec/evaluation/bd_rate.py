"""Bjontegaard difference of rates, and the peers to compare with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

Curve = Sequence[tuple[float, float]]
"""(bits per pixel, PSNR in dB), in any order."""


@dataclass(frozen=True)
class Peer:
    """Mean rate-distortion points of another codec over the 24 Kodak pictures."""

    source: str
    points: Curve


def kodak_peers() -> dict[str, Peer]:
    """Peers by name."""
    text = resources.files("codec.evaluation").joinpath("peers.json").read_text("utf-8")
    return {
        name: Peer(entry["source"], [(bpp, psnr) for bpp, psnr in entry["points"]])
        for name, entry in json.loads(text).items()
    }


def bd_rate(anchor: Curve, test: Curve) -> float:
    """Mean difference in rate of `test` against `anchor` at equal PSNR, in per cent.

    Negative means that `test` needs fewer bits. PCHIP over log rate, on the PSNR range that
    both cover.
    """
    import bjontegaard

    (anchor_rate, anchor_psnr), (rate, psnr) = (
        zip(*sorted(points), strict=True) for points in (anchor, test)
    )
    return float(
        bjontegaard.bd_rate(
            list(anchor_rate),
            list(anchor_psnr),
            list(rate),
            list(psnr),
            method="pchip",
            require_matching_points=False,
            min_overlap=0,
        )
    )
