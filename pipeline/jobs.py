"""The jobs on one video: find the faces, cover them, or both. Arguments and answers are JSON."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from veilcast.config import Config
from veilcast.errors import ConfigError
from veilcast.pipeline import verification
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.gpu.card import Desk, open_desk
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.plan import Plan, read_plan, spans, write_plan
from veilcast.pipeline.preview import ContactSheet, moments
from veilcast.pipeline.queues import ahead
from veilcast.pipeline.stages import DEPTH, Covers, Rendered, detect_file, overlapped, render_file, unpainted
from veilcast.pipeline.supervise import OnFrame
from veilcast.types import Frame

if TYPE_CHECKING:
    from veilcast.pipeline.studio import Studio
    from veilcast.pipeline.tasks import Tools
    from veilcast.trt_engines.models import Models

Json = dict[str, Any]
T = TypeVar("T")

PATIENCE_S = 30.0  # with a generator of this process
SHARED_PATIENCE_S = 600.0  # with one that others ask too, and that may have to move to another machine
PIECE_BYTES = 2**24  # of a file that is hashed


def run(job: Json, on_frame: OnFrame, tools: Tools) -> Json:
    Covers.of(Config.model_validate(job["config"]))  # zones without sense are told now, not after the search
    with _beside(open_studio(job, silently)) as studio, _desk(job) as desk:

        def found(stage: str, done: int, total: int | None) -> None:
            if studio.done():
                studio.result()  # what is missing is told at once, not after the search
            on_frame(stage, done, total)

        try:
            plan = _found(job, found, tools, desk)
        finally:  # where both fail, it is always the same error that is told
            with waiting(lambda: on_frame("opening", 0, None)):
                opened = studio.result()
        return _render(job, plan, on_frame, opened, desk)


@contextmanager
def _beside(context: AbstractContextManager[T]) -> Iterator[Future[T]]:
    """Enters a context in a thread of its own, and leaves it in this one."""
    with ExitStack() as stack, ThreadPoolExecutor(1, "open") as pool:
        yield pool.submit(stack.enter_context, context)


def silently(stage: str, done: int, total: int | None) -> None:
    """Progress of what has somebody beside it who tells."""


def render(job: Json, on_frame: OnFrame, tools: Tools) -> Json:
    with open_studio(job, on_frame) as studio, _desk(job) as desk:
        return _render(job, _read(job, on_frame), on_frame, studio, desk)


def detect(job: Json, on_frame: OnFrame, tools: Tools) -> Json:
    with _desk(job) as desk:
        plan = _found(job, on_frame, tools, desk)
    plan.video = _hash(Path(job["source"]), on_frame)
    with Path(job["target"]).open("w", encoding="utf-8") as out:
        write_plan(plan, out)
    return {"frames": len(plan), "tracks": [asdict(span) for span in spans(plan)]}


def _desk(job: Json) -> AbstractContextManager[Desk]:
    return open_desk(Config.model_validate(job["config"]).device)


@contextmanager
def waiting(still_alive: Callable[[], None]) -> Iterator[threading.Event]:
    """Tells the parent every second that something works which has a deadline of its own, until the
    event is set or the block is left."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(1):
            still_alive()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        done.set()
        thread.join()


def _found(job: Json, on_frame: OnFrame, tools: Tools, desk: Desk) -> Plan:
    config = Config.model_validate(job["config"])
    with waiting(lambda: on_frame("opening", 0, None)) as opened:
        finder = tools.finder(config.detect, Path(job["models"]) if job["models"] else None, config.device)

        def found(stage: str, done: int, total: int | None) -> None:
            opened.set()
            on_frame(stage, done, total)

        return detect_file(Path(job["source"]), config, finder, found, desk.lifted, desk.decoder)


def _models(job: Json) -> Models:
    from veilcast.trt_engines.models import Models

    return Models(Path(job["models"])) if job["models"] else Models(fetch=True)


