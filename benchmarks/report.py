"""The tables of README and docs from the JSON that the benchmarks wrote: one command, nothing typed by hand.

    python -m benchmarks.report [--results benchmarks/results] [--check] [FILE.md...]

A table stands in a document between `<!-- table NAME -->` and `<!-- /table -->`; it is made from
NAME.json. A table whose JSON is missing stays as it is, and is told. --check changes nothing and fails
where the README is not what the JSON says.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import dataset, moving, peers, recall_table, synthetic, turned
from benchmarks.outcome import RESULTS

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- table (\w+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("files", nargs="*", type=Path, help="otherwise README.md and docs/*.md")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where it is out of step")
    options = parser.parse_args()
    for path in options.files or documents():
        text = path.read_text()
        new, missing = filled(text, options.results)
        for name in missing:
            print(f"{path.name}: nothing measured for the table {name}: it stays as it is", file=sys.stderr)
        if options.check and new != text:
            sys.exit(f"{path} is not what {options.results} says: run python -m benchmarks.report")
        if not options.check:
            path.write_text(new)


def documents() -> list[Path]:
    """README and the documents that hold tables."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [path for path in found if MARKED.search(path.read_text())]


def filled(text: str, results: Path) -> tuple[str, list[str]]:
    """The text with its tables made anew, and the names of those whose JSON is missing."""
    missing: list[str] = []

    def made(found: re.Match[str]) -> str:
        name, path = found[2], results / f"{SOURCES.get(found[2], found[2])}.json"
        if name not in TABLES:
            sys.exit(f"no table is called {name}; there are {', '.join(TABLES)}")
        if not path.exists():
            missing.append(name)
            return found[0]
        return f"{found[1]}{TABLES[name](json.loads(path.read_text()))}\n{found[4]}"

    return MARKED.sub(made, text), missing


def speed_table(result: Json) -> str:
    head = ("clip", "size", "frames", "veilcast, frames/s", "deface, frames/s", "times")
    rows = [
        (
            row["clip"],
            row["size"],
            str(row["frames"]),
            f"{row['veilcast']['frames_per_s']:.1f}",
            f"{row['deface']['frames_per_s']:.1f}" if row["deface"] else "",
            f"{row['ratio']:.1f}" if row["ratio"] else "",
        )
        for row in result["rows"]
    ]
    return f"{result['machine']['processor']}:\n\n{markdown(head, rows)}"


def peers_table(result: Json) -> str:
    return f"Clips: {', '.join(result['clips'])}.\n\n{peers.table(result['methods']).rstrip()}"


def synthetic_table(result: Json) -> str:
    people = f"{result['faces']} held-out people, a picture each"
    head = f"{result['processor']}; {people}; means over {result['keys']} keys."
    return f"{head}\n\n{synthetic.table(result)}"


def engines_table(result: Json) -> str:
    """Every network on every engine."""
    rows = [
        (
            row["network"],
            str(row["batch"]),
            row["engine"],
            f"{row['ms']:.2f}",
            f"{row['gflop']:.2f}",
            "–" if row["roofline_ms"] is None else f"{row['roofline_ms'] / row['ms']:.0%}",
            f"{reference / row['ms']:.1f}",
        )
        for row in result["rows"]
        if (reference := _reference(result, row))
    ]
    head = ("network", "batch", "engine", "ms", "GFLOP", "of roofline", "times float32")
    return f"{result['text']}\n\n{markdown(head, rows)}"


def _reference(result: Json, row: Json) -> float:
    """torch float32's time for the same network and batch, else that of the slowest engine in float32."""
    same = [r for r in result["rows"] if (r["network"], r["batch"]) == (row["network"], row["batch"])]
    reference: float = next(
        (r["ms"] for r in same if r["engine"] == "torch f32 on cpu"), max(r["ms"] for r in same)
    )
    return reference


def engines_short_table(result: Json) -> str:
    """The generator at the largest batch, on the engines that a person chooses between."""
    engines = {
        "torch float32": ("torch f32 on cpu",),
        "torch bfloat16": ("torch bf16 on cpu",),
        "ONNX Runtime float32": ("onnxruntime f32",),
        "OpenVINO float32": ("openvino f32 without snippets",),
        "OpenVINO bfloat16": ("openvino bf16",),
        "OpenVINO int8": ("openvino bf16 int8", "openvino f32 without snippets int8"),
    }
    batch = max(row["batch"] for row in result["rows"])
    times = {(r["network"], r["engine"]): r["ms"] for r in result["rows"] if r["batch"] == batch}
    networks = dict.fromkeys(network for network, _ in times)
    measured = {
        label: {n: times[n, engine] for n in networks for engine in names if (n, engine) in times}
        for label, names in engines.items()
    }
    columns = {label: found for label, found in measured.items() if found}
    rows = [
        (name, *(f"{found[name]:.1f}" if name in found else "–" for found in columns.values()))
        for name in networks
    ]
    head = ("network", *columns)
    return f"{result['text']} Milliseconds for {batch} faces:\n\n{markdown(head, rows)}"


