"""The command line: every failure is one sentence and its documented exit code, and leaves no output."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.clips import FRAMES, clip, detections

from veilcast import cli, errors


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clip(tmp_path_factory.mktemp("in") / "in.mp4").read_bytes()


class Told:
    """What a command answered: exit code and the text on standard error."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text


@pytest.fixture
def veilcast(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Told]:
    """Runs the command in the test's own folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["veilcast", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return Told(code, capfd.readouterr().err)

    return run


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return out.getvalue()


def picture() -> bytes:
    return cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"

BAD_INPUTS: dict[str, tuple[bytes, int]] = {
    "empty.mp4": (b"", 11),
    "text.mp4": (b"this is not a video\n" * 100, 11),
    "zeros.mkv": (bytes(100_000), 11),
    "sound.mp4": (sound(), 11),
    "picture.mp4": (picture(), 11),
    "playlist.mp4": (PLAYLIST, 11),
    "list.mp4": (CONCAT, 11),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_what_is_not_a_video_is_refused(veilcast: Callable[..., Told], tmp_path: Path, name: str) -> None:
    content, code = BAD_INPUTS[name]
    (tmp_path / name).write_bytes(content)
    detections(tmp_path / "D.jsonl")
    told = veilcast("render", name, "--detections", "D.jsonl", "-o", "out.mp4")
    assert told.code == code, told.text
    assert_one_sentence(told)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["D.jsonl", name])


def assert_one_sentence(told: Told) -> None:
    assert told.text.startswith("veilcast: "), told.text
    assert told.text.count("\n") == 1, told.text
    assert "Traceback" not in told.text
    assert ".part" not in told.text


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_a_truncated_video_is_refused(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes, share: float
) -> None:
    (tmp_path / "cut.mp4").write_bytes(video[: int(len(video) * share)])
    detections(tmp_path / "D.jsonl")
    told = veilcast("render", "cut.mp4", "--detections", "D.jsonl", "-o", "out.mp4")
    assert told.code in (11, 13), told.text
    assert_one_sentence(told)
    assert not (tmp_path / "out.mp4").exists()


# arguments after the folder was prepared -> exit code, words of the sentence
CASES: dict[str, tuple[list[str], int, str]] = {
    "missing input": (["none.mp4", "-o", "out.mp4"], 10, "none.mp4"),
    "output exists": (["in.mp4", "-o", "there.mp4"], 20, "--overwrite"),
    "folder missing": (["in.mp4", "-o", "no/out.mp4"], 21, "does not exist"),
    "itself": (["in.mp4", "-o", "in.mp4", "--overwrite"], 3, "input itself"),
    "plan missing": (["in.mp4", "-o", "out.mp4", "--detections", "none.jsonl"], 10, "none.jsonl"),
    "plan malformed": (["in.mp4", "-o", "out.mp4", "--detections", "bad.jsonl"], 3, "line 3"),
    "plan too short": (["in.mp4", "-o", "out.mp4", "--detections", "short.jsonl"], 3, "end at frame 9"),
    "settings missing": (["in.mp4", "-o", "out.mp4", "--config", "none.toml"], 3, "none.toml"),
    "unknown setting": (["in.mp4", "-o", "out.mp4", "--config", "typo.toml"], 3, "cover.colour"),
    "too large": (["in.mp4", "-o", "out.mp4", "--config", "small.toml"], 14, "max_bytes"),
    "too many pixels": (["in.mp4", "-o", "out.mp4", "--config", "tiny.toml"], 14, "pixels"),
    "zone": (["in.mp4", "-o", "out.mp4", "--zones", "1,2 3,4"], 3, "three corners"),
    "range": (["in.mp4", "-o", "out.mp4", "--start", "5", "--end", "2"], 3, "before"),
    "endless": (["in.mp4", "-o", "out.mp4", "--start", "1e400"], 3, "start_s"),
    "no number": (["in.mp4", "-o", "out.mp4", "--end", "nan"], 3, "end_s"),
    "audio": (["in.mp4", "-o", "out.mp4", "--keep-audio", "--audio", "drop"], 3, "contradicts"),
    "option": (["in.mp4", "-o", "out.mp4", "--frobnicate"], 2, "frobnicate"),
    "method": (["in.mp4", "-o", "out.mp4", "--replacewith", "none"], 2, "replacewith"),
    "stalled": (["in.mp4", "-o", "out.mp4", "--config", "hasty.toml"], 50, "deadline_s"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_sentence_and_its_exit_code(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes, case: str
) -> None:
    arguments, code, words = CASES[case]
    (tmp_path / "in.mp4").write_bytes(video)
    (tmp_path / "there.mp4").write_bytes(b"precious")
    lines = detections(tmp_path / "D.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "bad.jsonl").write_text("".join([*lines[:2], "{oops}\n", *lines[3:]]))
    (tmp_path / "short.jsonl").write_text("".join(lines[:10]))
    (tmp_path / "typo.toml").write_text("[cover]\ncolour = 'red'\n")
    (tmp_path / "small.toml").write_text("[limits]\nmax_bytes = 100\n")
    (tmp_path / "tiny.toml").write_text("[limits]\nmax_pixels = 100\n")
    (tmp_path / "hasty.toml").write_text("[limits]\ndeadline_s = 0.05\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if "--detections" not in arguments:
        arguments = [*arguments, "--detections", "D.jsonl"]
    told = veilcast("render", *arguments)
    assert told.code == code, told.text
    assert words in told.text
    if code != 2:
        assert_one_sentence(told)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_weights_that_are_missing_are_told(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes
) -> None:
    (tmp_path / "in.mp4").write_bytes(video)
    (tmp_path / "weights").mkdir()
    told = veilcast("run", "in.mp4", "-o", "out.mp4", "--replacewith", "solid", "--models", "weights")
    assert (told.code, "centerface" in told.text) == (30, True)
    assert_one_sentence(told)


def test_run_opens_a_generator_unless_it_is_told_another_cover(
    veilcast: Callable[..., Told], tmp_path: Path
) -> None:
    (tmp_path / "in.mp4").write_bytes(b"not a video")
    asked = ("run", "in.mp4", "-o", "out.mp4", "--model", "nowhere")
    told = veilcast(*asked)
    assert (told.code, "no generator" in told.text) == (30, True)
    assert veilcast(*asked, "--replacewith", "solid").code == 11


def test_weights_that_are_not_as_pinned_are_never_used(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes
) -> None:
    (tmp_path / "in.mp4").write_bytes(video)
    (tmp_path / "weights").mkdir()
    for name in ("centerface_int8.onnx", "yunet.onnx"):
        (tmp_path / "weights" / name).write_bytes(b"something else")
    told = veilcast("run", "in.mp4", "-o", "out.mp4", "--replacewith", "solid", "--models", "weights")
    assert (told.code, "SHA-256" in told.text) == (31, True)
    assert_one_sentence(told)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes
) -> None:
    (tmp_path / "in.mp4").write_bytes(video)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    told = veilcast("run", "in.mp4", "-o", "locked/out.mp4")
    assert told.code == 21
    assert_one_sentence(told)


def test_one_bad_file_does_not_stop_a_folder(
    veilcast: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "in" / "deeper"
    inside.mkdir(parents=True)
    for path in (tmp_path / "in" / "a.mp4", inside / "b.mp4", inside / "notes.txt", inside / "c.mp4"):
        path.write_bytes(path.name.encode())
    done: list[str] = []

    def anonymize(source: str, target: Path, *rest: object) -> dict[str, list[object]]:
        from veilcast.errors import NotVideo

        done.append(f"{Path(source).name} -> {target.relative_to('out')}")
        if Path(source).name in ("b.mp4", "notes.txt"):
            raise NotVideo(f"{source} is not a video")
        return {"streams": []}

    monkeypatch.setattr("veilcast.pipeline.api.anonymize_file", anonymize)
    told = veilcast("run", "in", "-o", "out")
    assert done == [
        "a.mp4 -> a.mp4",
        "b.mp4 -> deeper/b.mp4",
        "c.mp4 -> deeper/c.mp4",
        "notes.txt -> deeper/notes.txt",
    ]
    assert told.code == 4
    assert "1 of 4 inputs failed" in told.text
    assert "skipped: in/deeper/notes.txt" in told.text


def test_a_folder_of_what_is_neither_video_nor_picture_is_told(
    veilcast: Callable[..., Told], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.bmp"), np.zeros((32, 32, 3), np.uint8))
    told = veilcast("run", "in", "-o", "out", "--replacewith", "solid")
    assert told.code == 10, told.text
    assert "JPEG, PNG, WebP, TIFF" in told.text
    assert not list((tmp_path / "out").iterdir())


STEPS = {
    "detect": ["detect", "in.mp4", "--detections", "E.jsonl"],
    "render": ["render", "in.mp4", "--detections", "D.jsonl", "-o", "out.mp4", "--replacewith", "synthetic"],
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_takes_its_weights_from_the_folder_that_is_named(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes, step: str
) -> None:
    (tmp_path / "in.mp4").write_bytes(video)
    (tmp_path / "empty").mkdir()
    detections(tmp_path / "D.jsonl")
    told = veilcast(*STEPS[step], "--models", "empty")
    assert told.code == 30, told.text
    assert f"{tmp_path}/empty" in told.text
    assert_one_sentence(told)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_asks_the_device_that_is_named(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "in.mp4").write_bytes(video)
    detections(tmp_path / "D.jsonl")
    told = veilcast(*STEPS[step], "--device", "cuda")
    assert told.code == 32, told.text
    assert "no CUDA device" in told.text
    assert_one_sentence(told)


def test_the_readme_lists_every_exit_code() -> None:
    def codes(error: type[errors.VeilcastError]) -> set[int]:
        return {error.exit_code}.union(*map(codes, error.__subclasses__()))

    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text()
    table = readme.split("## Exit codes\n")[1].split("\n\n")[0]
    listed = {int(code) for line in table.splitlines() for code in re.findall(r"\d+", line.split("|")[1])}
    done, misused, interrupted, terminated = 0, 2, 130, 143
    assert listed == codes(errors.VeilcastError) | {done, misused, interrupted, terminated}


def test_a_model_is_not_exported_without_its_terms(veilcast: Callable[..., Told], tmp_path: Path) -> None:
    told = veilcast("train", "export", "--run", "run", "--cache", "cache", "--out", "model")
    assert told.code == 2
    assert "--licence" in told.text
    assert not (tmp_path / "model").exists()


def test_two_inputs_never_become_one_output(veilcast: Callable[..., Told], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.mp4").write_bytes(b"")
    told = veilcast("run", "a/x.mp4", "b/x.mp4", "-o", "out")
    assert told.code == 3
    assert "different folders" in told.text


def test_a_stream_that_is_dropped_is_told(
    veilcast: Callable[..., Told], tmp_path: Path, video: bytes
) -> None:
    (tmp_path / "in.mp4").write_bytes(video)
    detections(tmp_path / "D.jsonl")
    told = veilcast(
        "render",
        "in.mp4",
        "--detections",
        "D.jsonl",
        "-o",
        "out.mp4",
        "--audio",
        "drop",
        "--report",
        "R.json",
    )
    assert told.code == 0, told.text
    report = json.loads((tmp_path / "R.json").read_text())
    assert [s["kept"] for s in report["streams"] if s["kind"] == "audio"] == [False]
    assert report["output"]["frames"] == FRAMES


def test_terminating_a_run_leaves_nothing(tmp_path: Path, video: bytes) -> None:
    (tmp_path / "in.mp4").write_bytes(video)
    detections(tmp_path / "D.jsonl")
    command = [
        sys.executable,
        "-m",
        "veilcast",
        "render",
        "in.mp4",
        "--detections",
        "D.jsonl",
        "-o",
        "out.mp4",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while not (tmp_path / "out.mp4.part").exists():
        assert process.poll() is None
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert sorted(path.name for path in tmp_path.iterdir()) == ["D.jsonl", "in.mp4"]
