"""An output is decoded again before it gets its name: in two halves at a time where it can be entered."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from tests.media import Clip, make
from tests.pipeline.round_trip import carry_over

from veilcast.errors import VerificationFailed
from veilcast.pipeline import verification
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.expected import Expected
from veilcast.types import Frame

RATE = Fraction(10)  # five seconds between key frames: one every fifty frames
FRAMES = 100
ENCODERS = ("libx264", "libx265")


def carried(
    folder: Path, suffix: str = ".mp4", encoder: str = "libx264", frames: int = FRAMES
) -> tuple[Path, Expected]:
    """A file of ours that has a key frame in the middle, and what was written."""
    quiet = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    source = make(folder / "in.mp4", Clip(encoder, frames=frames, rate=RATE, size=(160, 120), options=quiet))
    target = folder / f"out{suffix}"
    return target, carry_over(source, target).expected


def in_halves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(*_: object, **__: object) -> Decoder:
        raise AssertionError("the file was decoded whole")

    monkeypatch.setattr(verification, "Decoder", whole)


def packets(path: Path) -> list[tuple[int, int, int]]:
    """pts, place in the file and size of each picture, in order of presentation."""
    with av.open(str(path)) as container:
        found = container.demux(video=0)
        return sorted((p.pts, p.pos, p.size) for p in found if p.pts is not None and p.pos is not None)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_both_halves_give_all_frames_once(
    tmp_path: Path, suffix: str, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, expected = carried(tmp_path, suffix, encoder)
    assert expected.entry == FRAMES // 2
    seen: list[Frame] = []
    in_halves_alone(monkeypatch)
    verification.verify(target, expected, on_frame=seen.append)
    assert sorted(frame.index for frame in seen) == list(range(FRAMES))
    assert sorted(frame.time for frame in seen) == [pts * expected.time_base for pts in expected.pts]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("frames", [FRAMES, 31])
def test_a_video_has_a_key_frame_in_its_middle(tmp_path: Path, encoder: str, frames: int) -> None:
    _, expected = carried(tmp_path, ".mp4", encoder, frames)
    assert expected.entry == -(-frames // 2)


def test_a_very_short_video_has_no_more_key_frames_than_one_a_second(tmp_path: Path) -> None:
    _, expected = carried(tmp_path, frames=12)
    assert expected.entry is None


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("number", [0, 20, 49, 50, 51, 80, 99])
def test_damage_in_either_half_is_seen(tmp_path: Path, number: int, encoder: str) -> None:
    target, expected = carried(tmp_path, encoder=encoder)
    _, place, size = packets(target)[number]
    data = bytearray(target.read_bytes())
    if encoder == "libx264":
        data[place + size // 2 : place + size] = bytes(size - size // 2)
    else:  # FFmpeg does not look for the end of a picture of H.265
        data[place : place + size // 2] = b"\xff" * (size // 2)
    target.write_bytes(data)
    with pytest.raises(VerificationFailed):
        verification.verify(target, expected)


@pytest.mark.parametrize("number", [10, 70])
def test_a_frame_at_another_time_is_seen_in_either_half(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, expected = carried(tmp_path)
    expected.pts[number] += 1
    in_halves_alone(monkeypatch)
    with pytest.raises(VerificationFailed, match=f"first {number}"):
        verification.verify(target, expected)


@pytest.mark.parametrize("entry", [1, 37, 99])
def test_a_sound_file_passes_where_it_cannot_be_entered(tmp_path: Path, entry: int) -> None:
    target, expected = carried(tmp_path)
    verification.verify(target, replace(expected, entry=entry))


def test_a_file_that_leads_nowhere_is_not_entered(tmp_path: Path) -> None:
    _, expected = carried(tmp_path, ".ts")
    assert expected.entry is None


@pytest.mark.parametrize("number", [5, 95])
def test_the_picture_of_a_summary_is_the_frame_that_was_asked_for(tmp_path: Path, number: int) -> None:
    target, expected = carried(tmp_path)
    job = {
        "target": str(target),
        "expected": verification.to_json(expected),
        "limits": {},
        "picture": number,
    }
    told: list[int] = []
    answer = verification.check(job, lambda stage, done, total: told.append(done))
    with Decoder(target) as decoder:
        (frame,) = (f for f in decoder.frames() if f.index == number)
        assert answer["picture"] == verification.small_picture(frame)
    assert sorted(told) == list(range(1, FRAMES + 1))
