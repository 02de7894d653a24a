"""Canary clips from file to file: no person's code is in what an independent decoder shows."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.oracle import Canary, Leak, Person, ScriptedDetector, leaks, misses, walk

from veilcast.config import Config, Cover, Encode, Limits
from veilcast.errors import DamagedMedia, PrivacyTripped
from veilcast.pipeline.cover import cover
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import Encoder
from veilcast.pipeline.stages import run
from veilcast.types import Frame, PixelFormat, Plane

CLIP = Canary([Person(1, walk(60, 90, 80, 5, 56)), Person(2, walk(260, 150, -60, 0, 48))], 40)
SECRET = "48.1371+11.5754 Erika Mustermann"
DROPOUTS = misses(1, (0, 3), (10, 5), (25, 8)) | misses(2, (30, 10))


def filmed(canary: Canary, path: Path, encoder: str = "ffv1", streams: int = 1, **options: str) -> Path:
    """The clip as a file, in `streams` video streams alike."""
    with av.open(str(path), "w") as out:
        videos = [out.add_stream(encoder, rate=canary.rate, options=options) for _ in range(streams)]
        for video in videos:
            assert isinstance(video, av.VideoStream)
            video.width, video.height = canary.size
            video.pix_fmt = canary.format.name
            video.metadata["LOCATION"] = SECRET
        out.metadata["COMMENT"] = SECRET
        for source in canary.frames():
            for video in videos:
                assert isinstance(video, av.VideoStream)
                out.mux(video.encode(_picture(canary, source)))
        for video in videos:
            assert isinstance(video, av.VideoStream)
            out.mux(video.encode())
    return path


def _picture(canary: Canary, source: Frame) -> av.VideoFrame:
    frame = av.VideoFrame(*canary.size, canary.format.name)
    for plane, samples in zip(frame.planes, source.planes, strict=True):
        padded = np.zeros((plane.height, plane.line_size // samples.itemsize), samples.dtype)
        padded[:, : samples.shape[1]] = samples
        plane.update(padded.tobytes())
    frame.pts = source.index
    frame.time_base = 1 / canary.rate
    return frame


def shown(path: Path, stream: int = 0) -> list[tuple[int, Plane]]:
    """The luma of every frame of a video stream, by plain PyAV."""
    with av.open(str(path)) as source:
        return [(n, _luma(frame)) for n, frame in enumerate(source.decode(video=stream))]


def _luma(frame: av.VideoFrame) -> Plane:
    plane = frame.planes[0]
    dtype = np.dtype(np.uint16 if "10" in frame.format.name else np.uint8)
    rows = np.frombuffer(bytes(plane), dtype).reshape(frame.height, -1)
    return rows[:, : frame.width]


def covered(
    tmp_path: Path, canary: Canary, config: Config, encoder: str = "ffv1", **options: str
) -> list[Leak]:
    """What leaks through the whole pipeline."""
    source = filmed(canary, tmp_path / "in.mkv", encoder, 1, **options)
    out = shown(rendered(source, canary, config))
    assert len(out) == canary.count
    return leaks(canary, out)


def rendered(source: Path, canary: Canary, config: Config) -> Path:
    """The output for a source that shows the canary clip."""
    target = source.with_name("out.mkv.part")
    target.touch()
    run(source, target, config, ScriptedDetector(canary, DROPOUTS, every=2), lambda *_: None)
    return target


def spoilt(source: Path) -> Path:
    """The file with some bytes of a third of its video packets changed."""
    data = bytearray(source.read_bytes())
    rng = np.random.default_rng(5)
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size > 40]
    for packet in packets[12:26]:
        start = data.find(packet)
        for offset in rng.integers(20, len(packet), 12):
            data[start + int(offset)] ^= int(rng.integers(1, 256))
    source.write_bytes(data)
    return source


@pytest.mark.parametrize("crf", ["18", "28", "38"])
def test_control_a_codec_does_not_hide_an_uncovered_face(tmp_path: Path, crf: str) -> None:
    source = filmed(CLIP, tmp_path / "in.mkv", "libx264", crf=crf)
    assert len(leaks(CLIP, shown(source))) == 2 * CLIP.count


@pytest.mark.parametrize("crf", [18, 28, 38])
@pytest.mark.parametrize("method", ["solid", "mosaic", "blur"])
def test_no_face_leaks_through_a_lossy_codec(tmp_path: Path, crf: int, method: str) -> None:
    config = Config(cover=Cover(replacewith=method), encode=Encode(crf=crf))
    assert covered(tmp_path, CLIP, config, "libx264", crf="18") == []


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p"])
def test_no_face_leaks_through_a_lossless_codec(tmp_path: Path, name: str) -> None:
    formats = {
        "yuv420p": CLIP.format,
        "yuv422p10le": PixelFormat("yuv422p10le", "yuv", 10, 1, 0),
        "yuv444p": PixelFormat("yuv444p", "yuv", 8),
    }
    assert covered(tmp_path, replace(CLIP, format=formats[name]), Config()) == []


def test_no_face_leaks_at_a_hard_cut_in_a_file(tmp_path: Path) -> None:
    clip = replace(CLIP, cuts=frozenset({20}), rate=Fraction(30))
    assert covered(tmp_path, clip, Config()) == []


def test_the_encoder_takes_nothing_but_what_the_gate_let_through(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv.part"
    target.touch()
    with Decoder(filmed(CLIP, tmp_path / "in.mkv"), Limits()) as decoder:
        encoder = Encoder(decoder, target)
        raw = next(decoder.frames())
        for passed in (raw, cover(raw, (), Cover())):
            with pytest.raises(PrivacyTripped, match="instead of a SafeFrame"):
                encoder.write(passed)  # type: ignore[arg-type]


def test_a_source_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    source = filmed(CLIP, tmp_path / "in.mkv", "libx264")
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    with pytest.raises(DamagedMedia):
        rendered(source, CLIP, Config())


def test_damaged_frames_are_slates_and_show_nobody(tmp_path: Path) -> None:
    source = spoilt(filmed(CLIP, tmp_path / "in.mkv", "libx264", g="10", bf="0", crf="18"))
    out = shown(rendered(source, CLIP, Config(damaged="slate")))
    assert leaks(CLIP, out) == []
    # from the first spoilt packet to the next key frame that is whole, and nowhere else
    assert [n for n, luma in out if np.mean(luma < 20) > 0.95] == list(range(12, 30))


def test_damage_is_refused_unless_slates_are_asked_for(tmp_path: Path) -> None:
    source = spoilt(filmed(CLIP, tmp_path / "in.mkv", "libx264", g="10", bf="0", crf="18"))
    with pytest.raises(DamagedMedia):
        rendered(source, CLIP, Config())


def test_a_second_video_stream_with_uncovered_faces_does_not_leave(tmp_path: Path) -> None:
    source = filmed(CLIP, tmp_path / "in.mkv", streams=2)
    assert leaks(CLIP, shown(source, 1))
    with av.open(str(rendered(source, CLIP, Config()))) as out:
        assert len(out.streams.video) == 1


def test_names_and_positions_do_not_leave(tmp_path: Path) -> None:
    source = filmed(CLIP, tmp_path / "in.mkv")
    assert source.read_bytes().count(SECRET.encode()) >= 2
    assert SECRET.encode() not in rendered(source, CLIP, Config()).read_bytes()
