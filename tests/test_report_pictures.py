from __future__ import annotations

import base64
import dataclasses
from io import BytesIO

import numpy as np
from PIL import Image

from codec.evaluation.report.pictures import BLIND_SIDE, OUTLINE, heat_map, panel, window_of
from codec.tiles import Box
from tests.evaluations import comparison_of


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


def test_patches_are_outlined_on_heat_maps() -> None:
    window = window_of(96, 64)
    uri, _ = heat_map(np.zeros((4, 6)), window, [Box(16, 32, 64, 64), Box(80, 0, 96, 16)])
    png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    drawn = np.asarray(Image.open(BytesIO(png)).convert("RGB"))
    outlined = (drawn == OUTLINE).all(2)
    expected = np.zeros((64, 96), bool)
    expected[32:64, 16:64] = expected[0:16, 80:96] = True
    expected[34:62, 18:62] = expected[2:14, 82:94] = False
    assert np.array_equal(outlined, expected)
    assert len(np.unique(drawn[~outlined], axis=0)) == 1


def test_the_blind_comparison_is_with_avif_as_people_get_it() -> None:
    comparison = comparison_of("a", 400, 360)
    assert panel(comparison).rival == 3  # avif, the peer of the highest PSNR
    jpeg, avif = comparison.peers
    peers = [avif, dataclasses.replace(jpeg, codec="avif-iq"), jpeg]
    found = panel(dataclasses.replace(comparison, peers=peers))
    assert found.rival == 3
    assert found.trial
    assert (found.trial.rival, found.trial.rival_size) == ("avif-iq", jpeg.size)
    assert found.versions[found.trial.rival_number].label == "avif-iq"
    assert (found.trial.ours, found.trial.ours_size) == ("vqcodec", comparison.ours.size)
    alone = panel(dataclasses.replace(comparison, peers=[]))
    assert (alone.rival, alone.trial) == (0, None)


def test_its_crop_is_where_both_differ_most() -> None:
    comparison = comparison_of("a", 700, 500)
    avif = comparison.peers[1]
    spoilt = avif.image.copy()
    spoilt.paste((0, 0, 0), (690, 440, 700, 500))
    peers = [dataclasses.replace(avif, image=spoilt)]
    trial = panel(dataclasses.replace(comparison, peers=peers)).trial
    assert trial
    assert trial.crop == (700 - BLIND_SIDE, 500 - BLIND_SIDE, BLIND_SIDE, BLIND_SIDE)
    small = panel(comparison_of("a", 100, 40)).trial
    assert small
    assert small.crop == (0, 0, 100, 40)
