"""A worker's line to a generator that others share: the same faces, and none where it breaks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.pipeline.face_world import job, rendered
from tests.pipeline.test_studio import opened
from tests.pipeline.tiny_model import write_model

from veilcast.errors import EngineError
from veilcast.pipeline import wire
from veilcast.pipeline.generate import Guard, Refusal
from veilcast.pipeline.generator_line import LineGenerator, Relay, serve
from veilcast.pipeline.generator_model import GeneratorModel, open_generator
from veilcast.pipeline.generator_process import Kitchen, answered, canary


@contextmanager
def line_to(relay: Relay) -> Iterator[int]:
    here, there = socket.socketpair()
    thread = threading.Thread(target=serve, args=(here, relay), daemon=True)
    thread.start()
    with there:
        yield there.fileno()
    there.close()


def test_a_folders_generator_is_the_same_at_the_other_end_of_a_line(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    with open_generator(folder, opened) as (generator, offer):
        kitchen = Kitchen(generator, canary(folder, offer), together=1)

        def relay(told: str, data: bytes) -> tuple[str, bytes]:
            answer, pictures = answered(wire.Request.model_validate_json(told), data, kitchen, offer)
            return answer.model_dump_json(), b"".join(map(wire.floats, pictures))

        with line_to(relay) as line, GeneratorModel(folder, opened, line) as model:
            assert (model.sides, model.latent_shape) == ((128, 256), (8, 16, 16))
            assert rendered(model.generator) == rendered(generator)
            many = [job(n % 5, (n, 0, 0)) for n in range(wire.MOST_JOBS + 3)]
            assert [r.key for r in model.generator.generate(many)] == [j.key for j in many]


def test_what_fails_at_the_other_end_is_told_and_the_line_goes_on() -> None:
    def fails(told: str, data: bytes) -> tuple[str, bytes]:
        raise EngineError("no room")

    with line_to(fails) as line:
        generator = LineGenerator(line)
        for _ in range(2):
            with pytest.raises(EngineError, match="no room"):
                generator.generate([job(1)])
        generator.close()


def test_a_line_that_breaks_leaves_every_face_refused() -> None:
    here, there = socket.socketpair()

    def once() -> None:
        wire.receive(here, wire.Request, 30)
        here.close()

    threading.Thread(target=once, daemon=True).start()
    with there:
        guard = Guard(LineGenerator(there.fileno()), 30)
        for _ in range(2):
            assert isinstance(guard.render([job(1)])[0, 1, 0], Refusal)
        guard.close()
