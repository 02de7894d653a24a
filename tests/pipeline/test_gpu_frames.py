"""Frames on a device, on one made of numpy that enforces the rules of a GPU: what leaves a job there is what
leaves it here, byte for byte, and what a card hides or loses never leaves. Needs no weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tests.oracle import Canary, Person, leaks, walk
from tests.pipeline.gpu_world import CardStandIn, CountingDevice, a_gpu, emptied
from tests.pipeline.synthetic_world import frame as face_frame
from tests.pipeline.test_decode import broken
from tests.pipeline.test_oracle_files import filmed, shown
from tests.pipeline.test_studio import (
    FRAMES,
    NoFiles,
    WithGenerator,
    opened,
    settings,
    tracks,
)
from tests.pipeline.tiny_model import write_model

from veilcast.config import Config, Cover, overlay
from veilcast.errors import ConfigError, DamagedMedia
from veilcast.pipeline import parts, pixels
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detectors.candidates import Look
from veilcast.pipeline.gpu.card import Desk, open_desk
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.stages import Rendered, detect_file, render_file
from veilcast.pipeline.tasks import Tools
from veilcast.types import Box, Face, Frame, PixelFormat

CANARY = Canary([Person(1, walk(60, 90, 80, 5, 56)), Person(2, walk(260, 150, -60, 0, 48))], 40)
SIDE = 320


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CountingDevice]:
    with emptied(a_gpu(monkeypatch, tmp_path / "cache")) as made:
        yield made


class PatchFinder:
    """Finds the canary's people, without knowing the truth, by their detail in one patch of the frame."""

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look]]:
        for frame in frames:
            yield frame, Look(self.find(frame))

    def find(self, frame: Frame) -> tuple[Face, ...]:
        grey = pixels.crop_to_rgb(frame, np.eye(3)[:2], SIDE).astype(np.float32).mean(-1)
        detail = cv2.blur((grey - cv2.blur(grey, (9, 9))) ** 2, (21, 21))
        count, _, stats, _ = cv2.connectedComponentsWithStats((detail > 60).astype(np.uint8))
        boxes = [Box(x, y, x + w, y + h) for x, y, w, h, area in stats[1:count].tolist() if area > 800]
        return tuple(Face(box, 0.9) for box in boxes)


def job(source: Path, target: Path, device: Any, config: Config = Config()) -> Rendered:  # noqa: B008
    """Found and covered as a job does it, on a device."""
    with open_desk(device) as desk:
        plan = detect_file(source, config, PatchFinder(), _quiet, desk.lifted, desk.decoder)
    return render_file(source, plan, target, config, _quiet)


def _quiet(*_: object) -> None:
    pass


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("how", ["solid", "mosaic"])
def test_a_clip_that_the_card_decoded_leaves_as_it_leaves_run(
    tmp_path: Path, gpu: CountingDevice, how: str
) -> None:
    source = filmed(CANARY, tmp_path / "in.mkv")
    config = overlay(Config(), {"cover.replacewith": how})
    here, there = (job(source, tmp_path / f"{d}.mkv", d, config) for d in ("cpu", "cuda"))
    assert digest(tmp_path / "cpu.mkv") == digest(tmp_path / "cuda.mkv")
    assert here.ledger.counts == there.ledger.counts
    assert CardStandIn.seen == [source]
    assert leaks(CANARY, shown(tmp_path / "cuda.mkv")) == []


def test_outside_its_covers_every_sample_is_the_decoders(tmp_path: Path, gpu: CountingDevice) -> None:
    source = filmed(CANARY, tmp_path / "in.mkv")  # lossless, and so is the output
    job(source, tmp_path / "out.mkv", "cuda")
    for (_, before), (_, after) in zip(shown(source), shown(tmp_path / "out.mkv"), strict=True):
        changed = before != after
        assert 0 < changed.mean() < 0.6
        assert (after[changed] == 16).all()  # the black of a solid cover


def test_what_is_looked_at_stays_there_but_for_patches(tmp_path: Path, gpu: CountingDevice) -> None:
    source = filmed(Canary(CANARY.people, 12, size=(1280, 720)), tmp_path / "in.mkv")
    with open_desk("cuda") as desk:
        detect_file(source, Config(), PatchFinder(), _quiet, desk.lifted, desk.decoder)
    assert 0 < gpu.largest <= SIDE * SIDE * 3 < 1280 * 720 * 3 / 2


def test_frames_that_cannot_lie_there_are_looked_at_here(tmp_path: Path, gpu: CountingDevice) -> None:
    ten_bits = PixelFormat("yuv420p10le", "yuv", 10, 1, 1)
    source = filmed(Canary(CANARY.people, 12, format=ten_bits), tmp_path / "in.mkv")
    for device in ("cpu", "cuda"):
        job(source, tmp_path / f"{device}.mkv", device)
    assert digest(tmp_path / "cpu.mkv") == digest(tmp_path / "cuda.mkv")
    assert gpu.launches == 0


