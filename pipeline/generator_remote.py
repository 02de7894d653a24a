"""A generator in another process, which other cameras ask too. Whatever goes wrong on the way is an error,
and the faces that were asked for are covered solid."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veilcast.errors import EngineError
from veilcast.pipeline import wire
from veilcast.pipeline.generate import Job, Rendering

ANSWER_S = 1.0  # longer, and the picture that it is for has gone
AGAIN_S = 2.0  # between two tries to reach it: until then faces are solid at once
READY_S = 120.0  # for it to be there at all
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Offer:
    """What a generator says that it is."""

    model: str
    sides: tuple[int, ...]
    latent: tuple[int, ...]


class RemoteGenerator:
    """Speaks to the socket at `path`. One thread at a time. Raises EngineError."""

    def __init__(self, path: Path, answer_s: float = ANSWER_S) -> None:
        self._path, self._answer_s = path, answer_s
        self._sock: socket.socket | None = None
        self._number = 0
        self._retry_s = 0.0

    def offer(self, ready_s: float = READY_S) -> Offer:
        """Waits until the generator is ready."""
        end_s = time.monotonic() + ready_s
        while True:
            self._retry_s = 0.0
            try:
                answer, _ = self._ask(wire.Request(kind="hello", number=self._next()))
                return Offer(answer.model, answer.sides, answer.latent)
            except EngineError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(POLL_S)

    def generate(self, jobs: Sequence[Job]) -> list[Rendering]:
        told, arrays = zip(*(wire.asked(job) for job in jobs), strict=True) if jobs else ((), ())
        request = wire.Request(kind="render", number=self._next(), jobs=told)
        answer, data = self._ask(request, [array for some in arrays for array in some])
        if answer.digests != tuple(job.digest().hex() for job in jobs):
            self.close()
            raise EngineError("the generator answered for other faces")
        pictures = wire.cut(data, [(3, job.side, job.side) for job in jobs])
        return [Rendering(job.key, picture) for job, picture in zip(jobs, pictures, strict=True)]

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _ask(self, request: wire.Request, arrays: Sequence[object] = ()) -> tuple[wire.Answer, bytes]:
        try:
            sock = self._connected()
            sock.settimeout(self._answer_s)
            wire.send(sock, request, arrays)  # type: ignore[arg-type]
            answer, data = wire.receive(sock, wire.Answer, self._answer_s)
        except (OSError, EOFError, EngineError) as error:
            self._lost()
            raise EngineError(f"the shared generator cannot be used ({type(error).__name__})") from None
        assert isinstance(answer, wire.Answer)
        if answer.number != request.number:
            self._lost()
            raise EngineError("the generator answered another question")
        if answer.told:
            raise EngineError(f"the generator failed: {answer.told}")
        return answer, data

    def _connected(self) -> socket.socket:
        if self._sock is not None:
            return self._sock
        if time.monotonic() < self._retry_s:
            raise EngineError("it was lost a moment ago")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._answer_s)
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            raise
        self._sock = sock
        return sock

    def _lost(self) -> None:
        """A late answer must find nobody."""
        with suppress(OSError):
            self.close()
        self._retry_s = time.monotonic() + AGAIN_S


def manifest_hash(folder: Path) -> str:
    """By which both sides know that they mean the same model. Raises OSError."""
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
