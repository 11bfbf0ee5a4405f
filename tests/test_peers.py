from __future__ import annotations

import math
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.errors import InputError
from codec.evaluation.coders import Coder, match_size
from codec.evaluation.metrics import psnr
from codec.evaluation.peers import PEERS, find_peers

PILLOW = [name for name, source in PEERS.items() if not source.programs]


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Coder:
    found, missing = find_peers((request.param,))
    if missing:
        pytest.skip(missing[request.param])
    return found[0]


@pytest.mark.slow
def test_settings_rise_in_rate_and_quality(peer: Coder, city: Image.Image) -> None:
    if peer.name in ("webp-lossless", "png"):
        assert psnr(city, peer.decode(peer.encode(city, *peer.settings))) == math.inf
        return
    few = peer.settings[1], peer.settings[4], peer.settings[-1]
    files = [peer.encode(city, setting) for setting in few]
    sizes = [len(data) for data in files]
    assert sizes == sorted(set(sizes))
    qualities = [psnr(city, peer.decode(data)) for data in files]
    assert qualities == sorted(set(qualities))
    assert qualities[0] > 20
    assert set(peer.settings) <= set(peer.finer) or peer.name == "jpeg2000"
    assert any(character.isdigit() for character in peer.description)


def test_grey_stays_grey(peer: Coder, city: Image.Image) -> None:
    grey = city.convert("L")
    decoded = peer.decode(peer.encode(grey, peer.settings[-1]))
    samples = np.asarray(decoded.convert("RGB")).astype(int)
    assert np.ptp(samples, axis=2).max() <= 2
    assert psnr(grey, decoded) > 30


def test_transparency_is_kept_or_refused(peer: Coder, city: Image.Image) -> None:
    clear = city.copy()
    clear.putalpha(Image.linear_gradient("L").resize(city.size))
    if peer.name == "jpeg":
        with pytest.raises(InputError, match="transparency"):
            peer.encode(clear, 50)
        return
    decoded = peer.decode(peer.encode(clear, peer.settings[-1]))
    alpha = np.asarray(decoded.getchannel("A")).astype(int)
    assert np.abs(alpha - np.asarray(clear.getchannel("A"))).max() <= 8
    assert psnr(clear, decoded) > 30


def test_what_an_encoder_refuses_is_one_error() -> None:
    (webp,), _ = find_peers(("webp",))
    with pytest.raises(InputError, match="cannot encode"):
        webp.encode(Image.new("L", (20_000, 1)), 50)


def test_peers_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found, missing = find_peers(("jxl", "jpeg", "avifenc"))
    assert [peer.name for peer in found] == ["jpeg"]
    assert missing["jxl"] == "cjxl and djxl not installed"
    assert set(missing) == {"jxl", "avifenc"}
    with pytest.raises(InputError, match=r"unknown codec 'bpg'.*jpeg2000"):
        find_peers(("bpg",))


def test_programs_that_fail_say_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, city: Image.Image
) -> None:
    for name in ("cjxl", "djxl"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho loading >&2\necho no memory >&2\nexit 3\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (peer,), _ = find_peers(("jxl",))
    with pytest.raises(InputError, match="cjxl failed with status 3: no memory"):
        peer.encode(city, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", PILLOW)
def test_match_of_a_size(name: str, city: Image.Image) -> None:
    (peer,), _ = find_peers((name,))
    middle = peer.finer[len(peer.finer) // 2]
    size = len(peer.encode(city, middle))
    match = match_size(peer, city, size)
    assert match.fits
    assert len(match.data) <= size
    following = peer.finer.index(match.setting) + 1
    assert len(peer.encode(city, peer.finer[following])) > size
    least = match_size(peer, city, 10)
    assert not least.fits
    assert least.data == peer.encode(city, peer.finer[0])
