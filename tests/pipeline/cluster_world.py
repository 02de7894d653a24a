"""A job on a cluster of several Ray nodes on this machine, one of which is lost in the middle and replaced.
A process of its own, since a cluster's token is fixed when Ray is loaded:

    RAY_TMPDIR=FOLDER RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FILE \\
        python -m tests.pipeline.cluster_world SRC DST JOURNAL

FOLDER has a short path, since sockets lie in it, and goes with everything in it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from tests.pipeline.archive_world import WORKER, run

from veilcast.pipeline.actors import RayCrew
from veilcast.pipeline.batch import Event
from veilcast.pipeline.journal import Journal

HEAD = {"num_cpus": 0, "include_dashboard": False}  # the driver alone


def main(source: str, target: str, journal: str) -> None:
    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    at_work = threading.Event()

    def heard(event: Event) -> None:
        if event.progress is not None:
            at_work.set()

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    assert wait_for_nodes(3)
    crew = partial(RayCrew, program=(sys.executable, "-c", WORKER), silent_s=8)
    with ThreadPoolExecutor(1) as pool:  # nodes come and go in the main thread: Ray sets signal handlers
        job = pool.submit(run, source, target, Path(journal), heard, crew=crew, retries=0)
        assert at_work.wait(60)
        time.sleep(0.5)
        cluster.remove_node(nodes[0], allow_graceful=False)
        in_the_middle = not job.done()
        time.sleep(1)
        cluster.add_node(num_cpus=1)
        outcome = job.result(120)
    with Journal(outcome.folder) as opened:
        frames = sum(row.facts["frames"] for row in opened.rows())
    ray.shutdown()
    cluster.shutdown()
    done = {str(state): count for state, count in outcome.counts.items() if count}
    print(json.dumps({"counts": done, "frames": frames, "in_the_middle": in_the_middle}))  # noqa: T201


def wait_for_nodes(count: int, seconds: float = 60) -> bool:
    """Whether so many nodes of the cluster are alive, soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if sum(node["Alive"] for node in ray.nodes()) >= count:
            return True
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    main(*sys.argv[1:])
