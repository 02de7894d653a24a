"""The stand-in for a GPU itself: it must catch what breaks the rules, or tests on it prove nothing."""

from __future__ import annotations

import numpy as np
import pytest
from tests.trt_engines.fake_device import FakeDevice, Hazard

F32 = np.dtype(np.float32)


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
