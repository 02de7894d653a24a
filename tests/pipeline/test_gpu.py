"""The pipeline on a device, on one made of numpy that enforces the rules of a GPU: what leaves it is what
`run` gives, file for file and byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.oracle import Canary, Person, leaks, walk
from tests.pipeline.test_oracle_files import filmed, shown
from tests.trt_engines.fake_device import FakeBuffer, FakeDevice, FakeEvent, FakeStream, Hazard

from veilcast.config import Config, overlay
from veilcast.errors import EngineError, UnsupportedMedia
from veilcast.pipeline import blend, pixels
from veilcast.pipeline.align import similarity
from veilcast.pipeline.cover import Painter
from veilcast.pipeline.gpu.parts import F32, Placed
from veilcast.pipeline.gpu.pipeline import AHEAD, WINDOW, DevicePipeline
from veilcast.pipeline.gpu.run import run_files
from veilcast.pipeline.stages import Rendered, Scenes, detect_file, render_file, unpainted
from veilcast.types import Box, Face, Frame, Rgb, Track

CANARY = Canary([Person(1, walk(60, 90, 80, 5, 56)), Person(2, walk(260, 150, -60, 0, 48))], 40)
SIDE = 64
QUIET: Callable[..., None] = lambda *_: None  # noqa: E731


class NumpyPixels:
    """pipeline.pixels under the rules of the device."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device

    def on(self, frame: Frame, planes: Sequence[FakeBuffer]) -> Frame:
        layout = (frame.format, frame.colour, frame.orientation)
        return Frame(frame.index, frame.pts, frame.time_base, tuple(p.array for p in planes), *layout)

    def canvas(self, frame: Frame, planes: Sequence[FakeBuffer], out: FakeBuffer, stream: FakeStream) -> None:
        def work() -> None:
            out.array[:] = pixels.to_rgb(self.on(frame, planes), out.shape[1::-1])  # type: ignore[arg-type]

        self.device.launch(work, reads=planes, writes=[out], stream=stream)

    def crop(
        self,
        frame: Frame,
        planes: Sequence[FakeBuffer],
        to_patch: Any,
        out: FakeBuffer,
        row: int,
        stream: Any,
    ) -> None:
        def work() -> None:
            out.array[row] = pixels.crop_to_rgb(self.on(frame, planes), to_patch, out.shape[1])

        self.device.launch(work, reads=planes, writes=[out], stream=stream)

    def paste(
        self,
        frame: Frame,
        planes: Sequence[FakeBuffer],
        rgb: FakeBuffer,
        mask: FakeBuffer,
        row: int,
        to_patch: Any,
        stream: FakeStream,
    ) -> None:
        def work() -> None:
            pixels.paste_rgb(self.on(frame, planes), rgb.array[row], to_patch, mask.array[row])

        self.device.launch(work, reads=[rgb, mask, *planes], writes=planes, stream=stream)


def found(rgb: Rgb) -> np.ndarray:
    """Where the canary's people are, as a network might say it: rows of x0, y0, x1, y1 of what has the
    strongest detail, found without knowing the truth."""
    grey = rgb.astype(np.float32).mean(-1)
    detail = cv2.blur((grey - cv2.blur(grey, (9, 9))) ** 2, (21, 21))
    count, _, stats, _ = cv2.connectedComponentsWithStats((detail > 60).astype(np.uint8))
    rows = np.zeros((4, 4), np.float32)
    for row, (x, y, width, height, area) in zip(rows, stats[1:count], strict=False):
        if area > 800:
            row[:] = (x, y, x + width, y + height)
    return rows


def as_faces(rows: np.ndarray, size: tuple[int, int], displayed: tuple[int, int]) -> tuple[Face, ...]:
    scale = displayed[0] / size[0]
    return tuple(Face(Box(*(float(v) * scale for v in row)), 0.9) for row in rows if row[2] > row[0])


