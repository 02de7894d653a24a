"""Which processor this is: what compiled networks and measured figures belong to."""

from __future__ import annotations

import platform
from pathlib import Path


def processor() -> str:
    """Model and instruction sets of the processor that this runs on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "stepping", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(wanted))
