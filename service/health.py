"""Alive, and ready: a right answer of the networks not long ago, not the fact that somebody answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SAID_WITHIN_S = 15.0
CANARY_WITHIN_S = 120.0


def ready(cameras: Sequence[dict[str, Any]]) -> tuple[bool, dict[str, str]]:
    """Whether every camera is able to cover faces, and for each what is wrong ("" = nothing). A camera
    that is lost is no fault of ours: its slate is what readiness means then."""
    wrong = {camera["name"]: _wrong(camera) for camera in cameras}
    return bool(cameras) and not any(wrong.values()), wrong


def _wrong(camera: dict[str, Any]) -> str:
    if camera["alarm"]:
        return f"held on the slate: {camera['error']}"
    if camera["state"] == "ended":
        return ""
    if camera["age_s"] is None or camera["age_s"] > SAID_WITHIN_S:
        return "its process does not say how it is"
    age_s = camera.get("canary_age_s")
    if age_s is None:
        return "its networks have not been checked yet"
    if age_s > CANARY_WITHIN_S:
        return f"its networks were last checked {age_s:.0f} s ago"
    return ""
