"""Sessions for tests: a finder that knows where the people of the canary clip are, and what came out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from tests.live_media import CLIP, luma_of, number
from tests.oracle import Canary, ScriptedDetector, misses

from veilcast.config import Config, overlay
from veilcast.errors import VeilcastError
from veilcast.pipeline.addresses import Address, parse_input, parse_output
from veilcast.pipeline.live import Session
from veilcast.pipeline.overload import Level
from veilcast.pipeline.publish import Output
from veilcast.pipeline.receiving import connecting
from veilcast.pipeline.watching import Engines
from veilcast.types import Face, Frame, Plane

# generous, so that a busy machine changes nothing: what is tested is content and order
CALM = overlay(
    Config(),
    {"live.max_latency_s": 20, "live.backoff_s": 0.1, "live.backoff_max_s": 0.5, "live.slate_after_s": 1},
)
DROPOUTS = misses(1, (10, 3), (40, 5)) | misses(2, (60, 8))
PATIENCE_S = 60.0


@dataclass
class KnowingFinder:
    """Reads the frame's number off the picture and says who is where; misses whom it is told to miss."""

    canary: Canary = CLIP
    every: int = 3
    wait_s: float = 0.0
    level: Level = Level.FULL
    levels: set[Level] = field(default_factory=set)
    fail_at: int | None = None

    def __post_init__(self) -> None:
        self._detector = ScriptedDetector(self.canary, DROPOUTS)
        self._looks = 0

    def warm(self, frame: Frame) -> None: ...

    def find(self, frame: Frame, urgent: bool = False, new: bool = False) -> tuple[Face, ...] | None:
        self.levels.add(self.level)
        self._looks += 1
        time.sleep(self.wait_s)
        if self.fail_at is not None and self._looks > self.fail_at:
            raise RuntimeError("secret of the finder")
        n = number(frame.planes[0])
        if n is None:
            return ()
        # the first picture of a connection is always looked at
        return self._detector.find(n % self.canary.count) if (self._looks - 1) % self.every == 0 else None


@dataclass
class Running:
    session: Session
    thread: threading.Thread
    errors: list[BaseException] = field(default_factory=list)

    def until(self, condition: Callable[[dict[str, Any]], bool], what: str = "it happens") -> None:
        """Waits for something that the status says."""
        wait_until(lambda: condition(self.session.status()), what, lambda: self.session.status())

    def state(self, name: str) -> None:
        self.until(lambda status: status["state"] == name, f"state {name}")

    def pictures(self, count: int) -> None:
        """Waits until so many more pictures have gone out."""
        goal = self.session.status()["counts"].get("pictures out", 0) + count
        self.until(lambda status: status["counts"].get("pictures out", 0) >= goal, f"{goal} pictures")


def wait_until(
    condition: Callable[[], bool],
    what: str,
    seen: Callable[[], object] = lambda: "",
    most_s: float = PATIENCE_S,
) -> None:
    end_s = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < end_s, f"waited {most_s:g} s until {what}; {seen()}"
        time.sleep(0.05)


@contextmanager
def running(
    source: str | Address,
    *outputs: str | Path,
    config: Config = CALM,
    finder: Callable[[], Any] = KnowingFinder,
    engines: Engines | None = None,
) -> Iterator[Running]:
    """A session in this process. At the end the ledger balances."""
    address = source if isinstance(source, Address) else parse_input(source)
    texts = [f"{to}/" if isinstance(to, Path) and to.is_dir() else str(to) for to in outputs]
    made = [Output(parse_output(text), config.live) for text in texts]
    session = Session(address, made, config, connecting(address, config))
    run = Running(
        session, threading.Thread(target=lambda: _run(run, engines or Engines(finder)), daemon=True)
    )
    session.open()
    run.thread.start()
    try:
        yield run
    finally:
        session.stop()
        run.thread.join(PATIENCE_S)
        assert not run.thread.is_alive()
        session.close()
    session.settle()


def _run(run: Running, engines: Engines) -> None:
    try:
        run.session.run(nullcontext(engines))
    except (VeilcastError, RuntimeError) as error:
        run.errors.append(error)


def played(source: str | Path, *outputs: str | Path, **given: Any) -> Running:
    """A file, from its start to its end."""
    with running(str(source), *outputs, **given) as run:
        run.thread.join(PATIENCE_S)
    return run


def decoded(*paths: Path) -> list[Plane]:
    """The luma of every picture of files, in order."""
    lumas: list[Plane] = []
    for path in paths:
        with av.open(str(path)) as source:
            lumas += [luma_of(frame) for frame in source.decode(video=0)]
    return lumas


def read_back(url: str, count: int, transport: str = "tcp") -> list[Plane]:
    """Pictures of an RTSP address as a plain reader gets them."""
    options = {"rtsp_transport": transport}
    lumas: list[Plane] = []
    with av.open(url, container_options=options, timeout=(20, 20)) as source:
        for frame in source.decode(video=0):
            lumas.append(luma_of(frame))
            if len(lumas) >= count:
                break
    return lumas
