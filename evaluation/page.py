"""One self-contained page: tables, curves and pictures, for a phone, a screen and a printer."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from veilcast.evaluation.coverage import EXPOSED_ABOVE
from veilcast.evaluation.page_text import EXPLAINED, STYLE
from veilcast.evaluation.samples import Case
from veilcast.evaluation.svg import Axis, Curve, chart

UNITS = ("eye distances", "eye widths", "degrees", "years", "levels", "share", "ratio", "cosine", "tar")


def page(
    result: Mapping[str, Any],
    title: str,
    cases: Mapping[str, Sequence[Case]],
    exposure: Mapping[str, Curve],
    facts: Mapping[str, str],
) -> str:
    """The page's HTML. `exposure`: worst correlation over time_s of up to four clips."""
    sections = [
        _heads(result),
        _section("Coverage", "coverage", _pairs(result["coverage"]) + _exposure(exposure)),
        _section("Re-identification", "reidentification", _recognisers(result["reidentification"])),
        _section("Utility", "utility", _measures(result["utility"])),
        _section("Realness and quality", "quality", _pairs(result["quality"])),
        _section("Time", "time", _pairs(_flat(result["time"]))),
        _section("Fairness", "fairness", _groups(result["fairness"])),
        _pictures(cases),
        "<section><h2>How this was made</h2>" + _pairs(facts) + "</section>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        '<p class="note">This page shows faces of the original. Keep it where the original is kept.</p>'
        f"{''.join(sections)}</body></html>"
    )


def shown(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return escape(str(value))
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.3e}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.2f} %"


def _rate(row: Mapping[str, Any]) -> str:
    return f"{_share(row['tar'])} ({_share(row['tar_upper'])})"


def named(key: str) -> str:
    """A key of the result as words: "pose_error_degrees" -> "pose error, degrees"."""
    words = key.replace("_", " ")
    for unit in (
        "eye distances",
        "eye widths",
        "degrees",
        "years",
        "levels",
        "share",
        "ratio",
        "cosine",
        "tar",
    ):
        if words.endswith(" " + unit):
            return f"{words[: -len(unit) - 1]}, {unit}"
    return words


def _section(title: str, key: str, body: str) -> str:
    return f'<section><h2>{title}</h2><p class="note">{escape(EXPLAINED[key])}</p>{body}</section>'


def _heads(result: Mapping[str, Any]) -> str:
    coverage, rows = result["coverage"], result["reidentification"]
    boxes = [
        ("faces covered", _share(coverage["covered_share"])),
        ("face-frames exposed", f"{coverage['exposed']} of {coverage['faces']}"),
        ("longest exposed run, frames", str(coverage["longest_run"])),
        *((f"TAR, {r['recogniser']}; at most {_share(r['tar_upper'])}", _share(r["tar"])) for r in rows),
        ("still seen as a face", _share(result["utility"]["detected_share"]["mean"])),
    ]
    return (
        f'<div class="heads">{"".join(f"<div><b>{escape(v)}</b>{escape(k)}</div>" for k, v in boxes)}</div>'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cell(tag: str, i: int, text: str) -> str:
        return f"<{tag}{' class=n' if i else ''}>{text}</{tag}>"

    top = "".join(cell("th", i, escape(h)) for i, h in enumerate(head))
    body = "".join(f"<tr>{''.join(cell('td', i, c) for i, c in enumerate(row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _pairs(values: Mapping[str, object]) -> str:
    return _table(("", "value"), [(escape(named(k)), shown(v)) for k, v in values.items()])


def _flat(values: Mapping[str, Any]) -> dict[str, object]:
    out: dict[str, object] = {}
    for key, value in values.items():
        out |= {f"{key} {k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return out


def _recognisers(rows: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "recogniser",
        "TAR",
        "rank 1",
        "rank 5",
        "clean rank 1",
        "control",
        "mean cosine",
        "faces",
        "tracks",
    )
    table = _table(
        head,
        [
            (
                escape(r["recogniser"]),
                _rate(r),
                *(_share(r[k]) for k in ("rank1", "rank5", "rank1_control", "control")),
                *(shown(r[k]) for k in ("mean_cosine", "faces", "tracks")),
            )
            for r in rows
        ],
    )
    attacks = [
        (escape(named(k)), *(shown(r["attacks"][k]) for r in rows))
        for k in (rows[0]["attacks"] if rows else ())
    ]
    curves = {r["recogniser"]: r["det_curve_far_frr"] for r in rows if r["det_curve_far_frr"]}
    out = table + "<h3>Attacks</h3>" + _table(("", *(r["recogniser"] for r in rows)), attacks)
    if curves:
        low = min(far for curve in curves.values() for far, _ in curve)
        axes = Axis("false accept rate", max(low, 1e-6), 1, log=True), Axis("not recognised", 0, 1)
        out += "<h3>Detection error trade-off: originals against outputs (higher is more private)</h3>"
        out += chart(curves, *axes)
    return out


def _measures(rows: Mapping[str, Mapping[str, Any]]) -> str:
    body = [
        (escape(named(k)), shown(r["mean"]), shown(r["source_noise"]), shown(r["faces"]))
        for k, r in rows.items()
    ]
    return _table(("", "output", "source, frame to frame", "faces"), body)


def _exposure(curves: Mapping[str, Curve]) -> str:
    points = [x for curve in curves.values() for x, _ in curve]
    if not points or max(points) <= min(points):
        return ""
    axes = Axis("seconds", min(points), max(points)), Axis("worst correlation", -1, 1)
    return "<h3>Most visible face of each frame</h3>" + chart(curves, *axes, level=EXPOSED_ABOVE)


def _groups(groups: Mapping[str, Any]) -> str:
    out = ""
    for title, rows in groups.items():
        if not isinstance(rows, Mapping):
            out += _pairs({title: rows})
            continue
        keys = list(next(iter(rows.values()), {}))
        body = [(escape(named(key)), *(shown(row[key]) for row in rows.values())) for key in keys]
        out += f"<h3>{escape(named(title).capitalize())}</h3>" + _table(("", *rows), body)
    return out


def _pictures(cases: Mapping[str, Sequence[Case]]) -> str:
    out = "<section><h2>Pictures</h2>"
    out += '<p class="note">Before and after, by how much of the face is left (correlation or cosine).</p>'
    for kind, some in cases.items():
        figures = "".join(
            f"<figure>{_image(c.before, 'before')}{_image(c.after, 'after')}"
            f"<figcaption>{c.score:.2f} · {escape(c.caption)}</figcaption></figure>"
            for c in some
        )
        out += f'<h3>{escape(kind.capitalize())}</h3><div class="cases">{figures}</div>'
    return out + "</section>"


def _image(jpeg: bytes, alt: str) -> str:
    return f'<img alt="{alt}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
