"""What the generator is worth, on people it was not trained on and on clips: one command, every figure.

    python -m benchmarks.synthetic FACES [--model DIR] [--people 250] [--keys 4] [CLIP...] [--out FILE.json]

FACES: a folder in the training format (docs/training.md); only held-out people are used. Everything goes
through the product: `veilcast run --replacewith synthetic` makes the output, `veilcast evaluate` judges it.
Another key draws other people, of whom some are easier to draw: figures are means over several keys, always
the same ones.

people      a folder of pictures for each of --people held-out people, one persona each; the gallery is the
            other pictures of every held-out person
obeyed      pairs of strangers of one gender who are given one and the same persona: how often two renderings
            of it are taken for one person, and, the control, how often the strangers themselves are
clips       each clip: identity, steadiness, seams, share of faces generated anew, frames a second
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import outcome
from benchmarks.clips import clips_at_hand, named
from benchmarks.peers import program
from benchmarks.speed import processor
from PIL import Image

from veilcast.training.faces import Entry, Shards, decode, read_index

CLIPS = ("talk_WDA_a_512.mp4", "talk_vr1_700.mp4", "group7_stock_640x360.mp4")
UTILITY = ("detected_share", "pose_error_degrees", "expression_agreement_share", "gaze_error_eye_widths")
ROOM = 1.6  # the crop is laid into a grey field so many times as large: detectors expect room around a face
Result = dict[str, Any]


@dataclass
class Bench:
    """One run of the product and its judge, on folders below `scratch`."""

    scratch: Path
    model: Path | None
    key: Path | None = None

    def anonymised(self, source: Path, target: Path, *options: str) -> float:
        """Seconds that `veilcast run` took; exit code 4 (some pictures failed) is told by the report."""
        command = [program(), "run", source, "-o", target, "--replacewith", "synthetic", "--quiet"]
        command += [*(["--model", self.model] if self.model else []), *options]
        command += ["--identity-key-file", self.key] if self.key else []
        start_s = time.perf_counter()
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode not in (0, 4):
            raise SystemExit(done.stderr.strip() or f"veilcast run ended with {done.returncode}")
        return time.perf_counter() - start_s

    def judged(self, *what: str | Path) -> Result:
        target = self.scratch / "judged.json"
        command = [program(), "evaluate", *what, "--json", target, "--quiet"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode not in (0, 60):
            raise SystemExit(done.stderr.strip())
        result: Result = json.loads(target.read_text())
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(CLIPS)} of ../shared")
    parser.add_argument("--model", type=Path, help="a generator's folder; otherwise the built-in one")
    parser.add_argument("--people", type=int, default=250)
    parser.add_argument("--pairs", type=int, default=60, help="pairs of strangers with one persona")
    outcome.add_out(parser, "synthetic")
    parser.add_argument("--keys", type=int, default=4, help="how many keys, each measured by itself")
    parser.add_argument("--keep", type=Path, help="keep the pictures in this folder, to look at")
    options = parser.parse_args()
    held = by_person(entry for entry in read_index(options.faces) if entry.held_out)
    shards = Shards(options.faces)
    each: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="veilcast-synthetic-") as folder:
        for number in range(1, options.keys + 1):
            scratch = (options.keep or Path(folder)) / f"key{number}"
            scratch.mkdir(parents=True, exist_ok=True)
            bench = Bench(scratch, options.model and options.model.absolute(), key_file(scratch, number))
            found: Result = {"people": people(bench, shards, held, options.people)}
            found["obeyed"] = obeyed(bench, shards, held, options.pairs)
            found["clips"] = {c.name: clip(bench, c) for c in options.clips or clips_at_hand(CLIPS)}
            each.append(found)
            print(json.dumps(spread([found])), flush=True)
    result = {"processor": processor(), "faces": options.people, "keys": options.keys}
    result |= averaged(each) | {"spread": spread(each)}
    outcome.leave(result, options.out)
    print(table(result))


def key_file(folder: Path, number: int) -> Path:
    path = folder / "key"
    path.write_text(hashlib.sha256(str(number).encode()).hexdigest())
    path.chmod(0o600)
    return path


def averaged(results: Sequence[Any]) -> Any:
    """The mean of every number in results of one form; what is not a number is the first one's. A counter
    that one of them lacks counts nothing there."""
    first = results[0]
    if isinstance(first, dict):
        names = {name: value for result in results for name, value in result.items()}
        none = {name: 0 if isinstance(value, int) else None for name, value in names.items()}
        return {name: averaged([result.get(name, none[name]) for result in results]) for name in names}
    if isinstance(first, list) and len({len(result) for result in results}) == 1:
        return [averaged(row) for row in zip(*results, strict=True)]
    numbers = [value for value in results if isinstance(value, int | float)]
    if not numbers or all(value == first for value in results):
        return next((value for value in results if value is not None), None)
    return statistics.fmean(numbers)


def spread(each: Sequence[Result]) -> Result:
    """What changes most from key to key, one value for each."""
    found: Result = {"told from real": [result["people"]["quality"]["detectable_share"] for result in each]}
    for place, known in enumerate(each[0]["obeyed"]["reidentification"]):
        found[known["recogniser"]] = [
            result["obeyed"]["reidentification"][place]["attacks"]["clips_of_one_scope_share"]
            for result in each
        ]
    return found


def by_person(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Those of whom there are two pictures or more."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.identity, []).append(entry)
    return {name: group for name, group in sorted(groups.items()) if len(group) > 1}


def write(shards: Shards, entry: Entry, path: Path) -> None:
    """The picture, with room around it."""
    picture = Image.fromarray(decode(shards.read(entry)))
    side = round(picture.width * ROOM)
    field_ = Image.new("RGB", (side, side), (128, 128, 128))
    field_.paste(picture, ((side - picture.width) // 2,) * 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    field_.save(path)


def people(bench: Bench, shards: Shards, held: dict[str, list[Entry]], count: int) -> Result:
    source, target, gallery = (bench.scratch / name for name in ("people", "people-new", "gallery"))
    for number, (name, group) in enumerate(held.items()):
        person = name.replace("/", "_")
        if number < count:
            write(shards, group[0], source / person / "0.png")
        for place, entry in enumerate(group[1:3]):
            write(shards, entry, gallery / person / f"{place}.png")
    took_s = bench.anonymised(source, target, "--identity-by", "folder")
    return {**bench.judged(source, target, "--gallery", gallery), "run_s": took_s}


def obeyed(bench: Bench, shards: Shards, held: dict[str, list[Entry]], pairs: int) -> Result:
    """Strangers i and j under one persona; `linked` counts their two new faces as one person's."""
    source, target = bench.scratch / "obeyed", bench.scratch / "obeyed-new"
    rows = []
    for number, (a, b) in enumerate(islice(strangers(held), pairs)):
        for place, entry in enumerate((a, b)):
            name = f"{number:04d}-{place}.png"
            write(shards, entry, source / name)
            rows.append((name, f"persona{number:04d}"))
    with (source / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "persona"), *rows])
    # the same candidate for both: what it looks like must not depend on whom it replaces
    anybody = ("--attributes", "age=any,skin=any")
    bench.anonymised(source, target, "--identity-by", "persona", *anybody)
    listing = bench.scratch / "obeyed.csv"
    with listing.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("original", "output", "person", "scope"),
                *((source / name, target / name, who, "one") for name, who in rows),
            ]
        )
    return bench.judged("--pairs", listing)


