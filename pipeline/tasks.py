"""What a worker can be asked to do. Each job imports what it needs and no more: a check of the output
starts in a fraction of the time that the networks take to load."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilcast.config import Detect, Device
from veilcast.errors import VeilcastError
from veilcast.pipeline.supervise import OnFrame

if TYPE_CHECKING:
    from veilcast.pipeline.detect import FaceFinder

Json = dict[str, Any]

_EVERY_S = 0.1


class Thinned:
    """Progress, passed on about ten times a second and at each change of stage."""

    def __init__(self, on_frame: OnFrame) -> None:
        self._on_frame = on_frame
        self._stage = ""
        self._due_s = 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now_s = time.monotonic()
        if stage != self._stage or now_s >= self._due_s or done == total:
            self._stage, self._due_s = stage, now_s + _EVERY_S
            self._on_frame(stage, done, total)


class Tools:
    """What one job leaves open for the next one of the same process: the networks that find faces."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._key: str | None = None
        self._finder: FaceFinder | None = None

    def finder(self, settings: Detect, models: Path | None, device: Device = "cpu") -> FaceFinder:
        """For a new stream. Raises ModelMissing, ModelCorrupt, EngineError."""
        from veilcast.pipeline.detect import open_detector  # inference takes a second to import
        from veilcast.trt_engines.models import Models

        key = f"{settings.model_dump_json()} {models} {device}"
        if self._finder is None or key != self._key:
            self.close()
            store = Models(models) if models else Models(fetch=True)
            opened = open_detector(settings, store, device)
            self._finder, self._key = self._stack.enter_context(opened), key
        return self._finder.anew()

    def close(self) -> None:
        self._finder = None
        self._stack.close()


def perform(job: Json, on_frame: OnFrame, tools: Tools | None = None) -> Json:
    """The answer to `job`. Raises what the job raises."""
    tools = tools or Tools()
    try:
        return _do(job, Thinned(on_frame), tools)
    except VeilcastError as error:
        raise type(error)(_named(str(error), job)) from None


def _do(job: Json, on_frame: OnFrame, tools: Tools) -> Json:
    match job["task"]:
        case "verify":
            from veilcast.pipeline import verification

            return verification.check(job, on_frame)
        case "pictures":
            from veilcast.pipeline.pictures import cover_all

            return cover_all(job, on_frame)
        case "detect" | "run" | "render" as task:
            from veilcast.pipeline import jobs

            return {"detect": jobs.detect, "run": jobs.run, "render": jobs.render}[task](job, on_frame, tools)
        case "scout" | "sections" | "join" as task:
            from veilcast.pipeline import parts

            if task == "join":
                return parts.join(job, on_frame)
            return {"scout": parts.scout, "sections": parts.sections}[task](job, on_frame, tools)
    raise ValueError(f"no task called {job['task']!r}")


def _named(text: str, job: Json) -> str:
    """A message in the names that the user gave: not where standard input was kept, nor the .part."""
    if "name" in job:
        text = text.replace(str(job["source"]), job["name"])
    if "target" in job:
        text = text.replace(str(job["target"]), str(job["target"]).removesuffix(".part"))
    return text
