"""What each method leaves of a face, and what of the picture: ours beside deface's, on the same clips.

    python -m benchmarks.peers [CLIP...] [--out FILE.json] [--table FILE.md]
    python -m benchmarks.peers CLIP --add 'mine=my-program {in} --output {out}'
    python -m benchmarks.report       # the table into the README

Every method writes every clip, `veilcast evaluate` measures every output against its clip with the same
networks, and the table has one row for each method over all clips. deface 1.5.0 runs at its defaults in
an environment of its own, but for a setting of its writer that keeps the frames' size. A method whose
output has other frames or another size than its clip cannot be compared, and the table says so. A run
that was stopped goes on where it was: what --out has of the same clips is kept, unless --again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import outcome, peer
from benchmarks.clips import clips_at_hand, named
from benchmarks.speed import processor

from veilcast.pipeline.generator_model import MANIFEST
from veilcast.pipeline.studio import built_in

CLIPS = ("group7_stock_640x360.mp4", "talk_WDA_a_512.mp4", "stage_multi_hamilton_640x360.mp4")
OURS = ("solid", "mosaic", "blur", *(("synthetic",) if (built_in() / MANIFEST).exists() else ()))
THEIRS = ("solid", "mosaic", "blur")
# its default, and frames keep their size: otherwise the writer scales them to multiples of 16
FFMPEG = '{"codec": "libx264", "macro_block_size": 1}'
SEEN = 0.5  # share of faces still found from which their pose means anything
Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(CLIPS)} of ../shared")
    outcome.add_out(parser, "peers")
    parser.add_argument("--table", type=Path, help="Markdown for the README")
    parser.add_argument(
        "--add", action="append", default=[], metavar="NAME=COMMAND", help="with {in} and {out}"
    )
    parser.add_argument("--ours", default=",".join(OURS), help="methods of veilcast, by comma")
    parser.add_argument("--theirs", default=",".join(THEIRS), help="methods of deface, by comma")
    parser.add_argument("--every", type=int, default=6, help="as of veilcast evaluate")
    parser.add_argument("--again", action="store_true", help="also measure what --out has already")
    options = parser.parse_args()
    clips = options.clips or clips_at_hand(CLIPS)
    facts = {"processor": processor(), "clips": [c.name for c in clips], "every": options.every}
    results = {} if options.again else known(options.out, facts)
    with tempfile.TemporaryDirectory(prefix="veilcast-peers-") as scratch:
        for name, command in methods(options.ours, options.theirs, options.add).items():
            if name in results:
                continue
            print(name, file=sys.stderr, flush=True)
            results[name] = measured(clips, command, Path(scratch) / name.replace(" ", "-"), options.every)
            outcome.leave({**facts, "methods": results}, options.out)
    text = table(results)
    if options.table:
        options.table.write_text(text)
    print(text)


def known(path: Path, facts: Mapping[str, Any]) -> dict[str, Result]:
    """What a run before has measured of the same clips in the same way; failures are tried again."""
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if any(before.get(key) != value for key, value in facts.items()):
        return {}
    return {name: result for name, result in before["methods"].items() if "error" not in result}


def methods(ours: str, theirs: str, added: Sequence[str]) -> dict[str, list[str]]:
    """Command lines by method, with {in} and {out} where the files go."""
    found = {}
    for way in filter(None, ours.split(",")):
        found[f"veilcast {way}"] = [program(), "run", "{in}", "-o", "{out}", "--replacewith", way, "--quiet"]
    for way in filter(None, theirs.split(",")):
        command = [str(peer.environment()), "{in}", "-o", "{out}", "--replacewith", way]
        found[f"deface {way}"] = [*command, "--ffmpeg-config", FFMPEG]
    for pair in added:
        name, _, line = pair.partition("=")
        found[name] = shlex.split(line)
    return found


def program() -> str:
    """The veilcast of this environment."""
    return shutil.which("veilcast", path=str(Path(sys.executable).parent)) or "veilcast"


def measured(clips: Sequence[Path], command: Sequence[str], folder: Path, every: int) -> Result:
    """The evaluation of all clips together, or {"error": why not}."""
    folder.mkdir(parents=True)
    rows = ["original,output"]
    for clip in clips:
        target = folder / f"{clip.stem}.mp4"
        filled = [part.replace("{in}", str(clip)).replace("{out}", str(target)) for part in command]
        done = subprocess.run(filled, capture_output=True, text=True)
        if done.returncode or not target.exists():
            return {"error": f"{clip.name}: {last_line(done.stderr)}"}
        rows.append(f"{clip.resolve()},{target}")
    listing, result = folder / "pairs.csv", folder / "result.json"
    listing.write_text("\n".join(rows) + "\n")
    evaluate = [program(), "evaluate", "--pairs", listing, "--json", result, "--every", str(every), "--quiet"]
    done = subprocess.run(list(map(str, evaluate)), capture_output=True, text=True)
    if done.returncode:
        return {"error": last_line(done.stderr)}
    return kept(json.loads(result.read_text()))


def kept(result: Result) -> Result:
    """The figures without the curves, which are long."""
    rows = [{k: v for k, v in row.items() if k != "det_curve_far_frr"} for row in result["reidentification"]]
    return {**result, "reidentification": rows}


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "failed without a word"


HEAD = (
    "method",
    "face-frames exposed",
    "longest run",
    "TAR (at most), two recognisers",
    "still seen as a face",
    "pose error",
    "false cover",
    "change elsewhere",
)


def table(results: dict[str, Result]) -> str:
    """Markdown, one row for each method."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for name, result in results.items():
        cells = [result["error"]] + [""] * (len(HEAD) - 2) if "error" in result else figures(result)
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines) + "\n"


def figures(result: Result) -> list[str]:
    """The cells of one method."""
    coverage, utility = result["coverage"], result["utility"]
    rates = (f"{r['tar']:.3f} ({r['tar_upper']:.3f})" for r in result["reidentification"])
    pose, seen = (utility[key]["mean"] for key in ("pose_error_degrees", "detected_share"))
    return [
        f"{coverage['exposed']:,} of {coverage['faces']:,}",
        f"{coverage['longest_run']} frames",
        ", ".join(rates),
        "–" if seen is None else f"{seen:.1%}",
        "–" if pose is None or not seen or seen < SEEN else f"{pose:.1f}°",
        f"{coverage['false_cover']:.2%}",
        f"{result['quality']['outside_difference_levels']:.2f} levels",
    ]


if __name__ == "__main__":
    main()
