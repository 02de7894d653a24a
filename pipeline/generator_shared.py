"""A generator for many workers: what answers at the other end of their lines (generator_line.py)."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal

from veilcast.pipeline import wire
from veilcast.pipeline.generator_model import open_generator
from veilcast.pipeline.generator_process import TOGETHER, Kitchen, answered, canary
from veilcast.trt_engines.open import open_engine


class SharedGenerator:
    """Renders for many lines, in a process of its own. It keeps nothing between two questions. On a processor
    each question is rendered alone, so that a file gets the pixels that it gets from `run`; on a GPU those
    that wait are rendered together. Raises ModelMissing, ModelCorrupt, EngineError."""

    def __init__(self, model: str, device: Literal["cpu", "cuda"]) -> None:
        os.umask(0o077)
        self._networks = ExitStack()  # open until this process ends
        opened = open_generator(Path(model), partial(open_engine, device=device))
        generator, self._offer = self._networks.enter_context(opened)
        together = TOGETHER if device == "cuda" else 1
        self._kitchen = Kitchen(generator, canary(Path(model), self._offer), together)

    def answer(self, told: str, data: bytes) -> tuple[str, bytes]:
        """The answer to a question of wire.py. From any thread. Raises EngineError."""
        request = wire.Request.model_validate_json(told)
        answer, pictures = answered(request, data, self._kitchen, self._offer)
        return answer.model_dump_json(), b"".join(map(wire.floats, pictures))
