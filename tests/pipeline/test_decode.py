"""What a file is, whether all of it is there, and what is done where it is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from tests.media import INTERLACED, Clip, beside, make, picture
from tests.pipeline.round_trip import carry_over, samples

from veilcast.config import Limits
from veilcast.errors import (
    DamagedMedia,
    InputError,
    InputMissing,
    InputTooLarge,
    NotVideo,
    UnsupportedMedia,
)
from veilcast.pipeline.carriers import orientation
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.decode import Decoder
from veilcast.types import Orientation

Clips = Callable[[str, Clip], Path]
LONG = Clip(frames=60, options={"g": "10", "bf": "2"}, size=(160, 96))


def decoded(path: Path, damaged: str = "refuse") -> list[tuple[int, bool]]:
    """(pts, damaged) of all frames."""
    with Decoder(path, damaged="slate" if damaged == "slate" else "refuse") as decoder:
        return [(frame.pts, frame.damaged) for frame in decoder.frames()]


# -- what is a video


def test_the_content_decides_not_the_name(clips: Clips, tmp_path: Path) -> None:
    disguised = tmp_path / "notes.txt"
    disguised.write_bytes(clips("a.mp4", Clip()).read_bytes())
    assert len(decoded(disguised)) == 12


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile {}\n",
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
        "[playlist]\nFile1={}\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{}</BaseURL></MPD>",
        "just text",
        "",
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.ffconcat"])
def test_lists_of_files_and_text_are_refused(clips: Clips, tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / name).write_text(text.format(clips("a.ts", Clip())))
    with pytest.raises(NotVideo):
        Decoder(tmp_path / name)


@pytest.mark.parametrize("name", ["concat:a.ts|a.ts", "subfile,,start,0,end,0,,:a.ts", "%03d.ts", "-i"])
def test_a_name_is_never_read_as_a_protocol_or_an_option(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = clips("a.ts", Clip())
    Path("a.ts").write_bytes(source.read_bytes())
    Path("000.ts").write_bytes(source.read_bytes())
    with pytest.raises(InputMissing):
        Decoder(Path(name))
    Path(name).write_bytes(source.read_bytes())
    assert len(decoded(Path(name))) == 12


def test_pictures_and_sound_are_not_videos(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        stream.codec_context.layout = "mono"
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(NotVideo):
        Decoder(tmp_path / "a.mp4")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(InputMissing):
            Decoder(path)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_pixels=95 * 64),
        Limits(max_rate=24),
        Limits(max_streams=1),
        Limits(max_duration_s=0.1),
        Limits(max_bytes=1000),
    ],
)
def test_what_is_beyond_a_limit_is_refused(clips: Clips, limits: Limits) -> None:
    with pytest.raises(InputTooLarge):
        Decoder(clips("a.mp4", Clip(audio=["eng"])), limits)


@pytest.mark.parametrize("name", ["pal8", "monow", "yuv420p10be", "grayf32le", "xyz12le", "nv12"])
def test_formats_that_cannot_be_exact_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedMedia):
        pixel_format(name)


# -- frames


def test_frames_are_counted_timed_and_writable(clips: Clips) -> None:
    with Decoder(clips("a.mp4", Clip())) as decoder:
        for index, frame in enumerate(decoder.frames()):
            assert frame.index == index
            assert frame.time == Fraction(index, 25)
            assert [plane.shape for plane in frame.planes] == [(64, 96), (32, 48), (32, 48)]
            assert all(plane.flags.writeable for plane in frame.planes)
        assert index == 11


def test_writing_into_a_frame_changes_no_other(clips: Clips) -> None:
    source = clips("refs.mp4", Clip(frames=30, options={"refs": "4"}))
    untouched = samples(source)
    with Decoder(source) as decoder:
        for frame, planes in zip(decoder.frames(), untouched, strict=True):
            # the decoder predicts later frames from this one: it must keep its own copy
            np.testing.assert_array_equal(frame.planes[0], planes[0])
            for plane in frame.planes:
                plane[...] = 0


def test_frames_that_are_only_looked_at_cannot_be_written(clips: Clips) -> None:
    with Decoder(clips("a.mp4", Clip()), writable=False) as decoder:
        for frame in decoder.frames():
            with pytest.raises(ValueError, match="read-only"):
                frame.planes[0][...] = 0


def test_a_frame_that_is_kept_outlives_the_decoder(clips: Clips) -> None:
    source = clips("a.mp4", Clip())
    with Decoder(source) as decoder:
        kept = list(decoder.frames())
    for frame, planes in zip(kept, samples(source), strict=True):
        np.testing.assert_array_equal(frame.planes[0], planes[0])


@pytest.mark.parametrize("pix_fmt", ["gbrp10le", "bgr0", "bgra"])
def test_components_come_in_the_stated_order(tmp_path: Path, pix_fmt: str) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, pix_fmt
        red = av.VideoFrame.from_ndarray(np.full((16, 16, 3), (200, 100, 50), np.uint8), format="rgb24")
        out.mux(stream.encode(red.reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    with Decoder(tmp_path / "a.mkv") as decoder:
        (frame,) = decoder.frames()
        scale = 4 if frame.format.depth == 10 else 1
        means = [float(plane.mean()) / scale for plane in frame.planes[:3]]
        np.testing.assert_allclose(means, (200, 100, 50), atol=1)


def test_decoding_twice_gives_the_same_frames(clips: Clips) -> None:
    source = clips("long.ts", LONG)
    first, second = samples(source), samples(source)
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_orientation_reads_all_eight_display_matrices(turns: int, mirrored: bool) -> None:
    # a stored point (x, y) is shown at (a x + c y, b x + d y): turn clockwise, after mirroring
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns)
    shown = turn @ np.diag([-1 if mirrored else 1, 1])
    (a, c), (b, d) = shown
    matrix = (a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30)
    assert orientation(tuple(int(v) for v in matrix)) == Orientation(turns, mirrored)


def joined(path: Path, *parts: Clip) -> Path:
    """Clips of 12 frames, one after the other in one stream of an MPEG-TS."""
    with av.open(str(path), "w", container_options={"mpegts_copyts": "1"}) as out:
        stream = out.add_mux_stream(av.Codec(parts[0].encoder, "w").canonical_name, width=96, height=96)
        stream.time_base = Fraction(1, 90000)
        for number, part in enumerate(parts):
            context = VideoCodecContext.create(part.encoder, "w")
            assert isinstance(context, VideoCodecContext)
            context.width, context.height, context.pix_fmt = *part.size, part.pix_fmt
            context.time_base, context.max_b_frames = Fraction(1, 25), 0
            context.sample_aspect_ratio = part.aspect or Fraction(1)
            if part.field_order > 1:
                context.flags, context.field_order = context.flags | INTERLACED, part.field_order
            pictures: list[av.VideoFrame | None] = [picture(i, part.pix_fmt, part.size) for i in range(12)]
            for i, shown in enumerate([*pictures, None]):
                if shown is not None:
                    shown.pts, shown.time_base = i, Fraction(1, 25)
                for packet in context.encode(shown):
                    packet.pts = packet.dts = 3600 * (100 + 12 * number + (packet.pts or 0))
                    packet.time_base, packet.stream = Fraction(1, 90000), stream
                    out.mux(packet)
    return path


MPEG2 = Clip(encoder="mpeg2video", size=(96, 96))


def test_a_size_that_changes_in_mid_stream_is_refused_or_slated(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", MPEG2, replace(MPEG2, size=(64, 48)))
    with pytest.raises((UnsupportedMedia, DamagedMedia)):
        decoded(path)
    with Decoder(path, damaged="slate") as decoder:
        frames = list(decoder.frames())
    assert {frame.size for frame in frames} == {(96, 96)}
    assert not frames[3].damaged
    assert all(frame.damaged for frame in frames[13:])


@pytest.mark.parametrize("damaged", ["refuse", "slate"])
@pytest.mark.parametrize(
    ("first", "then", "change"),
    [
        (MPEG2, replace(MPEG2, aspect=Fraction(4, 3)), "sample aspect ratio from 1 to 4/3"),
        (MPEG2, replace(MPEG2, field_order=2), "from progressive to interlaced"),
        (Clip(), Clip(field_order=2), "from progressive to interlaced"),
    ],
)
def test_a_shape_or_fields_that_change_in_mid_stream_are_refused(
    tmp_path: Path, damaged: str, first: Clip, then: Clip, change: str
) -> None:
    with pytest.raises(UnsupportedMedia, match=f"changes (its )?{change} at frame 1[0-2]; split it"):
        decoded(joined(tmp_path / "a.ts", first, then), damaged)


def test_progressive_frames_among_interlaced_ones_are_coded_in_fields(tmp_path: Path) -> None:
    # as in films on a broadcaster's channel, and where a telecine is undone by flags
    source = joined(tmp_path / "a.ts", replace(MPEG2, field_order=2), MPEG2)
    told = carry_over(source, tmp_path / "out.ts").streams
    assert "in fields" in told[0].reason
    with Decoder(tmp_path / "out.ts") as decoder:
        decoder.carry(frozenset())
        pictures = [decoder.carrier(frame.index).picture for frame in decoder.frames()]
    assert [picture.interlaced_frame for picture in pictures] == [True] * 24


def transparent(path: Path, alpha: bytes) -> Path:
    """A WebM whose tag says that it has alpha, with `alpha` beside each picture."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libvpx-vp9", rate=25, options={"cpu-used": "8", "deadline": "realtime"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.metadata["alpha_mode"] = "1"
        pictures: list[av.VideoFrame | None] = [picture(i, "yuv420p", (96, 64)) for i in range(3)]
        for shown in [*pictures, None]:
            for packet in stream.encode(shown):
                if alpha:
                    beside(packet, (1).to_bytes(8, "big") + alpha)
                out.mux(packet)
    return path


def test_alpha_beside_the_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match="vp9 with alpha"):
        decoded(transparent(tmp_path / "a.webm", b"a picture of the alpha"))


