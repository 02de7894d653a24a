"""How an archive job scales: a discrete-event model of the scheduler, with stage times that were measured.

    python -m benchmarks.cluster [--times archive.json] [--out FILE.json]

The model takes jobs as pipeline/batch.py does: one search for each file, then its segments, then joining
and checking, most urgent first; each actor does one at a time. Shared by all: the driver, which spends some
milliseconds on every message, and the storage, which moves so many bytes a second. It tells how busy
the actors are, and what the rest waits for. Times come from `benchmarks.archive`; without a file those of
TIMES are taken, and the output says so.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import outcome

SEGMENT_FRAMES = 600
GOLDEN = 0.618034  # its multiples fill an interval evenly, in no order
RATE = 25  # frames a second of footage
ACTORS = (1, 2, 4, 8, 10, 32, 100, 320, 1000, 3000)
EVERY_S = 2.0  # between two messages of progress of an actor (pipeline/actors.py)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one actor. `message_s`: of the driver, for each message of an actor."""

    scout_s: float = 0.020  # a frame
    cover_s: float = 0.012  # a frame
    join_s: float = 0.0006  # a frame
    verify_s: float = 0.004  # a frame
    message_s: float = 0.003
    journal_s: float = 0.004  # of the driver, for a change that is on the disk
    frame_bytes: int = 20_000  # of the source; an output is about as large
    storage_bytes_s: float = 1.25e9  # shared by all actors of a job: ten gigabits
    face_s: float = 0.002  # of a GPU, for a synthetic face: ASSUMED, no GPU was at hand
    faces: float = 1.0  # in a frame


@dataclass(frozen=True, slots=True)
class Result:
    actors: int
    files: int
    hours: float  # of footage
    wall_h: float
    busy: float  # share of the actors' time that is work
    driver_busy: float
    storage_busy: float
    gpus: int
    gpu_busy: float
    bottleneck: str
    times_real_time: float


@dataclass(order=True, slots=True)
class Order:
    urgency: tuple[int, int]
    number: int
    stage: str
    frames: int
    file: int


