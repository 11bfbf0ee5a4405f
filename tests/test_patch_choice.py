"""The encoder's choice of patches, and what a quality promises therefore."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from codec.codec import Codec
from codec.encoder.encoded import Encoded
from codec.encoder.model import EncoderModel
from codec.encoder.options import EncoderOptions
from codec.encoder.patch_choice import PatchChoice
from codec.encoder.patch_detector import propose
from codec.encoder.photograph_rates import PROMISE, PhotographRates, photograph_rates
from codec.encoder.picture import PictureEncoder
from codec.encoder.plan import Plan
from codec.encoder.tile import window_features
from codec.engine.base import Engine, Features
from codec.errors import InputError
from codec.level import LOWEST, Level
from codec.picture.pixels import Picture, from_image, psnr
from codec.tiles import Box, Grid
from codec.weights.file import load_weights
from codec.weights.released import find_weights
from scripts.corpus import Drawn, viewer
from scripts.patches import webp_bytes
from tests.helpers import DATA, TINY_VQ

PHOTOGRAPH = Box(96, 48, 352, 240)
"""In the picture `viewer`."""
NO_RATES = PhotographRates(7 << 12)


@pytest.fixture(scope="module")
def drawn(corpus: list[Drawn]) -> dict[str, Image.Image]:
    return {one.name: one.image for one in corpus}


def encoder_of(codec: Codec, image: Image.Image, effort: int = 0, side: int = 0) -> PictureEncoder:
    plan = Plan.of(EncoderModel(codec.model), EncoderOptions(effort=effort))
    picture = from_image(image)
    return PictureEncoder(plan, picture, Grid(picture.height, picture.width, side), map)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_promise_over_the_corpus(released_codec: Codec, corpus: list[Drawn], part: int) -> None:
    """Neither far below photographs nor above lossless WebP, and better at higher qualities."""
    rates = photograph_rates(released_codec.model.id, released_codec.weights.config)
    assert rates.psnr
    few = [one for n, one in enumerate(corpus) if one.kind != "text" or n % 3 == 0][part::4]
    for number, one in enumerate(few):
        before = 0.0
        for quality in (0, (30, 50, 80)[number % 3], 100):
            encoded = released_codec.encode(
                one.image, quality, measure=True, effort=(number + part) % 2
            )
            least = rates.least_psnr(released_codec.level_of(quality))
            assert encoded.psnr >= least, (one.name, quality)
            assert encoded.psnr >= before, (one.name, quality)
            before = encoded.psnr
            if max(one.image.size) < 1 << 14:
                assert len(encoded.data) <= webp_bytes(one.image) + 64, (one.name, quality)


@pytest.mark.parametrize("name", ["gradient", "texture"])
def test_what_looks_photographed_is_no_larger_than_webp(released_codec: Codec, name: str) -> None:
    """Nothing here has few colours in a block; yet it takes little without loss."""
    if name == "gradient":
        rows, columns = np.mgrid[:256, :256]
        planes = [columns, rows, (rows + columns) // 2]
        image = Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))
    else:
        with Image.open(DATA / "city.png") as opened:
            motif = np.asarray(opened.convert("RGB").crop((0, 0, 48, 48)))
        image = Image.fromarray(np.tile(motif, (6, 6, 1)))
    assert propose(from_image(image)) is None
    plain, file = (released_codec.compress(image, 100, patches=p) for p in ("never", "auto"))
    assert len(plain) > webp_bytes(image) + 64
    assert len(file) <= webp_bytes(image) + 64


@pytest.mark.slow
@pytest.mark.parametrize("effort", [0, 1])
def test_photographs_are_the_same_without_patches(released_codec: Codec, effort: int) -> None:
    for name in ("flowers", "path", "city"):
        with Image.open(DATA / f"{name}.png") as opened:
            image = opened.convert("RGB")
        for quality in (0, 50, 100):
            files = [
                released_codec.compress(image, quality, effort=effort, patches=patches)
                for patches in ("auto", "never")
            ]
            assert files[0] == files[1]


def test_text_becomes_patches_and_the_photograph_does_not(released_codec: Codec) -> None:
    image = viewer()
    encoded = released_codec.encode(image, effort=0, reconstruct=True)
    boxes = [patch.box for patch in encoded.patches]
    assert sum((box & PHOTOGRAPH).area for box in boxes) == 0
    for text in (Box(8, 32, 88, 240), Box(104, 256, 432, 304)):
        assert sum((box & text).area for box in boxes) == text.area
    decoded = released_codec.decompress(encoded.data)
    for box in boxes:
        shown = np.asarray(decoded.crop(box.corners))
        assert np.array_equal(shown, np.asarray(image.crop(box.corners)))
    without = released_codec.encode(image, effort=0, patches="never")
    assert len(encoded.data) < 0.8 * len(without.data)
    assert encoded.reconstruction is not None
    assert np.array_equal(np.asarray(encoded.reconstruction), np.asarray(decoded))


def test_red_text_on_green_is_exact_at_any_quality(
    released_codec: Codec, drawn: dict[str, Image.Image]
) -> None:
    image = drawn["text-red-on-green-10"]
    files = {released_codec.compress(image, quality, effort=0) for quality in (0, 50, 100)}
    for data in files:
        assert np.array_equal(released_codec.decompress_array(data), np.asarray(image))
        assert len(data) <= webp_bytes(image) + 64
    never = released_codec.encode(image, 100, effort=0, measure=True, patches="never")
    assert never.psnr < 20
    assert never.below_promise
    assert not released_codec.encode(image, 100, effort=0, measure=True).below_promise


def test_quality_of_a_dithered_photograph_never_falls(
    released_codec: Codec, drawn: dict[str, Image.Image]
) -> None:
    reached = [
        released_codec.encode(drawn["dither-1-bit"], quality, effort=0, measure=True).psnr
        for quality in (20, 30, 95, 100)
    ]
    assert reached == sorted(reached)


def test_what_takes_next_to_nothing_without_loss_is_not_tried(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PictureEncoder, "trial", lambda *_: pytest.fail("tried"))
    flat = Image.new("RGB", (400, 300), "orange")
    flat.paste("navy", (37, 41, 250, 211))
    coded = tiny_codec.encode(flat, 0, reconstruct=True)
    assert coded.patch_pixels == 400 * 300
    assert len(coded.data) < 400 * 300 * 0.05 / 8 + 64
    assert tiny_codec.decompress(coded.data).tobytes() == flat.tobytes()


def test_slender_pictures_are_exact(released_codec: Codec, rng: np.random.Generator) -> None:
    samples = rng.integers(0, 256, (3, 2000, 3), dtype=np.uint8)
    for image in (Image.fromarray(samples), Image.fromarray(samples.transpose(1, 0, 2).copy())):
        data = released_codec.compress(image, 0)
        assert np.array_equal(released_codec.decompress_array(data), np.asarray(image))
        small = released_codec.compress(image, target_size=len(data) - 1, effort=0)
        assert len(small) < len(data)


@pytest.mark.slow
def test_sizes_are_never_exceeded_and_patches_make_them_better(released_codec: Codec) -> None:
    image = viewer()
    for size in (9_500, 16_000):
        found = [
            released_codec.encode(image, target_size=size, effort=0, patches=patches, measure=True)
            for patches in ("auto", "never")
        ]
        assert all(len(encoded.data) <= size for encoded in found)
        assert found[0].patches
        assert found[0].psnr > found[1].psnr + 2
    least = len(released_codec.compress(image, 0, effort=0, patches="never"))
    smallest = released_codec.encode(image, target_size=least, effort=0)
    assert len(smallest.data) == least  # for which patches are too large
    assert not smallest.patches
    with pytest.raises(InputError, match="no file of 200 bytes found"):
        released_codec.compress(image, target_size=200, effort=0)


@pytest.mark.slow
def test_psnr_is_reached_with_fewer_bytes_by_patches(released_codec: Codec) -> None:
    image = viewer()
    found = [
        released_codec.encode(image, target_psnr=31, effort=0, patches=patches)
        for patches in ("auto", "never")
    ]
    assert all(encoded.psnr >= 31 for encoded in found)
    assert len(found[0].data) < 0.9 * len(found[1].data)
    exact = released_codec.encode(image, target_psnr=70, effort=0)
    assert exact.psnr == np.inf
    with pytest.raises(InputError, match="no file of 70 dB found"):
        released_codec.encode(image, target_psnr=70, effort=0, patches="never")


def test_size_that_holds_a_page_without_loss_gives_it_so(
    released_codec: Codec, drawn: dict[str, Image.Image]
) -> None:
    image = drawn["text-red-on-green-10"]
    enough = webp_bytes(image) + 64
    data = released_codec.compress(image, target_size=enough, effort=0)
    assert len(data) <= enough
    assert np.array_equal(released_codec.decompress_array(data), np.asarray(image))
    plain = released_codec.compress(image, 0, effort=0, patches="never")
    smallest = min(len(data), len(plain))
    with pytest.raises(InputError, match=f"smallest has {smallest};"):
        released_codec.encode(image, target_bpp=0.2, effort=0)


def test_alpha_and_grey_pictures_have_patches(
    released_codec: Codec, drawn: dict[str, Image.Image]
) -> None:
    icon = drawn["palette-icon-alpha"]
    encoded = released_codec.encode(icon, effort=0)
    assert encoded.patches
    decoded, samples = released_codec.decompress_array(encoded.data), np.asarray(icon)
    assert np.array_equal(decoded[..., 3], samples[..., 3])
    seen = samples[..., 3] > 0
    assert np.array_equal(decoded[seen], samples[seen])
    page = drawn["text-grey-11"]
    encoded = released_codec.encode(page, effort=0)
    assert encoded.patches
    shown = released_codec.decompress(encoded.data)
    assert shown.mode == "L"
    assert np.array_equal(np.asarray(shown), np.asarray(page))


def test_regions_show_patches(released_codec: Codec) -> None:
    image = viewer()
    data = released_codec.compress(image, 30, effort=0)
    whole = released_codec.decompress(data)
    for box in (Box(60, 200, 200, 300), Box(8, 40, 80, 100), Box(0, 0, 448, 320)):
        region = (box.left, box.top, box.width, box.height)
        part = np.asarray(released_codec.decompress(data, region))
        expected = np.asarray(whole.crop(box.corners))
        assert np.abs(part.astype(int) - expected).max() <= 1
    text = released_codec.decompress_array(data, (8, 40, 72, 60))
    assert np.array_equal(text, np.asarray(image.crop((8, 40, 80, 100))))


@pytest.mark.parametrize("side", [0, 256])
def test_trial_is_the_file_of_rounding_alone(tiny_codec: Codec, side: int) -> None:
    """Bits and errors by position add up to those of the file."""
    with Image.open(DATA / "flowers.png") as opened:
        image = opened.convert("RGBA").crop((0, 0, 380, 270))
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    encoder = encoder_of(tiny_codec, image, side=side)
    level = Level(9_000)
    for one in (encoder, encoder.with_patches([Box(16, 32, 272, 272 - 2)])):
        trial, encoded = one.trial(level), one.encode(level, rounding_only=True)
        assert trial.size == len(encoded.data)
        patched = sum(8 * (16 + len(patch.data)) for patch in encoded.patches)
        assert trial.bits.sum() == pytest.approx(encoded.bits - patched)
        measured = tiny_codec.decompress(encoded.data)
        seen = np.asarray(image)[..., 3] > 0
        shown, samples = (np.asarray(x.convert("RGB"))[seen] for x in (measured, image))
        assert trial.psnr == pytest.approx(psnr(samples, shown), abs=0.01)
        assert trial.error.shape == (17, 24)
        if one.boxes:
            assert trial.error[2:, 1:17].sum() == 0
        else:
            assert trial.error[2:, 1:17].min() > 0


def test_features_under_other_patches_do_not_add_up(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by one set of them; the files are those of features that are not kept."""
    alive: list[weakref.ref[object]] = []

    def remembered(engine: Engine, picture: Picture, box: Box) -> Features:
        features = window_features(engine, picture, box)
        alive.append(weakref.ref(features))
        return features

    monkeypatch.setattr("codec.encoder.patched.window_features", remembered)
    image = viewer()
    plan = Plan.of(EncoderModel(tiny_codec.model), EncoderOptions(effort=0))
    picture = from_image(image)
    grid = Grid(picture.height, picture.width)
    plain = PictureEncoder(plan, picture, grid, map, trials=True)
    files = []
    for left in (0, 16, 32):
        patched = plain.with_patches([Box(left, 0, left + 16, 16)])
        files.append(patched.encode(Level(0)).data)
        assert sum(one() is not None for one in alive) == 1
    again = encoder_of(tiny_codec, image).with_patches([Box(0, 0, 16, 16)])
    assert again.encode(Level(0)).data == files[0]


