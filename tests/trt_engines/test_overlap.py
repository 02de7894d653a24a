"""Two stages on two streams: the same numbers as one after the other, and no rule of the device broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.trt_engines.fake_device import FakeBuffer, FakeDevice, FakeStream, Hazard

from veilcast.trt_engines.overlap import Overlapped

F32 = np.dtype(np.float32)


class Pipeline:
    """Stage one doubles, stage two adds one; `broken` leaves out one rule."""

    def __init__(self, broken: str = "", depth: int = 2) -> None:
        self.device = FakeDevice()
        sets = 1 if broken == "one set of buffers" else depth
        self.inputs = [self.device.allocate((4,), F32) for _ in range(sets)]
        self.middles = [self.device.allocate((4,), F32) for _ in range(sets)]
        self.outputs = [self.device.allocate((4,), F32) for _ in range(sets)]
        self.order: list[str] = []
        self.overlapped: Overlapped[Any, FakeBuffer, np.ndarray] = Overlapped(
            self.device,  # type: ignore[arg-type]
            self.double,  # type: ignore[arg-type]
            self.add_one,  # type: ignore[arg-type]
            np.copy,
            depth,
        )
        if broken == "no wait":
            ahead, behind = self.device.streams
            behind.wait = lambda event: None  # type: ignore[method-assign]
            assert ahead is not behind

    def double(self, item: float, slot: int, stream: FakeStream) -> FakeBuffer:
        self.order.append(f"first {item:.0f}")
        source, target = (group[slot % len(group)] for group in (self.inputs, self.middles))
        self.device.upload(np.full(4, item, np.float32), source, stream)
        self.device.launch(
            lambda: np.multiply(source.array, 2, out=target.array),
            reads=[source],
            writes=[target],
            stream=stream,
        )
        return target

    def add_one(self, item: float, middle: FakeBuffer, slot: int, stream: FakeStream) -> np.ndarray:
        self.order.append(f"second {item:.0f}")
        target = self.outputs[slot % len(self.outputs)]
        self.device.launch(
            lambda: np.add(middle.array, 1, out=target.array), reads=[middle], writes=[target], stream=stream
        )
        return self.device.download(target, stream)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_results_are_those_of_one_stage_after_the_other(count: int, depth: int) -> None:
    results = list(Pipeline(depth=depth).overlapped.run(range(count)))
    assert [result.tolist() for result in results] == [[2 * i + 1] * 4 for i in range(count)]


def test_the_first_stage_is_one_item_ahead() -> None:
    pipeline = Pipeline()
    results = pipeline.overlapped.run(range(5))
    next(results)
    assert "first 1" in pipeline.order  # given to the device before item 0 was waited for
    assert "first 3" not in pipeline.order  # and no further than its buffers allow


@pytest.mark.parametrize("broken", ["no wait", "one set of buffers"])
def test_a_broken_pipeline_is_caught_by_the_device(broken: str) -> None:
    with pytest.raises(Hazard):
        list(Pipeline(broken).overlapped.run(range(4)))


def test_an_error_leaves_the_device_at_rest() -> None:
    pipeline = Pipeline()

    def items() -> Iterator[int]:
        yield from (0, 1, 2)
        raise RuntimeError("the source ended badly")

    with pytest.raises(RuntimeError, match="ended badly"):
        list(pipeline.overlapped.run(items()))
    for buffer in (*pipeline.inputs, *pipeline.middles, *pipeline.outputs):
        pipeline.device.free(buffer)  # nothing is still running


def test_the_device_itself_catches_what_it_should() -> None:
    device = FakeDevice()
    one, two = device.stream(), device.stream()
    buffer = device.allocate((4,), F32)
    with pytest.raises(Hazard, match="nothing has written"):
        device.download(buffer, one)
    with pytest.raises(Hazard, match="goes into"):
        device.upload(np.zeros(5, np.float32), buffer, one)
    device.upload(np.zeros(4, np.float32), buffer, one)
    with pytest.raises(Hazard, match="does not wait"):
        device.download(buffer, two)
    with pytest.raises(Hazard, match="freed while"):
        device.free(buffer)
    two.wait(one.record())
    host = device.download(buffer, two)
    assert host.tolist() == [99] * 4  # not there yet
    two.synchronize()
    assert host.tolist() == [0] * 4
    device.free(buffer)
    with pytest.raises(Hazard, match="after it was freed"):
        device.upload(np.zeros(4, np.float32), buffer, one)
