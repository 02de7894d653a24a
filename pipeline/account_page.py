"""The accounts of a job as one page without anything from elsewhere. All pictures are of covered videos."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

STYLE = """
body{font:14px/1.4 sans-serif;margin:2em;max-width:80em}
table{border-collapse:collapse;margin:1em 0}
td,th{border-bottom:1px solid #ddd;padding:.3em .8em;text-align:left;vertical-align:top}
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td.name{word-break:break-all}
.failed,.quarantined{background:#fdd}.cancelled{background:#eee}.queued,.running{color:#666}
"""
HEADS = ("", "file", "state", "footage", "frames", "faces", "tracks", "size in", "size out", "work")


def as_html(totals: Json, lines: Sequence[Json], pictures: Mapping[str, str]) -> str:
    """totals: as `accounts.Totals`; lines: as `accounts.line`; pictures: base64 JPEG, by name."""
    heads = "".join(f"<th>{name}" for name in HEADS)
    rows = "".join(_file(line, pictures.get(line["name"])) for line in lines)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>veilcast: archive</title>"
        f"<style>{STYLE}</style><h1>Archive</h1><table>{_told(totals)}</table>{_failures(lines)}"
        f"<h2>Files</h2><table><tr>{heads}{rows}</table></html>"
    )


def _told(made: Json) -> str:
    states = ("done", "failed", "quarantined", "cancelled", "waiting")
    cost = made["cost_an_hour"]
    facts = {
        "Files": f"{made['files']}: " + ", ".join(f"{made[s]} {s}" for s in states if made[s]),
        "Footage in": duration(made["hours_in"] * 3600),
        "Footage out": duration(made["hours_out"] * 3600),
        "Size": f"{size(made['bytes_in'])} in, {size(made['bytes_out'])} out",
        "Frames": f"{made['frames']:,}, of which {made['covered_frames']:,} with a cover",
        "Faces": f"{made['faces']:,} in frames, {made['tracks']:,} tracks",
        "Time taken": duration(made["wall_s"]),
        "Throughput": f"{made['frames_a_second']:.4g} frames/s, {made['times_real_time']:.3g} x real time",
    }
    if made["cost"] is not None:
        facts["Cost"] = f"{made['cost']:.4g}" + ("" if cost is None else f", {cost:.4g} an hour of footage")
    return "".join(f"<tr><th>{name}<td>{html.escape(text)}" for name, text in facts.items())


def _failures(lines: Iterable[Json]) -> str:
    """Why files are not there, the most frequent first."""
    kinds = Counter(
        (line["state"], line["kind"]) for line in lines if line["state"] in ("failed", "quarantined")
    )
    if not kinds:
        return ""
    rows = "".join(
        f"<tr class={state}><td>{html.escape(kind)}<td>{state}<td class=n>{count}"
        for (state, kind), count in kinds.most_common()
    )
    return f"<h2>Not done</h2><table><tr><th>why<th>state<th>files{rows}</table>"


def _file(line: Json, picture: str | None) -> str:
    image = f'<img alt="" width=160 src="data:image/jpeg;base64,{html.escape(picture)}">' if picture else ""
    why = f"<br>{html.escape(line['reason'])}" if line["reason"] else ""
    tries = f" after {line['attempts']} runs" if (line["attempts"] or 0) > 1 else ""
    cells = [f"{line[name]:,}" if line[name] != "" else "" for name in ("frames", "faces", "tracks")]
    cells += [size(line[name]) if line[name] != "" else "" for name in ("bytes_in", "bytes_out")]
    cells.append(duration(line["work_s"]) if line["work_s"] else "")
    footage = duration(line["hours_in"] * 3600) if line["hours_in"] else ""
    return (
        f'<tr class="{html.escape(line["state"])}"><td>{image}<td class=name>{html.escape(line["name"])}{why}'
        f"<td>{line['state']}{tries}" + "".join(f"<td class=n>{cell}" for cell in [footage, *cells])
    )


def duration(seconds: float) -> str:
    """1:02:03 or 4.5 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours:,}:{rest // 60:02d}:{rest % 60:02d}"


def size(count: float) -> str:
    """Bytes, with a decimal unit."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000 and (larger := next(units, None)) is not None:
        count, unit = count / 1000, larger
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"
