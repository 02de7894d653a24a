"""Which processor this is: what compiled networks and measured figures belong to."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")  # of x86, what networks run on


def described(info: Path = CPUINFO) -> tuple[str | None, tuple[str, ...]]:
    """Its name and which FEATURES it has, as far as the system tells."""
    lines = info.read_text().splitlines() if info.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split())
    return facts.get("model name"), tuple(feature for feature in FEATURES if feature in flags)


def processor() -> str:
    """Model and instruction sets of the processor that this runs on."""
    try:
        lines = CPUINFO.read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "stepping", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(wanted))
