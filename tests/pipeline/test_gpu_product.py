"""`--device cuda` with stand-ins for GPU and TensorRT: the product's own detectors there give the file that
`run` gives, and without a GPU nothing is covered by something else in silence."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.trt_engines import fake_tensorrt
from tests.trt_engines.fake_device import FakeDevice

from veilcast.config import Config
from veilcast.errors import EngineError
from veilcast.pipeline import stages
from veilcast.pipeline.detect import FaceFinder
from veilcast.pipeline.drawn import drawn
from veilcast.pipeline.gpu.detectors import open_gpu_detector
from veilcast.pipeline.tasks import perform
from veilcast.trt_engines import gpu, tensorrt_engine
from veilcast.trt_engines import open as opening
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine

pytest.importorskip("onnxruntime", reason="the stand-in runs networks by ONNX Runtime")

FRAMES = 12


class CountingDevice(FakeDevice):
    launches = 0

    def launch(self, *args: Any, **more: Any) -> None:
        type(self).launches += 1
        super().launch(*args, **more)


@pytest.fixture
def models() -> Models:
    models = Models()
    if not all((models.folder / f"{name}.onnx").exists() for name in ("centerface", "yunet")):
        pytest.skip("no weights here: veilcast models pull")
    return models


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeDevice]:
    """As if this machine had a GPU with TensorRT."""
    device = CountingDevice()
    CountingDevice.launches = 0
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.library(device))
    monkeypatch.setattr(gpu, "TorchDevice", lambda: device)
    monkeypatch.setattr(opening, "default_folder", lambda: tmp_path / "cache" / "models")
    monkeypatch.setattr(tensorrt_engine, "_recorded", lambda work, stream: _Recorded(work))
    yield device
    assert all(buffer.freed for buffer in device.buffers.values())


class _Recorded:
    def __init__(self, work: object) -> None:
        self.replay = work


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn face that walks to the right."""
    path = tmp_path_factory.mktemp("clip") / "in.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        for index in range(FRAMES):
            rgb = np.roll(drawn(), 2 * index, axis=1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def covered(clip: Path, target: Path, finder: FaceFinder) -> str:
    """The SHA-256 of the file; every frame has its face covered."""
    plan = stages.detect_file(clip, Config(), finder, lambda *_: None)
    assert [len(row.faces) for row in plan] == [1] * FRAMES
    stages.render_file(clip, plan, target, Config(), lambda *_: None)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def test_the_device_gives_the_file_that_run_gives(
    clip: Path, tmp_path: Path, models: Models, on_a_gpu: FakeDevice
) -> None:
    there = partial(open_engine, device="cuda", precision="f32")
    here = partial(open_engine, backend="onnxruntime")
    files = []
    for number, network in enumerate((there, here)):
        with open_gpu_detector(Config().detect, models, network) as finder:
            files.append(covered(clip, tmp_path / f"{number}.mkv", finder))
    assert files[0] == files[1]
    assert CountingDevice.launches > 2 * FRAMES // 4


def job(clip: Path, target: Path, device: str) -> dict[str, Any]:
    config = Config.model_validate({"device": device})
    return {
        "task": "run",
        "source": str(clip),
        "target": str(target),
        "config": config.model_dump(mode="json"),
        "detections": None,
        "preview": None,
        "models": str(Models().folder),
    }


def test_a_run_goes_there_when_it_is_asked_to(
    clip: Path, tmp_path: Path, models: Models, on_a_gpu: FakeDevice
) -> None:
    """In half precision, as on a GPU: each frame's face is covered."""
    from veilcast.pipeline.tasks import Tools

    tools = Tools()
    made = perform(job(clip, tmp_path / "out.mkv", "cuda"), lambda *_: None, tools)
    tools.close()
    assert made["frames"] == FRAMES
    assert len(made["tracks"]) == 1
    assert CountingDevice.launches > 0


def test_a_run_stays_on_the_processor_unless_it_is_asked(
    clip: Path, tmp_path: Path, models: Models, on_a_gpu: FakeDevice
) -> None:
    assert Config().device == "cpu"
    perform(job(clip, tmp_path / "out.mkv", "cpu"), lambda *_: None)
    assert CountingDevice.launches == 0


def test_without_a_gpu_nothing_else_takes_its_place(clip: Path, tmp_path: Path, models: Models) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(EngineError, match="no CUDA device"):
        perform(job(clip, tmp_path / "out.mkv", "cuda"), lambda *_: None)
