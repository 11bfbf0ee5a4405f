"""Where the detector sees something drawn, and that it sees nothing in photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from codec.encoder import patch_detector
from codec.encoder.patch_detector import BLOCK, classify, propose
from codec.picture.pixels import from_image
from codec.tiles import Box
from scripts.corpus import Drawn, page, viewer
from tests.helpers import DATA

PHOTOGRAPH = Box(96, 48, 352, 240)
"""In the picture `viewer`."""


def leaves(image: Image.Image) -> list[Box]:
    """Rectangles that are proposed within a picture."""
    region = propose(from_image(image))
    return [] if region is None else [leaf.box for leaf in region.leaves()]


def share(box: Box, boxes: list[Box]) -> float:
    """Part of a box that disjoint boxes cover."""
    return sum((box & other).area for other in boxes) / box.area


@pytest.mark.parametrize("name", ["flowers", "path", "city"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_nothing_is_proposed_in_photographs(name: str, mode: str) -> None:
    with Image.open(DATA / f"{name}.png") as image:
        assert propose(from_image(image.convert(mode))) is None


def test_text_is_proposed_and_the_photograph_beside_it_is_not() -> None:
    boxes = leaves(viewer())
    assert len(boxes) >= 2
    assert share(PHOTOGRAPH, boxes) == 0
    assert share(Box(8, 32, 88, 304), boxes) > 0.9
    assert share(Box(104, 256, 432, 304), boxes) > 0.95


def test_photographs_in_a_page_are_left_out() -> None:
    boxes = leaves(page())
    for photograph in (Box(16, 48, 208, 176), Box(272, 196, 496, 372)):
        assert share(photograph, boxes) < 0.1
    assert share(Box(224, 48, 496, 176), boxes) > 0.9
    assert share(Box(16, 196, 260, 376), boxes) > 0.9


def test_proposed_rectangles_are_disjoint_and_lie_on_the_lattice(corpus: list[Drawn]) -> None:
    seen = 0
    for drawn in corpus:
        region = propose(from_image(drawn.image))
        if region is None:
            continue
        assert region.box == from_image(drawn.image).whole
        boxes = [leaf.box for leaf in region.leaves()]
        for box in boxes:
            assert box.left % BLOCK == box.top % BLOCK == 0
            assert box.right % BLOCK == 0 or box.right == drawn.image.width
            assert box.bottom % BLOCK == 0 or box.bottom == drawn.image.height
        for number, box in enumerate(boxes):
            assert not any((box & other).area for other in boxes[number + 1 :])
        assert len(boxes) <= 16, drawn.name
        seen += 1
    assert seen > 50


def test_drawn_pictures_are_covered_almost_wholly(corpus: list[Drawn]) -> None:
    for drawn in corpus:
        if drawn.kind in ("text", "dither", "stripes", "flat"):
            assert share(from_image(drawn.image).whole, leaves(drawn.image)) > 0.85, drawn.name


def test_colours_under_full_transparency_do_not_matter(rng: np.random.Generator) -> None:
    samples = np.asarray(viewer().convert("RGBA")).copy()
    samples[:, 224:, 3] = 0
    expected = leaves(Image.fromarray(samples))
    samples[:, 224:, :3] = rng.integers(0, 256, (320, 224, 3), dtype=np.uint8)
    assert leaves(Image.fromarray(samples)) == expected
    assert share(Box(8, 32, 88, 304), expected) > 0.9


def test_noise_counts_where_much_of_the_picture_is_noise(rng: np.random.Generator) -> None:
    with Image.open(DATA / "flowers.png") as image:
        samples = np.asarray(image.convert("RGB")).copy()
    noise = rng.integers(0, 256, samples.shape, dtype=np.uint8)
    samples[:64, :64] = noise[:64, :64]
    assert leaves(Image.fromarray(samples)) == []
    samples[:, :192] = noise[:, :192]
    assert share(Box(0, 0, 192, 288), leaves(Image.fromarray(samples))) == 1
    assert share(Box(192, 0, 384, 288), leaves(Image.fromarray(samples))) < 0.1


def test_mosaics_of_a_sensor_are_seen(corpus: list[Drawn]) -> None:
    (mosaic,) = (drawn.image for drawn in corpus if drawn.name == "mosaic-colour")
    assert leaves(mosaic) == [from_image(mosaic).whole]


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = from_image(viewer().crop((0, 0, 441, 307)))
    at_once = classify(picture)
    monkeypatch.setattr(patch_detector, "STRIP_PIXELS", 441 * 40)
    in_strips = classify(picture)
    assert at_once.drawn.shape == (20, 28)
    assert np.array_equal(at_once.drawn, in_strips.drawn)
    assert np.array_equal(at_once.plain, in_strips.plain)