def engines_account_table(result: Json) -> str:
    """Shares of the time by kind of layer."""
    kinds = dict.fromkeys(kind for spent in result["accounts"].values() for kind in spent)
    rows = [
        (name, *(f"{spent.get(kind, 0):.0%}" for kind in kinds)) for name, spent in result["accounts"].items()
    ]
    opened = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in result["opened_s"].items())
    return (
        f"{markdown(('network', *kinds), rows)}\n\nOpened from the cache, {result['clock']} time: {opened}."
    )


def quantised_table(result: Json) -> str:
    rows = [
        (
            row["unet"],
            row["decoder"],
            f"{row['psnr_db']:.1f} ({row['psnr_least_db']:.1f})",
            f"{row['identity']:.3f} ({row['identity_least']:.3f})",
        )
        for row in result["rows"]
    ]
    calibrated, judged = (
        f"{jobs} of {clip}" for clip, jobs in zip(result["clips"], result["jobs"], strict=True)
    )
    head = ("denoiser", "decoder", "PSNR (least), dB", "identity (least)")
    about = f"Faces of {judged}; int8 by the model's own scales, fp8 calibrated on {calibrated}."
    return f"{about}\n\n{markdown(head, rows)}"


def pictures_table(result: Json) -> str:
    rows = [
        (
            row["cover"],
            f"{row['pictures']:,}",
            f"{row['faces']:,}",
            f"{row['wall_s']:.0f}",
            f"{row['pictures_per_s']:.1f}",
        )
        for row in result["rows"]
    ]
    head = ("cover", "pictures of 1 megapixel", "faces", "seconds", "pictures a second")
    return f"{result['processor']}:\n\n{markdown(head, rows)}"


def face_stages_table(result: Json) -> str:
    """Milliseconds a face; a column for each run."""
    rows = result["rows"]
    runs = [f"{row['clip']}, {row['generated_share']:.0%} anew" for row in rows]
    lines = [(name, *(f"{row['stages_ms'][name]:.1f}" for row in rows)) for name in rows[0]["stages_ms"]]
    lines.append(("together", *(f"{row['together_ms']:.1f}" for row in rows)))
    lines.append(("faces", *(str(row["faces"]) for row in rows)))
    return f"{result['processor']}, milliseconds a face:\n\n{markdown(('stage', *runs), lines)}"


def carrying_table(result: Json) -> str:
    """A row for each clip and width of the limits; errors of faces rendered anew, then of those carried."""
    names = {"mouth_opening": "mouth open", "mouth_width": "mouth wide", "lids": "eyelids"}

    def pair(row: Json, name: str) -> str:
        return " / ".join(
            "–" if row[kind] is None else f"{row[kind][name]:.2f}" for kind in ("anew", "carried")
        )

    rows = [
        (
            row["clip"],
            f"{row['limits']:g}",
            str(row["faces"]),
            f"{row['generated_share']:.0%}",
            *(pair(row, name) for name in names),
        )
        for row in result["rows"]
    ]
    head = ("clip", "limits", "faces", "anew", *(f"{name}: anew / carried" for name in names.values()))
    return markdown(head, rows)


def between_table(result: Json) -> str:
    """How often a mesh is looked for, and how far those are off that are not."""
    head = ("clip", "faces", "looked at", "mouth open", "mouth wide", "eyelids")
    names = ("mouth_opening", "mouth_width", "lids")
    rows = [
        (r["clip"], r["faces"], f"{r['looked_at_share']:.0%}", *(f"{r['off'][name]:.2f}" for name in names))
        for r in result["rows"]
    ]
    return markdown(head, rows)


def ablations_table(result: Json) -> str:
    """A part for each phase; a row for what was left out of it."""
    parts = []
    for phase, found in result.items():
        names = list(next(iter(found["rows"].values())))
        begun = ", from a finished one" if found["goes_on"] else ""
        parts.append(f"{found['steps']} steps of {found['batch']} of `{phase}`{begun}:")
        rows = [(name, *(f"{figures[n]:.3f}" for n in names)) for name, figures in found["rows"].items()]
        parts.append(markdown((phase, *names), rows))
    return "\n\n".join(parts)