def test_a_tag_that_outlived_its_alpha_is_no_reason(tmp_path: Path) -> None:
    assert len(decoded(transparent(tmp_path / "a.webm", b""))) == 3


# -- damage


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_a_file_that_ends_early_is_refused(clips: Clips, tmp_path: Path, suffix: str, share: float) -> None:
    # an index in front, as in a download that broke off
    front = {"movflags": "faststart"} if suffix in (".mp4", ".mov") else {}
    clip = Clip(frames=60, options={"g": "10"}, size=(160, 96), muxer_options=front)
    whole = clips(f"whole{suffix}", clip).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: int(len(whole) * share)])
    try:
        frames = decoded(cut)
    except InputError:
        return
    # then only the index at its very end is missing
    assert (suffix, share, len(frames)) == (".mkv", 0.95, 60)


@pytest.mark.parametrize("missing", [1, 40, 400])
def test_an_mp4_cut_off_inside_its_index_is_refused(clips: Clips, tmp_path: Path, missing: int) -> None:
    # FFmpeg shows all frames and forgets the sound
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clips("sound.mp4", Clip(audio=["eng"])).read_bytes()[:-missing])
    with pytest.raises(InputError):
        decoded(cut)


BAD_SLICE = b"\x01" * 8  # "first macroblock 127", which no picture here has: every decoder must say no
NAL_HEADER_BYTES = 1
SLICES = (1, 5)  # types of NAL units: of a coded slice, of an IDR picture


