"""Which encoder is taken, what is refused, and that only safe frames are written."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from tests.media import Clip
from tests.pipeline.round_trip import carry_over, look, samples

from veilcast.config import Cover, Encode
from veilcast.errors import (
    ConfigError,
    DiskFull,
    NotWritable,
    PrivacyTripped,
    UnsupportedMedia,
    VerificationFailed,
)
from veilcast.pipeline import encode, hdr
from veilcast.pipeline.codecs import FAMILIES, Choice, choose, encoder_options, pixel_format
from veilcast.pipeline.containers import may_reorder, muxer_for, muxer_options
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import Encoder, encoders, pixel_formats, writing
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.streams import SourceStream, fate
from veilcast.pipeline.verification import verify
from veilcast.types import Frame

Clips = Callable[[str, Clip], Path]


ANY = frozenset(f.encoder for f in FAMILIES.values())  # a container that takes all


def chosen(
    codec: str,
    pix_fmt: str,
    settings: Encode | None = None,
    container: frozenset[str] = ANY,
    interlaced: bool = False,
    aspect: bool = False,
) -> Choice:
    given = (codec, pixel_format(pix_fmt), interlaced, aspect, settings or Encode())
    return choose(*given, pixel_formats, container.__contains__)


# -- which encoder


@pytest.mark.parametrize("codec", FAMILIES)
def test_every_codec_goes_to_its_own_family(codec: str) -> None:
    pix_fmt = {"prores": "yuv422p10le", "dnxhd": "yuv422p", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    choice = chosen(codec, pix_fmt)
    assert (choice.family.codec, choice.pix_fmt, choice.reason) == (codec, pix_fmt, "")


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "taken"),
    [
        ("vp9", "yuv420p10le", "hevc"),
        ("vp9", "yuv444p12le", "hevc"),
        ("av1", "yuv444p", "hevc"),
        ("mpeg4", "yuv422p", "hevc"),
        ("h264", "gbrp", "hevc"),
        ("prores", "yuv444p12le", "hevc"),
        ("prores", "yuva444p12le", "ffv1"),
        ("mjpeg", "gray", "hevc"),
        ("hevc", "yuv420p", "hevc"),
        ("ffv1", "yuv411p", "ffv1"),
        ("vp8", "yuv420p", "vp9"),
    ],
)
def test_never_fewer_bits_or_less_chroma(codec: str, pix_fmt: str, taken: str) -> None:
    choice = chosen(codec, pix_fmt)
    assert choice.family.codec == taken
    source, target = pixel_format(pix_fmt), pixel_format(choice.pix_fmt)
    assert replace(target, name=source.name) == source


def test_what_a_webm_cannot_hold_is_refused_with_advice() -> None:
    webm = frozenset({"libvpx-vp9", "libsvtav1"})
    assert chosen("vp9", "yuv420p10le", container=webm).family.codec == "av1"
    with pytest.raises(UnsupportedMedia, match=r"\.mkv"):
        chosen("vp9", "yuv444p10le", container=webm)


def test_fields_and_pixel_shape_are_not_lost_on_the_way() -> None:
    assert chosen("vc1", "yuv420p", interlaced=True).family.codec == "ffv1"
    assert chosen("vc1", "yuv420p").family.codec == "hevc"
    assert chosen("vp9", "yuv420p", aspect=True).family.codec == "hevc"


def test_a_person_may_choose() -> None:
    choice = chosen("h264", "yuv420p", Encode(codec="h265", crf=20, preset="fast"))
    options = encoder_options(choice, 2, hdr.Light())
    assert (choice.family.encoder, options["crf"], options["preset"]) == ("libx265", "20", "fast")


def test_a_preset_that_a_person_names_is_the_encoders_own() -> None:
    ours = encoder_options(chosen("h264", "yuv420p"), 2, hdr.Light())
    named = encoder_options(chosen("h264", "yuv420p", Encode(preset="superfast")), 2, hdr.Light())
    assert ours["preset"] == named["preset"] == "superfast"
    assert "no-cabac" in ours["x264-params"]
    assert "no-cabac" not in named["x264-params"]


def test_blocks_of_h265_are_small_where_its_levels_allow_it() -> None:
    choice = chosen("hevc", "yuv420p")
    hd, uhd, fast = (
        encoder_options(choice, 2, hdr.Light(), w * h, rate)["x265-params"]
        for w, h, rate in ((1920, 1080, 60), (3840, 2160, 25), (1920, 1080, 120))
    )
    assert "ctu=16" in hd
    assert "ctu" not in uhd + fast


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (Encode(codec="h264 -vf x"), ConfigError),
        (Encode(codec="h264", preset="fast:crf=51"), ConfigError),
        (Encode(codec="ffv1", preset="fast"), ConfigError),
        (Encode(codec="mpeg4", pix_fmt="yuv422p"), UnsupportedMedia),
        (Encode(codec="h264", pix_fmt="nonsense"), UnsupportedMedia),
    ],
)
def test_what_a_person_types_is_checked(settings: Encode, error: type[Exception]) -> None:
    with pytest.raises(error):
        chosen("h264", "yuv420p", settings)


def test_a_range_that_is_converted_keeps_its_brightness(clips: Clips, tmp_path: Path) -> None:
    source = clips("grey.mp4", Clip(colour=(1, 1, 1, 1), frames=3))
    carry_over(source, tmp_path / "out.mov", Encode(codec="mjpeg", pix_fmt="yuvj420p"))
    limited, full = samples(source)[0][0], samples(tmp_path / "out.mov")[0][0]
    np.testing.assert_allclose((limited.astype(float) - 16) * 255 / 219, full, atol=6)
    assert look(tmp_path / "out.mov").colour.full_range


def test_a_chosen_pixel_format_is_converted_to(clips: Clips, tmp_path: Path) -> None:
    source = clips("a.mp4", Clip())
    carry_over(source, tmp_path / "out.mp4", Encode(codec="h264", pix_fmt="yuv444p"))
    assert look(tmp_path / "out.mp4").pixel_format == "yuv444p"


# -- containers


@pytest.mark.parametrize(
    ("name", "muxer"),
    [
        ("a.mp4.part", "mp4"),
        ("a.part.mp4", "mp4"),
        ("a.MKV", "matroska"),
        ("a.b.webm.part", "webm"),
        ("a.part", "mpegts"),
        ("a.xyz", "mpegts"),
    ],
)
def test_the_name_of_the_output_decides_its_container(name: str, muxer: str) -> None:
    assert muxer_for(Path(name), "mpegts") == muxer


def test_an_mp4_counts_edits_in_ticks_that_hold_every_stream() -> None:
    options = muxer_options("mp4", Fraction(1, 11988), [Fraction(1, 48000)])
    assert options == {"video_track_timescale": "11988", "movie_timescale": "47952000"}


def test_frames_are_stored_in_order_where_there_is_no_time_before_zero() -> None:
    assert not may_reorder("mpegts", 0, 3600)
    assert may_reorder("mpegts", 126000, 3600)
    assert may_reorder("mp4", 0, 3600)
    assert not may_reorder("avi", 126000, 3600)


# -- the policy for streams


@pytest.mark.parametrize(
    ("kind", "codec", "dispositions", "tags", "kept"),
    [
        ("audio", "aac", ["default"], {}, True),
        ("subtitle", "subrip", [], {"language": "eng"}, True),
        ("video", "h264", [], {}, False),
        ("video", "mjpeg", ["attached_pic"], {}, False),
        ("attachment", "unknown", [], {"mimetype": "image/jpeg"}, False),
        ("attachment", "unknown", [], {"mimetype": "application/x-truetype-font"}, True),
        ("data", "klv", [], {}, False),
        ("data", "scte_35", [], {}, False),
        ("data", "unknown", [], {"handler_name": "GoPro MET"}, False),
        ("data", "unknown", [], {"timecode": "00:00:00:00"}, False),
    ],
)
def test_every_stream_has_a_fate_and_a_reason(
    kind: str, codec: str, dispositions: list[str], tags: dict[str, str], kept: bool
) -> None:
    stream = SourceStream(3, kind, codec, dispositions, tags, b"\0\1\0\0 as a font begins")
    verdict = fate(stream, main=0, keep_audio=True)
    assert verdict.kept is kept
    assert verdict.reason


# -- writing


def test_only_a_safe_frame_reaches_the_encoder(clips: Clips, tmp_path: Path) -> None:
    with Decoder(clips("a.mp4", Clip())) as decoder, Encoder(decoder, tmp_path / "out.mp4") as encoder:
        frame = next(decoder.frames())
        for thing in (frame, frame.planes, None, decoder.first):
            with pytest.raises(PrivacyTripped):
                encoder.write(thing)  # type: ignore[arg-type]


def test_frames_must_come_in_order_and_once(clips: Clips, tmp_path: Path) -> None:
    ledger = Ledger()
    with Decoder(clips("a.mp4", Clip())) as decoder, Encoder(decoder, tmp_path / "out.mp4") as encoder:
        first, second = (release(f, (), Cover(), ledger) for f in islice(decoder.frames(), 2))
        encoder.write(second)
        with pytest.raises(PrivacyTripped):
            encoder.write(first)


def test_what_an_encoder_does_not_take_is_told_at_once(clips: Clips, tmp_path: Path) -> None:
    source = clips("slow.mp4", Clip(rate=Fraction(7)))
    with pytest.raises(UnsupportedMedia, match="7 frames a second"):
        carry_over(source, tmp_path / "out.mkv", Encode(codec="mpeg2"))
    with pytest.raises(UnsupportedMedia, match="mjpeg"):
        carry_over(source, tmp_path / "out.mkv", Encode(codec="mjpeg"))


def test_a_full_disk_is_told_as_such(clips: Clips) -> None:
    with pytest.raises(DiskFull):
        carry_over(
            clips("a.mkv", Clip(frames=60, size=(320, 240))), Path("/dev/full"), Encode(crf=1, codec="h264")
        )


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (av.error.ArgumentError(22, "x"), UnsupportedMedia),
        (av.error.InvalidDataError(1094995529, "x"), UnsupportedMedia),
        (av.error.OSError(5, "x"), NotWritable),
        (av.error.PermissionError(13, "x"), NotWritable),
        (av.error.OSError(28, "x"), DiskFull),
        (OSError(5, "x"), NotWritable),
    ],
)
def test_the_output_is_blamed_for_what_the_system_says_alone(
    raised: Exception, told: type[Exception]
) -> None:
    with pytest.raises(told), writing(Path("out.mp4")):
        raise raised


def test_a_folder_that_is_not_there(clips: Clips, tmp_path: Path) -> None:
    with pytest.raises(NotWritable):
        carry_over(clips("a.mp4", Clip()), tmp_path / "none" / "out.mp4")


def test_the_product_may_mark_its_output(clips: Clips, tmp_path: Path) -> None:
    mark = {"comment": "faces are synthetic"}
    with (
        Decoder(clips("a.mp4", Clip())) as decoder,
        Encoder(decoder, tmp_path / "out.mp4", tags=mark) as encoder,
    ):
        ledger = Ledger()
        for frame in decoder.frames():
            encoder.write(release(frame, (), Cover(), ledger))
    with Decoder(tmp_path / "out.mp4") as decoder:
        assert decoder.container.metadata["comment"] == "faces are synthetic"


def test_every_family_has_its_encoder_here() -> None:
    assert all(encoders().values())


# -- verification


def test_verification_sees_what_is_missing_moved_or_added(clips: Clips, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    encoder = carry_over(clips("tone.mp4", Clip(audio=["eng"], frames=25)), target)
    good = encoder.expected
    verify(target, good)
    moved = array("q", good.pts)
    moved[7] += 1
    for wrong in (
        replace(good, pts=good.pts[:-1]),
        replace(good, pts=moved),
        replace(good, size=(96, 65)),
        replace(good, pixel_format="yuv422p"),
        replace(good, streams=good.streams[:1]),
    ):
        with pytest.raises(VerificationFailed):
            verify(target, wrong)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_verification_sees_an_output_that_ends_early(clips: Clips, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    encoder = carry_over(clips(f"a{suffix}", Clip(frames=50, size=(320, 240))), target)
    target.write_bytes(target.read_bytes()[:-4000])
    with pytest.raises(VerificationFailed):
        verify(target, encoder.expected)


def test_no_video_packet_of_the_source_is_copied(clips: Clips, tmp_path: Path) -> None:
    source = clips("a.mp4", Clip())
    carry_over(source, tmp_path / "out.mp4")

    def video(path: Path) -> set[bytes]:
        with av.open(str(path)) as container:
            return {bytes(p) for p in container.demux(video=0) if p.size}

    assert not video(source) & video(tmp_path / "out.mp4")


def test_an_encoder_that_takes_real_time_priority_does_not_keep_it(
    tmp_path: Path, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SVT-AV1 does, run as root, for every segment: all that this process starts would starve the machine."""
    monkeypatch.setattr(encode, "SEGMENT_FRAMES", 4)
    under_way: set[int] = set()

    def note(_: Frame) -> None:
        under_way.update(os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir())

    source = clips("in.mkv", Clip(frames=10))
    carry_over(source, tmp_path / "out.mkv", Encode(codec="av1", preset="12"), each=note)
    assert under_way == {os.SCHED_OTHER}
