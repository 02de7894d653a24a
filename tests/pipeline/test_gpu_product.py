"""`--device cuda` with stand-ins for the GPU (gpu_world): the product's own networks there give the file that
`run` gives, and without a GPU nothing is covered by something else in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tests.pipeline.gpu_world import CardStandIn, CountingDevice, TorchMemory, a_gpu, emptied, in_float
from typer.testing import CliRunner

from veilcast.cli import app
from veilcast.config import Config, overlay
from veilcast.errors import EngineError
from veilcast.pipeline import jobs, pictures
from veilcast.pipeline.detect import FaceFinder, open_detector
from veilcast.pipeline.drawn import drawn, frame
from veilcast.pipeline.gpu.card import Here, equipment, open_desk
from veilcast.pipeline.gpu.pixels import TorchPixels
from veilcast.pipeline.live_engines import open_engines
from veilcast.pipeline.overload import Level
from veilcast.pipeline.stages import detect_file
from veilcast.pipeline.tasks import Tools, perform
from veilcast.trt_engines import open as opening
from veilcast.trt_engines.device import check_driver
from veilcast.trt_engines.models import Models
from veilcast.types import Track, TrackState

pytest.importorskip("onnxruntime", reason="the stand-in runs networks by ONNX Runtime")

FRAMES = 12
Json = dict[str, Any]


def weights(*more: str) -> Models:
    models = Models()
    if not all((models.folder / f"{name}.onnx").exists() for name in ("centerface", "yunet", *more)):
        pytest.skip("no weights here: veilcast models pull")
    return models


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CountingDevice]:
    with emptied(a_gpu(monkeypatch, tmp_path / "cache")) as made:
        yield made


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
    exact, target = in_float(device), folder / f"{device}.mkv"
    patch.setattr(opening, "open_engine", exact)
    with open_detector(
        Config().detect, Models(), "cuda", exact
    ) as finder:  # the networks of a GPU, on either
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


def test_with_torchs_pixels_covers_lie_where_they_lie_here(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU computes with, on the processor: pictures differ by rounding, boxes by a fraction of a
    pixel."""
    pytest.importorskip("torch", reason="torch is an optional install")
    weights()
    made = a_gpu(monkeypatch, tmp_path / "cache", TorchMemory, TorchPixels)
    boxes = []
    for device in ("cpu", "cuda"):
        exact = in_float(device)
        with open_detector(Config().detect, Models(), "cuda", exact) as finder, open_desk(device) as desk:
            plan = detect_file(clip, Config(), finder, lambda *_: None, desk.lifted, desk.decoder)
        boxes.append(np.array([astuple(face.box) for row in plan for face in row.faces]))
    assert made.launches > 0
    assert boxes[0].shape == boxes[1].shape == (FRAMES, 4)
    assert np.abs(boxes[0] - boxes[1]).max() < 1


@pytest.mark.shared
def test_new_faces_are_those_of_run(
    shared: Path, tmp_path: Path, gpu: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything of `--replacewith synthetic` on the device: detectors, mesh, recognisers, generator."""
    weights("landmarks478", "dlib", "faceres")
    with av.open(str(shared / "videos" / "talk_WDA_a_512.mp4")) as source:
        pictures = [shown.to_ndarray(format="rgb24") for shown in islice(source.decode(video=0), 5)]
    clip = filmed(pictures, tmp_path / "in.mkv")
    asked = {"cover.replacewith": "synthetic", "synthetic.seed": 3}
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


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_a_real_gpu_covers_every_frame(clip: Path, tmp_path: Path) -> None:
    """With the card's own decoder, detectors and encoder, where they are."""
    pytest.importorskip("tensorrt", reason="needs TensorRT")
    try:
        told = equipment()
    except EngineError as problem:
        pytest.skip(str(problem))
    weights()
    tools = Tools()
    made = perform(job(clip, tmp_path / "out.mkv", "cuda"), lambda *_: None, tools)
    tools.close()
    assert made["frames"] == FRAMES, told
    assert made["ledger"]["counts"] == {"redacted": FRAMES}, told


def test_a_run_stays_on_the_processor_unless_it_is_asked() -> None:
    assert Config().device == "cpu"
    with open_desk("cpu") as desk:
        assert isinstance(desk, Here)


def test_cameras_are_not_even_started_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "veilcast.trt_engines.device.check_driver", partial(check_driver, "no-such-driver.so.1")
    )
    told = CliRunner().invoke(app, ["live", "--in", "x.ts", "--out", "y.ts", "--device", "cuda"])
    assert isinstance(told.exception, EngineError)
    assert "no CUDA driver" in str(told.exception)


def test_without_a_gpu_nothing_else_takes_its_place(clip: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(EngineError, match="no CUDA device"):
        perform(job(clip, tmp_path / "out.mkv", "cuda"), lambda *_: None)


# -- pictures and cameras: networks there, pixels here


@pytest.mark.parametrize("name", ["face.png", "face.jpg"])
def test_a_picture_is_covered_there_as_it_is_here(
    tmp_path: Path, gpu: CountingDevice, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    weights()
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / name), drawn()[..., ::-1])
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(pictures, "open_detector", finders(in_float(device)))
        (tmp_path / device).mkdir()
        pictures.cover_all(picture_job(tmp_path, device, name), lambda *_: None)
    assert (tmp_path / "cpu" / name).read_bytes() == (tmp_path / "cuda" / name).read_bytes()
    assert (tmp_path / "cpu" / name).read_bytes() != (tmp_path / "in" / name).read_bytes()
    assert '"faces": 1' in (tmp_path / "cuda.jsonl").read_text()
    assert gpu.launches > 0


def finders(exact: Callable[..., Any]) -> Callable[..., Any]:
    return lambda settings, models, _device: open_detector(settings, models, "cuda", exact)


def picture_job(folder: Path, device: str, name: str) -> Json:
    return {
        "source": str(folder / "in"),
        "folder": str(folder / device),
        "names": [name],
        "people": [""],
        "candidates": {},
        "config": overlay(Config(), {"device": device}).model_dump(mode="json"),
        "settings": "",
        "set": "",
        "models": str(Models().folder),
        "journal": str(folder / f"{device}.jsonl"),
        "careful": False,
    }


def test_a_camera_is_looked_at_there_while_a_new_face_is_made(gpu: CountingDevice) -> None:
    """The thread that looks at the next picture beside the one that draws on this one: no rule of the device
    is broken, and both say what they say alone."""
    models = weights("landmarks478", "dlib", "faceres")
    asked = {"device": "cuda", "cover.replacewith": "synthetic"}
    config = overlay(Config(), {**asked, "synthetic.seed": 3})
    with open_engines(config, models.folder) as engines:
        engines.canary()
        assert engines.faces is not None
        (face,) = engines.finder().find(frame(0)) or ()
        track = Track(1, face.box, face.landmarks, TrackState.CONFIRMED, 0, face.score)
        with ThreadPoolExecutor(1) as aside:
            looks = [aside.submit(engines.finder().find, frame(n)) for n in range(3)]
            drawings = [engines.faces.painters(frame(n), (track,), Level.FULL) for n in range(3)]
        boxes = [[found.box for found in look.result() or ()] for look in looks]
        assert boxes == [[face.box]] * 3
        assert [list(painters) for painters in drawings] == [[1]] * 3