def broken(source: Path, target: Path, where: float, length: int = 24) -> Path:
    """A copy in which one picture's slice cannot be read: at its very start, so that it does not matter
    which bytes this machine's encoder wrote, and how random ones happen to decode. `where`: which of the
    pictures, as a share of them; `length`: how many bytes from there on are replaced."""
    with av.open(str(source)) as container:
        coded = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        packet = coded[int(len(coded) * where)]
        start = (slice_after_code if container.format.name == "mpegts" else slice_after_length)(packet)
    whole, slice_ = source.read_bytes(), packet[start : start + 12]
    assert whole.count(slice_) == 1
    data, at = bytearray(whole), whole.index(slice_)
    data[at : at + length] = BAD_SLICE + np.random.default_rng(3).bytes(length - len(BAD_SLICE))
    target.write_bytes(bytes(data))
    return target


def slice_after_code(packet: bytes) -> int:
    """Where the first slice of an H.264 picture begins, behind its NAL header; NAL units with start codes."""
    at = packet.index(b"\0\0\1") + 3
    while packet[at] & 31 not in SLICES:
        at = packet.index(b"\0\0\1", at) + 3
    return at + NAL_HEADER_BYTES


def slice_after_length(packet: bytes) -> int:
    """The same; NAL units behind their lengths of four bytes."""
    at = 4
    while packet[at] & 31 not in SLICES:
        at += 4 + int.from_bytes(packet[at - 4 : at])
    return at + NAL_HEADER_BYTES


