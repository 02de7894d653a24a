"""The jobs on one video of an archive, in parts: find the faces of the whole file, render some of its
segments, join them. What lies between is in the file's own folder; `jobs.run` does the same at once.

    scout     plan-000000.jsonl ... (what to cover, by segment), reads.bin, file.json
    sections  segment-000000 ...
    join      the output
"""

from __future__ import annotations

import json
import uuid
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veilcast.config import Config
from veilcast.errors import ConfigError, DamagedMedia
from veilcast.pipeline import jobs
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.files import write_durably
from veilcast.pipeline.gpu.card import open_desk
from veilcast.pipeline.ledger import Ledger, Stretch
from veilcast.pipeline.plan import Plan, read_plan, spans, write_plan
from veilcast.pipeline.queues import Behind, ahead
from veilcast.pipeline.sections import BACK_S, Cut, Elsewhere, Scout, Section
from veilcast.pipeline.segments import (
    Joiner,
    SegmentEncoder,
    joined_ledger,
    open_segment,
    segment_of,
    segment_path,
)
from veilcast.pipeline.stages import (
    DEPTH,
    Covers,
    Paint,
    Rendered,
    Tap,
    covered,
    detect_file,
    marks,
    overlapped,
    unpainted,
)
from veilcast.pipeline.supervise import OnFrame
from veilcast.types import Frame, Track

if TYPE_CHECKING:
    from veilcast.pipeline.tasks import Tools

Json = dict[str, Any]


def plan_path(folder: Path, number: int) -> Path:
    return folder / f"plan-{number:06d}.jsonl"


def scout(job: Json, on_frame: OnFrame, tools: Tools) -> Json:
    """Finds the faces of `job["source"]` and fills `job["folder"]`. file.json is there last and whole."""
    config, folder = Config.model_validate(job["config"]), Path(job["folder"])
    Covers.of(config)  # zones without sense are told now
    noted = Scout()
    with open_desk(config.device) as desk, jobs.waiting(lambda: on_frame("opening", 0, None)) as opened:
        finder = tools.finder(config.detect, Path(job["models"]) if job["models"] else None, config.device)

        def found(stage: str, done: int, total: int | None) -> None:
            opened.set()
            on_frame(stage, done, total)

        # noted of the processor's frames: a part is known again by their samples
        tapped: Tap = lambda decoder, frames: desk.lifted(decoder, noted(decoder, frames))  # noqa: E731
        plan = detect_file(Path(job["source"]), config, finder, found, tapped)
    cuts = noted.cuts(plan)
    for cut in cuts:
        with plan_path(folder, cut.number).open("w", encoding="utf-8") as out:
            write_plan(plan, out, range(cut.first, cut.end))
    (folder / "reads.bin").write_bytes(noted.reads.tobytes())
    facts = {
        "frames": len(plan),
        "time_base": str(plan.time_base),
        "start": str(plan.start),
        "cuts": [cut.json() for cut in cuts],
        "tracks": [asdict(span) for span in spans(plan)],
        # a damaged file is decoded from its beginning: what was damaged before decides what counts as damaged
        "leads": noted.leads and config.damaged == "refuse",
    }
    write_durably(folder / "file.json", json.dumps(facts).encode())
    return facts


def sections(job: Json, on_frame: OnFrame, tools: Tools) -> Json:
    """Renders segments `job["numbers"]` (first and end) into `job["folder"]`. Tells each that is whole as
    progress of the stage "segment:SHA256". Raises what rendering raises, and DamagedMedia where the file is
    not the one that was searched."""
    facts = json.loads((Path(job["folder"]) / "file.json").read_text())
    first = Cut.of(facts["cuts"][job["numbers"][0]])
    ways = [*BACK_S, None] if facts["leads"] and first.first else [None]
    for back_s in ways:
        try:
            return _rendered(job, facts, first, back_s, on_frame)
        except Elsewhere:
            if back_s is None:
                name = Path(job["source"]).name
                raise DamagedMedia(
                    f"{name} changed while it was read; try again when nothing writes to it"
                ) from None
        except DamagedMedia:
            if back_s is None:
                raise
    raise AssertionError("the last way returns or raises")


