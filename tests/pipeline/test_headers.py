"""A copied track keeps what its decoder needs, and neither words nor pictures beside it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.media import Clip, beside, make, picture
from tests.pipeline.round_trip import carry_over, packets

from veilcast.config import Encode
from veilcast.errors import UnsupportedMedia
from veilcast.pipeline.encode import Encoder
from veilcast.pipeline.headers import bare_header

SECRET = b"CANARY Erika Mustermann 48.1371+11.5754"
FACE = b"\xff\xd8\xff\xe0CANARY" + bytes(range(256)) * 4  # a picture
FIRST = b"\x01vorbis" + bytes(23)
SETUP = b"\x05vorbis and code books"


def comments(*values: bytes) -> bytes:
    """A comment header of Vorbis (Vorbis I, 5.2)."""
    listed = [struct.pack("<I", len(value)) + value for value in values]
    return b"\x03vorbis" + struct.pack("<I", 4) + b"Xiph" + struct.pack("<I", len(values)) + b"".join(
        listed
    ) + b"\x01"  # fmt: skip


def laced(first: bytes, comment: bytes, setup: bytes) -> bytes:
    lengths = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in (first, comment))
    return b"\x02" + lengths + first + comment + setup


def sized(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def _commented(header: bytes) -> bytes:
    """The same with a name, a place and a picture among its comments."""
    lengths = header[1], header[2]  # FFmpeg's own comments are short
    first, setup = header[3 : 3 + lengths[0]], header[3 + sum(lengths) :]
    return laced(first, comments(b"ARTIST=" + SECRET, b"METADATA_BLOCK_PICTURE=" + FACE), setup)


def spoken(path: Path, codec: str, change: Callable[[bytes], bytes], tied: bytes = b"") -> Path:
    """A matroska file with sound whose header is changed, and `tied` to its packets."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=25, width=96, height=64)
        sound = out.add_stream(codec, rate=48000, options={"strict": "-2"})
        assert isinstance(video, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        sound.codec_context.layout = "stereo"
        sound.codec_context.open()
        sound.codec_context.extradata = change(sound.codec_context.extradata or b"")
        for i in range(12):
            out.mux(video.encode(picture(i, "yuv420p", (96, 64))))
        out.mux(video.encode(None))
        tone = (np.sin(np.arange(4096) / 20)[None] * np.ones((2, 1)) / 4).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        fitted = av.AudioResampler(sound.codec_context.format.name, "stereo", 48000, 1024).resample(frame)
        for piece in [*fitted, None]:
            for packet in sound.encode(piece):
                if tied:
                    beside(packet, struct.pack(">Q", 1) + tied)
                out.mux(packet)
    return path


def test_comments_and_pictures_in_a_vorbis_header_do_not_leave(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mkv", "vorbis", _commented)
    assert b"CANARY" in source.read_bytes()
    carry_over(source, tmp_path / "out.mkv")
    assert b"CANARY" not in (tmp_path / "out.mkv").read_bytes()
    (before,), (after,) = packets(source, "audio"), packets(tmp_path / "out.mkv", "audio")
    assert after == before
    assert heard(tmp_path / "out.mkv") == heard(source)


def test_what_is_tied_to_a_sounds_packets_does_not_leave(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mkv", "flac", lambda header: header, FACE)
    assert b"CANARY" in source.read_bytes()
    carry_over(source, tmp_path / "out.mkv")
    assert b"CANARY" not in (tmp_path / "out.mkv").read_bytes()
    assert packets(tmp_path / "out.mkv", "audio") == packets(source, "audio")


def heard(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(audio=0)]


@pytest.mark.parametrize("written", [laced, sized])
def test_a_vorbis_header_has_an_empty_list_of_comments(written: Callable[..., bytes]) -> None:
    header = written(FIRST, comments(b"ARTIST=" + SECRET, b"x" * 700), SETUP)
    assert bare_header("vorbis", header) == laced(FIRST, b"\x03vorbis" + bytes(8) + b"\x01", SETUP)


@pytest.mark.parametrize(
    ("codec", "header", "bare"),
    [
        ("flac", b"S" * 34, b"S" * 34),
        ("flac", b"fLaC\0\0\0\x22" + b"S" * 34 + b"\x86\0\4\6" + FACE, b"S" * 34),
        ("opus", b"OpusHead\1\2" + bytes(9) + SECRET, b"OpusHead\1\2" + bytes(9)),
        ("opus", b"OpusHead\1\2" + bytes(8) + b"\1\1\1\0\1" + SECRET,
         b"OpusHead\1\2" + bytes(8) + b"\1\1\1\0\1"),
        ("aac", b"\x11\x90", b"\x11\x90"),
        ("pcm_s16le", b"", b""),
        ("vorbis", b"", b""),
        ("dvd_subtitle", b"# CANARY\nsize: 720x576\nlangidx: 0\npalette: 0, ff\n",
         b"size: 720x576\npalette: 0, ff\n"),
    ],
)  # fmt: skip
def test_a_header_keeps_what_a_decoder_needs(codec: str, header: bytes, bare: bytes) -> None:
    assert bare_header(codec, header) == bare


def test_a_script_keeps_its_layout_and_styles_alone() -> None:
    script = (
        "[Script Info]\r\n; CANARY\r\nTitle: CANARY\r\nScriptType: v4.00+\r\nPlayResX: 384\r\n\r\n"
        "[Aegisub Project Garbage]\r\nAudio File: /home/CANARY/a.wav\r\n"
        "[V4+ Styles]\r\nStyle: Default,Arial\r\n[Graphics]\r\nfilename: CANARY.bmp\r\nM5$\r\n"
        "[Events]\r\nFormat: Layer, Start\r\n"
    )
    assert bare_header("ass", script.encode()).decode().split("\r\n") == [
        "[Script Info]", "ScriptType: v4.00+", "PlayResX: 384", "[V4+ Styles]", "Style: Default,Arial",
        "[Events]", "Format: Layer, Start", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("codec", "header"),
    [
        ("vorbis", laced(FIRST[:-1], comments(), SETUP)),
        ("vorbis", laced(FIRST, comments(), FACE)),
        ("vorbis", b"\x02\xff\xff"),
        ("vorbis", sized(FIRST, comments())),
        ("vorbis", b"\0"),
        ("opus", SECRET),
        ("aac", FACE),
    ],
)
def test_a_header_that_cannot_be_told_is_refused(codec: str, header: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is for nobody
        bare_header(codec, header)


def test_sound_whose_header_cannot_be_checked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "a.mp4", Clip(audio=["eng"], frames=5))
    monkeypatch.setattr("veilcast.pipeline.headers.UNCHECKED_BYTES", 1)
    with pytest.raises(UnsupportedMedia, match="header of the aac sound"):
        carry_over(source, tmp_path / "out.mp4")
    told: Encoder = carry_over(source, tmp_path / "out.mp4", Encode(audio="drop"))
    assert [s.kept for s in told.streams if s.kind == "audio"] == [False]


def attached(path: Path, content: bytes) -> Path:
    """A matroska file with an attachment that calls itself a font."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25, width=96, height=64)
        assert isinstance(stream, av.VideoStream)
        out.add_attachment("a.ttf", "application/x-truetype-font", content)
        for i in range(3):
            out.mux(stream.encode(picture(i, "yuv420p", (96, 64))))
        out.mux(stream.encode(None))
    return path


def test_a_picture_that_calls_itself_a_font_does_not_leave(tmp_path: Path) -> None:
    source = attached(tmp_path / "a.mkv", FACE)
    told = carry_over(source, tmp_path / "out.mkv").streams
    assert b"CANARY" in source.read_bytes()
    assert b"CANARY" not in (tmp_path / "out.mkv").read_bytes()
    assert [(s.kept, s.reason) for s in told if s.kind == "attachment"] == [
        (False, "not the font that it says it is")
    ]


@pytest.mark.parametrize("beginning", [b"\0\1\0\0", b"true", b"OTTO", b"ttcf", b"wOFF", b"wOF2"])
def test_fonts_of_every_kind_are_copied(tmp_path: Path, beginning: bytes) -> None:
    carry_over(attached(tmp_path / "a.mkv", beginning + b"outlines"), tmp_path / "out.mkv")
    assert beginning + b"outlines" in (tmp_path / "out.mkv").read_bytes()