def test_cost_decides_where_nothing_is_promised(
    tiny_codec: Codec, drawn: dict[str, Image.Image]
) -> None:
    choice = PatchChoice(encoder_of(tiny_codec, drawn["stripes-1"]), NO_RATES)
    assert [patch.box for patch in choice.encode(Level(0)).patches] == [Box(0, 0, 192, 160)]
    with Image.open(DATA / "flowers.png") as opened:
        photograph = opened.convert("RGB")
    assert not PatchChoice(encoder_of(tiny_codec, photograph), NO_RATES).encode(Level(0)).patches


def test_promise_takes_patches_that_cost_does_not(tiny_codec: Codec) -> None:
    """Of what is proposed as few as will do, else everything; at higher levels no less."""
    encoder = encoder_of(tiny_codec, viewer())
    lowest, highest = LOWEST, tiny_codec.weights.config.highest_level
    last = int(highest)
    without = encoder.trial(lowest).psnr
    alone = PatchChoice(encoder, PhotographRates(last)).encoder(lowest)
    reached = alone.trial(lowest).psnr
    assert without < reached < np.inf

    def promised(psnr: float) -> PatchChoice:
        return PatchChoice(encoder, PhotographRates(last, (psnr + PROMISE,) * 2, (9.0, 9.0)))

    more = promised(reached + 0.2).encoder(lowest)
    area = sum(box.area for box in alone.boxes)
    assert reached + 0.2 <= more.trial(lowest).psnr
    assert area < sum(box.area for box in more.boxes) <= 448 * 320
    everything = promised(200.0)
    for level in (lowest, highest):
        assert everything.encoder(level).boxes == (Box(0, 0, 448, 320),)


