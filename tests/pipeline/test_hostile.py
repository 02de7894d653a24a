"""Broken files end in a typed error or in a whole, covered video: no hang, no crash, no leak."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline.hostile import FACE, KINDS, attempt, corpus

from veilcast.pipeline.decode import Decoder

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60  # for one file, on a busy machine


def try_all(folder: Path) -> list[dict[str, str]]:
    """What became of every file in `folder`. Fails where the child dies or is silent for too long."""
    command = [sys.executable, "-m", "tests.pipeline.hostile", str(folder)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []
    assert child.stdout is not None
    assert child.stderr is not None
    out, err = child.stdout, child.stderr

    def listen() -> None:
        for line in out:
            lines.put(line)
        lines.put(None)

    readers = [threading.Thread(target=listen), threading.Thread(target=lambda: errors.extend(err))]
    for reader in readers:
        reader.start()
    results, last = [], ""
    try:
        while (line := lines.get(timeout=DEADLINE_S)) is not None:
            last = line
            if "tried" in (told := json.loads(line)):
                results.append(told)
    except queue.Empty:
        pytest.fail(f"no answer in {DEADLINE_S} s: {last}")
    finally:
        child.kill()
        child.wait()
        for reader in readers:
            reader.join()
    assert child.returncode == 0, f"the child died with {child.returncode} at {last}: {''.join(errors[-15:])}"
    return results


def exposed(path: Path) -> bool:
    """Whether any frame shows something at the middle of the covered face."""
    x, y = int(FACE.x), int(FACE.y)
    with Decoder(path) as decoder:
        return any(int(np.ptp(f.planes[0][y - 8 : y + 8, x - 8 : x + 8])) > 40 for f in decoder.frames())


def check(folder: Path, count: int, seed: int) -> Counter[str]:
    files = corpus(folder, count, seed)
    results = try_all(folder)
    assert len(results) == 2 * len(files)
    finals = {path.name for path in (folder / "out").iterdir() if path.suffix != ".part"}
    assert finals == {f"{r['damaged']}_{r['tried']}" for r in results if r["became"] == "done"}
    for name in finals:
        assert not exposed(folder / "out" / name), name
    return Counter(f"{r['damaged']} {r['became']}" for r in results)


def test_200_broken_files_end_well(tmp_path: Path) -> None:
    became = check(tmp_path, 200, seed=0)
    assert became["refuse DamagedMedia"] > 40
    assert became["slate done"] > became["refuse done"]


@pytest.mark.slow
def test_2000_broken_files_end_well(tmp_path: Path) -> None:
    became = check(tmp_path, 2000, seed=1)
    assert became["refuse DamagedMedia"] > 400


def test_whole_files_of_every_kind_pass(tmp_path: Path) -> None:
    corpus(tmp_path, 0)
    (tmp_path / "out").mkdir()
    for name in KINDS:
        assert attempt(tmp_path / f"whole_{name}", "refuse") == "done", name
        assert not exposed(tmp_path / "out" / f"refuse_whole_{name}")


def test_the_leak_check_sees_an_uncovered_face(tmp_path: Path) -> None:
    corpus(tmp_path, 0)
    assert exposed(tmp_path / "whole_a.mp4")
