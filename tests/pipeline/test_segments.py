"""A file that was rendered in parts, in any order, is the file that was rendered at once, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest
from tests import media
from tests.clips import clip
from tests.media import Clip

from veilcast.config import Config, overlay
from veilcast.errors import DamagedMedia, PrivacyTripped, WorkerDied
from veilcast.pipeline import encode, jobs, parts, sections, segments
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detectors.candidates import Look
from veilcast.pipeline.ledger import Fate, Stretch
from veilcast.pipeline.segments import joined_ledger, open_segment, segment_path
from veilcast.pipeline.tasks import Tools
from veilcast.types import Box, Face, Frame

SEGMENT = 8  # frames, in place of hundreds


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (encode, sections, segments):
        monkeypatch.setattr(module, "SEGMENT_FRAMES", SEGMENT)


class _Finder:
    """Sees one face that walks through the picture."""

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look]]:
        for frame in frames:
            x = 10 + frame.index
            yield frame, Look((Face(Box(x, 10, x + 25, 40), 0.9),))


class _Tools:
    def finder(self, settings: object, models: object, device: str) -> _Finder:
        return _Finder()


TOOLS = cast(Tools, _Tools())


def silent(stage: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""


@dataclass
class Parts:
    """A file on its way through the three jobs."""

    source: Path
    folder: Path
    config: Config
    hashes: dict[int, str]

    @classmethod
    def begun(cls, source: Path, tmp_path: Path, config: Config = Config()) -> Parts:  # noqa: B008
        made = cls(source, tmp_path / "work", config, {})
        made.folder.mkdir()
        made.facts = parts.scout(made.job(), silent, TOOLS)
        return made

    facts: Any = None

    def job(self, **more: Any) -> dict[str, Any]:
        return {
            "source": str(self.source),
            "folder": str(self.folder),
            "config": self.config.model_dump(mode="json"),
            "models": None,
            "preview": None,
            "suffix": self.source.suffix,
            **more,
        }

    def render(self, first: int, end: int) -> None:
        def heard(stage: str, done: int, total: int | None) -> None:
            if stage.startswith("segment:"):
                _, number, digest = stage.split(":")
                self.hashes[int(number)] = digest

        parts.sections(self.job(numbers=[first, end]), heard, TOOLS)

    def join(self, target: Path) -> dict[str, Any]:
        hashes = [self.hashes[n] for n in range(len(self.facts["cuts"]))]
        return parts.join(self.job(target=str(target), segments=hashes), silent)


def whole(source: Path, target: Path, config: Config) -> dict[str, Any]:
    job = Parts(source, target.parent, config, {}).job(target=str(target))
    return jobs.run(job, silent, TOOLS)


def same_in_parts(source: Path, tmp_path: Path, config: Config = Config()) -> None:  # noqa: B008
    made = Parts.begun(source, tmp_path, config)
    count = len(made.facts["cuts"])
    assert count >= 3
    for number in reversed(range(count)):
        made.render(number, number + 1)
    a, b = tmp_path / ("a" + source.suffix), tmp_path / ("b" + source.suffix)
    told, told_whole = made.join(a), whole(source, b, config)
    assert a.read_bytes() == b.read_bytes()
    assert told == told_whole
    assert [path.name for path in made.folder.iterdir() if "scratch" in path.name] == []


LONG = {"frames": 30, "options": {"g": "7"}}
VARIABLE = tuple(n * 3 + n % 3 for n in range(30))
CASES = {
    "two sounds.mp4": Clip(audio=("eng", "deu"), **LONG),  # type: ignore[arg-type]
    "subtitles.mp4": Clip(audio=("eng",), subtitles=("eng",), chapters=("one", "two"), **LONG),  # type: ignore[arg-type]
    "late sound.mkv": Clip(audio=("eng",), subtitles=("eng",), audio_start=Fraction(1, 5), **LONG),  # type: ignore[arg-type]
    "variable rate.mkv": Clip(pts=VARIABLE, time_base=Fraction(1, 1000), **LONG),  # type: ignore[arg-type]
    "variable rate.mp4": Clip(pts=VARIABLE, time_base=Fraction(1, 75), **LONG),  # type: ignore[arg-type]
    "hevc.mp4": Clip(encoder="libx265", frames=30, options={"x265-params": "log-level=none:keyint=7"}),
    "hevc captions.ts": Clip(
        encoder="libx265", frames=30, captions=True, options={"x265-params": "log-level=none:keyint=7"}
    ),
    "captions.mp4": Clip(captions=True, **LONG),  # type: ignore[arg-type]
    "transport stream.ts": Clip(audio=("eng",), audio_codec="aac", **LONG),  # type: ignore[arg-type]
    "open groups.mp4": Clip(frames=30, options={"g": "7", "x264-params": "open-gop=1:bframes=3"}),
    "intra refresh.mp4": Clip(
        frames=30, options={"g": "9", "x264-params": "intra-refresh=1:bframes=0:log-level=none"}
    ),
    "turned.mp4": Clip(matrix=media.ROTATED[90], **LONG),  # type: ignore[arg-type]
    "programme.mpg": Clip(encoder="mpeg2video", audio=("eng",), audio_codec="mp2", frames=30),
    "grid.avi": Clip(encoder="mpeg4", frames=30),
    "av1.mp4": Clip(encoder="libsvtav1", frames=30, options={"preset": "12", "svtav1-params": "keyint=7"}),
    "vp9.webm": Clip(encoder="libvpx-vp9", frames=30, audio=("eng",), audio_codec="libopus"),
    "one key frame.mp4": Clip(frames=30, options={"g": "250"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parts_joined_are_the_file_rendered_at_once(
    name: str, clips: Callable[[str, Clip], Path], tmp_path: Path
) -> None:
    same_in_parts(clips(name.replace(" ", "_"), CASES[name]), tmp_path)


@pytest.mark.parametrize("replacewith", ["mosaic", "blur"])
def test_other_covers_are_the_same_in_parts(replacewith: str, tmp_path: Path) -> None:
    same_in_parts(clip(tmp_path / "in.mp4"), tmp_path, overlay(Config(), {"cover.replacewith": replacewith}))


def test_a_range_of_time_is_counted_from_the_files_first_frame(tmp_path: Path) -> None:
    same_in_parts(clip(tmp_path / "in.mp4"), tmp_path, overlay(Config(), {"start_s": 0.3, "end_s": 0.9}))


def test_segments_in_one_go_are_the_same_as_one_by_one(tmp_path: Path) -> None:
    made = Parts.begun(clip(tmp_path / "in.mp4"), tmp_path)
    for number in range(4):
        made.render(number, number + 1)
    one_by_one = dict(made.hashes)
    made.hashes.clear()
    made.render(1, 4)
    made.render(0, 1)
    assert made.hashes == one_by_one


def test_a_damaged_segment_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    made = Parts.begun(clip(tmp_path / "in.mp4"), tmp_path)
    made.render(0, 4)
    path = segment_path(made.folder, 2)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(WorkerDied, match="not what was written"):
        open_segment(path, made.hashes[2])


def test_a_frame_that_is_sought_is_the_one_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a container leads elsewhere, the part is decoded from the beginning."""
    shorten(monkeypatch)
    made = Parts.begun(clip(tmp_path / "in.mp4"), tmp_path)
    right = sections.Cut.of(made.facts["cuts"][2])
    wrong = sections.Cut(right.number, right.first, right.end, right.pts, "0" * 32)
    with (
        sections.Section(made.source, wrong, 0) as decoder,
        pytest.raises(sections.Elsewhere),
    ):
        next(decoder.frames())
    with sections.Section(made.source, right, 0) as decoder:
        assert next(decoder.frames()).index == 2 * SEGMENT


