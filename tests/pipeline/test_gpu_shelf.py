"""Frames on the shelf of a device: whoever asks for one gets that one or an error, and memory has an end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.oracle import Canary, Person, walk
from tests.pipeline.gpu_world import NumpyPixels
from tests.pipeline.test_oracle_files import filmed
from tests.trt_engines.fake_device import FakeDevice, Hazard

from veilcast.config import Cover
from veilcast.errors import EngineError, PrivacyTripped
from veilcast.pipeline import nvdec, pixels
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.gate import release
from veilcast.pipeline.gpu.shelf import Shelf
from veilcast.pipeline.ledger import Ledger

CANARY = Canary([Person(1, walk(60, 90, 80, 5, 56)), Person(2, walk(260, 150, -60, 0, 48))], 40)


def test_a_frame_that_left_the_shelf_is_not_looked_at() -> None:
    first, second = CANARY.frame(0), CANARY.frame(20)
    device = FakeDevice()
    with Shelf(device, NumpyPixels(device), 1) as shelf:  # type: ignore[arg-type]
        kept = shelf.lift(first.planes)
        assert (kept.sparse_luma(3, 2) == first.planes[0][::2, ::3]).all()
        shelf.lift(second.planes)
        for look in (
            lambda: kept.sparse_luma(3, 2),
            lambda: kept.crops(first, [np.eye(3)[:2]], 64),
            lambda: kept.picture(first, (64, 64)).padded(64, 64, False),
        ):
            with pytest.raises(EngineError, match="left the device"):
                look()
    with pytest.raises(EngineError, match="left the device"):
        kept.sparse_luma(3, 2)


def test_memory_is_that_of_the_places_however_many_frames_come() -> None:
    device, frame = FakeDevice(), CANARY.frame(0)
    with Shelf(device, NumpyPixels(device), 3) as shelf:  # type: ignore[arg-type]
        for _ in range(20):
            lent = shelf.lift(frame.planes).picture(frame, (64, 48)).padded(64, 64, True)
            lent.used(lent.ready)
        assert len(device.buffers) == 3 * 3 + 1
        assert lent.shape == (1, 64, 64, 3)
    assert all(buffer.freed for buffer in device.buffers.values())


def test_a_picture_that_is_drawn_over_while_it_is_read_is_caught_by_the_device() -> None:
    """The mutant of the shelf's events: a network says that it is done before it has read."""
    device, frame = FakeDevice(), CANARY.frame(0)
    reader = device.stream()
    own = device.allocate((1, 64, 64, 3), np.dtype(np.uint8))
    with Shelf(device, NumpyPixels(device), 3) as shelf:  # type: ignore[arg-type]
        shown = shelf.lift(frame.planes).picture(frame, (64, 48))
        lent = shown.padded(64, 64, True)
        reader.wait(lent.ready)  # type: ignore[arg-type]
        lent.used(reader.record())
        device.copy(lent.buffer, own, reader)  # type: ignore[arg-type]
        with pytest.raises(Hazard, match="does not wait"):
            shown.padded(64, 64, True)
        reader.synchronize()


def test_a_frame_without_samples_here_passes_no_gate() -> None:
    device, frame = FakeDevice(), CANARY.frame(0)
    with Shelf(device, NumpyPixels(device), 1) as shelf:  # type: ignore[arg-type]
        bare = replace(frame, planes=(), there=shelf.lift(frame.planes))
        with pytest.raises(PrivacyTripped, match="no pixels here"):
            release(bare, (), Cover(), Ledger())


@pytest.mark.gpu
@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_a_real_card_decodes_the_very_samples_that_the_processor_does(tmp_path: Path, encoder: str) -> None:
    from veilcast.pipeline.gpu.pixels import TorchPixels
    from veilcast.trt_engines.device import TorchDevice

    if not nvdec.is_here():
        pytest.skip("no card that decodes here")
    device, source = TorchDevice(), filmed(CANARY, tmp_path / "in.mkv", encoder)
    with (
        Shelf(device, TorchPixels(device), 2) as shelf,
        Decoder(source) as here,
        nvdec.CardDecoder(source, shelf) as there,
    ):
        for shown, frame in zip(there.frames(), here.frames(), strict=True):
            assert shown.pts == frame.pts
            assert shown.there is not None
            assert (shown.there.sparse_luma(1, 1) == frame.planes[0]).all()
            (patch,) = shown.there.crops(shown, [np.eye(3)[:2]], 240)
            right = pixels.crop_to_rgb(frame, np.eye(3)[:2], 240)
            assert np.abs(patch.astype(int) - right).mean() < 1