def simulate(
    actors: int, files: int, hours_a_file: float, times: Times, gpus: int = 0, spread: float = 0.0
) -> Result:
    """A job of `files` files of `hours_a_file`, shorter and longer by the part `spread` of it.
    `gpus`: that render synthetic faces for all; 0 = none."""
    usual = hours_a_file * 3600 * RATE
    lengths = [round(usual * (1 + spread * (2 * (n * GOLDEN % 1) - 1))) for n in range(files)]
    left = {n: -(-frames // SEGMENT_FRAMES) for n, frames in enumerate(lengths)}
    numbers = itertools.count()
    ready: list[Order] = []
    fresh = deque(range(files))
    at_work = 0
    # (time, number, order): an actor that ends its order then
    events: list[tuple[float, int, Order]] = []
    now = driver_free = storage_free = gpu_free = work_s = driver_s = storage_s = gpu_s = 0.0
    idle = actors

    def offer(stage: str, count: int, file: int, place: int) -> None:
        heapq.heappush(ready, Order((file, place), next(numbers), stage, count, file))

    def admit() -> None:
        nonlocal at_work
        while fresh and at_work < actors + 1:
            at_work += 1
            file = fresh.popleft()
            offer("scout", lengths[file], file, -1)

    def begin(order: Order) -> None:
        """An order on an idle actor: the driver sends it, the storage moves its bytes, the actor works."""
        nonlocal driver_free, storage_free, gpu_free, work_s, driver_s, storage_s, gpu_s
        spent_s = order.frames * getattr(times, f"{order.stage}_s")
        moved_s = order.frames * times.frame_bytes * MOVES[order.stage] / times.storage_bytes_s
        messages = 2 + spent_s / EVERY_S
        sent_s = messages * times.message_s + (times.journal_s if order.stage != "scout" else 0.0)
        driver_free = max(driver_free, now) + sent_s
        storage_free = max(storage_free, now) + moved_s
        drawn_s = order.frames * times.faces * times.face_s / gpus if gpus and order.stage == "cover" else 0.0
        gpu_free = max(gpu_free, now) + drawn_s
        work_s, driver_s, storage_s = work_s + spent_s, driver_s + sent_s, storage_s + moved_s
        gpu_s += drawn_s
        # messages are spread over the order: a driver or a storage that is behind holds it up
        end = max(now + spent_s, driver_free, storage_free, gpu_free if drawn_s else 0.0)
        heapq.heappush(events, (end, next(numbers), order))

    admit()
    while ready or events:
        while ready and idle:
            idle -= 1
            begin(heapq.heappop(ready))
        now, _, order = heapq.heappop(events)
        idle += 1
        frames = lengths[order.file]
        match order.stage:
            case "scout":
                for place in range(left[order.file]):
                    offer("cover", min(SEGMENT_FRAMES, frames - place * SEGMENT_FRAMES), order.file, place)
            case "cover":
                left[order.file] -= 1
                if not left[order.file]:
                    offer("join", frames, order.file, -1)
            case "join":
                offer("verify", frames, order.file, -1)
            case "verify":
                at_work -= 1
                admit()
    shares = {"driver": driver_s / now, "storage": storage_s / now, "GPUs": gpu_s / now}
    busy = work_s / (now * actors)
    worst = max(shares, key=shares.__getitem__)
    if busy >= 0.9:
        bottleneck = "none: actors are busy"
    else:
        bottleneck = worst if shares[worst] > 0.6 else "the last files"
    hours = sum(lengths) / RATE / 3600
    return Result(
        actors,
        files,
        hours,
        now / 3600,
        busy,
        shares["driver"],
        shares["storage"],
        gpus,
        shares["GPUs"],
        bottleneck,
        hours * 3600 / now,
    )


MOVES = {"scout": 1, "cover": 2, "join": 3, "verify": 1}  # times that a frame's bytes are read or written


def sweep(times: Times, counts: Sequence[int]) -> Iterator[Result]:
    """The same work for each actor, so that efficiency can be compared: twenty files of an hour each."""
    for actors in counts:
        yield simulate(actors, 20 * actors, 1.0, times)


def feeding(times: Times) -> int:
    """Actors that keep a GPU busy for seven tenths of its time: then it hardly holds anybody up."""
    work_s = times.scout_s + times.cover_s + times.join_s + times.verify_s
    return max(1, int(0.7 * work_s / (times.faces * times.face_s)))


def with_gpus(times: Times) -> Iterator[tuple[int, Result]]:
    """(jobs side by side, one of them), for 1, 10 and 100 GPUs: with as many actors as keep them busy, with
    twice as many, and shared out to ten jobs, each with a driver and ten gigabits of storage of its own."""
    each = feeding(times)
    for gpus, actors, jobs in (
        (1, each, 1), (1, 2 * each, 1), (10, 10 * each, 1), (100, 100 * each, 1), (100, 100 * each, 10),
    ):  # fmt: skip
        yield jobs, simulate(actors // jobs, 20 * actors // jobs, 0.25, times, gpus // jobs, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=Path, help="what benchmarks.archive wrote")
    parser.add_argument("--actors", type=int, nargs="*", default=ACTORS)
    outcome.add_out(parser, "cluster")
    options = parser.parse_args()
    measured = json.loads(options.times.read_text())["times"] if options.times else {}
    times = Times(**measured)
    print(f"stage times {'measured' if measured else 'ASSUMED (give --times)'}: {times}")
    rows = []
    for result in sweep(times, options.actors):
        rows.append(asdict(result))
        print(
            f"{result.actors:5d} actors {result.times_real_time:9.1f} x real time  busy {result.busy:.1%}  "
            f"driver {result.driver_busy:.1%}  storage {result.storage_busy:.1%}  {result.bottleneck}",
            flush=True,
        )
    gpu_rows = []
    for jobs, result in with_gpus(times):
        gpu_rows.append({"jobs": jobs} | asdict(result))
        print(
            f"{jobs} x {result.gpus} GPUs, {result.actors} actors: {jobs * result.times_real_time:.1f} "
            f"x real time  busy {result.busy:.1%}  GPUs {result.gpu_busy:.1%}  {result.bottleneck}",
            flush=True,
        )
    found = {"times": asdict(times), "measured": bool(measured), "rows": rows, "gpu_rows": gpu_rows}
    outcome.leave(found, options.out)


if __name__ == "__main__":
    main()