def _rendered(job: Json, facts: Json, cut: Cut, back_s: int | None, on_frame: OnFrame) -> Json:
    config, folder = Config.model_validate(job["config"]), Path(job["folder"])
    first, end = job["numbers"]
    end_frame = facts["cuts"][end - 1]["end"]
    rows = _Rows(folder, Fraction(facts["time_base"]))
    ledgers = {n: Ledger(first=facts["cuts"][n]["first"]) for n in range(first, end)}
    scratch = folder / f"scratch-{uuid.uuid4().hex}{job['suffix']}"
    done: Json = {}

    def on_segment(number: int, sha256: str) -> None:
        done[str(number)] = sha256
        on_frame(f"segment:{number}:{sha256}", facts["cuts"][number]["end"], facts["frames"])

    try:
        with (
            _paint(job, facts, on_frame) as paint,
            Section(Path(job["source"]), cut, back_s, config.limits, config.damaged) as decoder,
            SegmentEncoder(
                decoder, scratch, folder, first, ledgers.__getitem__, on_segment, config.encode, marks(config)
            ) as encoder,
        ):
            wanted = _until(decoder.frames(), end_frame)
            with ahead(wanted, DEPTH) as frames, Behind(encoder.write, DEPTH) as out:
                scenes = ((frame, rows.faces(frame)) for frame in frames)
                covers, start = Covers.of(config), Fraction(facts["start"])
                for safe in covered(
                    scenes, covers, start, lambda index: ledgers[segment_of(index)], painted=paint
                ):
                    out.put(safe)
                    on_frame("covering", safe.index + 1, facts["frames"])
            encoder.close()
    finally:
        scratch.unlink(missing_ok=True)
    if len(done) != end - first:
        raise DamagedMedia(f"{job['source']} ended early when it was decoded again")
    return {"segments": done}


def _until(frames: Iterator[Frame], end: int) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        if frame.index + 1 == end:
            return


class _Rows:
    """The plan, one segment in memory at a time."""

    def __init__(self, folder: Path, time_base: Fraction) -> None:
        self._folder, self._time_base = folder, time_base
        self._number = -1
        self._plan = Plan(time_base)
        self._first = 0

    def faces(self, frame: Frame) -> tuple[Track, ...]:
        """Raises Elsewhere unless the plan has that very frame."""
        if (number := segment_of(frame.index)) != self._number:
            self._first = frame.index
            self._plan = read_plan(plan_path(self._folder, number), self._time_base, self._first)
            self._number = number
        place = frame.index - self._first
        if place >= len(self._plan) or self._plan[place].pts != frame.pts:
            raise Elsewhere(f"frame {frame.index} is not where it was")
        return self._plan[place].faces


def join(job: Json, on_frame: OnFrame) -> Json:
    """Joins the segments with these hashes (`job["segments"]`, in order) as `job["target"]`. Answers as
    `jobs.run` does. Raises WorkerDied for a segment that is not what was written."""
    config, folder = Config.model_validate(job["config"]), Path(job["folder"])
    facts = json.loads((folder / "file.json").read_text())
    reads = array("q")
    reads.frombytes((folder / "reads.bin").read_bytes())
    hashes = job["segments"]
    if len(hashes) != len(facts["cuts"]) or len(reads) != facts["frames"]:
        raise ConfigError("the notes on this file do not belong together; start it again")
    paths = [segment_path(folder, number) for number in range(len(hashes))]
    with (
        Decoder(Path(job["source"]), config.limits, config.damaged) as decoder,
        Joiner(decoder, Path(job["target"]), config.encode, marks(config), reads) as joiner,
    ):
        stretches: list[Stretch] = []
        for path, sha256 in zip(paths, hashes, strict=True):
            segment = open_segment(path, sha256)
            joiner.add(segment)
            stretches += segment.stretches
            on_frame("joining", facts["cuts"][segment.number]["end"], facts["frames"])
        joiner.close()
        ledger = joined_ledger(stretches, facts["frames"])
        rendered = Rendered(facts["frames"], ledger, tuple(joiner.streams), joiner.expected, decoder.facts)
    return jobs.told(rendered, facts["tracks"]) | _synthetic(folder)


@contextmanager
def _paint(job: Json, facts: Json, on_frame: OnFrame) -> Iterator[Paint]:
    """What draws over faces. The people of a file are met before its first segment, and who was drawn
    again stays so to its end: synthetic faces are made in one go from there."""
    with jobs.open_studio(job, on_frame) as studio:
        if studio is None:
            yield unpainted
            return
        config, folder = Config.model_validate(job["config"]), Path(job["folder"])
        with open_desk(config.device) as desk:
            jobs.meet(studio, job, _whole_plan(folder, facts), config, on_frame, desk)
            yield overlapped(desk.painted(studio.painted))
        write_durably(folder / "synthetic.json", json.dumps(studio.told()).encode())


def _whole_plan(folder: Path, facts: Json) -> Plan:
    plan = Plan(Fraction(facts["time_base"]))
    for cut in facts["cuts"]:
        for row in read_plan(plan_path(folder, cut["number"]), plan.time_base, cut["first"]):
            plan.append(row.pts, row.faces)
    return plan


def _synthetic(folder: Path) -> Json:
    path = folder / "synthetic.json"
    return {"synthetic": json.loads(path.read_text())} if path.exists() else {}
