"""What comes out is what came in, covers apart: times, sound, colours, captions, everything."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.media import HDR10, ROTATED, Clip, make, picture, with_aperture, with_edits
from tests.pipeline.round_trip import carry_over, look, packets, samples

from veilcast.config import Encode
from veilcast.errors import UnsupportedMedia
from veilcast.pipeline import encode
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.shapes import Ellipse, bounds

Clips = Callable[[str, Clip], Path]

FAST = {"libsvtav1": {"preset": "11"}, "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"}}
UNEVEN_MS = (0, 40, 80, 200, 240, 400, 440, 480, 530, 600, 700, 800)

CODECS = [
    ("libx264", "yuv420p", (".mp4", ".mov", ".mkv", ".ts", ".avi", ".mxf")),
    ("libx265", "yuv420p", (".mp4", ".mkv", ".ts")),
    ("libsvtav1", "yuv420p", (".mp4", ".mkv", ".webm")),
    ("libvpx-vp9", "yuv420p", (".webm", ".mkv", ".mp4")),
    ("mpeg1video", "yuv420p", (".mpg", ".mkv", ".avi")),
    ("mpeg2video", "yuv420p", (".mpg", ".ts", ".mxf", ".mkv", ".mov")),
    ("mpeg4", "yuv420p", (".mp4", ".avi", ".mkv", ".ts")),
    ("prores_ks", "yuv422p10le", (".mov", ".mkv", ".mxf")),
    ("mjpeg", "yuvj420p", (".avi", ".mov", ".mkv")),
    ("ffv1", "yuv420p", (".mkv", ".avi")),
]


def clip_of(encoder: str, pix_fmt: str = "yuv420p", **more: object) -> Clip:
    clip = Clip(encoder=encoder, pix_fmt=pix_fmt, options=FAST.get(encoder, {}))
    return replace(clip, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("encoder", "pix_fmt", "suffix"), [(e, p, s) for e, p, all_ in CODECS for s in all_])
def test_every_codec_in_every_container_comes_back_alike(
    clips: Clips, tmp_path: Path, encoder: str, pix_fmt: str, suffix: str
) -> None:
    source = clips(f"plain{suffix}", clip_of(encoder, pix_fmt))
    target = tmp_path / f"out{suffix}"
    carry_over(source, target)
    before, after = look(source), look(target)
    assert len(after.times) == 12
    assert after == before


@pytest.mark.parametrize(("encoder", "pix_fmt", "suffix"), [(e, p, s) for e, p, all_ in CODECS for s in all_])
def test_two_threads_decode_the_same_frames_as_one(
    clips: Clips, encoder: str, pix_fmt: str, suffix: str
) -> None:
    source = clips(f"plain{suffix}", clip_of(encoder, pix_fmt))
    seen = []
    for threads in (1, 2):
        with Decoder(source, threads=threads) as decoder:
            seen.append([(f.pts, [plane.tobytes() for plane in f.planes]) for f in decoder.frames()])
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("profile", "pix_fmt"),
    [("dnxhr_hq", "yuv422p"), ("dnxhr_hqx", "yuv422p10le"), ("dnxhr_444", "yuv444p10le")],
)
def test_dnxhr_keeps_its_depth_and_chroma(clips: Clips, tmp_path: Path, profile: str, pix_fmt: str) -> None:
    clip = Clip(encoder="dnxhd", pix_fmt=pix_fmt, size=(256, 128), options={"profile": profile})
    source = clips("dnx.mov", clip)
    carry_over(source, tmp_path / "out.mov")
    assert look(tmp_path / "out.mov") == look(source)


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "suffix"),
    [("libx264", f, ".mp4") for f in ("yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")]
    + [("libx265", f, ".mp4") for f in ("yuv422p10le", "yuv444p12le", "gray", "gbrp")]
    + [
        ("ffv1", f, ".mkv")
        for f in ("yuv411p", "yuva420p", "gray16le", "bgr0", "bgra", "yuv444p12le", "gbrp10le")
    ]
    + [
        ("libsvtav1", "yuv420p10le", ".mp4"),
        ("libvpx-vp9", "yuv444p", ".webm"),
        ("mpeg2video", "yuv422p", ".mkv"),
    ],
)
def test_no_bit_and_no_chroma_is_lost(
    clips: Clips, tmp_path: Path, encoder: str, pix_fmt: str, suffix: str
) -> None:
    source = clips(f"deep{suffix}", clip_of(encoder, pix_fmt, frames=4))
    carry_over(source, tmp_path / f"out{suffix}")
    assert look(tmp_path / f"out{suffix}") == look(source)


@pytest.mark.parametrize("size", [(95, 63), (97, 64), (96, 59), (363, 291), (17, 5)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p"])
def test_odd_sizes_stay_lossless(clips: Clips, tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    source = clips("odd.mkv", Clip("ffv1", pix_fmt, size=size, frames=3))
    carry_over(source, tmp_path / "out.mkv")
    assert look(tmp_path / "out.mkv") == look(source)
    for before, after in zip(samples(source), samples(tmp_path / "out.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_format_that_its_own_family_cannot_write_goes_to_one_that_can(clips: Clips, tmp_path: Path) -> None:
    # ProRes 4444 decodes to 12 bits; no ProRes encoder takes more than 10
    source = clips("4444.mov", Clip(encoder="prores_ks", pix_fmt="yuv444p10le", frames=3))
    encoder = carry_over(source, tmp_path / "out.mov")
    assert look(tmp_path / "out.mov").pixel_format == "yuv444p12le"
    assert encoder.choice.family.codec == "hevc"
    (video,) = (s for s in encoder.streams if s.kind == "video")
    assert "prores_ks cannot hold yuv444p12le" in video.reason


# -- time


@pytest.mark.parametrize(
    ("encoder", "suffix", "tick"),
    [
        ("libx264", ".mp4", Fraction(1, 90000)),
        ("libx264", ".mkv", Fraction(1, 1000)),
        ("libx264", ".ts", Fraction(1, 90000)),
        ("libx265", ".mp4", Fraction(1, 90000)),
        ("libsvtav1", ".mp4", Fraction(1, 90000)),
        ("libvpx-vp9", ".webm", Fraction(1, 1000)),
        ("mpeg4", ".mp4", Fraction(1, 90000)),
        ("mjpeg", ".mov", Fraction(1, 90000)),
    ],
)
def test_uneven_times_are_kept_to_the_tick(
    clips: Clips, tmp_path: Path, encoder: str, suffix: str, tick: Fraction
) -> None:
    start = 1400 if suffix == ".ts" else 0
    pts = [int(Fraction(ms + start, 1000) / tick) for ms in UNEVEN_MS]
    pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
    source = clips(f"uneven{suffix}", clip_of(encoder, pix_fmt, pts=pts, time_base=tick))
    carry_over(source, tmp_path / f"out{suffix}")
    with Decoder(tmp_path / f"out{suffix}") as decoder:
        assert decoder.info.time_base == tick
        assert [frame.pts for frame in decoder.frames()] == pts


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("to", [".mp4", ".ts"])
def test_a_first_frame_that_lasts_long_does_not_make_the_whole_longer(
    clips: Clips, tmp_path: Path, suffix: str, to: str
) -> None:
    start = 126000 if suffix == ".ts" else 0
    pts = [start, *(start + 180000 + 3600 * i for i in range(19))]
    tick = Fraction(1, 90000)
    source = clips(f"late{suffix}", Clip(pts=pts, time_base=tick, options={"bf": "2"}))
    carry_over(source, tmp_path / f"out{to}")
    assert look(tmp_path / f"out{to}").times == look(source).times
    with av.open(str(tmp_path / f"out{to}")) as out:
        video = out.streams.video[0]
        assert video.duration is not None
        assert video.time_base is not None
        assert float(video.duration * video.time_base) == pytest.approx(2 + 19 / 25, abs=0.001)


WRAP = 1 << 33  # ticks of an MPEG-TS clock until it begins anew


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_a_clock_that_wraps_around_is_followed(clips: Clips, tmp_path: Path, suffix: str) -> None:
    pts = [WRAP + 90000 * 10 * (i - 8) for i in range(12)]  # beginning a day and more after zero
    copied = {"mpegts_copyts": "1"}
    source = clips("clock.ts", Clip(pts=pts, time_base=Fraction(1, 90000), muxer_options=copied))
    carry_over(source, tmp_path / f"out{suffix}")
    times = look(tmp_path / f"out{suffix}").times
    assert [round(1000 * time) for time in times] == [round(at / 90) for at in pts]


def test_a_clock_that_wraps_around_at_once_is_refused(clips: Clips, tmp_path: Path) -> None:
    pts = [WRAP + 3600 * (i - 8) for i in range(12)]
    copied = {"mpegts_copyts": "1"}
    source = clips("clock.ts", Clip(pts=pts, time_base=Fraction(1, 90000), muxer_options=copied))
    with pytest.raises(UnsupportedMedia, match="wraps around"):
        carry_over(source, tmp_path / "out.mkv")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_that_starts_late_stays_late(clips: Clips, tmp_path: Path, suffix: str) -> None:
    source = clips(f"late{suffix}", Clip(frames=25, audio=["eng"], audio_start=Fraction(1, 4)))
    carry_over(source, tmp_path / f"out{suffix}")
    assert packets(tmp_path / f"out{suffix}", "audio") == packets(source, "audio")
    (sound,) = packets(source, "audio")
    assert sound[1][0] is not None
    assert sound[1][0] > Fraction(1, 5)


def test_video_that_starts_late_stays_late(clips: Clips, tmp_path: Path) -> None:
    # an odd offset in an odd time base: an edit list in milliseconds would move it
    pts = [3003 + 1001 * i for i in range(12)]
    clip = Clip(pts=pts, time_base=Fraction(1, 30000), rate=Fraction(30000, 1001), audio=["eng"],
                muxer_options={"movie_timescale": "240000"})  # fmt: skip
    source = clips("offset.mp4", clip)
    carry_over(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").times == tuple(Fraction(p, 30000) for p in pts)
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")


def test_frames_that_an_edit_list_hides_stay_hidden(clips: Clips, tmp_path: Path) -> None:
    data = bytearray(clips("whole.mp4", Clip(frames=25, audio=["eng"], options={"bf": "2"})).read_bytes())
    at = data.find(b"elst") + 12  # the first entry: duration in 1/1000 s, media time in 1/12800 s, rate
    duration, start = struct.unpack(">Ii", data[at : at + 8])
    data[at : at + 8] = struct.pack(">Ii", duration - 200, start + 5 * 512)
    source = tmp_path / "trimmed.mp4"
    source.write_bytes(bytes(data))
    carry_over(source, tmp_path / "out.mp4")
    after = look(tmp_path / "out.mp4")
    assert after.times == tuple(Fraction(i, 25) for i in range(20))
    assert after.times == look(source).times
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_the_shortest_clips(clips: Clips, tmp_path: Path, frames: int, suffix: str) -> None:
    source = clips(f"short{suffix}", Clip(frames=frames))
    carry_over(source, tmp_path / f"out{suffix}")
    assert look(tmp_path / f"out{suffix}").times == look(source).times


# -- the picture's own facts


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotation(clips: Clips, tmp_path: Path, degrees: int, suffix: str) -> None:
    source = clips(f"turned{suffix}", Clip(matrix=ROTATED[degrees], frames=3))
    carry_over(source, tmp_path / f"out{suffix}")
    after = look(tmp_path / f"out{suffix}")
    assert after.orientation.quarter_turns == degrees // 90
    assert after == look(source)


def test_a_slanted_display_matrix_is_kept_whole(clips: Clips, tmp_path: Path) -> None:
    slanted = (56756, 32768, 0, -32768, 56756, 0, 0, 0, 1 << 30)  # 30 degrees
    source = clips("slanted.mp4", Clip(matrix=slanted, frames=3))
    carry_over(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").matrix == slanted


@pytest.mark.parametrize(
    ("encoder", "suffix"),
    [
        ("libx264", ".mp4"),
        ("libx264", ".mkv"),
        ("libx265", ".mkv"),
        ("libvpx-vp9", ".mp4"),
        ("mpeg4", ".avi"),
    ],
)
def test_sample_aspect_ratio(clips: Clips, tmp_path: Path, encoder: str, suffix: str) -> None:
    source = clips(f"wide{suffix}", clip_of(encoder, aspect=Fraction(4, 3), frames=3))
    carry_over(source, tmp_path / f"out{suffix}")
    assert look(tmp_path / f"out{suffix}").aspect == look(source).aspect == Fraction(4, 3)


@pytest.mark.parametrize("order", [2, 3], ids=["top first", "bottom first"])
@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "suffix"),
    [
        ("libx264", "yuv420p", ".mp4"),
        ("libx264", "yuv420p", ".mkv"),
        ("mpeg2video", "yuv420p", ".ts"),
        ("mpeg2video", "yuv420p", ".mpg"),
        ("mpeg4", "yuv420p", ".mp4"),
        ("prores_ks", "yuv422p10le", ".mov"),
        ("ffv1", "yuv420p", ".mkv"),
    ],
)
def test_interlaced_video_keeps_its_fields(
    clips: Clips, tmp_path: Path, encoder: str, pix_fmt: str, suffix: str, order: int
) -> None:
    source = clips(f"fields{suffix}", clip_of(encoder, pix_fmt, field_order=order, size=(96, 96)))
    carry_over(source, tmp_path / f"out{suffix}")
    assert look(tmp_path / f"out{suffix}").interlaced == look(source).interlaced
    assert look(source).interlaced[0] or look(source).interlaced[1] == order


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "suffix", "colour"),
    [
        ("libx264", "yuv420p10le", ".mp4", (9, 16, 9, 1)),
        ("libx264", "yuv420p", ".mp4", (1, 1, 1, 2)),
        ("libx265", "yuv420p10le", ".mkv", (9, 18, 9, 1)),  # HLG
        ("libsvtav1", "yuv420p", ".mp4", (1, 1, 1, 2)),
        ("libvpx-vp9", "yuv420p", ".webm", (1, 1, 1, 1)),
        ("prores_ks", "yuv422p10le", ".mov", (1, 1, 1, 1)),
        ("mpeg2video", "yuv420p", ".ts", (5, 5, 5, 1)),
        ("ffv1", "yuv420p", ".mkv", (1, 1, 1, 1)),
    ],
)
def test_colour_tags(
    clips: Clips, tmp_path: Path, encoder: str, pix_fmt: str, suffix: str, colour: tuple[int, int, int, int]
) -> None:
    source = clips(f"tagged{suffix}", clip_of(encoder, pix_fmt, colour=colour, frames=3))
    carry_over(source, tmp_path / f"out{suffix}")
    after = look(tmp_path / f"out{suffix}").colour
    assert after == look(source).colour
    assert (after.primaries, after.transfer, after.matrix) == colour[:3]


@pytest.mark.parametrize("siting", ["topleft", "center"])
@pytest.mark.parametrize(
    ("encoder", "suffix", "kept"),
    [
        ("libx264", ".mp4", True),
        ("libx265", ".mp4", True),
        ("libx264", ".ts", True),
        ("ffv1", ".mkv", True),
        ("mpeg4", ".mp4", False),
    ],
)
def test_where_samples_of_chroma_sit(
    clips: Clips, tmp_path: Path, siting: str, encoder: str, suffix: str, kept: bool
) -> None:
    options = {"chroma_sample_location": siting}
    source = clips("sited.mkv", Clip("libx264", options=options, frames=3))
    told = carry_over(source, tmp_path / f"out{suffix}", Encode(codec=encoder)).streams
    with Decoder(source) as before, Decoder(tmp_path / f"out{suffix}") as after:
        assert before.told.siting == siting
        assert (after.told.siting == siting) is kept
    assert [s.kept for s in told if s.codec == "chroma location"] == [kept]


def test_the_usual_place_of_chroma_is_not_worth_a_word(clips: Clips, tmp_path: Path) -> None:
    told = carry_over(clips("plain.ts", Clip("mpeg2video", frames=3)), tmp_path / "out.ts").streams
    assert [s for s in told if s.codec == "chroma location"] == []


def test_edges_that_the_container_hides_are_not_shown(tmp_path: Path) -> None:
    source = tmp_path / "cropped.mp4"
    source.write_bytes(with_aperture(make(tmp_path / "a.mp4", Clip()).read_bytes(), (64, 48)))
    with pytest.raises(UnsupportedMedia, match="hides edges of its picture"):
        carry_over(source, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("encoder", "suffix", "options"),
    [
        ("libx265", ".mp4", {"x265-params": HDR10}),
        ("libx265", ".mkv", {"x265-params": HDR10}),
        ("libx265", ".ts", {"x265-params": HDR10}),
        ("libx264", ".mp4", {"x264-params": HDR10.replace("master-", "mastering-").replace("max-", "")}),
        ("libsvtav1", ".mp4", {
            "svtav1-params": "content-light=1000,400:"
            "mastering-display=G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)WP(0.3127,0.329)L(1000,0.005)"
        }),
    ],
)  # fmt: skip
def test_hdr10_light_levels(
    clips: Clips, tmp_path: Path, encoder: str, suffix: str, options: dict[str, str]
) -> None:
    clip = Clip(encoder=encoder, pix_fmt="yuv420p10le", colour=(9, 16, 9, 1), options=options, frames=3)
    source = clips(f"hdr{suffix}", clip)
    carry_over(source, tmp_path / f"out{suffix}")
    before, after = look(source), look(tmp_path / f"out{suffix}")
    assert after.mastering is not None
    assert after.mastering == before.mastering
    assert after.content_light == before.content_light == struct.pack("=2I", 1000, 400)


def test_hdr10_that_an_encoder_cannot_write_is_told(clips: Clips, tmp_path: Path) -> None:
    clip = Clip("libx265", "yuv420p10le", colour=(9, 16, 9, 1), options={"x265-params": HDR10}, frames=3)
    told = carry_over(clips("hdr.mkv", clip), tmp_path / "out.mkv", Encode(codec="ffv1")).streams
    assert look(tmp_path / "out.mkv").mastering is None
    facts = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
    reasons = {s.codec: (s.kept, s.reason) for s in told if s.codec in facts}
    assert reasons == dict.fromkeys(facts, (False, "ffv1 cannot write HDR10's light levels"))


@pytest.mark.parametrize(("encoder", "suffix"), [("libx264", ".ts"), ("libx264", ".avi"), ("libx265", ".ts")])
def test_captions_stay_with_their_frames(clips: Clips, tmp_path: Path, encoder: str, suffix: str) -> None:
    source = clips(f"spoken{suffix}", Clip(encoder=encoder, captions=True))
    carry_over(source, tmp_path / f"out{suffix}")
    captions = look(tmp_path / f"out{suffix}").captions
    assert captions == look(source).captions
    assert len(set(captions)) == 12
    assert captions[5] is not None
    assert captions[5][:3] == bytes([0xFC, 0x80 | 0x25, 0xC1])


def test_captions_move_to_another_container_and_codec(clips: Clips, tmp_path: Path) -> None:
    source = clips("spoken.ts", Clip(captions=True))
    carry_over(source, tmp_path / "out.mp4", Encode(codec="hevc"))
    assert look(tmp_path / "out.mp4").captions == look(source).captions


def test_captions_that_an_encoder_cannot_write_are_told(clips: Clips, tmp_path: Path) -> None:
    source = clips("spoken.ts", Clip(captions=True))
    carry_over(source, tmp_path / "out.ts", Encode(codec="mpeg2"))
    assert look(tmp_path / "out.ts").captions == look(source).captions
    told = carry_over(source, tmp_path / "out.mkv", Encode(codec="ffv1")).streams
    assert [(s.codec, s.kept) for s in told if s.codec == "A53_CC"] == [("A53_CC", False)]


# -- the other streams


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "suffix", "where"),
    [
        ("libx264", "yuv420p", ".mov", "video"),
        ("libx264", "yuv420p", ".mp4", "video"),
        ("prores_ks", "yuv422p10le", ".mov", "video"),
        ("mpeg2video", "yuv420p", ".mxf", "file"),
    ],
)
def test_timecode(clips: Clips, tmp_path: Path, encoder: str, pix_fmt: str, suffix: str, where: str) -> None:
    tags = {"timecode": "01:02:03:04"}
    clip = clip_of(encoder, pix_fmt, **{"metadata" if where == "file" else "video_metadata": tags})
    source = clips(f"coded{suffix}", clip)
    carry_over(source, tmp_path / f"out{suffix}")
    assert look(tmp_path / f"out{suffix}").timecode == "01:02:03:04"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_chapters(clips: Clips, tmp_path: Path, suffix: str) -> None:
    source = clips(f"book{suffix}", Clip(chapters=["one", "two"]))
    carry_over(source, tmp_path / f"out{suffix}")
    after = look(tmp_path / f"out{suffix}").chapters
    assert [title for *_, title in after] == ["one", "two"]
    assert after == look(source).chapters


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_all_sound_and_subtitles_with_their_languages(clips: Clips, tmp_path: Path, suffix: str) -> None:
    source = clips(f"tower{suffix}", Clip(audio=["eng", "deu"], subtitles=["fra", "spa"], frames=25))
    encoder = carry_over(source, tmp_path / f"out{suffix}")
    before, after = look(source), look(tmp_path / f"out{suffix}")
    assert after.streams == before.streams
    kinds = [s.kind for s in encoder.streams if s.kept]
    assert kinds == ["video", "audio", "audio", "subtitle", "subtitle"]
    for kind in ("audio", "subtitle"):
        assert len(packets(source, kind)) == 2
        assert packets(tmp_path / f"out{suffix}", kind) == packets(source, kind)


@pytest.mark.parametrize(
    ("encoder", "sound", "suffix"),
    [
        ("libvpx-vp9", "libopus", ".webm"),
        ("mpeg4", "libmp3lame", ".avi"),
        ("mpeg2video", "pcm_s16le", ".mxf"),
        ("libx264", "pcm_s16le", ".mov"),
        ("libx264", "flac", ".mkv"),
    ],
)
def test_sound_of_every_kind_is_copied_byte_by_byte(
    clips: Clips, tmp_path: Path, encoder: str, sound: str, suffix: str
) -> None:
    source = clips(f"loud{suffix}", clip_of(encoder, audio=["eng"], audio_codec=sound, frames=25))
    carry_over(source, tmp_path / f"out{suffix}")
    assert packets(tmp_path / f"out{suffix}", "audio") == packets(source, "audio")


def test_sound_of_mpeg_ps_moves_to_an_mp4(clips: Clips, tmp_path: Path) -> None:
    # where it reads back as "mp3": one name for all layers of MPEG audio
    source = clips("old.mpg", Clip(encoder="mpeg2video", audio=["eng"], audio_codec="mp2", frames=25))
    carry_over(source, tmp_path / "out.mp4")
    before, after = packets(source, "audio"), packets(tmp_path / "out.mp4", "audio")
    assert [data for _, data in after[0]] == [data for _, data in before[0]]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_an_edit_list_puts_together_is_refused(clips: Clips, tmp_path: Path, suffix: str) -> None:
    whole = clips("whole.mp4", Clip(frames=25, audio=["eng"])).read_bytes()
    source = tmp_path / "cut.mp4"
    source.write_bytes(with_edits(whole, b"soun", [(300, 4800), (300, 24000)]))
    with pytest.raises(UnsupportedMedia, match=r"sound of stream 1 .* several edits"):
        carry_over(source, tmp_path / f"out{suffix}")
    carry_over(source, tmp_path / f"out{suffix}", Encode(audio="drop"))
    assert look(tmp_path / f"out{suffix}").times == look(source).times


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_sound_that_is_only_announced_is_dropped(clips: Clips, tmp_path: Path, suffix: str) -> None:
    source = announced(tmp_path / "a.ts", clips("tone.ts", Clip(frames=25, audio=["eng"])))
    told = carry_over(source, tmp_path / f"out{suffix}").streams
    assert [(s.kept, s.reason) for s in told if s.kind == "audio"] == [(False, "there is no sound in it")]
    assert look(tmp_path / f"out{suffix}").times == look(source).times


def announced(path: Path, source: Path, in_the_end: bool = False) -> Path:
    """An MPEG-TS whose sound, which its tables list, is left out, or comes when the video is over."""
    data = source.read_bytes()
    pieces = [data[at : at + 188] for at in range(0, len(data), 188)]
    sound = [piece for piece in pieces if int.from_bytes(piece[1:3], "big") & 0x1FFF == 0x101]
    others = [piece for piece in pieces if piece not in sound]
    path.write_bytes(b"".join(others + sound * in_the_end))
    return path


def test_sound_that_begins_when_nobody_listens_any_more_is_refused(clips: Clips, tmp_path: Path) -> None:
    source = announced(tmp_path / "a.ts", clips("long.ts", Clip(frames=500, audio=["eng"])), in_the_end=True)
    with pytest.raises(UnsupportedMedia, match=r"sound of stream 1 .* begins too late"):
        carry_over(source, tmp_path / "out.ts")


def test_sound_is_dropped_when_asked(clips: Clips, tmp_path: Path) -> None:
    source = clips("mute.mp4", Clip(audio=["eng"], frames=25))
    encoder = carry_over(source, tmp_path / "out.mp4", Encode(audio="drop"))
    assert packets(tmp_path / "out.mp4", "audio") == []
    assert [(s.kind, s.kept, s.reason) for s in encoder.streams if s.kind == "audio"] == [
        ("audio", False, "--audio drop")
    ]


def test_other_pictures_and_tags_do_not_leave(tmp_path: Path) -> None:
    secret = {"title": "CANARY-title", "location": "+47.1234+008.5678/", "com.apple.make": "CANARY-make"}
    clip = Clip(extra_video=True, metadata=secret, video_metadata={"handler_name": "CANARY-handler"},
                muxer_options={"movflags": "use_metadata_tags"})  # fmt: skip
    source = make(tmp_path / "a.mp4", clip)
    encoder = carry_over(source, tmp_path / "out.mp4")
    assert b"CANARY" in source.read_bytes()
    written = (tmp_path / "out.mp4").read_bytes()
    assert b"CANARY" not in written
    assert b"47.12" not in written
    assert [s.kind for s in encoder.streams if not s.kept and s.kind != "side data"] == ["video"]
    assert len(look(tmp_path / "out.mp4").streams) == 1


def test_attachments_with_pictures_do_not_leave_but_fonts_do(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        out.add_attachment("cover.jpg", "image/jpeg", b"CANARY-cover")
        out.add_attachment("a.ttf", "application/x-truetype-font", b"\0\1\0\0FONT-bytes")
        for i in range(3):
            out.mux(stream.encode(picture(i, "yuv420p", (96, 64))))
        out.mux(stream.encode(None))
    encoder = carry_over(source, tmp_path / "out.mkv")
    written = (tmp_path / "out.mkv").read_bytes()
    assert b"CANARY" not in written
    assert b"FONT-bytes" in written
    assert [(s.kind, s.kept) for s in encoder.streams if s.kind != "side data"] == [
        ("video", True), ("video", False), ("attachment", True)
    ]  # fmt: skip


def test_what_a_camera_wrote_into_each_jpeg_does_not_leave(tmp_path: Path) -> None:
    tags = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHI4s", 0x010F, 2, 4, b"CAM\0") + bytes(4)
    exif = b"\xff\xe1" + struct.pack(">H", len(tags) + 8) + b"Exif\0\0" + tags
    source = tmp_path / "a.avi"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for i in range(3):
            for packet in stream.encode(picture(i, "yuvj420p", (96, 64))):
                data = bytes(packet)
                marked = av.Packet(data[:2] + exif + data[2:])
                marked.pts, marked.dts, marked.time_base = packet.pts, packet.dts, packet.time_base
                marked.stream = stream
                out.mux(marked)
    carry_over(source, tmp_path / "out.avi")
    assert b"Exif" in source.read_bytes()
    assert b"Exif" not in (tmp_path / "out.avi").read_bytes()


# -- into another container


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi", ".mov"])
def test_an_mp4_moves_to_another_container_with_its_times_and_sound(
    clips: Clips, tmp_path: Path, suffix: str
) -> None:
    source = clips("home.mp4", Clip(audio=["eng"], frames=25))
    carry_over(source, tmp_path / f"out{suffix}")
    assert look(tmp_path / f"out{suffix}").times == look(source).times
    # an AAC encoder's lead-in before zero stays out where there is no such time; nothing moves for it
    heard = [data for time, data in packets(source, "audio")[0] if time is not None and time >= 0]
    after = [data for _, data in packets(tmp_path / f"out{suffix}", "audio")[0]][-len(heard) :]
    # MPEG-TS puts a header before each
    assert all(written.endswith(data) for written, data in zip(after, heard, strict=True))


@pytest.mark.parametrize(
    ("clip", "suffix", "why"),
    [
        (Clip(matrix=ROTATED[90]), ".ts", "turned"),
        (Clip(matrix=ROTATED[90]), ".avi", "turned"),
        (Clip(audio=["eng"]), ".webm", "aac sound"),
        (Clip(audio=["eng"]), ".mxf", "aac sound"),
        (Clip(pts=[0, 400, 500, 1300], time_base=Fraction(1, 10000)), ".avi", "even rate"),
    ],
)
def test_what_the_other_container_would_lose_is_refused(
    clips: Clips, tmp_path: Path, clip: Clip, suffix: str, why: str
) -> None:
    with pytest.raises(UnsupportedMedia, match=why):
        carry_over(clips("home.mp4", clip), tmp_path / f"out{suffix}")


@pytest.mark.parametrize(("suffix", "size"), [(".ts", 188), (".m2ts", 192), (".mts", 192)])
def test_an_mpeg_ts_has_packets_of_the_size_that_its_name_says(
    clips: Clips, tmp_path: Path, suffix: str, size: int
) -> None:
    source = clips("home.ts", Clip(audio=["eng"], audio_codec="ac3", frames=25))
    target = tmp_path / f"out{suffix}.part"
    carry_over(source, target)
    data = target.read_bytes()
    assert len(data) % size == 0
    assert set(data[size - 188 :: size]) == {0x47}
    assert look(target).times == look(source).times
    assert packets(target, "audio") == packets(source, "audio")


# -- exactness


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "yuv444p12le", "gray", "bgr0"])
def test_outside_the_cover_every_sample_is_the_decoders(clips: Clips, tmp_path: Path, pix_fmt: str) -> None:
    source = clips("exact.mkv", Clip(encoder="ffv1", pix_fmt=pix_fmt, frames=5))
    face = Ellipse(40, 30, 12, 16)
    carry_over(source, tmp_path / "out.mkv", regions=[face])
    rect = bounds(face, 96, 64, margin=8)
    assert rect is not None
    changed = 0
    for before, after in zip(samples(source), samples(tmp_path / "out.mkv"), strict=True):
        for a, b in zip(before, after, strict=True):
            log2_w, log2_h = int(np.log2(96 / a.shape[1])), int(np.log2(64 / a.shape[0]))
            differs = a != b
            changed += int(differs.sum())
            differs[rect.slices(log2_w, log2_h)] = False
            assert not differs.any()
    assert changed > 0


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "lossless"),
    [
        ("libx264", "yuv420p", Encode(crf=0, codec="h264")),
        ("libx264", "yuv444p", Encode(crf=0, codec="h264")),
        ("prores_ks", "yuv422p10le", Encode(codec="ffv1")),
    ],
)
def test_a_lossless_encoder_gives_back_the_decoders_frames(
    clips: Clips, tmp_path: Path, encoder: str, pix_fmt: str, lossless: Encode
) -> None:
    source = clips("lossy.mov", Clip(encoder=encoder, pix_fmt=pix_fmt))
    carry_over(source, tmp_path / "out.mkv", lossless)
    for before, after in zip(samples(source), samples(tmp_path / "out.mkv"), strict=True):
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)


# -- the same bytes


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4"])
def test_the_same_input_gives_the_same_bytes(clips: Clips, tmp_path: Path, encoder: str) -> None:
    source = clips("again.mkv", clip_of(encoder, frames=20, audio=["eng"]))
    carry_over(source, tmp_path / "a.mkv")
    carry_over(source, tmp_path / "b.mkv")
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1", "mpeg2video", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_segments_join_without_a_seam(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str, suffix: str
) -> None:
    if (encoder, suffix) in (("libsvtav1", ".ts"), ("mpeg2video", ".mp4")):
        pytest.skip("the container does not take the codec")
    pts = [126000 + p for p in (0, 3600, 7200, 14400, 18000, 21600, 28800, 32400, 36000, 39600)]
    tick = Fraction(1, 1000 if suffix == ".mkv" else 90000)
    pts = [int(Fraction(p, 90000) / tick) for p in pts]
    source = clips(f"long{suffix}", clip_of(encoder, pts=pts, time_base=tick))
    monkeypatch.setattr(encode, "SEGMENT_FRAMES", 4)
    carry_over(source, tmp_path / f"out{suffix}")
    assert look(tmp_path / f"out{suffix}").times == look(source).times


# -- real footage


@pytest.mark.slow
@pytest.mark.shared
def test_all_real_clips_keep_their_frames_times_and_sound(shared: Path, tmp_path: Path) -> None:
    clips = sorted(p for p in (shared / "videos").iterdir() if p.suffix in (".mp4", ".mkv", ".avi", ".mpg"))
    assert len(clips) == 24
    for source in clips:
        target = tmp_path / source.name
        carry_over(source, target)
        assert look(target).times == look(source).times, source.name
        before, after = packets(source, "audio"), packets(target, "audio")
        assert [[data for _, data in track] for track in after] == [
            [data for _, data in track] for track in before
        ]
        target.unlink()


@pytest.mark.shared
def test_a_real_clip_keeps_its_frames_times_and_sound(shared: Path, tmp_path: Path) -> None:
    source = shared / "videos" / "stage_multi_hamilton_640x360.mp4"  # its video starts at .85 s
    carry_over(source, tmp_path / "out.mp4")
    assert look(tmp_path / "out.mp4").times == look(source).times
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")
