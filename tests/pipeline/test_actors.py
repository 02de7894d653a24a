"""Ray carries the work and changes nothing: the same bytes, also when a node is lost; nothing is open."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.pipeline.archive_world import WORKER, archive, contents, run

from veilcast.pipeline.batch import Event
from veilcast.pipeline.journal import State

actors = pytest.importorskip("veilcast.pipeline.actors")

PROGRAM = (sys.executable, "-c", WORKER)


def test_ray_gives_the_same_bytes_and_is_closed_to_others(tmp_path: Path) -> None:
    source = archive(tmp_path / "in", 3)
    run(source, tmp_path / "alone", tmp_path / "job0")
    seen: dict[str, Any] = {}

    def looked(event: Event) -> None:
        if not seen and event.progress is not None:
            seen["open"] = {
                connection.laddr.ip
                for process in psutil.Process().children(recursive=True)
                for connection in process.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            }
            folder = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent
            seen["folder"] = folder
            seen["mode"] = folder.stat().st_mode & 0o777
            seen["token"] = (folder / "token").read_text()
            seen["argv"] = [
                part for process in psutil.Process().children(recursive=True) for part in process.cmdline()
            ]

    crew = partial(actors.RayCrew, program=PROGRAM)
    outcome = run(source, tmp_path / "ray", tmp_path / "job", looked, crew=crew)
    assert outcome.counts[State.DONE] == 3
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")
    assert seen["open"] <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert seen["mode"] == 0o700
    assert not seen["folder"].exists()
    assert not any(seen["token"] in part for part in seen["argv"])


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without room for work and two nodes with room for one actor each."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # a cluster has its own token; here there is none to share
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made, nodes
        ray.shutdown()
        made.shutdown()


def test_a_node_that_is_lost_in_the_middle_costs_no_frame(cluster: Any, tmp_path: Path) -> None:
    made, nodes = cluster
    source = archive(tmp_path / "in", 4)
    run(source, tmp_path / "alone", tmp_path / "job0")
    lost = threading.Event()

    def lose(event: Event) -> None:
        if event.progress and event.progress.stage == "covering" and not lost.is_set():
            lost.set()
            threading.Thread(target=replaced).start()

    def replaced() -> None:
        made.remove_node(nodes[0], allow_graceful=False)
        time.sleep(1)
        made.add_node(num_cpus=1)

    crew = partial(actors.RayCrew, program=PROGRAM)
    outcome = run(source, tmp_path / "out", tmp_path / "job", lose, crew=crew, retries=30)
    assert lost.is_set()
    assert outcome.counts[State.DONE] == 4
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