def test_what_the_card_cannot_decode_goes_there_from_the_processor(
    tmp_path: Path, gpu: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: CardStandIn) -> None:
        raise NotImplementedError("no hardware decoder for this stream")

    monkeypatch.setattr(CardStandIn, "_open_container", none)
    source = filmed(CANARY, tmp_path / "in.mkv")
    for device in ("cpu", "cuda"):
        job(source, tmp_path / f"{device}.mkv", device)
    assert digest(tmp_path / "cpu.mkv") == digest(tmp_path / "cuda.mkv")
    assert gpu.launches > 0


def test_an_archive_finds_there_what_it_finds_here(tmp_path: Path, gpu: CountingDevice) -> None:
    source = filmed(CANARY, tmp_path / "in.mkv")
    facts = []
    for device in ("cpu", "cuda"):
        (folder := tmp_path / device).mkdir()
        config = overlay(Config(), {"device": device}).model_dump(mode="json")
        asked = {"source": str(source), "folder": str(folder), "config": config, "models": None}
        facts.append(parts.scout(asked, _quiet, PatchTools()))
    assert facts[0] == facts[1]
    plans = [(tmp_path / device / "plan-000000.jsonl").read_bytes() for device in ("cpu", "cuda")]
    assert plans[0] == plans[1]
    assert gpu.launches > 0
    assert CardStandIn.seen == []  # a part is known again by the processor's samples


class PatchTools(Tools):
    def finder(self, *_: object, **__: object) -> Any:
        return PatchFinder()


# -- new faces


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = write_model(tmp_path_factory.mktemp("model"))
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, in frames that can lie on a device."""
    path = tmp_path_factory.mktemp("clip") / "two.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for index in range(2 * FRAMES):
            rgb = np.dstack(face_frame(index, tracks(index)).planes)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        out.mux(stream.encode(None))
    return path


def with_new_faces(source: Path, target: Path, folder: Path, desk: Desk) -> dict[str, int]:
    config = Config(cover=Cover(replacewith="synthetic"))
    plan = Plan(Fraction(1, 12800))
    with Decoder(source) as decoder:
        plan = Plan(decoder.info.time_base)
        for frame in decoder.frames():
            plan.append(frame.pts, tracks(frame.index))
    with WithGenerator(settings(folder), NoFiles(), opened) as studio:
        with desk.decoder(source, config) as decoder:
            studio.meet(desk.lifted(decoder, decoder.frames()), plan, b"n" * 32)
        render_file(source, plan, target, config, _quiet, painted=desk.painted(studio.painted))
        counts: dict[str, int] = studio.told()["counts"]
        return counts


def test_new_faces_are_the_same_from_patches_that_were_cut_there(
    two: Path, tmp_path: Path, folder: Path, gpu: CountingDevice
) -> None:
    counts = []
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            desk = stack.enter_context(open_desk(device))
            counts.append(with_new_faces(two, tmp_path / f"{device}.mkv", folder, desk))
    assert counts[0] == counts[1]
    assert counts[0]["faces generated"] > 0
    assert digest(tmp_path / "cpu.mkv") == digest(tmp_path / "cuda.mkv")
    assert CardStandIn.seen == [two]  # for the meeting; what leaves is the processor's
    assert gpu.launches > 2 * 2 * FRAMES


# -- what fails, fails closed


def damaged(folder: Path) -> Path:
    whole = filmed(CANARY, folder / "whole.mp4", "libx264", crf="12", bf="0", threads="1")
    return broken(whole, folder / "broken.mp4", 0.6)


def test_what_the_card_hides_the_last_pass_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_gpu(monkeypatch, tmp_path / "cache")
    source = damaged(tmp_path)
    with open_desk("cuda") as desk:
        detect_file(source, Config(), PatchFinder(), _quiet, desk.lifted, desk.decoder)  # says nothing
    with pytest.raises(DamagedMedia):
        job(source, tmp_path / "out.mp4", "cuda")


def test_with_slates_the_card_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_gpu(monkeypatch, tmp_path / "cache")
    source, config = damaged(tmp_path), overlay(Config(), {"damaged": "slate"})
    here, there = (job(source, tmp_path / f"{d}.mp4", d, config) for d in ("cpu", "cuda"))
    assert digest(tmp_path / "cpu.mp4") == digest(tmp_path / "cuda.mp4")
    assert here.ledger.counts == there.ledger.counts
    assert CardStandIn.seen == []


def test_a_frame_that_the_card_loses_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_gpu(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(CardStandIn, "lost", 9)
    with pytest.raises(ConfigError, match="the video has it at"):
        job(filmed(CANARY, tmp_path / "in.mkv"), tmp_path / "out.mkv", "cuda")