def strangers(held: dict[str, list[Entry]]) -> Iterable[tuple[Entry, Entry]]:
    """Two people of one gender, or of unknown genders, each person once."""
    waiting: dict[str, Entry] = {}
    for group in held.values():
        other = waiting.pop(group[0].gender, None)
        if other is None:
            waiting[group[0].gender] = group[0]
        else:
            yield other, group[0]


def clip(bench: Bench, source: Path) -> Result:
    target, report = bench.scratch / f"{source.stem}.mkv", bench.scratch / f"{source.stem}.json"
    took_s = bench.anonymised(source, target, "--report", str(report), "--overwrite")
    told = json.loads(report.read_text())
    frames = sum(told["ledger"]["counts"].values())
    return {
        **bench.judged(source, target),
        "run_s": took_s,
        "frames_per_s": frames / took_s,
        "counts": told["synthetic"]["counts"],
    }


def table(result: Result) -> str:
    """Markdown: one column for the people, one for each clip."""
    columns = {"held-out people": result["people"], **result["clips"]}
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, cells in [*rows_of(list(columns.values())), *personas(result)]:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def personas(result: Result) -> Iterable[tuple[str, list[str]]]:
    """How firmly a persona is steered: one persona on two strangers, and two personas."""
    empty = ["–"] * len(result["clips"])
    for known in result["obeyed"]["reidentification"]:
        shares = known["attacks"]
        linked, strangers = shares["clips_of_one_scope_share"], shares["strangers_share"]
        name = f"one persona known as one (two as one; by key), {known['recogniser']}"
        by_key = result["spread"][known["recogniser"]]
        yield (
            name,
            [f"{told(linked)} ({told(strangers)}; {told(min(by_key))} to {told(max(by_key))})", *empty],
        )


