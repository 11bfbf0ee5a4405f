from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from codec.codec import Codec
from codec.errors import InputError
from codec.evaluation.coders import Coder
from codec.evaluation.instruments import INSTRUMENTS
from codec.evaluation.measuring import Measurer, Plan, evaluate, measure
from codec.evaluation.metrics import Block
from codec.evaluation.ours import ModelCoder
from codec.evaluation.provenance import describe_machine, source_digest
from codec.evaluation.results import Evaluation
from codec.evaluation.subjects import Reading, find_pictures, read_subject
from codec.weights.file import Weights
from tests.helpers import DATA


@dataclasses.dataclass
class Lossless:
    """A codec whose every use is counted."""

    name: str = "lossless"
    description: str = "PNG 1"
    settings: tuple[float, ...] = (0.0, 9.0)
    finer: tuple[float, ...] = (0.0, 9.0)
    calls: int = 0

    def encode(self, image: Image.Image, setting: float) -> bytes:
        self.calls += 1
        if image.width == 13:
            raise InputError("unlucky")
        target = BytesIO()
        image.save(target, "PNG", compress_level=int(setting))
        return target.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        return Image.open(BytesIO(data))


@pytest.fixture(scope="module")
def coder(tiny_weights: Weights) -> ModelCoder:
    return ModelCoder(Codec(tiny_weights))


@pytest.fixture
def pictures(tmp_path: Path, city: Image.Image) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    city.crop((0, 0, 64, 64)).save(folder / "a.png")
    city.crop((64, 0, 164, 70)).save(folder / "b.png")
    return folder


def plan(folder: Path, ours: Sequence[ModelCoder], peers: Sequence[Coder]) -> Plan:
    return Plan(find_pictures([folder]), Reading(), ours, peers, {"jxl": "absent"}, (20.0,))


def run(plan: Plan, measurer: Measurer) -> Evaluation:
    return evaluate(plan, measurer, "vqcodec evaluate")


def test_measurement_is_of_real_files(coder: ModelCoder) -> None:
    subject = read_subject("city", DATA / "city.png", Reading())
    measured = measure(coder, subject, 60.0)
    encoded = coder.codec.encode(subject.image, 60.0, reconstruct=True)
    assert measured.pixels == 192 * 128
    assert measured.size == len(encoded.data)
    assert measured.psnr == pytest.approx(encoded.psnr)
    assert measured.honest_size
    assert measured.model
    assert measured.model.container <= 8 * 32
    assert measured.ms_ssim is None
    assert measured.encode_seconds > 0


