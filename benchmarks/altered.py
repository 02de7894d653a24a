"""What turned.py and moving.py share: clips that are altered in several ways, covered by veilcast and by the
peer (deface at its defaults), and judged as in recall.py, by the faces that detectors see in the clip as it
was."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
from benchmarks import outcome, peer
from benchmarks.clips import clips_at_hand, named
from benchmarks.recall import (
    LENIENT,
    SCORES,
    Pooled,
    Raw,
    Tally,
    boxes,
    faces,
    frames_in,
    persisting,
    pool,
    shares,
    total,
)

from veilcast.pipeline.api import Extras, anonymize_file
from veilcast.types import Box, Rgb

SUBJECTS = ("veilcast", "deface")
# counts and shares of recall.Tally: faces that two detectors see, and all
KINDS = (("agreed_16", "exposed_agreed_16_percent"), ("all_12", "exposed_all_12_percent"))


@dataclass(frozen=True, slots=True)
class Known:
    """What detectors see in a clip as it was, frame by frame: faces, and all that could be one."""

    seen: Sequence[Sequence[Pooled]]
    near: Sequence[Sequence[Box]]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to alter a clip. judge: takes the clip, the altered one, what a subject made of that, and what
    is known of the clip."""

    shown: Callable[[Path, int], Iterator[Rgb]]  # the first frames of a clip, altered
    judge: Callable[[Path, Path, Path, Known], Tally]


def measured(name: str, about: str, clips: Sequence[str], ways: Mapping[str, Way]) -> None:
    """The command: leaves a row for each way and subject as the result `name`."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(clips)} of ../shared")
    outcome.add_out(parser, name)
    parser.add_argument("--pool", type=Path, default=Path.home() / ".cache/veilcast/pool")
    parser.add_argument("--outputs", type=Path, default=Path.home() / f".cache/veilcast/{name}-outputs")
    parser.add_argument("--frames", type=int, default=100, help="the first N of each clip")
    options = parser.parse_args()
    for folder in (options.pool, options.outputs):
        folder.mkdir(parents=True, exist_ok=True)
    chosen = options.clips or clips_at_hand(clips)
    found: dict[tuple[str, str], list[Tally]] = {(way, who): [] for way in ways for who in SUBJECTS}
    for clip in chosen:
        known = known_of(pool(clip, options.pool, options.frames))
        for (way, who), tallies in found.items():
            source = options.outputs / f"{clip.stem}-{'-'.join(way.split())}.mkv"
            written(ways[way].shown(clip, options.frames), source)
            tallies.append(ways[way].judge(clip, source, covered(source, who), known))
            print(clip.name, way, who, shares(tallies[-1]), flush=True)
    rows = [
        {name: way, "subject": who, **asdict(whole := total(tallies)), **shares(whole)}
        for (way, who), tallies in found.items()
    ]
    told = {"clips": [clip.name for clip in chosen], "frames": options.frames, "rows": rows}
    outcome.leave(told, options.out)


def known_of(raw: Raw) -> Known:
    """raw: as recall.pool gives it."""
    frames = range(frames_in(raw))
    return Known(
        persisting([faces(raw, n, SCORES) for n in frames]), [boxes(raw, n, LENIENT) for n in frames]
    )


def covered(source: Path, who: str) -> Path:
    """What a subject makes of a clip."""
    target = source.with_name(f"{source.stem}-{who}.mkv")
    if who == "veilcast":
        anonymize_file(source, target, extras=Extras(overwrite=True))
    elif not target.exists():
        peer.run(source, target)
    return target


def written(pictures: Iterator[Rgb], target: Path) -> None:
    """Visually lossless H.264, 25 frames a second."""
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "12", "preset": "veryfast"})
        for rgb in pictures:
            if not stream.codec_context.is_open:
                stream.height, stream.width = rgb.shape[:2]
                stream.pix_fmt = "yuv420p"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        out.mux(stream.encode(None))


def table(result: dict[str, Any], name: str, head: str, ways: Sequence[str]) -> str:
    """Markdown: a row for each way. name: of the result; head: of the first column."""
    rows = {(row[name], row["subject"]): row for row in result["rows"]}
    lines = [(way, *(_cell(rows[way, who], *kind) for kind in KINDS for who in SUBJECTS)) for way in ways]
    sizes = ("where two detectors agree (16 px and more)", "of all (12 px and more)")
    titles = (head, *(f"{who}, {size}" for size in sizes for who in SUBJECTS))
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ("---",) * len(titles), *lines))
    return f"The first {result['frames']} frames of {', '.join(result['clips'])}; faces exposed:\n\n{text}"


def _cell(row: dict[str, Any], count: str, share: str) -> str:
    return f"{row[f'{count}_exposed']:,} of {row[count]:,} ({row[share]:.2f} %)"