@pytest.mark.parametrize("number", [0, 2])
def test_another_film_under_the_name_is_not_covered_with_the_plan_of_the_first(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same size, same times, other pictures: what was found in the first says nothing of these."""
    shorten(monkeypatch)
    made = Parts.begun(clip(tmp_path / "in.mp4"), tmp_path)
    clip(made.source, codec="mpeg4")
    with pytest.raises(DamagedMedia, match="changed while it was read"):
        made.render(number, number + 1)
    assert made.hashes == {}


def test_every_frame_has_its_fate_once() -> None:
    def stretch(first: int, last: int) -> Stretch:
        return Stretch(first, last, Fate.REDACTED, "")

    assert joined_ledger([stretch(0, 7), stretch(8, 11)], 12).stretches == [stretch(0, 11)]
    for wrong in ([stretch(0, 7), stretch(9, 11)], [stretch(0, 7), stretch(7, 11)], [stretch(0, 7)]):
        with pytest.raises(PrivacyTripped):
            joined_ledger(wrong, 12)


def test_every_part_of_the_joined_file_is_covered(tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mp4")
    made = Parts.begun(source, tmp_path)
    for number in (2, 0, 3, 1):
        made.render(number, number + 1)
    made.join(tmp_path / "out.mp4")
    with Decoder(tmp_path / "out.mp4") as decoder:
        for frame in decoder.frames():
            inside = frame.planes[0][20:30, 18 + frame.index : 28 + frame.index]
            assert abs(int(inside.max()) - 16) < 12, frame.index
