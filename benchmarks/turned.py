"""How many faces stay visible where people lie, or the camera hangs on its side or upside down?

    python -m benchmarks.turned [CLIP...] [--out FILE.json]

Clips are turned by quarters, without a word about it in the file, and given to veilcast and to the peer
(deface at its defaults); what they wrote is turned back and judged as in recall.py, by the faces that
detectors see in the clip as it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import av
from benchmarks import outcome, peer
from benchmarks.clips import clips_at_hand, named
from benchmarks.recall import LENIENT, SCORES, Tally, boxes, faces, frames_in, persisting, pool, shares, total
from benchmarks.recall import tally as judged

from veilcast.pipeline.api import Extras, anonymize_file
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.looks import turned
from veilcast.pipeline.pixels import to_rgb
from veilcast.types import Rgb

CLIPS = (
    "cctv_station_640x360.mp4",
    "street_crowd_640x360.mp4",
    "group7_stock_640x360.mp4",
    "stage_multi_hamilton_640x360.mp4",
    "street_group_1080p.mp4",
)
TURNS = {
    0: "upright",
    1: "a quarter clockwise",
    2: "upside down",
    3: "a quarter counter-clockwise",
}
SUBJECTS = ("veilcast", "deface")
# counts and shares of recall.Tally: faces that two detectors see, and all
KINDS = (("agreed_16", "exposed_agreed_16_percent"), ("all_12", "exposed_all_12_percent"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(CLIPS)} of ../shared")
    outcome.add_out(parser, "turned")
    parser.add_argument("--pool", type=Path, default=Path.home() / ".cache/veilcast/pool")
    parser.add_argument("--outputs", type=Path, default=Path.home() / ".cache/veilcast/turned-outputs")
    parser.add_argument("--frames", type=int, default=100, help="the first N of each clip")
    options = parser.parse_args()
    for folder in (options.pool, options.outputs):
        folder.mkdir(parents=True, exist_ok=True)
    clips = options.clips or clips_at_hand(CLIPS)
    found: dict[tuple[int, str], list[Tally]] = {(n, name): [] for n in TURNS for name in SUBJECTS}
    for clip in clips:
        raw = pool(clip, options.pool, options.frames)
        seen = persisting([faces(raw, n, SCORES) for n in range(frames_in(raw))])
        near = [boxes(raw, n, LENIENT) for n in range(frames_in(raw))]
        for turns, name in found:
            output = made(clip, turns, name, options.outputs, options.frames)
            found[turns, name].append(judged(clip, output, seen, near))
            print(clip.name, TURNS[turns], name, shares(found[turns, name][-1]), flush=True)
    rows = [
        {"turned": TURNS[turns], "subject": name, **asdict(whole := total(tallies)), **shares(whole)}
        for (turns, name), tallies in found.items()
    ]
    outcome.leave(
        {"clips": [clip.name for clip in clips], "frames": options.frames, "rows": rows}, options.out
    )


def made(clip: Path, turns: int, subject: str, folder: Path, frames: int) -> Path:
    """The beginning of a clip, turned, covered by a subject, and turned back."""
    source = folder / f"{clip.stem}-{turns}.mkv"
    written(shown(clip, turns, frames), source)
    covered = folder / f"{clip.stem}-{turns}-{subject}.mkv"
    if subject == "veilcast":
        anonymize_file(source, covered, extras=Extras(overwrite=True))
    elif not covered.exists():
        peer.run(source, covered)
    back = folder / f"{clip.stem}-{turns}-{subject}-back.mkv"
    written(shown(covered, -turns, frames), back)
    return back


def shown(clip: Path, turns: int, frames: int) -> Iterator[Rgb]:
    """The first frames as they are displayed, turned clockwise by quarters."""
    with Decoder(clip) as decoder:
        for frame in islice(decoder.frames(), frames):
            yield to_rgb(turned(frame, turns))


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


def table(result: dict[str, Any]) -> str:
    """Markdown: a row for each way in which clips are turned."""
    rows = {(row["turned"], row["subject"]): row for row in result["rows"]}
    lines = [
        (turn, *(_cell(rows[turn, name], *kind) for kind in KINDS for name in SUBJECTS))
        for turn in TURNS.values()
    ]
    sizes = ("where two detectors agree (16 px and more)", "of all (12 px and more)")
    head = ("the picture", *(f"{name}, {size}" for size in sizes for name in SUBJECTS))
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *lines))
    return f"The first {result['frames']} frames of {', '.join(result['clips'])}; faces exposed:\n\n{text}"


def _cell(row: dict[str, Any], count: str, share: str) -> str:
    return f"{row[f'{count}_exposed']:,} of {row[count]:,} ({row[share]:.2f} %)"


if __name__ == "__main__":
    main()
