"""A worker's line to a generator that others share, by the same messages (wire.py) as that of live cameras.

The line is a pair of sockets without a name that anybody else could open. One question at a time goes over
it, so that no more than one of each worker is ever under way. What is said are veiled pictures, poses and who
the new people are, never the faces that they replace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from veilcast.errors import EngineError
from veilcast.pipeline import wire
from veilcast.pipeline.generate import Job, Rendering
from veilcast.pipeline.generator_remote import RemoteGenerator

Relay = Callable[[str, bytes], tuple[str, bytes]]  # header and arrays of a question -> of its answer

ANSWER_S = 600.0  # a generator may have to move to another machine meanwhile


class LineGenerator(RemoteGenerator):
    """The generator at the other end of the line `fd`. A line that failed is not used again: what comes late
    would be taken for another answer."""

    def __init__(self, fd: int) -> None:
        super().__init__(Path(), ANSWER_S)
        self._sock = socket.socket(fileno=os.dup(fd))

    def generate(self, jobs: Sequence[Job]) -> list[Rendering]:
        parts = [jobs[at : at + wire.MOST_JOBS] for at in range(0, len(jobs), wire.MOST_JOBS)]
        return [rendering for part in parts for rendering in super(LineGenerator, self).generate(part)]

    def _connected(self) -> socket.socket:
        if self._sock is None:
            raise EngineError("the line is broken")
        return self._sock


def serve(line: socket.socket, relay: Relay) -> None:
    """Hands questions on until the other end is gone. relay: raises EngineError for what cannot be done."""
    with line, suppress(OSError, EOFError, EngineError):
        while True:
            request, data = wire.receive(line, wire.Request, None)
            assert isinstance(request, wire.Request)
            try:
                told, more = relay(request.model_dump_json(), data)
            except EngineError as error:
                wire.send(line, wire.Answer(number=request.number, told=str(error)[:500]))
            else:
                wire.send(line, wire.Answer.model_validate_json(told), [np.frombuffer(more, "<f4")])
