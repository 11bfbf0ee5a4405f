from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.errors import InputError, LimitError
from codec.evaluation.subjects import SIDE, Reading, find_pictures, read_subject
from codec.limits import Limits


def save(path: Path, image: Image.Image, exif: Image.Exif | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif or Image.Exif())
    return path


def test_names_are_short_and_unique(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8))
    for name in ("one/a.png", "one/b/a.png", "two/c.jpg"):
        save(tmp_path / name, picture)
    (tmp_path / "one/notes.txt").write_text("no picture")
    found = find_pictures([tmp_path / "one", tmp_path / "two/c.jpg"])
    assert list(found) == ["a", "b/a", "c"]
    save(tmp_path / "one/a.jpg", picture)
    assert list(find_pictures([tmp_path / "one"])) == ["a.jpg", "a.png", "b/a.png"]
    save(tmp_path / "two/a.png", picture)
    twice = find_pictures([tmp_path / "one", tmp_path / "two"])
    assert len(twice) == 5
    assert str(tmp_path / "two/a.png") in twice


def test_a_picture_counts_once(tmp_path: Path) -> None:
    path = save(tmp_path / "one/a.png", Image.new("RGB", (8, 8)))
    (tmp_path / "one/link.png").symlink_to(path)
    assert list(find_pictures([tmp_path / "one", path])) == ["a"]


def test_no_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures in"):
        find_pictures([tmp_path])
    with pytest.raises(InputError, match="no such file"):
        find_pictures([tmp_path / "x"])


def test_all_codecs_get_the_oriented_picture_without_metadata(
    tmp_path: Path, city: Image.Image
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", city, exif=exif)
    subject = read_subject("a", path, Reading())
    assert subject.image.size == (city.height, city.width)
    assert subject.image.mode == "RGB"
    assert not subject.image.info
    assert not subject.alpha
    assert subject.pixels == city.width * city.height


@pytest.mark.parametrize(
    ("mode", "shown"), [("L", "L"), ("1", "L"), ("LA", "LA"), ("RGBA", "RGBA"), ("CMYK", "RGB")]
)
def test_modes(tmp_path: Path, city: Image.Image, mode: str, shown: str) -> None:
    image = city.convert(mode)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize(city.size))
    subject = read_subject("a", save(tmp_path / "a.tiff", image), Reading())
    assert subject.image.mode == shown
    assert subject.alpha == ("A" in mode)
    if subject.alpha:
        alpha = np.asarray(subject.image.getchannel("A"))
        assert np.array_equal(alpha, np.asarray(image.getchannel("A")))


def test_the_digest_depends_on_the_samples_alone(tmp_path: Path, city: Image.Image) -> None:
    one, same = save(tmp_path / "a.png", city), save(tmp_path / "b.bmp", city)
    other = save(tmp_path / "c.png", city.rotate(180))
    turned = save(tmp_path / "d.png", city.resize(city.size[::-1]))
    grey = save(tmp_path / "e.png", city.convert("L"))
    found = [read_subject("x", path, Reading()).digest for path in (one, same, other, turned, grey)]
    assert found[0] == found[1]
    assert len(set(found)) == 4


def test_large_pictures_are_the_same_in_boxes(tmp_path: Path, city: Image.Image) -> None:
    large = city.resize((SIDE + 200, SIDE + 100))
    boxed = read_subject("a", save(tmp_path / "a.bmp", large), Reading())
    assert boxed.image.tobytes() == large.tobytes()


def test_what_nobody_can_see_is_no_subject(tmp_path: Path, city: Image.Image) -> None:
    clear = city.convert("RGBA")
    clear.putalpha(0)
    with pytest.raises(InputError, match="nothing of it can be seen"):
        read_subject("a", save(tmp_path / "a.png", clear), Reading())


def test_limits_hold(tmp_path: Path, city: Image.Image) -> None:
    path = save(tmp_path / "a.png", city)
    with pytest.raises(LimitError):
        read_subject("a", path, Reading(Limits(max_pixels=100)))
