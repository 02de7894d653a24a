"""Where the frames of a job lie while they are looked at: in this process's memory, or on a GPU.

    find     card's decoder -> shelf -> detectors there            -> plan
    meet     card's decoder -> shelf -> patches                    -> personas
    cover    processor's decoder -> shelf -> patches -> new faces  -> cover, gate, encoder

The last pass starts from the strict decoder's own frames (see nvdec.py) and ends with them: what the device
was told is a copy, so what leaves differs from the decoder's picture under a cover alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from veilcast.config import Config, Device
from veilcast.pipeline.cover import Painter
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.gpu.shelf import Kept, Shelf, fits
from veilcast.pipeline.stages import DEPTH, Paint, Scenes, glanced_at, looked_at
from veilcast.types import Affine, Frame, Picture, Plane, Rgb, Track

# more than all that hold frames at a time: the queues of both threads, those looked at, a window of faces
PLACES = 4 * DEPTH + 32


class Desk(Protocol):
    """What jobs ask."""

    def decoder(self, source: Path, config: Config) -> Decoder:
        """For frames that are only looked at."""
        ...

    def glance(self, source: Path, config: Config) -> Decoder:
        """The same for the pass between finding and covering."""
        ...

    def lifted(self, decoder: Decoder, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Those frames where they are looked at: a `stages.Tap`."""
        ...

    def painted(self, paint: Paint) -> Paint:
        """`paint` with its frames there. What it gives on are the frames that it was given."""
        ...


class Here:
    """The processor."""

    def decoder(self, source: Path, config: Config) -> Decoder:
        return looked_at(source, config)

    def glance(self, source: Path, config: Config) -> Decoder:
        return glanced_at(source, config)

    def lifted(self, decoder: Decoder, frames: Iterator[Frame]) -> Iterator[Frame]:
        return frames

    def painted(self, paint: Paint) -> Paint:
        return paint


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU. Frames that cannot lie there are looked at here; the networks run there all the same."""

    shelf: Shelf

    def decoder(self, source: Path, config: Config) -> Decoder:
        from veilcast.pipeline.nvdec import open_decoder

        if config.damaged == "slate":  # where blank frames stand for broken ones, both passes must see them
            return looked_at(source, config)
        return open_decoder(source, config.limits, self.shelf)

    def glance(self, source: Path, config: Config) -> Decoder:
        return self.decoder(source, config)

    def lifted(self, decoder: Decoder, frames: Iterator[Frame]) -> Iterator[Frame]:
        return map(self.lift, frames)

    def lift(self, frame: Frame) -> Frame:
        if frame.there is not None or frame.damaged or not fits(frame.format):
            return frame
        return replace(frame, there=OnDemand(self.shelf, frame.planes))

    def painted(self, paint: Paint) -> Paint:
        def there(scenes: Scenes) -> Iterator[tuple[Frame, Mapping[int, Painter]]]:
            given: deque[Frame] = deque()

            def lifted() -> Iterator[tuple[Frame, tuple[Track, ...]]]:
                for frame, tracks in scenes:
                    given.append(frame)
                    yield self.lift(frame), tracks

            for _, painters in paint(lifted()):
                yield given.popleft(), painters

        return there


@dataclass(slots=True)
class OnDemand:
    """A frame of the processor (types.Elsewhere) that goes to the shelf when it is first asked for there."""

    shelf: Shelf
    planes: tuple[Plane, ...]
    _kept: Kept | None = field(default=None, init=False)

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.planes[0].shape
        return width, height

    @property
    def kept(self) -> Kept:
        if self._kept is None:
            self._kept = self.shelf.lift(self.planes)
        return self._kept

    def picture(self, frame: Frame, size: tuple[int, int]) -> Picture:
        return self.kept.picture(frame, size)

    def crops(self, frame: Frame, affines: Sequence[Affine], side: int) -> Sequence[Rgb]:
        return self.kept.crops(frame, affines, side)

    def sparse_luma(self, step_x: int, step_y: int) -> Plane:
        samples: Plane = self.planes[0][::step_y, ::step_x]
        return samples


def equipment() -> str:
    """What this machine has for `--device cuda`, in a line. Raises EngineError where it is not enough."""
    from veilcast.pipeline import nvdec, nvenc
    from veilcast.trt_engines import tensorrt_engine
    from veilcast.trt_engines.device import TorchDevice

    found = [TorchDevice().name, f"TensorRT {tensorrt_engine.version()}"]
    found.append("decodes" if nvdec.is_here() else "does not decode")
    found.append("encodes" if nvenc.is_here() else "does not encode")
    return ", ".join(found)


@contextmanager
def open_desk(device: Device) -> Iterator[Desk]:
    """Raises EngineError where there is no GPU."""
    if device == "cpu":
        yield Here()
        return
    from veilcast.pipeline.gpu.pixels import TorchPixels
    from veilcast.trt_engines.device import TorchDevice

    there = TorchDevice()
    with Shelf(there, TorchPixels(there), PLACES) as shelf:
        yield Card(shelf)
