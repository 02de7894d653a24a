"""The process of one camera: `python -m veilcast.pipeline.live_worker FD` reads its job, a line of JSON,
from standard input, and says on FD, in lines of JSON, how it is twice a second. It ends with its parent.

A job with "slate" shows the slate and nothing else: no camera is read, no network loaded.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any

from veilcast.errors import VeilcastError, WorkerHung
from veilcast.pipeline.worker import Parent, contain, internal, listen

EVERY_S = 0.5
LEAVE_S = 8.0  # to end the outputs as they should be ended


def main(fd: int) -> None:
    os.umask(contain())  # all that is written here is covered
    job = json.loads(sys.stdin.buffer.readline())
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=listen, args=(sys.stdin.buffer, queue.Queue()), daemon=True).start()
    parent = Parent(fd)
    try:
        _serve(job, parent, ended)
        parent.result({})
    except VeilcastError as error:
        parent.error(error)
    except Exception as error:  # noqa: BLE001 (the border of the process: told to the parent)
        parent.error(VeilcastError(internal(error)))
    # not sys.exit: a library that hangs must not hold up a process that is to be replaced
    os._exit(0)


def _serve(job: dict[str, Any], parent: Parent, ended: threading.Event) -> None:
    from veilcast.pipeline.live import Session  # heavy: after the guard is up
    from veilcast.pipeline.live_job import Camera
    from veilcast.pipeline.live_slate import hold
    from veilcast.pipeline.receiving import connecting

    camera = Camera.from_json(job["camera"])
    size = tuple(job["size"]) if job.get("size") else None
    if job.get("slate"):
        return hold(camera, size, ended, parent)
    session = Session(
        camera.source, camera.publishing(), camera.config, connecting(camera.source, camera.config), size
    )
    session.open()
    work = _Work(session, camera)
    work.start()
    try:
        while work.is_alive() and not ended.is_set():
            work.join(EVERY_S)
            parent.status(session.status())
            session.check_alive()
    finally:
        session.stop()
        work.join(LEAVE_S)
        session.close()
    if work.error is not None:
        raise work.error
    if work.is_alive():
        raise WorkerHung(f"{camera.name} did not end in time")
    session.settle()
    parent.status(session.status())


class _Work(threading.Thread):
    """The session's own thread; what ends it is kept."""

    def __init__(self, session: Any, camera: Any) -> None:
        super().__init__(name="session", daemon=True)
        self.session, self.camera = session, camera
        self.error: VeilcastError | None = None

    def run(self) -> None:
        from veilcast.pipeline.live_engines import open_engines

        try:
            self.session.run(open_engines(self.camera.config, self.camera.models, self.camera.generator))
        except VeilcastError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 (the process is replaced; told without its text)
            self.error = VeilcastError(internal(error))
        finally:
            from veilcast.pipeline.slates import Reason

            if self.error is not None:
                self.session.program.hide(Reason.FAULT)
                time.sleep(0.1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
