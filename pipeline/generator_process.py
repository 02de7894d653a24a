"""The process of a generator that several cameras ask: `python -m veilcast.pipeline.generator_process` reads
its job, a line of JSON, from standard input, and listens on a socket. It ends with its parent.

Each camera has a connection of its own. Faces of all that ask at the same time are rendered together, in one
batch; each answer goes to the connection that its question came from, and names the jobs that it answers.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from veilcast.errors import EngineError, VeilcastError
from veilcast.pipeline import wire
from veilcast.pipeline.generate import Generator, Job, Rendering
from veilcast.pipeline.generator_remote import Offer
from veilcast.pipeline.worker import contain, internal, listen

MOST_CAMERAS = 64
CANARY_OFF = 0.1  # of values from -1 to 1: batches of other sizes round differently
TOGETHER = 16  # faces in one batch at most, but for a question that has more


@dataclass(slots=True)
class Question:
    """Of one camera; `answered` is set with the answer in place, in the order of the jobs."""

    jobs: list[Job]
    pictures: list[np.ndarray] = field(default_factory=list)
    told: str = ""
    answered: threading.Event = field(default_factory=threading.Event)


class Kitchen:
    """One thread that renders, for all. `canary`: a job whose rendering must not change. `together`: faces in
    one batch at most; with 1 each question is rendered alone, as it would be without the others."""

    def __init__(self, generator: Generator, canary: Job, together: int = TOGETHER) -> None:
        self._generator, self._canary, self._together = generator, canary, together
        self._right = self._pictures([canary])[0]
        self._waiting: queue.Queue[Question] = queue.Queue(MOST_CAMERAS)
        threading.Thread(target=self._run, name="kitchen", daemon=True).start()

    def render(self, jobs: list[Job]) -> Question:
        """Waits for its turn and gives the answered question."""
        question = Question(jobs)
        self._waiting.put(question)
        question.answered.wait()
        return question

    def check(self) -> str:
        """What is wrong with the generator; "" = nothing."""
        question = self.render([self._canary])
        if not question.told and np.abs(question.pictures[0] - self._right).max() > CANARY_OFF:
            return "it does not render what it did at first"
        return question.told

    def _run(self) -> None:
        while True:
            together = self._taken()
            try:
                pictures = self._pictures([job for question in together for job in question.jobs])
                served(together, pictures)
            except VeilcastError as error:
                _fail(together, str(error))
            except Exception as error:  # noqa: BLE001 (the cameras cover solid; told without its text)
                _fail(together, internal(error))

    def _taken(self) -> list[Question]:
        taken = [self._waiting.get()]
        with suppress(queue.Empty):
            while sum(len(question.jobs) for question in taken) < self._together:
                taken.append(self._waiting.get_nowait())
        return taken

    def _pictures(self, jobs: Sequence[Job]) -> list[np.ndarray]:
        """In the order of the jobs. Two cameras may count alike: the keys are ours for the while."""
        ours = [replace(job, key=(number, 0, 0)) for number, job in enumerate(jobs)]
        found: dict[int, Rendering] = {answer.key[0]: answer for answer in self._generator.generate(ours)}
        if sorted(found) != list(range(len(jobs))):
            raise EngineError("the generator did not answer for every face once")
        return [found[number].image for number in range(len(jobs))]


def served(together: Sequence[Question], pictures: Sequence[np.ndarray]) -> None:
    """To each question its own pictures."""
    at = 0
    for question in together:
        question.pictures = list(pictures[at : at + len(question.jobs)])
        at += len(question.jobs)
        question.answered.set()


def _fail(together: Sequence[Question], told: str) -> None:
    for question in together:
        question.told = told[:500]
        question.answered.set()


def serve(listener: socket.socket, kitchen: Kitchen, offer: Offer) -> None:
    """Until the listener is closed."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_camera, args=(sock, kitchen, offer), daemon=True).start()


def _camera(sock: socket.socket, kitchen: Kitchen, offer: Offer) -> None:
    """One connection; whoever makes no sense is hung up on."""
    with sock, suppress(OSError, EOFError, EngineError):
        while True:
            request, data = wire.receive(sock, wire.Request, None)
            assert isinstance(request, wire.Request)
            answer, pictures = answered(request, data, kitchen, offer)
            wire.send(sock, answer, pictures)


def answered(
    request: wire.Request, data: bytes, kitchen: Kitchen, offer: Offer
) -> tuple[wire.Answer, list[np.ndarray]]:
    """What to say. Raises EngineError for a question without sense."""
    if request.kind == "hello":
        about = {"model": offer.model, "sides": offer.sides, "latent": offer.latent}
        return wire.Answer(number=request.number, told=kitchen.check(), **about), []
    jobs = wire.jobs(request, data)
    question = kitchen.render(jobs) if jobs else Question(jobs)
    digests = () if question.told else tuple(job.digest().hex() for job in jobs)
    return wire.Answer(number=request.number, told=question.told, digests=digests), question.pictures


def canary(model: Path, offer: Offer) -> Job:
    """A face that is nobody's. Raises ModelMissing, ModelCorrupt."""
    from veilcast.pipeline.generator_model import constants

    rng = np.random.default_rng(0)

    def made(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    size = constants(model).identity_mean.size
    return Job((0, 0, 0), offer.sides[0], made(4, 128, 128), made(61), made(size), made(*offer.latent))


def main() -> None:
    contain()
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=listen, args=(sys.stdin.buffer, queue.Queue()), daemon=True).start()
    from veilcast.pipeline.generator_model import open_generator  # heavy: after the guard is up
    from veilcast.trt_engines.open import open_engine

    path, model = Path(job["socket"]), Path(job["model"])
    with open_generator(model, partial(open_engine, device=job["device"])) as (generator, offer):
        kitchen = Kitchen(generator, canary(model, offer))
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))  # in a folder that is closed to others
            listener.listen(MOST_CAMERAS)
            serve(listener, kitchen, offer)
    os._exit(0)


if __name__ == "__main__":
    main()