class NumpyLook:
    """A detector on the device. `size` of what it looks at."""

    def __init__(self, device: FakeDevice, size: tuple[int, int]) -> None:
        self.device, self.size = device, size
        self.outputs = [device.allocate((4, 4), F32) for _ in range(AHEAD)]
        self.order: list[str] = []
        self.host: list[str] = []

    def enqueue(self, canvas: FakeBuffer, slot: int, stream: FakeStream) -> list[FakeBuffer]:
        out = self.outputs[slot]
        self.order.append("look")
        self.device.launch(
            lambda: np.copyto(out.array, found(canvas.array)), reads=[canvas], writes=[out], stream=stream
        )
        return [out]

    def faces(self, outputs: Sequence[np.ndarray], displayed: tuple[int, int]) -> tuple[Face, ...]:
        return as_faces(outputs[0], self.size, displayed)


def drawn(crop: Rgb, seed: int) -> Rgb:
    """A new face for a patch: a texture of its own in the colours of the old surroundings."""
    rng = np.random.default_rng(seed)
    cells = rng.uniform(30, 225, (6, 6, 3)).astype(np.float32)
    face = cv2.resize(cells, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    made: Rgb = np.clip(0.8 * face + 0.2 * crop.mean((0, 1)), 0, 255).astype(np.uint8)
    return made


def placed(track: Track) -> Placed:
    """The track's box in the middle of the patch; all of it is replaced."""
    (x, y), (width, height) = track.box.centre, (track.box.width, track.box.height)
    corners = np.array([[x - width, y - height], [x + width, y - height], [x, y], [x - width, y + height]])
    to = np.array([[0, 0], [SIDE, 0], [SIDE / 2, SIDE / 2], [0, SIDE]], float)
    to_patch = similarity(np.vstack([corners, [[x + width, y + height]]]), np.vstack([to, [[SIDE, SIDE]]]))
    core = blend.ellipse(track.box.scaled(1.2), to_patch, SIDE)
    return Placed(track, to_patch, blend.feathered(core))


class NumpyRender:
    side = SIDE

    def __init__(self, device: FakeDevice, order: list[str] | None = None) -> None:
        self.device, self.order = device, order if order is not None else []
        self.batches: list[tuple[int, int]] = []  # (size, faces)
        self.together: set[int] = set()  # sources that shared a batch

    def place(self, frame: Frame, track: Track) -> Placed | None:
        return placed(track)

    def enqueue(
        self, crops: FakeBuffer, tracks: Sequence[tuple[int, Track]], out: FakeBuffer, stream: FakeStream
    ) -> None:
        self.order.append("render")
        self.batches.append((len(crops.array), len(tracks)))
        self.together = max(self.together, {source for source, _ in tracks}, key=len)

        def work() -> None:
            for row, (_, track) in enumerate(tracks):
                out.array[row] = drawn(crops.array[row], track.id)

        self.device.launch(work, reads=[crops], writes=[out], stream=stream)


class HostFinder:
    """The same detector for `run`."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, tuple[Face, ...] | None]]:
        for frame in frames:
            yield frame, as_faces(found(pixels.to_rgb(frame, self.size)), self.size, frame.displayed_size)


def host_painted(scenes: Scenes) -> Iterator[tuple[Frame, Mapping[int, Painter]]]:
    """The same generator for `run`."""
    for frame, tracks in scenes:
        painters: dict[int, Painter] = {}
        for track in tracks:
            face = placed(track)
            rgb = drawn(pixels.crop_to_rgb(frame, face.to_patch, SIDE), track.id)
            made = blend.Synthetic(track.id, track.box, rgb, face.to_patch, face.mask)
            painters[track.id] = partial(blend.paste, face=made)
        yield frame, painters


class Stage:
    """A device with its parts."""

    def __init__(
        self, size: tuple[int, int], *, synthetic: bool = True, config: Config | None = None
    ) -> None:
        self.device = FakeDevice()
        self.look = NumpyLook(self.device, size)
        self.render = NumpyRender(self.device, self.look.order) if synthetic else None
        self.config = config or Config()
        self.pipeline = DevicePipeline(
            self.device,  # type: ignore[arg-type]
            NumpyPixels(self.device),  # type: ignore[arg-type]
            self.look,  # type: ignore[arg-type]
            self.render,  # type: ignore[arg-type]
            self.config,
        )


def on_host(source: Path, target: Path, config: Config, size: tuple[int, int], synthetic: bool) -> Rendered:
    plan = detect_file(source, config, HostFinder(size), QUIET)
    paint = host_painted if synthetic else unpainted
    return render_file(source, plan, target, config, QUIET, painted=paint)


def same(a: Path, b: Path) -> bool:
    return hashlib.sha256(a.read_bytes()).digest() == hashlib.sha256(b.read_bytes()).digest()


@pytest.mark.parametrize("synthetic", [False, True], ids=["solid", "new faces"])
def test_a_clip_leaves_the_device_as_it_leaves_run(tmp_path: Path, synthetic: bool) -> None:
    source, config = filmed(CANARY, tmp_path / "in.mkv"), Config()
    right = on_host(source, tmp_path / "host.mkv", config, CANARY.size, synthetic)
    stage = Stage(CANARY.size, synthetic=synthetic)
    with stage.pipeline as pipeline:
        (done,) = run_files([(source, tmp_path / "device.mkv")], config, pipeline)
    assert same(tmp_path / "host.mkv", tmp_path / "device.mkv")
    assert done.ledger.counts == right.ledger.counts
    assert leaks(CANARY, shown(tmp_path / "device.mkv")) == []


def test_mosaic_needs_nothing_of_the_device_but_the_faces(tmp_path: Path) -> None:
    source = filmed(CANARY, tmp_path / "in.mkv")
    config = overlay(Config(), {"cover.replacewith": "mosaic"})
    on_host(source, tmp_path / "host.mkv", config, CANARY.size, synthetic=False)
    with Stage(CANARY.size, synthetic=False, config=config).pipeline as pipeline:
        run_files([(source, tmp_path / "device.mkv")], config, pipeline)
    assert same(tmp_path / "host.mkv", tmp_path / "device.mkv")


def test_new_faces_are_in_the_picture(tmp_path: Path) -> None:
    """Else the comparison above would hold for a cover that refuses every face."""
    source = filmed(CANARY, tmp_path / "in.mkv")
    with Stage(CANARY.size).pipeline as pipeline:
        run_files([(source, tmp_path / "new.mkv")], Config(), pipeline)
    with Stage(CANARY.size, synthetic=False).pipeline as pipeline:
        run_files([(source, tmp_path / "solid.mkv")], Config(), pipeline)
    differ = [
        (a != b).mean()
        for (_, a), (_, b) in zip(*map(shown, (tmp_path / "new.mkv", tmp_path / "solid.mkv")), strict=True)
    ]
    assert min(differ) > 0.01


def test_faces_of_two_videos_share_batches_of_static_sizes(tmp_path: Path) -> None:
    other = Canary([Person(3, walk(100, 100, 30, 0, 60))], 30)
    files = [
        (filmed(c, tmp_path / f"in{n}.mkv"), tmp_path / f"out{n}.mkv") for n, c in enumerate((CANARY, other))
    ]
    stage = Stage(CANARY.size)
    with stage.pipeline as pipeline:
        run_files(files, Config(), pipeline)
    for number, (source, target) in enumerate(files):
        on_host(source, tmp_path / f"host{number}.mkv", Config(), CANARY.size, synthetic=True)
        assert same(target, tmp_path / f"host{number}.mkv")
    assert stage.render is not None
    assert {size for size, _ in stage.render.batches} <= {1, 2, 4, 8, 16}
    assert all(faces <= size < max(2, 2 * faces) for size, faces in stage.render.batches)


def test_looking_goes_on_while_faces_are_made(tmp_path: Path) -> None:
    """Two passages, split by a hard cut: the second is looked at while the first is rendered."""
    first, second = cut_film(tmp_path)
    stage = Stage(CANARY.size)
    with stage.pipeline as pipeline:
        run_files([(first, second)], Config(), pipeline)
    order = stage.look.order
    renders = [n for n, what in enumerate(order) if what == "render"]
    assert order.index("render") < len(order) - 1 - order[::-1].index("look")
    between = [b - a for a, b in pairwise(renders)]
    assert any(gap > 1 for gap in between)  # frames were looked at between two windows


def cut_film(folder: Path) -> tuple[Path, Path]:
    """A clip with a hard cut in its middle."""
    clip = Canary([Person(1, walk(60, 90, 20, 5, 56))], 40, cuts=frozenset({20}))
    return filmed(clip, folder / "cut.mkv"), folder / "cut_out.mkv"


def test_memory_does_not_grow_with_the_passages(tmp_path: Path) -> None:
    source, target = cut_film(tmp_path)
    stage = Stage(CANARY.size)
    with stage.pipeline as pipeline:
        run_files([(source, target)], Config(), pipeline)
        assert pipeline.memory.allocated <= 3 * (20 + AHEAD + 3 * WINDOW)
    assert all(buffer.freed for buffer in stage.device.buffers.values() if buffer not in stage.look.outputs)


def _too_soon(stage: Stage) -> None:
    """Planes are lent again without waiting for whoever had them."""
    stage.device.streams[0].wait = lambda event: None  # type: ignore[method-assign]


def test_memory_that_is_used_too_soon_is_caught_by_the_device(tmp_path: Path) -> None:
    source, target = cut_film(tmp_path)
    stage = Stage(CANARY.size)
    _too_soon(stage)
    with pytest.raises(Hazard), stage.pipeline as pipeline:
        run_files([(source, target)], Config(), pipeline)


def test_results_that_nobody_waited_for_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant of the comparison with `run`: what comes down before its event is rubbish."""
    source = filmed(CANARY, tmp_path / "in.mkv")
    on_host(source, tmp_path / "host.mkv", Config(), CANARY.size, synthetic=True)
    monkeypatch.setattr(FakeEvent, "synchronize", lambda self: None)
    with Stage(CANARY.size).pipeline as pipeline:
        run_files([(source, tmp_path / "out.mkv")], Config(), pipeline)
    assert not same(tmp_path / "out.mkv", tmp_path / "host.mkv")


def test_a_generator_that_fails_leaves_solid_covers(tmp_path: Path) -> None:
    source = filmed(CANARY, tmp_path / "in.mkv")
    stage = Stage(CANARY.size)
    assert stage.render is not None

    def fails(*_: object) -> None:
        raise EngineError("out of memory")

    stage.render.enqueue = fails  # type: ignore[method-assign, assignment]
    with stage.pipeline as pipeline:
        run_files([(source, tmp_path / "out.mkv")], Config(), pipeline)
    on_host(source, tmp_path / "host.mkv", Config(), CANARY.size, synthetic=False)
    assert same(tmp_path / "out.mkv", tmp_path / "host.mkv")


def test_a_generator_that_gives_back_its_input_is_covered_solid(tmp_path: Path) -> None:
    source = filmed(CANARY, tmp_path / "in.mkv")
    stage = Stage(CANARY.size)
    render = stage.render
    assert render is not None

    def copies(crops: FakeBuffer, tracks: object, out: FakeBuffer, stream: FakeStream) -> None:
        stage.device.launch(
            lambda: np.copyto(out.array, crops.array), reads=[crops], writes=[out], stream=stream
        )

    render.enqueue = copies  # type: ignore[method-assign]
    with stage.pipeline as pipeline:
        run_files([(source, tmp_path / "out.mkv")], Config(), pipeline)
    assert leaks(CANARY, shown(tmp_path / "out.mkv")) == []


def test_frames_that_cannot_stay_there_are_refused(tmp_path: Path) -> None:
    source = filmed(
        Canary([Person(1, walk(60, 90, 80, 5, 56))], 3, format=pixels_10_bit()), tmp_path / "in.mkv"
    )
    with pytest.raises(UnsupportedMedia, match="8-bit"), Stage(CANARY.size).pipeline as pipeline:
        run_files([(source, tmp_path / "out.mkv")], Config(), pipeline)


def pixels_10_bit() -> Any:
    from veilcast.types import PixelFormat

    return PixelFormat("yuv420p10le", "yuv", 10, 1, 1)


@pytest.mark.shared
def test_a_real_clip_leaves_the_device_as_it_leaves_run(shared: Path, tmp_path: Path) -> None:
    source, size = shared / "videos" / "grid_bbaf2n_360x288.mpg", (360, 288)
    on_host(source, tmp_path / "host.mkv", Config(), size, synthetic=True)
    with Stage(size).pipeline as pipeline:
        run_files([(source, tmp_path / "device.mkv")], Config(), pipeline)
    assert same(tmp_path / "host.mkv", tmp_path / "device.mkv")
