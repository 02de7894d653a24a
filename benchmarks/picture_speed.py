"""Pictures a second: a set of one-megapixel pictures with faces, covered whole-process.

    python -m benchmarks.picture_speed [--of groups|one] [--replacewith synthetic] [--out FILE.json]

The pictures are frames of the evaluation clips, of groups or of one person, scaled to about one megapixel and
stored as JPEG. A file that is there keeps its other rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
from benchmarks import outcome
from benchmarks.clips import clips_at_hand
from benchmarks.peers import program
from benchmarks.speed import processor
from PIL import Image

from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.pixels import to_rgb

CLIPS = {
    "groups": ("street_group_1080p.mp4", "group7_stock_640x360.mp4", "stock_s18_720p.mp4"),
    "one": ("talk_ls1_1080x1920.mp4", "dfdc_aajsqyyjni_1080p.mp4"),
}
MEGAPIXEL = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--of", choices=CLIPS, default="groups", help="who is in the pictures")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--replacewith", default="solid")
    outcome.add_out(parser, "pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="veilcast-pictures-") as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        made = fill(source, clips_at_hand(CLIPS[options.of]), options.pictures)
        start_s = time.perf_counter()
        command = [program(), "run", source, "-o", target, "--replacewith", options.replacewith, "--quiet"]
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
        wall_s = time.perf_counter() - start_s
    faces = int(done.stderr.split(" faces")[0].split()[-1])
    old = json.loads(options.out.read_text()) if options.out.exists() else None
    outcome.leave(result(options.replacewith, options.of, made, faces, wall_s, old), options.out)
    print(f"{made} pictures of 1 megapixel in {wall_s:.0f} s: {made / wall_s:.1f} a second")


def result(
    cover: str, who: str, pictures: int, faces: int, wall_s: float, old: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What report.py makes its table of, with the other rows of `old` where that is of the same machine."""
    row = {"cover": cover, "of": who, "pictures": pictures, "faces": faces}
    row |= {"wall_s": wall_s, "pictures_per_s": pictures / wall_s}
    kept = old["rows"] if old and old["processor"] == processor() else []
    others = [r for r in kept if (r["cover"], r["of"]) != (cover, who)]
    return {"processor": processor(), "rows": sorted([*others, row], key=lambda r: (r["cover"], r["of"]))}


def fill(folder: Path, clips: list[Path], count: int) -> int:
    """Writes `count` pictures, over and over the clips' frames where these are fewer; returns how many."""
    folder.mkdir()
    made = 0
    while made < count:
        for clip in clips:
            with Decoder(clip) as decoder:
                for frame in decoder.frames():
                    width, height = frame.displayed_size
                    scale = (MEGAPIXEL / (width * height)) ** 0.5
                    rgb = cv2.resize(to_rgb(frame), (round(width * scale), round(height * scale)))
                    Image.fromarray(rgb).save(folder / f"{made:06d}.jpg", quality=90)
                    made += 1
                    if made >= count:
                        return made
    return made


if __name__ == "__main__":
    main()
