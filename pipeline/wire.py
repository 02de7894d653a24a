"""What cameras and a shared generator say to each other over a socket: a header in JSON, then arrays.

Strict on both sides: every length is bounded before anything is read, every shape and name is checked, and an
answer repeats the digest of the job that it answers, so that it can be taken for no other face.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from veilcast.errors import EngineError
from veilcast.pipeline.generate import Job

MARK = b"vcg1"
HEAD = struct.Struct("<4sII")  # mark, bytes of the header, bytes of the arrays
MOST_HEADER, MOST_ARRAYS = 1 << 16, 1 << 26
MOST_JOBS = 64
JOB_ARRAYS = ("veiled", "geometry", "identity", "noise")
Shape = tuple[int, ...]


class Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(Header):
    """One job without its arrays, whose shapes are given in their order."""

    key: tuple[int, int, int]
    side: int = Field(ge=1, le=1024)
    hurry: bool
    shapes: tuple[Shape, Shape, Shape, Shape]


class Request(Header):
    kind: Literal["hello", "render"]
    number: int = Field(ge=0)
    jobs: tuple[Asked, ...] = Field((), max_length=MOST_JOBS)


class Answer(Header):
    """`digests` name the jobs whose pictures follow, (3, side, side) each. `told`: why there are none."""

    number: int = Field(ge=0)
    told: str = Field("", max_length=500)
    digests: tuple[str, ...] = Field((), max_length=MOST_JOBS)
    sides: tuple[int, ...] = Field((), max_length=MOST_JOBS)
    model: str = Field("", max_length=64)  # hash of its manifest
    latent: Shape = ()


def send(sock: socket.socket, header: Header, arrays: Sequence[np.ndarray] = ()) -> None:
    """Raises OSError."""
    head = header.model_dump_json().encode()
    data = b"".join(map(floats, arrays))
    if len(head) > MOST_HEADER or len(data) > MOST_ARRAYS:
        raise EngineError("more faces at a time than the generator takes")
    sock.sendall(HEAD.pack(MARK, len(head), len(data)) + head + data)


def floats(array: np.ndarray) -> bytes:
    """As they travel."""
    return np.ascontiguousarray(array, "<f4").tobytes()


def receive(sock: socket.socket, kind: type[Header], patience_s: float | None) -> tuple[Header, bytes]:
    """The next message of this kind and the bytes of its arrays. `patience_s`: from the first byte wanted to
    the last. Raises EngineError for what makes no sense or comes too late, EOFError at the end."""
    end_s = None if patience_s is None else time.monotonic() + patience_s
    mark, size, more = HEAD.unpack(_exactly(sock, HEAD.size, end_s))
    if mark != MARK or size > MOST_HEADER or more > MOST_ARRAYS:
        raise EngineError("the other side of the generator's socket makes no sense")
    try:
        header = kind.model_validate(json.loads(_exactly(sock, size, end_s)))
    except (ValidationError, ValueError):
        raise EngineError("the other side of the generator's socket makes no sense") from None
    return header, _exactly(sock, more, end_s)


def cut(data: bytes, shapes: Sequence[Shape]) -> list[np.ndarray]:
    """Arrays of these shapes, which must use up the data. Raises EngineError."""
    if any(side < 1 for shape in shapes for side in shape) or 4 * sum(map(prod, shapes)) != len(data):
        raise EngineError("arrays on the generator's socket are not of their shapes")
    found, at = [], 0
    for shape in shapes:
        found.append(np.frombuffer(data, "<f4", prod(shape), at).reshape(shape))
        at += 4 * prod(shape)
    return found


def asked(job: Job) -> tuple[Asked, list[np.ndarray]]:
    arrays = [np.asarray(getattr(job, name), np.float32) for name in JOB_ARRAYS]
    veiled, geometry, identity, noise = (array.shape for array in arrays)
    shapes = (veiled, geometry, identity, noise)
    return Asked(key=job.key, side=job.side, hurry=job.hurry, shapes=shapes), arrays


def jobs(request: Request, data: bytes) -> list[Job]:
    """Raises EngineError."""
    arrays = cut(data, [shape for job in request.jobs for shape in job.shapes])
    found = []
    for number, job in enumerate(request.jobs):
        veiled, geometry, identity, noise = arrays[4 * number : 4 * number + 4]
        found.append(Job(job.key, job.side, veiled, geometry, identity, noise, job.hurry))
    return found


def _exactly(sock: socket.socket, count: int, end_s: float | None) -> bytes:
    parts, left = [], count
    while left:
        patience_s = None if end_s is None else end_s - time.monotonic()
        if patience_s is not None and patience_s <= 0:
            raise EngineError("the generator does not answer in time")
        sock.settimeout(patience_s)
        try:
            part = sock.recv(min(left, 1 << 20))
        except TimeoutError:
            raise EngineError("the generator does not answer in time") from None
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
