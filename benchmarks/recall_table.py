"""The README's table of recall.json, and what a person saw who looked at the exposed ones.

`recall_seen.csv` beside recall.json holds the exposed ones of veilcast that show a face, as somebody
found who looked at the contact sheets: clip, frame, x, y (the centre, pixels).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

Json = dict[str, Any]
NEAR_PX = 8
TOTAL = "all clips"


def table(result: Json, seen: Path) -> str:
    """Markdown. `seen`: the file of that name, which need not exist."""
    subjects = result["clips"][TOTAL]
    head = (
        "",
        "exposed, where two detectors agree (16 px and more)",
        "exposed, of all (12 px and more)",
        "exposed, by the detector that is not used",
        "longest run (24 px and more)",
        "cover without faces near",
        "cover beside faces",
    )
    lines = [head, ("---",) * len(head), *(cells(name, tally) for name, tally in subjects.items())]
    text = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    clips = ", ".join(name for name in result["clips"] if name != TOTAL)
    return f"Clips: {clips}.\n\n{text}\n\n{by_eye(result, seen)}"


def cells(name: str, tally: Json) -> tuple[str, ...]:
    return (
        name,
        f"{tally['agreed_16_exposed']:,} of {tally['agreed_16']:,} ({percent(tally, 'exposed_agreed_16')})",
        f"{tally['all_12_exposed']:,} of {tally['all_12']:,} ({percent(tally, 'exposed_all_12')})",
        f"{tally['judge_12_exposed']:,} of {tally['judge_12']:,} ({percent(tally, 'exposed_judge_12')})",
        f"{tally['longest_run_24']} frames",
        percent(tally, "false_cover_empty"),
        percent(tally, "false_cover_outside"),
    )


def percent(tally: Json, name: str) -> str:
    value = tally[f"{name}_percent"]
    return "–" if value is None else f"{value:.2f} %"


def by_eye(result: Json, seen: Path) -> str:
    """How many of the exposed ones of veilcast are faces, and how large these are at most."""
    if not seen.exists():
        return "Nobody has looked at the exposed ones yet."
    with seen.open(newline="") as file:
        known = [
            (row["clip"], int(row["frame"]), int(row["x"]), int(row["y"])) for row in csv.DictReader(file)
        ]
    exposed = [
        (clip, *case)
        for clip, subjects in result["clips"].items()
        if clip != TOTAL
        for case in subjects["veilcast"]["cases"]
    ]
    faces = [case for case in exposed if any(same(case, one) for one in known)]
    whole = result["clips"][TOTAL]["veilcast"]["all_12"]
    widest = f", the widest {max(case[4] for case in faces)} px" if faces else ""
    return (
        f"What counts as a face is what a detector calls one. Of the {len(exposed)} that veilcast left "
        f"exposed, {len(faces)} show a face ({100 * len(faces) / whole:.2f} % of all{widest}); the others, "
        "looked at one by one, are hands, arms, coats, bags, ornaments and the backs of heads."
    )


def same(case: tuple[Any, ...], one: tuple[str, int, int, int]) -> bool:
    clip, frame, x, y = case[:4]
    return (clip, frame) == one[:2] and abs(x - one[2]) <= NEAR_PX and abs(y - one[3]) <= NEAR_PX
