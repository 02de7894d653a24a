"""The doctor finds a drawn face, and says what is missing where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.media import Clip, make

from veilcast.commands.doctor import (
    cache,
    camera_address,
    canary,
    checked,
    examined,
    gpu,
    look_at,
    processor,
)
from veilcast.errors import ConfigError, EngineError
from veilcast.pipeline.drawn import drawn
from veilcast.pipeline.gpu import card


def test_a_ready_machine_passes_every_check() -> None:
    findings = list(examined(None))
    assert [finding for finding in findings if finding.good is False] == []
    assert {"weights", "cache", "a drawn face is found"} <= {f.what for f in findings if f.good}


def test_a_machine_without_a_gpu_is_no_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise EngineError("no CUDA device is available to this process")

    monkeypatch.setattr(card, "equipment", none)
    assert gpu() == "nothing (no CUDA device is available to this process)"


def test_missing_weights_are_a_failure_with_what_to_do(tmp_path: Path) -> None:
    bad = {finding.what: finding.said for finding in examined(tmp_path) if finding.good is False}
    assert set(bad) == {"weights", "a drawn face is found"}
    assert "veilcast models pull" in bad["weights"]


def test_networks_that_see_nothing_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilcast.pipeline.drawn.drawn", lambda: drawn() * 0)
    with pytest.raises(EngineError, match="found nothing"):
        canary(None)


def test_a_cache_that_cannot_be_written_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VEILCAST_MODELS", str(tmp_path / "file" / "models"))
    assert checked("cache", lambda: cache(None)).good is False


def test_a_camera_is_looked_at(tmp_path: Path) -> None:
    film = make(tmp_path / "clip.mp4", Clip(frames=30))
    address = camera_address(str(film), None)
    said = look_at(address, "tcp")
    assert "h264 96x64, 25.0 pictures a second" in said
    assert "0 of 30 damaged" in said


def test_a_camera_that_is_not_there_is_a_failure_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "login").write_text("anna:s3cr3t\n")
    address = camera_address("rtsp://127.0.0.1:9/x", tmp_path / "login")
    finding = checked("camera", lambda: look_at(address, "tcp"))
    assert finding.good is False
    assert "s3cr3t" not in finding.said
    with pytest.raises(ConfigError, match="--credentials"):
        camera_address("rtsp://anna:s3cr3t@127.0.0.1:9/x", None)


def test_the_processor_is_named_with_what_it_can_do(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Chip 9000\nflags\t\t: fpu avx2 avx512_bf16 sse\n")
    assert processor(info).startswith("Chip 9000")
    assert processor(info).endswith("avx2 avx512_bf16")
    assert "unknown" in processor(tmp_path / "none")