def fairness(result: Result) -> str:
    """Markdown: the held-out people by what is estimated of them."""
    groups = result["people"]["fairness"]
    who = [known["recogniser"] for known in result["people"]["reidentification"]]
    heads = ["", "faces", "face found", "pose error, degrees", "sharpness"]
    lines = ["| " + " | ".join([*heads, *(f"TAR, {name} (at most)" for name in who)]) + " |"]
    lines.append("|---|" + "---:|" * (len(heads) - 1 + len(who)))
    for kind, parts in groups.items():
        if not isinstance(parts, dict):  # how many could not be told
            continue
        for name, row in parts.items():
            cells = [f"{kind.removesuffix('_estimated').replace('_', ' ')}: {name}", str(row["faces"])]
            cells += [told(row[k]) for k in ("detected_share", "pose_error_degrees", "sharpness_ratio")]
            cells += [f"{told(row[f'tar_{name}'])} ({told(row[f'tar_upper_{name}'])})" for name in who]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rows_of(results: Sequence[Result]) -> Iterable[tuple[str, list[str]]]:
    for place, known in enumerate(results[0]["reidentification"]):
        who = known["recogniser"]
        rows = [result["reidentification"][place] for result in results]
        yield f"TAR, {who} (at most)", [f"{told(r['tar'])} ({told(r['tar_upper'])})" for r in rows]
        yield f"control, {who}", [told(r["control"]) for r in rows]
        yield f"rank 1 (clean), {who}", [f"{told(r['rank1'])} ({told(r['rank1_control'])})" for r in rows]
        yield f"negation, {who}", [told(r["attacks"]["negation_tar"]) for r in rows]
        yield f"TL-ID, {who}", [told(r["time"]["tl_id"].get(who)) for r in results]
    for key in (
        "detected_share",
        "pose_error_degrees",
        "expression_agreement_share",
        "gaze_error_eye_widths",
    ):
        pairs = [r["utility"][key] for r in results]
        yield f"{key} (source's noise)", [f"{told(p['mean'])} ({told(p['source_noise'])})" for p in pairs]
    for key in ("sharpness_ratio", "seam_ratio", "fd_mobilenet_v2", "detectable_share"):
        yield key, [told(r["quality"][key]) for r in results]
    yield "covered solid instead", ["–", *(told(solid_share(r["counts"])) for r in results[1:])]
    yield "frames a second, start included", ["–", *(f"{r['frames_per_s']:.1f}" for r in results[1:])]
    yield (
        "tLPIPS (source's step)",
        [f"{told(r['time']['tlpips'])} ({told(r['time']['source_lpips_step'])})" for r in results],
    )
    flashes = ("flash_levels", "flash_levels_p99", "source_light_step_levels")
    yield (
        "flash, levels: mean / one in a hundred (source's step)",
        ["{} / {} ({})".format(*(told(r["time"].get(key)) for key in flashes)) for r in results],
    )


def solid_share(counts: Result) -> float:
    """Of the faces that a persona was meant for."""
    solid = sum(number for name, number in counts.items() if name.startswith("faces covered solid"))
    made = sum(
        number for name, number in counts.items() if name.startswith(("faces generated", "faces carried"))
    )
    return float(solid / max(solid + made, 1))


def told(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
