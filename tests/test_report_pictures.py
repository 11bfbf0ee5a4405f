from __future__ import annotations

import numpy as np

from codec.evaluation.report.pictures import heat_map, window_of


def test_windows_lie_on_blocks() -> None:
    assert window_of(768, 512).box == (0, 0, 768, 512)
    window = window_of(3001, 1000)
    assert (window.width, window.height) == (768, 768)
    assert window.left % 16 == window.top % 16 == 0
    assert abs(window.left - (3001 - 768) / 2) < 16


def test_heat_maps_keep_the_total_and_clip_the_top() -> None:
    bits = np.full((40, 40), 10.0)
    bits[0, 0] = 1000
    _, scale = heat_map(bits, window_of(640, 633))
    assert scale.top == 10
    assert scale.most == 1000
    assert scale.total == bits.sum()
    assert heat_map(np.zeros((1, 1)), window_of(3, 5))[1].top > 0