def _read(job: Json, on_frame: OnFrame) -> Plan:
    """Raises ConfigError where the detections say that they were made of another video."""
    config, path, source = Config.model_validate(job["config"]), Path(job["detections"]), Path(job["source"])
    with Decoder(source, config.limits, config.damaged) as decoder:
        time_base = decoder.info.time_base
    plan = read_plan(path, time_base)
    if plan.video and plan.video != (found := _hash(source, on_frame)):
        raise ConfigError(
            f"{path} was made from another video (SHA-256 {plan.video[:12]}..., not {found[:12]}...); "
            'make it from this one, or take "video" out of its first line if both show the same frames'
        )
    return plan


def _hash(source: Path, on_frame: OnFrame) -> str:
    """SHA-256 in hex. A large file on a slow disk takes longer than a worker may be silent, so each piece is
    told."""
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            on_frame("opening", 0, None)
    return digest.hexdigest()


def open_studio(job: Json, on_frame: OnFrame) -> AbstractContextManager[Studio | None]:
    """What makes synthetic faces, where they are asked for. Raises what opening it raises."""
    config = Config.model_validate(job["config"])
    if config.cover.replacewith != "synthetic":
        return nullcontext()
    # inference takes a second to import; here and not when it is opened: that may be in another thread, and
    # two threads that import can meet in a circle
    from veilcast.pipeline.studio import Studio
    from veilcast.trt_engines.open import open_engine

    network = partial(open_engine, device=config.device)
    line = job.get("generator")  # to one that is shared: a file descriptor
    patience_s = PATIENCE_S if line is None else SHARED_PATIENCE_S
    return _opened(partial(Studio, config.synthetic, _models(job), network, patience_s, line), on_frame)


@contextmanager
def _opened(studio: Callable[[], Studio], on_frame: OnFrame) -> Iterator[Studio]:
    with ExitStack() as stack:
        with waiting(lambda: on_frame("opening", 0, None)):
            opened = stack.enter_context(studio())
        yield opened


def meet(
    studio: Studio,
    job: Json,
    plan: Plan,
    config: Config,
    on_frame: OnFrame,
    desk: Desk,
) -> None:
    """A pass over the file for the people in it. The file's own hash names its scope: the same file and key
    give the same faces."""
    source = Path(job["source"])
    nonce = bytes.fromhex(plan.video or _hash(source, on_frame))
    with desk.glance(source, config) as decoder, ahead(decoder.frames(), DEPTH) as frames:
        studio.meet(_counted(desk.lifted(decoder, frames), len(plan), on_frame), plan, nonce)


def _counted(frames: Iterator[Frame], total: int, on_frame: OnFrame) -> Iterator[Frame]:
    for frame in frames:
        on_frame("meeting", frame.index + 1, total)
        yield frame


def _render(job: Json, plan: Plan, on_frame: OnFrame, studio: Studio | None, desk: Desk) -> Json:
    config = Config.model_validate(job["config"])
    sheet = ContactSheet(moments(plan) if job["preview"] else frozenset())
    if studio:
        meet(studio, job, plan, config, on_frame, desk)
    painted = overlapped(desk.painted(studio.painted)) if studio else unpainted
    rendered = render_file(Path(job["source"]), plan, Path(job["target"]), config, on_frame, sheet, painted)
    if job["preview"]:
        sheet.write(Path(job["preview"]))
    return told(rendered, [asdict(span) for span in spans(plan)]) | (
        {"synthetic": studio.told()} if studio else {}
    )


def told(rendered: Rendered, tracks: list[Json]) -> Json:
    """What the parent hears of a video that was written."""
    return {
        "frames": rendered.frames,
        "ledger": _ledger(rendered.ledger),
        "tracks": tracks,
        "streams": [asdict(stream) for stream in rendered.streams],
        "expected": verification.to_json(rendered.expected),
        "media": rendered.media,
    }


def _ledger(ledger: Ledger) -> Json:
    return {
        "counts": {str(fate): count for fate, count in sorted(ledger.counts.items())},
        "stretches": [asdict(stretch) for stretch in ledger.stretches],
    }