def test_rates_above_all_photographs_make_a_picture_suspect(tiny_codec: Codec) -> None:
    with Image.open(DATA / "flowers.png") as opened:
        encoder = encoder_of(tiny_codec, opened.convert("RGB"))
    known = PhotographRates(7 << 12, (200.0, 200.0), (0.01, 0.01))
    assert PatchChoice(encoder, known).encode(Level(0)).patches
    calm = replace(known, bpp=(9.0, 9.0))
    assert not PatchChoice(encoder, calm).encode(Level(0)).patches


def test_a_suspect_without_patches_is_coded_once(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open(DATA / "flowers.png") as opened:
        encoder = encoder_of(tiny_codec, opened.convert("RGB"))
    known = PhotographRates(7 << 12, (0.0, 0.0), (0.01, 0.01))
    made: list[Level] = []
    encode = PictureEncoder.encode

    def counted(self: PictureEncoder, level: Level, rounding_only: bool = False) -> Encoded:
        made.append(level)
        return encode(self, level, rounding_only)

    monkeypatch.setattr(PictureEncoder, "encode", counted)
    choice = PatchChoice(encoder, known)
    encoded = choice.encode(Level(0))
    assert choice.reconsider(encoded)
    assert not encoded.patches
    assert made == [Level(0)]


def test_models_that_round_to_centres_take_patches(drawn: dict[str, Image.Image]) -> None:
    codec = Codec(load_weights(TINY_VQ))
    data = codec.compress(drawn["stripes-2"], 100)
    assert np.array_equal(codec.decompress_array(data), np.asarray(drawn["stripes-2"]))


def test_rates_are_interpolated_between_points() -> None:
    rates = PhotographRates(4000, (20.0, 30.0, 34.0), (1.0, 2.0, 4.0))
    assert rates.least_psnr(Level(1000)) == 25 - PROMISE
    assert rates.least_psnr(Level(4000)) == 34 - PROMISE
    assert rates.suspect_rate(Level(3000)) == 1.25 * 3
    assert NO_RATES.least_psnr(Level(0)) == 0
    assert NO_RATES.suspect_rate(Level(0)) == 8


def test_the_default_model_has_a_promise() -> None:
    """If this fails after another model came, run `make photograph-rates`."""
    weights = load_weights(find_weights("photo"))
    rates = photograph_rates(weights.short_id, weights.config)
    assert list(rates.psnr) == sorted(rates.psnr)
    assert list(rates.bpp) == sorted(rates.bpp)
    assert len(rates.psnr) == len(rates.bpp) > 2