def archive_table(result: Json) -> str:
    """What an archive job costs over the work itself."""
    rows = [
        ("two files, each pinned to a core, over one at a time", "two_over_one", "two_over_one_by_cpu"),
        ("the same over `run` on both cores", "two_over_run", "two_over_run_by_cpu"),
        ("journal and reports, of the whole", "bookkeeping_share", "bookkeeping_share_by_cpu"),
        ("Ray over none, its start apart", "ray_overhead", "ray_overhead_by_cpu"),
    ]
    told = [
        (text, *(f"{result[name]:.2f}" if "over_" in name else f"{result[name]:.2%}" for name in names))
        for text, *names in rows
        if names[0] in result
    ]
    about = (
        f"{result['files']} copies of {result['clip']}, {result['frames']} frames in all, on "
        f"{result['machine']['cores']} cores of {result['machine']['processor']}; until the first frame was "
        f"looked at {result['start_s']:.1f} s, on Ray {result.get('ray_start_s', float('nan')):.1f} s."
    )
    return f"{about}\n\n{markdown(('', 'by wall time', 'by processor time'), told)}"


def cluster_table(result: Json) -> str:
    head = ("actors", "times real time", "actors busy", "driver busy", "storage busy", "waits for")
    rows = [
        (
            str(row["actors"]),
            f"{row['times_real_time']:.1f}",
            *(f"{row[name]:.0%}" for name in ("busy", "driver_busy", "storage_busy")),
            row["bottleneck"],
        )
        for row in result["rows"]
    ]
    return f"{_stage_times(result)}\n\n{markdown(head, rows)}"


def _stage_times(result: Json) -> str:
    times = result["times"]
    stages = ", ".join(
        f"{name} {times[f'{name}_s'] * 1000:.2f}" for name in ("scout", "cover", "join", "verify")
    )
    return f"Milliseconds a frame, {'measured' if result['measured'] else 'assumed'}: {stages}."


def cluster_gpus_table(result: Json) -> str:
    head = (
        "jobs",
        "GPUs",
        "actors",
        "times real time",
        "actors busy",
        "GPUs busy",
        "storage busy",
        "waits for",
    )
    rows = [
        (
            *(
                str(number)
                for number in (row["jobs"], row["jobs"] * row["gpus"], row["jobs"] * row["actors"])
            ),
            f"{row['jobs'] * row['times_real_time']:.1f}",
            *(f"{row[name]:.0%}" for name in ("busy", "gpu_busy", "storage_busy")),
            row["bottleneck"],
        )
        for row in result["gpu_rows"]
    ]
    return markdown(head, rows)


def cluster_real_table(result: Json) -> str:
    rows = [
        (
            *(str(row[name]) for name in ("actors", "files")),
            *(f"{row[name]:.1f}" for name in ("model_s", "ray_s")),
            f"{row['ray_s'] / row['model_s'] - 1:+.0%}",
        )
        for row in result["rows"]
    ]
    return markdown(("actors", "files", "model, s", "Ray, s", "Ray over the model"), rows)


def memory_table(result: Json) -> str:
    """What memory.py wrote: MiB of all processes together."""
    return markdown(("video", "peak, MiB"), [(name, f"{mib:,.0f}") for name, mib in result.items()])


TABLES: Mapping[str, Callable[[Json], str]] = {
    "speed": speed_table,
    "speed_synthetic": speed_table,
    "speed_synthetic_amx": speed_table,
    "speed_avx2": speed_table,
    "speed_synthetic_avx2": speed_table,
    "memory": memory_table,
    "recall": lambda result: recall_table.table(result, RESULTS / "recall_seen.csv"),
    "turned": turned.table,
    "moving": moving.table,
    "peers": peers_table,
    "synthetic": synthetic_table,
    "synthetic_fairness": synthetic.fairness,
    "engines": engines_table,
    "engines_short": engines_short_table,
    "engines_account": engines_account_table,
    "engines_amx": engines_short_table,
    "engines_avx2": engines_short_table,
    "quantised": quantised_table,
    "pictures": pictures_table,
    "dataset": dataset.table,
    "face_stages": face_stages_table,
    "face_stages_amx": face_stages_table,
    "carrying": carrying_table,
    "between": between_table,
    "ablations": ablations_table,
    "archive": archive_table,
    "cluster": cluster_table,
    "cluster_gpus": cluster_gpus_table,
    "cluster_real": cluster_real_table,
}


# tables that are another view of a benchmark's JSON
SOURCES = {
    "synthetic_fairness": "synthetic",
    "engines_short": "engines",
    "engines_account": "engines",
    "cluster_gpus": "cluster",
}


def markdown(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


if __name__ == "__main__":
    main()
