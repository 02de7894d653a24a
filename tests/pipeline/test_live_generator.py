"""One generator for several cameras: each gets its own faces and nobody else's, and whatever happens to it
leaves solid covers."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.live_session import wait_until
from tests.pipeline.tiny_model import write_model

from veilcast.errors import EngineError
from veilcast.pipeline import wire
from veilcast.pipeline.generate import Guard, Job, Refusal, Rendering
from veilcast.pipeline.generator_model import GeneratorModel
from veilcast.pipeline.generator_process import Kitchen, serve
from veilcast.pipeline.generator_remote import Offer, RemoteGenerator
from veilcast.pipeline.generators import Generators
from veilcast.trt_engines.open import open_engine

SIDE = 16
OFFER = Offer("model", (SIDE,), (8, 16, 16))


def job(person: float, track: int = 1) -> Job:
    """A face whose rendering tells who asked for it."""
    identity = np.full(128, person, np.float32)
    shapes = ((4, 128, 128), (61,), (8, 16, 16))
    veiled, geometry, noise = (np.zeros(shape, np.float32) for shape in shapes)
    return Job((7, track, 0), SIDE, veiled, geometry, identity, noise)


class Honest:
    """Paints the person's number, in any order; slow enough that cameras wait for each other."""

    def __init__(self) -> None:
        self.most = 0

    def generate(self, jobs: Sequence[Job]) -> list[Rendering]:
        time.sleep(0.01)
        self.most = max(self.most, len(jobs))
        made = [Rendering(j.key, np.full((3, j.side, j.side), j.identity[0], np.float32)) for j in jobs]
        return random.sample(made, len(made))


@contextmanager
def shared(folder: Path, generator: object) -> Iterator[Path]:
    """The process's own server, in this process."""
    path = folder / "sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        kitchen = Kitchen(generator, job(0.5))  # type: ignore[arg-type]
        threading.Thread(target=serve, args=(listener, kitchen, OFFER), daemon=True).start()
        yield path


def test_cameras_that_ask_at_the_same_time_get_their_own_faces(tmp_path: Path) -> None:
    honest, wrong = Honest(), []
    with shared(tmp_path, honest) as path:

        def camera(number: int) -> None:
            remote = RemoteGenerator(path, answer_s=20)
            for n in range(15):
                jobs = [job(number + (n * 4 + k) / 100, track=k) for k in range(1 + n % 3)]  # keys alike
                for asked, answer in zip(jobs, remote.generate(jobs), strict=True):
                    if answer.key != asked.key or not np.allclose(answer.image, asked.identity[0]):
                        wrong.append((number, asked.key))

        cameras = [threading.Thread(target=camera, args=(number,)) for number in range(5)]
        for one in cameras:
            one.start()
        for one in cameras:
            one.join(60)
    assert wrong == []
    assert honest.most > 3  # of several cameras, in one batch


def answering(path: Path, answer: object) -> None:
    """A server that gives one answer, whatever it is asked."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve_one() -> None:
        with listener, listener.accept()[0] as sock:
            header, _ = wire.receive(sock, wire.Request, 20)
            answer(sock, header)  # type: ignore[operator]
            time.sleep(5)

    threading.Thread(target=serve_one, daemon=True).start()


def test_an_answer_for_another_face_is_refused(tmp_path: Path) -> None:
    def anothers(sock: socket.socket, request: wire.Request) -> None:
        digest = job(0.9).digest().hex()
        picture = np.zeros((3, SIDE, SIDE), np.float32)
        wire.send(sock, wire.Answer(number=request.number, digests=(digest,)), [picture])

    answering(tmp_path / "sock", anothers)
    with pytest.raises(EngineError, match="other faces"):
        RemoteGenerator(tmp_path / "sock", answer_s=20).generate([job(0.1)])


@pytest.mark.parametrize(
    "said",
    [b"", b"GET / HTTP/1.1\r\n\r\n" * 9, wire.HEAD.pack(wire.MARK, 4, 0) + b"null",
     wire.HEAD.pack(wire.MARK, 1 << 30, 0), wire.HEAD.pack(wire.MARK, 2, 1 << 30) + b"{}"],
)  # fmt: skip
def test_nonsense_is_an_error_and_the_face_is_solid(said: bytes, tmp_path: Path) -> None:
    answering(tmp_path / "sock", lambda sock, request: (sock.sendall(said), sock.close()))
    guard = Guard(RemoteGenerator(tmp_path / "sock", answer_s=10))
    assert isinstance(guard.render([job(0.1)])[7, 1, 0], Refusal)
    assert not guard.lost
    guard.close()


def test_a_generator_that_is_silent_is_waited_for_once(tmp_path: Path) -> None:
    answering(tmp_path / "sock", lambda sock, request: time.sleep(5))
    remote = RemoteGenerator(tmp_path / "sock", answer_s=0.3)
    with pytest.raises(EngineError):
        remote.generate([job(0.1)])
    start_s = time.monotonic()
    with pytest.raises(EngineError):
        remote.generate([job(0.1)])
    assert time.monotonic() - start_s < 0.3  # at once: the stream goes on, with solid covers


def test_a_camera_that_makes_no_sense_is_hung_up_on_and_no_other(tmp_path: Path) -> None:
    with shared(tmp_path, Honest()) as path:
        good = RemoteGenerator(path, answer_s=20)
        good.generate([job(0.1)])
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad:
            bad.connect(str(path))
            bad.sendall(b"x" * 100)
            bad.settimeout(20)
            with suppress(ConnectionResetError):
                assert bad.recv(10) == b""
        assert np.allclose(good.generate([job(0.2)])[0].image, 0.2)


def test_a_generator_that_changes_its_answers_is_not_well(tmp_path: Path) -> None:
    class Changing(Honest):
        def generate(self, jobs: Sequence[Job]) -> list[Rendering]:
            self.most += 1
            made = super().generate(jobs)
            return [replace(one, image=one.image + (self.most > 1)) for one in made]

    with shared(tmp_path, Changing()) as path, pytest.raises(EngineError, match="what it did at first"):
        RemoteGenerator(path, answer_s=20).offer(ready_s=0)


def test_the_process_renders_as_it_would_here_and_is_replaced_when_it_is_killed_or_stopped(
    tmp_path: Path,
) -> None:
    folder = write_model(tmp_path / "model")
    rng = np.random.default_rng(1)
    some = replace(job(0.1), side=128, veiled=rng.normal(size=(4, 128, 128)).astype(np.float32))
    generators = Generators()
    try:
        path = generators.at(folder)
        assert generators.at(folder) == path  # one for all
        with GeneratorModel(folder, open_engine, path) as model, GeneratorModel(folder, open_engine) as own:
            assert model.sides == own.sides
            assert model.latent_shape == own.latent_shape
            here, there = (one.generator.generate([some])[0].image for one in (own, model))
            assert np.abs(here - there).max() < 1e-2
        process = generators.shared[0]
        for sent in (signal.SIGKILL, signal.SIGSTOP):
            wait_until(lambda: process.answered, "its first answer", most_s=120)
            pid = process.pid
            assert pid is not None
            os.kill(pid, sent)
            wait_until(lambda before=pid: process.pid not in (None, before), "another one", most_s=120)  # type: ignore[misc]
            RemoteGenerator(path, answer_s=5).offer()
            assert not psutil.pid_exists(pid)
    finally:
        generators.close()
    assert process.pid is None
