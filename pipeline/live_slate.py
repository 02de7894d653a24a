"""What is left when a camera's process has failed too often: the slate, held until somebody looks."""

from __future__ import annotations

import threading
import time

from veilcast.pipeline.backoff import Backoff
from veilcast.pipeline.live_job import Camera
from veilcast.pipeline.live_stats import Stats
from veilcast.pipeline.outlet import Outlet
from veilcast.pipeline.program import Program
from veilcast.pipeline.slates import FALLBACK_SIZE, Reason
from veilcast.pipeline.worker import Parent

EVERY_S = 0.5


def hold(camera: Camera, size: tuple[int, int] | None, ended: threading.Event, parent: Parent) -> None:
    """Shows the fault card on all outputs until `ended`."""
    live, stats = camera.config.live, Stats()
    outlets = [Outlet(output, Backoff(live.backoff_s, live.backoff_max_s)) for output in camera.publishing()]
    program = Program(outlets, time.monotonic(), 0, live.slate_after_s, stats, size=size or FALLBACK_SIZE)
    program.hide(Reason.FAULT)
    for outlet in outlets:
        outlet.start()
    program.start()
    try:
        while not ended.wait(EVERY_S):
            said = {"state": "fault", "told": "held until it is changed or the command is started anew"}
            parent.status(stats.snapshot() | said | {"outputs": [outlet.status() for outlet in outlets]})
    finally:
        program.stop()
