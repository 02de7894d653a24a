"""The product's detectors on a GPU: the same pictures, schedule and decoding, other engines.

In float, not in the eight bits that suit a processor. Never run on a GPU so far: `--device cuda` is for
those who try it and look at the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from veilcast.config import Detect
from veilcast.pipeline.detect import FaceFinder, open_detector
from veilcast.pipeline.detectors.network import CENTERFACE, CENTERFACE_FLOAT, YUNET, NetworkDetector
from veilcast.trt_engines.engine import Engine
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine

Open = Callable[..., Engine]
# a network's place in the schedule -> what runs there
ON_GPU = {CENTERFACE.name: CENTERFACE_FLOAT, YUNET.name: YUNET}


def opener(device: str) -> Callable[[Detect, Models], AbstractContextManager[FaceFinder]]:
    """What opens the product's finder on "cpu" or "cuda"."""
    return open_gpu_detector if device == "cuda" else open_detector


@contextmanager
def open_gpu_detector(
    settings: Detect,
    models: Models,
    open_network: Open = partial(open_engine, device="cuda"),  # noqa: B008 (immutable)
) -> Iterator[FaceFinder]:
    """As detect.open_detector. Raises EngineError where there is no GPU; nothing falls back."""
    with ExitStack() as stack:
        networks = {
            place: stack.enter_context(
                NetworkDetector(kind, models.file(kind.name), open_network=open_network)
            )
            for place, kind in ON_GPU.items()
        }
        yield FaceFinder(networks, settings)
