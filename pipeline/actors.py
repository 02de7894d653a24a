"""The work of an archive on Ray: the only file that knows Ray.

One actor for each stream or segment at work. An actor hosts the same worker process that does the job
without Ray: decode, cover and encode meet in that process alone, on bounded queues, under the same
limits. What travels between machines are jobs, progress and reports; pictures and packets never enter
Ray's object store. All nodes must see the journal's folder, and the source where it is a folder.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# before Ray reads them
SAFE = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else a late call starts another cluster, open to all, after the end
}
for _name, _value in SAFE.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
import ray.exceptions  # noqa: E402
from ray._private import ray_constants  # noqa: E402

from veilcast.config import Limits  # noqa: E402
from veilcast.errors import ConfigError, EngineError, VeilcastError  # noqa: E402
from veilcast.pipeline.crew import PATIENCE_S, PostedCrew, PostLost, Workers  # noqa: E402
from veilcast.pipeline.generator_process import MOST_CAMERAS  # noqa: E402
from veilcast.pipeline.generator_shared import SharedGenerator  # noqa: E402
from veilcast.pipeline.own_folder import own_folder  # noqa: E402
from veilcast.pipeline.processes import WORKER  # noqa: E402
from veilcast.pipeline.supervise import OnProgress, Progress, error_named  # noqa: E402

Json = dict[str, Any]

TOKEN = secrets.token_hex(32)  # of every cluster that this process starts: Ray reads it once
IN_FLIGHT = 4  # answers of an actor that nobody has taken yet: then it waits
STORE_BYTES = 100 << 20  # Ray's object store: only jobs and reports lie in it
FACES_BYTES = 48 << 20  # and, for each actor, the faces of one question and of its answer
FACES_S = 500.0  # that a question may take, while its generator moves to another node
EVERY_S = 2.0  # between two steps of progress: each costs the driver some milliseconds
SILENT_S = 30.0  # without a message after which an actor counts as lost, whatever Ray says of its node
ARRIVES_S = 0.5  # between two looks whether an actor has found room


@dataclass(frozen=True, slots=True)
class Generators:
    """A pool that renders faces for all actors. model: its folder, on all nodes. count: None = as many as fit
    on the GPUs, or one on a processor. gpus: of each on cuda; a part of one lets several share it."""

    model: Path
    count: int | None = None
    gpus: float = 1.0
    device: Literal["cpu", "cuda"] = "cpu"


def opened_pool(asked: Generators) -> list[Any]:
    """Its actors. One that is lost is begun again elsewhere, and asked again."""
    cuda = asked.device == "cuda"
    each: dict[str, float] = {"num_gpus": asked.gpus, "num_cpus": 0} if cuda else {"num_cpus": 1}
    fitting = int(ray.cluster_resources().get("GPU", 0.0) / asked.gpus) if cuda else 1
    count = asked.count or max(1, fitting)
    made = ray.remote(SharedGenerator).options(
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=MOST_CAMERAS,
        scheduling_strategy="SPREAD",
        **each,
    )
    return [made.remote(str(asked.model), asked.device) for _ in range(count)]


class Host:
    """The actor: a post of `crew.py` on whatever node it is placed. pool: of actors that render faces."""

    def __init__(self, program: Sequence[str], pool: Sequence[Any] = ()) -> None:
        os.umask(0o077)
        self._pool = itertools.cycle(pool)
        self._workers = Workers(program=program, faces=self._faces if pool else None)

    def _faces(self, told: str, data: bytes) -> tuple[str, bytes]:
        """Raises EngineError."""
        try:
            answer, more = ray.get(next(self._pool).answer.remote(told, data), timeout=FACES_S)
        except ray.exceptions.RayError as error:
            raise EngineError(f"the shared generator failed ({type(error).__name__})") from None
        return str(answer), bytes(more)

    def ready(self) -> bool:
        """Says that the actor is there."""
        return True

    def perform(self, job: Json, limits: Json) -> Iterator[Json]:
        """Does `job` for a driver that keeps what it ordered written, whoever of us dies. Answers
        steps of progress or {} every EVERY_S, then {"result": ...} or {"error": kind, "message": text}."""
        steps: queue.Queue[Progress | None] = (
            queue.Queue()
        )  # segments, one step every EVERY_S; None = the end
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
            answer.add_done_callback(lambda _: steps.put(None))
            while True:
                try:
                    if (step := steps.get(timeout=EVERY_S)) is None:
                        break
                    yield {"progress": [step.stage, step.done, step.total]}
                except queue.Empty:
                    yield {}
        try:
            yield {"result": answer.result()}
        except VeilcastError as error:
            yield {"error": type(error).__name__, "message": str(error)}


class ActorPost:
    """A post that is an actor. One that is lost with its node is replaced wherever there is room; until
    then nobody is here, and orders go to other posts."""

    def __init__(self, program: Sequence[str], silent_s: float = SILENT_S, pool: Sequence[Any] = ()) -> None:
        self._program, self._silent_s, self._pool = tuple(program), silent_s, pool
        self._actor: Any = None
        self._ready: Any = None  # answered once the actor is there

    def arrive(self) -> bool:
        try:
            if self._actor is None:
                made = ray.remote(Host).options(
                    num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
                )
                self._actor = made.remote(self._program, self._pool)
                self._ready = self._actor.ready.remote()
            if not ray.wait([self._ready], timeout=ARRIVES_S)[0]:
                return False
            return bool(ray.get(self._ready, timeout=ARRIVES_S))
        except ray.exceptions.RayError:
            self.leave()
            time.sleep(ARRIVES_S)
            return False

    def perform(self, job: Json, limits: Limits, on_progress: OnProgress) -> Json:
        answered = False
        try:
            for message in self._messages(job, limits):
                match message:
                    case {"progress": [str(stage), int(done), total]}:
                        on_progress(Progress(stage, done, total))
                    case {"result": dict(result)}:
                        answered = True
                        return result
                    case {"error": str(kind), "message": str(text)}:
                        answered = True
                        raise error_named(kind, text)
            raise PostLost("an actor ended without an answer")
        except ray.exceptions.RayError as error:
            raise PostLost(f"an actor or its node was lost ({type(error).__name__})") from None
        finally:
            if not answered:  # gone, or still at what was given up
                self.leave()

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
        generators: Generators | None = None,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._mine = not ray.is_initialized()
        if self._mine:
            self._open(size, address, generators)
        self._pool = opened_pool(generators) if generators else []
        super().__init__([ActorPost(program, silent_s, self._pool) for _ in range(size)], patience_s)

    def close(self) -> None:
        super().close()
        for actor in self._pool:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        if self._mine:
            ray.shutdown()
        self._stack.close()

    def _open(self, size: int, address: str, generators: Generators | None) -> None:
        try:
            if address == "local":
                folder = self._stack.enter_context(own_folder())
                with private(folder):
                    ray.init(**settings(size, folder, (generators.count or 1) if generators else 0))
            else:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            self._stack.close()
            raise ConfigError(
                f"no Ray cluster answers at {address} ({type(error).__name__}); check the address and that "
                "RAY_AUTH_TOKEN_PATH names its token"
            ) from None


def settings(size: int, folder: Path, generators: int = 0) -> Mapping[str, Any]:
    """What Ray is started with for one job: nothing listens but on loopback, nothing is spilled."""
    return {
        "num_cpus": size + generators,
        "include_dashboard": False,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": STORE_BYTES + (FACES_BYTES * size if generators else 0),
        "_node_ip_address": "127.0.0.1",
        # Ray opens its own folder to everybody: it stands in one that is closed
        "_temp_dir": str(folder / "r"),
        "_system_config": {"automatic_object_spilling_enabled": False},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }


@contextlib.contextmanager
def private(folder: Path) -> Iterator[None]:
    """While Ray starts: files for this user alone, and a token in one of them."""
    before = os.umask(0o077)
    # Ray takes the loopback address for its own only where it may not form clusters
    clusters, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    token = folder / "token"
    token.write_text(TOKEN)
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