@pytest.mark.parametrize("where", [0.3, 0.5, 0.7])
def test_damage_is_refused(clips: Clips, tmp_path: Path, where: float) -> None:
    source = clips("long.mkv", LONG)
    with pytest.raises(DamagedMedia):
        decoded(broken(source, tmp_path / "a.mkv", where, 400))


@pytest.mark.parametrize("where", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
def test_slates_stand_for_what_is_damaged_and_the_timeline_stays(
    clips: Clips, tmp_path: Path, suffix: str, where: float
) -> None:
    source = clips(f"long{suffix}", LONG)
    whole = [pts for pts, _ in decoded(source)]
    cracked = broken(source, tmp_path / f"a{suffix}", where, 250)
    with pytest.raises(DamagedMedia):
        decoded(cracked)
    after = decoded(cracked, "slate")
    flags = [damaged for _, damaged in after]
    if suffix == ".mp4":  # its index is elsewhere: every time stamp is known
        assert [pts for pts, _ in after] == whole
    assert 0 < sum(flags) < len(flags)
    assert not flags[0]  # what came before the damage is shown


@pytest.mark.parametrize("where", np.linspace(0.25, 0.75, 12).tolist())
def test_every_visibly_wrong_frame_is_flagged(clips: Clips, tmp_path: Path, where: float) -> None:
    source = clips("long.mp4", LONG)
    cracked = broken(source, tmp_path / "a.mp4", where, 12)
    with pytest.raises(DamagedMedia):
        decoded(cracked)
    with Decoder(cracked, damaged="slate") as decoder:
        frames = list(decoder.frames())
    for frame, planes in zip(frames, samples(source), strict=True):
        error = np.abs(frame.planes[0].astype(int) - planes[0].astype(int)).mean()
        assert frame.damaged or error < 8, f"frame {frame.index} is wrong by {error:.1f}"


def test_slates_hold_no_old_memory(clips: Clips, tmp_path: Path) -> None:
    cracked = broken(clips("long.mp4", LONG), tmp_path / "a.mp4", 0.4, 600)
    with Decoder(cracked, damaged="slate") as decoder:
        blank = [f for f in decoder.frames() if f.damaged and np.ptp(f.planes[0]) == 0]
    assert all(int(frame.planes[0][0, 0]) == 0 and int(frame.planes[1][0, 0]) == 128 for frame in blank)


def test_messages_are_one_sentence_without_library_text(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0" * 5000)
    with pytest.raises(InputError) as caught:
        Decoder(tmp_path / "a.mp4")
    assert "avcodec" not in str(caught.value)
    assert "Errno" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("aspect", "taken"), [((1, 4), False), ((1, 2), True), ((24, 11), True), ((4, 1), False)]
)
def test_pixels_in_which_faces_are_too_squeezed_to_be_found_are_refused(
    tmp_path: Path, aspect: tuple[int, int], taken: bool
) -> None:
    path = make(tmp_path / "in.mp4", Clip(aspect=Fraction(*aspect)))
    with nullcontext() if taken else pytest.raises(UnsupportedMedia, match="square pixels"):
        decoded(path)