def test_evaluation(coder: ModelCoder, pictures: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    peer = Lossless()
    evaluation = evaluate(plan(pictures, [coder], [peer]), Measurer(None), "x", seen_by(seen))
    assert evaluation.pictures == {"a": (64, 64), "b": (100, 70)}
    assert evaluation.codecs == [coder.name, "lossless"]
    assert [(m.picture, m.codec, m.setting) for m in evaluation.measurements] == [
        ("a", coder.name, 20.0),
        ("b", coder.name, 20.0),
        ("a", "lossless", 0.0),
        ("a", "lossless", 9.0),
        ("b", "lossless", 0.0),
        ("b", "lossless", 9.0),
    ]
    assert evaluation.missing == {"jxl": "absent"}
    assert not evaluation.failed
    assert seen == [(n, 6) for n in range(1, 7)]
    assert "torch" in evaluation.machine


def seen_by(seen: list[tuple[int, int]]) -> Callable[[int, int], None]:
    return lambda done, total: seen.append((done, total))


def test_what_was_measured_is_looked_up_by_content(pictures: Path, tmp_path: Path) -> None:
    peer, cache = Lossless(), Measurer(tmp_path / "cache")
    first = run(plan(pictures, [], [peer]), cache)
    assert peer.calls == 5  # one to warm up
    (pictures / "a.png").rename(pictures / "renamed.png")
    again = run(plan(pictures, [], [peer]), cache)
    assert peer.calls == 5
    assert {m.picture for m in again.measurements} == {"b", "renamed"}
    assert sorted(m.size for m in again.measurements) == sorted(m.size for m in first.measurements)

    run(plan(pictures, [], [peer]), Measurer(tmp_path / "cache", fresh=True))
    assert peer.calls == 10
    peer.description = "PNG 2"
    run(plan(pictures, [], [peer]), cache)
    assert peer.calls == 14
    Image.new("RGB", (64, 64)).save(pictures / "renamed.png")
    run(plan(pictures, [], [peer]), cache)
    assert peer.calls == 16


def test_other_metrics_are_measured_and_cached_apart(pictures: Path, tmp_path: Path) -> None:
    peer = Lossless()
    for names, calls in ((("psnr",), 5), (("psnr", "guards"), 10), (("psnr", "guards"), 10)):
        instruments = [INSTRUMENTS[name] for name in names]
        measurer = Measurer(tmp_path / "cache", instruments=instruments)
        found = run(plan(pictures, [], [peer]), measurer)
        assert peer.calls == calls  # each measurer warms up once
        assert tuple(found.instruments) == names
        assert {m.ms_ssim for m in found.measurements} == {None}
        assert {len(m.values) for m in found.measurements} == {6 * ("guards" in names)}
        assert {m.worst_block for m in found.measurements} == {Block(0, 0, math.inf)}


def test_a_run_that_was_cut_off_goes_on(pictures: Path, tmp_path: Path) -> None:
    class Interrupted(Lossless):
        def encode(self, image: Image.Image, setting: float) -> bytes:
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().encode(image, setting)

    with pytest.raises(KeyboardInterrupt):
        run(plan(pictures, [], [Interrupted()]), Measurer(tmp_path / "cache"))
    peer = Lossless()
    assert len(run(plan(pictures, [], [peer]), Measurer(tmp_path / "cache")).measurements) == 4
    assert peer.calls == 3  # one to warm up, and the two that were missing


def test_spoilt_records_are_measured_again(pictures: Path, tmp_path: Path) -> None:
    cache = Measurer(tmp_path / "cache")
    run(plan(pictures, [], [Lossless()]), cache)
    for number, record in enumerate(sorted((tmp_path / "cache").iterdir())):
        record.write_text(["", "{}", "[1]", "null"][number])
    peer = Lossless()
    assert len(run(plan(pictures, [], [peer]), cache).measurements) == 4
    assert peer.calls == 4


def test_a_folder_that_cannot_be_written_keeps_nothing(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    measurer = Measurer(tmp_path / "file" / "cache")
    assert len(run(plan(pictures, [], [Lossless()]), measurer).measurements) == 4
    assert "file" in measurer.problem


def test_times_of_another_machine_or_source_are_not_taken(pictures: Path, tmp_path: Path) -> None:
    peer = Lossless()
    here = (source_digest(), describe_machine())
    run(plan(pictures, [], [peer]), Measurer(tmp_path / "cache"))
    for origin, measured in ((here, 0), ((here[0], "other"), 4), (("other", here[1]), 4)):
        before = peer.calls
        run(plan(pictures, [], [peer]), Measurer(tmp_path / "cache", origin=origin))
        assert peer.calls == before + measured + (measured > 0), origin  # once to warm up


def test_the_first_use_is_not_timed(pictures: Path) -> None:
    class Slow(Lossless):
        def encode(self, image: Image.Image, setting: float) -> bytes:
            time.sleep(0.0 if self.calls else 0.5)
            return super().encode(image, setting)

    found = run(plan(pictures, [], [Slow()]), Measurer(None)).measurements
    assert max(m.encode_seconds for m in found) < 0.5


def test_broken_pictures_are_left_out(coder: ModelCoder, pictures: Path) -> None:
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n")
    evaluation = run(plan(pictures, [coder], [Lossless()]), Measurer(None))
    assert set(evaluation.pictures) == {"a", "b"}
    assert set(evaluation.failed) == {"broken"}
    assert len(evaluation.measurements) == 6


def test_a_peer_that_fails_once_is_left_out_as_a_whole(
    coder: ModelCoder, pictures: Path, city: Image.Image
) -> None:
    city.crop((0, 0, 13, 20)).save(pictures / "c.png")
    evaluation = run(plan(pictures, [coder], [Lossless()]), Measurer(None))
    assert evaluation.codecs == [coder.name]
    assert evaluation.missing["lossless"] == "c: unlucky"
    assert set(evaluation.pictures) == {"a", "b", "c"}


def test_progress_reaches_the_end_whatever_fails(
    coder: ModelCoder, pictures: Path, city: Image.Image
) -> None:
    city.crop((0, 0, 13, 20)).save(pictures / "c.png")
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n")
    seen: list[tuple[int, int]] = []
    evaluate(plan(pictures, [coder], [Lossless()]), Measurer(None), "x", seen_by(seen))
    assert seen == [(n, 12) for n in range(1, 13)]
