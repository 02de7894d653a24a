"""The figures of all cameras for Prometheus, made from what their processes say at the moment of asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

Status = Callable[[], Sequence[dict[str, Any]]]

# name, what it says, key of a camera's status
GAUGES = (
    ("fps", "Pictures a second that leave.", "fps"),
    ("faces", "Faces covered in the last picture.", "faces"),
    ("memory_bytes", "Resident memory of the camera's process.", "memory_bytes"),
    ("status_age_seconds", "Since the process last said how it is.", "age_s"),
    ("canary_age_seconds", "Since the networks last gave the right answer.", "canary_age_s"),
    ("unsettled_frames", "Frames that came and have no fate yet: the ledger's balance.", "waiting"),
)
COUNTERS = (
    ("frames_in", "Frames of the camera, since its process began.", "frames_in"),
    ("connections", "Connections to the camera, since its process began.", "connections"),
    ("tracks", "Faces followed, since its process began.", "tracks"),
    ("restarts", "Restarts of the camera's process.", "restarts"),
    ("clock_jumps", "Jumps of the camera's clock, since its process began.", "jumps"),
)
LEVELS = ("full", "scales", "steps", "solid", "slate")


class Cameras(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        cameras = self._status()
        for name, text, key in GAUGES:
            yield _filled(GaugeMetricFamily(f"veilcast_{name}", text, labels=["camera"]), cameras, key)
        for name, text, key in COUNTERS:
            yield _filled(CounterMetricFamily(f"veilcast_{name}", text, labels=["camera"]), cameras, key)
        yield _by(cameras, "slates", "slates", "Cards shown, by reason.", "reason")
        yield _by(cameras, "ledger", "ledger_frames", "Frames by their fate.", "fate")
        yield _by(cameras, "counts", "events", "Drops with their reasons, changes of level.", "event")
        yield from self._judged(cameras)

    def _judged(self, cameras: Sequence[dict[str, Any]]) -> Iterator[Metric]:
        latency = GaugeMetricFamily(
            "veilcast_latency_seconds",
            "From a picture's arrival to its output, of the last seconds.",
            labels=["camera", "quantile"],
        )
        live = GaugeMetricFamily("veilcast_live", "1 = the camera's picture is shown.", labels=["camera"])
        alarm = GaugeMetricFamily(
            "veilcast_alarm", "1 = held on the slate after too many restarts.", labels=["camera"]
        )
        level = GaugeMetricFamily(
            "veilcast_overload_level", "0 = nothing gives way, 4 = slate.", labels=["camera"]
        )
        for camera in cameras:
            for name, value in (camera.get("latency_s") or {}).items():
                if value is not None:
                    latency.add_metric([camera["name"], str(int(name[1:]) / 100)], value)
            live.add_metric([camera["name"]], camera["state"] == "live")
            alarm.add_metric([camera["name"]], bool(camera["alarm"]))
            level.add_metric([camera["name"]], LEVELS.index(camera.get("level", "full")))
        yield from (latency, live, alarm, level)


def text(status: Status) -> bytes:
    """The page that Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Cameras(status))
    return generate_latest(registry)


def _filled(family: Any, cameras: Sequence[dict[str, Any]], key: str) -> Any:
    for camera in cameras:
        if (value := camera.get(key)) is not None:
            family.add_metric([camera["name"]], value)
    return family


def _by(cameras: Sequence[dict[str, Any]], key: str, name: str, text: str, label: str) -> Metric:
    family = CounterMetricFamily(f"veilcast_{name}", text, labels=["camera", label])
    for camera in cameras:
        for what, count in (camera.get(key) or {}).items():
            family.add_metric([camera["name"], what], count)
    return family
