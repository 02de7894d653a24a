"""The work of an archive on Ray: the only file that knows Ray.

One actor for each stream or segment at work. An actor hosts the same worker process that does the job
without Ray: decode, cover and encode meet in that process alone, on bounded queues, under the same
limits. What travels between machines are jobs, progress and reports; pictures and packets never enter
Ray's object store. All nodes must see the journal's folder, and the source where it is a folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# before Ray reads them
SAFE = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
for _name, _value in SAFE.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
import ray.exceptions  # noqa: E402
from ray._private import ray_constants  # noqa: E402

from veilcast.config import Limits  # noqa: E402
from veilcast.errors import ConfigError, VeilcastError  # noqa: E402
from veilcast.pipeline.crew import PATIENCE_S, PostedCrew, PostLost, Workers  # noqa: E402
from veilcast.pipeline.supervise import WORKER, OnProgress, Progress, error_named  # noqa: E402

Json = dict[str, Any]

IN_FLIGHT = 4  # answers of an actor that nobody has taken yet: then it waits
STORE_BYTES = 100 << 20  # Ray's object store: only jobs and reports lie in it
EVERY_S = 2.0  # between two steps of progress: each costs the driver some milliseconds
POLL_S = 0.05
SILENT_S = 30.0  # without a message after which an actor counts as lost, whatever Ray says of its node
PREFIX = "vc-ray-"
ARRIVES_S = 0.5  # between two looks whether an actor has found room
OPEN_S = 60.0


class Host:
    """The actor: a post of `crew.py` on whatever node it is placed."""

    def __init__(self, program: Sequence[str]) -> None:
        os.umask(0o077)
        self._workers = Workers(program=program)

    def ready(self) -> bool:
        """Says that the actor is there."""
        return True

    def perform(self, job: Json, limits: Json) -> Iterator[Json]:
        """Does `job` for a driver that keeps what it ordered written, whoever of us dies. Answers
        steps of progress or {} every EVERY_S, then {"result": ...} or {"error": kind, "message": text}."""
        steps: queue.Queue[Progress] = queue.Queue()  # segments, and one step every EVERY_S: no more
        due_s = 0.0

        def heard(step: Progress) -> None:
            nonlocal due_s
            if step.stage.startswith("segment:"):
                steps.put(step)
            elif time.monotonic() >= due_s:
                due_s = time.monotonic() + EVERY_S
                steps.put(step)

        kept = {**job, "kept": True}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self._workers.perform, kept, Limits.model_validate(limits), heard)
            told_s = time.monotonic()
            while not (answer.done() and steps.empty()):
                try:
                    step = steps.get(timeout=POLL_S)
                except queue.Empty:
                    if time.monotonic() < told_s + EVERY_S:
                        continue
                    yield {}
                else:
                    yield {"progress": [step.stage, step.done, step.total]}
                told_s = time.monotonic()
        try:
            yield {"result": answer.result()}
        except VeilcastError as error:
            yield {"error": type(error).__name__, "message": str(error)}


class ActorPost:
    """A post that is an actor. One that is lost with its node is replaced wherever there is room; until
    then nobody is here, and orders go to other posts."""

    def __init__(self, program: Sequence[str], silent_s: float = SILENT_S) -> None:
        self._program, self._silent_s = tuple(program), silent_s
        self._actor: Any = None
        self._ready: Any = None  # answered once the actor is there

    def arrive(self) -> bool:
        try:
            if self._actor is None:
                made = ray.remote(Host).options(
                    num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
                )
                self._actor = made.remote(self._program)
                self._ready = self._actor.ready.remote()
            if not ray.wait([self._ready], timeout=ARRIVES_S)[0]:
                return False
            return bool(ray.get(self._ready, timeout=ARRIVES_S))
        except ray.exceptions.RayError:
            self.leave()
            time.sleep(ARRIVES_S)
            return False

    def perform(self, job: Json, limits: Limits, on_progress: OnProgress) -> Json:
        try:
            for message in self._messages(job, limits):
                match message:
                    case {"progress": [str(stage), int(done), total]}:
                        on_progress(Progress(stage, done, total))
                    case {"result": dict(result)}:
                        return result
                    case {"error": str(kind), "message": str(text)}:
                        raise error_named(kind, text)
        except ray.exceptions.RayError as error:
            self.leave()
            raise PostLost(f"an actor or its node was lost ({type(error).__name__})") from None
        self.leave()
        raise PostLost("an actor ended without an answer")

    def _messages(self, job: Json, limits: Limits) -> Iterator[Json]:
        """What the actor says. Raises PostLost where it falls silent: a stream from a node that is lost
        may never end. Raises RayError."""
        if (actor := self._actor) is None:
            raise PostLost("the actor has left")
        asked = actor.perform.options(
            num_returns="streaming", _generator_backpressure_num_objects=IN_FLIGHT
        ).remote(job, limits.model_dump(mode="json"))
        while ray.wait([asked], timeout=self._silent_s)[0]:
            try:
                reference = next(asked)
            except StopIteration:
                return
            yield ray.get(reference, timeout=self._silent_s)
        self.leave()
        raise PostLost(f"an actor was not heard of for {self._silent_s:g} s")

    def leave(self) -> None:
        actor, self._actor = self._actor, None
        if actor is not None:
            with contextlib.suppress(Exception):
                ray.kill(actor)


class RayCrew(PostedCrew):
    """`size` actors. address: "local" starts Ray for this job on this machine, closed to everybody else;
    otherwise a running cluster, which has its own settings and token. A context manager.

    Raises ConfigError where the cluster does not answer.
    """

    def __init__(
        self,
        size: int,
        address: str = "local",
        program: Sequence[str] = WORKER,
        silent_s: float = SILENT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._mine = not ray.is_initialized()
        if self._mine:
            self._open(size, address)
        super().__init__([ActorPost(program, silent_s) for _ in range(size)], patience_s)

    def close(self) -> None:
        super().close()
        if self._mine:
            ray.shutdown()
        self._stack.close()

    def _open(self, size: int, address: str) -> None:
        try:
            if address == "local":
                folder = self._stack.enter_context(own_folder())
                with private(folder):
                    ray.init(**settings(size, folder))
            else:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            self._stack.close()
            raise ConfigError(
                f"no Ray cluster answers at {address} ({type(error).__name__}); check the address and that "
                "RAY_AUTH_TOKEN_PATH names its token"
            ) from None


def settings(size: int, folder: Path) -> Mapping[str, Any]:
    """What Ray is started with for one job: nothing listens but on loopback, nothing is spilled."""
    return {
        "num_cpus": size,
        "include_dashboard": False,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
        # Ray opens its own folder to everybody: it stands in one that is closed
        "_temp_dir": str(folder / "r"),
        "_system_config": {"automatic_object_spilling_enabled": False},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for Ray, mode 0700, for as long as the block lasts: sockets need a short path. Those of
    processes that were killed go too."""
    base = Path(tempfile.gettempdir())
    for old in base.glob(PREFIX + "*"):
        with contextlib.suppress(OSError), locked(old):
            shutil.rmtree(old)
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(locked(folder))
        yield folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Raises OSError where another process holds it, or where it is somebody else's."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(folder)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def private(folder: Path) -> Iterator[None]:
    """While Ray starts: files for this user alone, and a token in one of them."""
    before = os.umask(0o077)
    # Ray takes the loopback address for its own only where it may not form clusters
    clusters, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    own = os.environ.get("RAY_AUTH_TOKEN_PATH")
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    try:
        yield
    finally:
        os.umask(before)
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        del os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR]
        if own is not None:
            os.environ["RAY_AUTH_TOKEN_PATH"] = own


def wait_for_nodes(count: int, seconds: float = OPEN_S) -> bool:
    """Whether so many nodes of the cluster are alive, soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if sum(node["Alive"] for node in ray.nodes()) >= count:
            return True
        time.sleep(0.2)
    return False
