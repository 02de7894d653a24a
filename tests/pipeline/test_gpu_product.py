"""`--device cuda` with stand-ins for the GPU (gpu_world): the product's own networks there give the file that
`run` gives, and without a GPU nothing is covered by something else in silence."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.pipeline.gpu_world import CardStandIn, CountingDevice, OnTheCard, a_gpu, in_float

from veilcast.config import Config, overlay
from veilcast.errors import EngineError
from veilcast.pipeline import jobs
from veilcast.pipeline.detect import FaceFinder, open_detector
from veilcast.pipeline.drawn import drawn
from veilcast.pipeline.gpu.card import Here, open_desk
from veilcast.pipeline.gpu.detectors import open_gpu_detector, opener
from veilcast.pipeline.tasks import Tools, perform
from veilcast.trt_engines import open as opening
from veilcast.trt_engines.models import Models

pytest.importorskip("onnxruntime", reason="the stand-in runs networks by ONNX Runtime")

FRAMES = 12
START = Path(__file__).parents[2] / "training" / "start"  # a generator
Json = dict[str, Any]


def weights(*more: str) -> Models:
    models = Models()
    if not all((models.folder / f"{name}.onnx").exists() for name in ("centerface", "yunet", *more)):
        pytest.skip("no weights here: veilcast models pull")
    return models


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CountingDevice]:
    made = a_gpu(monkeypatch, tmp_path / "cache")
    yield made
    assert all(buffer.freed for buffer in made.buffers.values())
    gc.collect()  # an error's traceback may hold a picture for a while
    assert OnTheCard.held == 0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn face that walks to the right."""
    pictures = [np.roll(drawn(), 2 * index, axis=1) for index in range(FRAMES)]
    return filmed(pictures, tmp_path_factory.mktemp("clip") / "in.mkv")


def filmed(pictures: Sequence[np.ndarray], path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for rgb in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    return path


class OneFinder(Tools):
    """A finder that is open already."""

    def __init__(self, finder: FaceFinder) -> None:
        super().__init__()
        self._only = finder

    def finder(self, *_: object, **__: object) -> FaceFinder:
        return self._only.anew()


def job(clip: Path, target: Path, device: str, **settings: object) -> Json:
    config = overlay(Config(), {"device": device, **settings})
    return {
        "task": "run",
        "source": str(clip),
        "target": str(target),
        "config": config.model_dump(mode="json"),
        "detections": None,
        "preview": None,
        "models": str(Models().folder),
    }


def covered(
    clip: Path, folder: Path, device: str, patch: pytest.MonkeyPatch, **settings: object
) -> tuple[str, Json]:
    """The SHA-256 of what the job of `veilcast run` writes, its networks in float32, and what it tells."""
    exact, target = in_float(), folder / f"{device}.mkv"
    patch.setattr(opening, "open_engine", exact)
    with open_gpu_detector(Config().detect, Models(), partial(exact, device=device)) as finder:
        told = jobs.run(job(clip, target, device, **settings), lambda *_: None, OneFinder(finder))
    return hashlib.sha256(target.read_bytes()).hexdigest(), told


def test_the_device_gives_the_file_that_run_gives(
    clip: Path, tmp_path: Path, gpu: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights()
    here, there = (covered(clip, tmp_path, device, monkeypatch) for device in ("cpu", "cuda"))
    assert here == there
    assert len(there[1]["tracks"]) == 1
    assert gpu.launches > 2 * FRAMES
    assert CardStandIn.seen == [clip]


@pytest.mark.shared
def test_new_faces_are_those_of_run(
    shared: Path, tmp_path: Path, gpu: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything of `--replacewith synthetic` on the device: detectors, mesh, recognisers, generator."""
    weights("landmarks478", "dlib", "faceres")
    with av.open(str(shared / "videos" / "talk_WDA_a_512.mp4")) as source:
        pictures = [shown.to_ndarray(format="rgb24") for shown in islice(source.decode(video=0), 5)]
    clip = filmed(pictures, tmp_path / "in.mkv")
    asked = {"cover.replacewith": "synthetic", "synthetic.model": str(START), "synthetic.seed": 3}
    here, there = (covered(clip, tmp_path, device, monkeypatch, **asked) for device in ("cpu", "cuda"))
    assert here == there
    assert there[1]["synthetic"]["counts"]["faces generated"] > 0
    assert CardStandIn.seen == [clip, clip]  # to find faces, and to meet people


def test_a_run_goes_there_when_it_is_asked_to(clip: Path, tmp_path: Path, gpu: CountingDevice) -> None:
    """In half precision, as on a GPU: each frame's face is covered."""
    weights()
    tools = Tools()
    made = perform(job(clip, tmp_path / "out.mkv", "cuda"), lambda *_: None, tools)
    tools.close()
    assert made["frames"] == FRAMES
    assert len(made["tracks"]) == 1
    assert gpu.launches > 0


def test_a_run_stays_on_the_processor_unless_it_is_asked() -> None:
    assert Config().device == "cpu"
    assert opener("cpu") is open_detector
    with open_desk("cpu") as desk:
        assert isinstance(desk, Here)


def test_without_a_gpu_nothing_else_takes_its_place(clip: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(EngineError, match="no CUDA device"):
        perform(job(clip, tmp_path / "out.mkv", "cuda"), lambda *_: None)
