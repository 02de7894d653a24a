"""Where a thread stands in the system's queue for the processor.

SVT-AV1, run as root, takes real-time priority (SCHED_FIFO 99) for the thread that opens it and for all
threads of its own. What such a thread starts later inherits it, and nothing else on the machine runs
while one of these is busy or spins: not the parent that watches the clock, not the next stream.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


def give_back_real_time() -> None:
    """Every thread of this process under the ordinary rules, where the calling one is not."""
    if not hasattr(os, "sched_getscheduler") or os.sched_getscheduler(0) not in (os.SCHED_FIFO, os.SCHED_RR):
        return
    for task in _TASKS.iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
