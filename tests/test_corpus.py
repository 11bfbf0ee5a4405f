"""The corpus of drawn pictures that patches are tested and measured on."""

from __future__ import annotations

from collections import Counter

import numpy as np

from scripts.corpus import Drawn, noises, screenshots, stripes


def test_corpus_has_all_kinds_under_names_of_their_own(corpus: list[Drawn]) -> None:
    kinds = Counter(drawn.kind for drawn in corpus)
    assert len(corpus) >= 60
    assert len({drawn.name for drawn in corpus}) == len(corpus)
    assert kinds["text"] >= 24
    assert kinds["stripes"] == 8
    wanted = (
        "dark theme, screenshot, palette art, dither, line art, scan, map, plot, code, gradient"
    )
    assert {*wanted.split(", "), "mosaic", "noise", "flat", "extreme"} <= kinds.keys()
    sizes = {drawn.image.size for drawn in corpus}
    assert {(1, 1), (1, 65535), (65535, 1)} <= sizes


def test_corpus_is_the_same_every_time() -> None:
    for draw in (screenshots, stripes, noises):
        for one, other in zip(draw(), draw(), strict=True):
            assert np.array_equal(np.asarray(one.image), np.asarray(other.image)), one.name
