"""veilcast doctor: whether this machine is ready, shown by doing the work on a drawn face."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilcast.errors import VeilcastError

if TYPE_CHECKING:
    from veilcast.types import Frame, Rgb

app = typer.Typer()

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")  # of x86 processors
FACE_PX = 80  # side of the drawn head's square


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer. `good` None = a fact, neither good nor bad."""

    what: str
    said: str
    good: bool | None = None


@app.command()
def doctor(
    models: Annotated[Path | None, typer.Option("--models", help="Folder of weights.")] = None,
) -> None:
    """Say whether this machine is ready; the exit code is 1 where it is not."""
    signs = {True: "ok  ", False: "FAIL", None: "    "}
    bad = 0
    for finding in examined(models):
        typer.echo(f"{signs[finding.good]} {finding.what}: {finding.said}")
        bad += finding.good is False
    if bad:
        raise typer.Exit(1)


def examined(models: Path | None) -> Iterator[Finding]:
    """Each finding as soon as it is known, the slow ones last."""
    from veilcast.pipeline.report import versions

    yield Finding("versions", ", ".join(f"{name} {version}" for name, version in versions().items()))
    yield Finding("processor", processor())
    free = shutil.disk_usage(tempfile.gettempdir()).free
    yield Finding("temporary folder", f"{tempfile.gettempdir()}, {free >> 30} GiB free", free > 1 << 30)
    for what, check in (
        ("codecs", codecs),
        ("cache", lambda: cache(models)),
        ("weights", lambda: weights(models)),
        ("a drawn face is found", lambda: canary(models)),
    ):
        yield checked(what, check)


def checked(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, check(), True)
    except (VeilcastError, OSError) as error:
        return Finding(what, str(error), False)


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Its name, cores and what it can do, as far as the system tells."""
    lines = info.read_text().splitlines() if info.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split())
    known = [feature for feature in FEATURES if feature in flags]
    return f"{facts.get('model name', 'unknown')}, {os.cpu_count()} threads, {' '.join(known) or 'no AVX2'}"


def codecs() -> str:
    """Raises UnsupportedMedia where an encoder is missing."""
    from veilcast.errors import UnsupportedMedia
    from veilcast.pipeline.encode import encoders

    found = encoders()
    if missing := [codec for codec, available in found.items() if not available]:
        raise UnsupportedMedia(f"no encoder for {', '.join(missing)}: install the av wheel from PyPI")
    return f"{', '.join(found)} can be written"


def cache(models: Path | None) -> str:
    from veilcast.trt_engines.models import Models

    folder = Models(models).folder
    if models is None:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return f"{folder} can be written"
    return f"{folder} is read only for us: nothing is fetched"


def weights(models: Path | None) -> str:
    """Raises ModelMissing, ModelCorrupt."""
    from veilcast.trt_engines.catalogue import ROLES
    from veilcast.trt_engines.models import Models

    store = Models(models)
    names = [role.name for role in ROLES if role.default]
    for name in names:
        store.bytes(name)
    return f"{', '.join(names)} are as pinned"


def canary(models: Path | None) -> str:
    """Finds a drawn face where it is. Raises EngineError where that fails."""
    from veilcast.config import Detect
    from veilcast.errors import EngineError
    from veilcast.pipeline.detect import open_detector
    from veilcast.trt_engines.models import Models
    from veilcast.types import Box

    head = Box(107, 103, 149, 157)
    with open_detector(Detect(), Models(models)) as finder:
        found = finder.find(_frame(0, drawn())) or ()
        start_s = time.perf_counter()
        finder.find(_frame(10, drawn()))
        took_ms = (time.perf_counter() - start_s) * 1000
    if len(found) != 1 or found[0].box.iou(head) < 0.4:
        seen = ", ".join(str(face.box) for face in found) or "nothing"
        raise EngineError(
            f"expected one face in {head}, found {seen}: the networks do not work on this machine"
        )
    return f"score {found[0].score:.2f}, overlap {found[0].box.iou(head):.2f}, {took_ms:.0f} ms a picture"


def _frame(index: int, rgb: Rgb) -> Frame:
    from veilcast.types import Frame, PixelFormat

    planes = tuple(rgb[:, :, channel] for channel in range(3))
    return Frame(index, index, Fraction(1, 25), planes, PixelFormat("rgb24", "rgb", 8))


def drawn() -> Rgb:
    """A picture (256, 256, 3) of one face, made of ellipses."""
    import cv2
    import numpy as np

    head = np.full((200, 200, 3), (150, 170, 190), np.uint8)

    def oval(x: int, y: int, rx: int, ry: int, colour: tuple[int, int, int]) -> None:
        cv2.ellipse(head, (x, y), (rx, ry), 0, 0, 360, colour, -1, cv2.LINE_AA)

    def arc(x: int, y: int, rx: int, ry: int, ends: tuple[int, int], colour: tuple[int, int, int]) -> None:
        cv2.ellipse(head, (x, y), (rx, ry), 0, *ends, colour, 3, cv2.LINE_AA)

    hair, skin, cheek = (60, 40, 30), (222, 180, 150), (226, 170, 145)
    oval(100, 85, 62, 75, hair)
    oval(100, 105, 52, 68, skin)
    oval(100, 50, 50, 26, hair)
    for x in (78, 122):
        oval(x, 125, 14, 10, cheek)
        oval(x, 95, 12, 6, (245, 245, 245))
        oval(x, 95, 6, 6, (70, 50, 40))
        arc(x, 80, 15, 5, (190, 350), hair)
        arc(x, 93, 13, 7, (180, 360), (120, 80, 60))
    arc(100, 118, 10, 6, (20, 160), (190, 140, 115))
    cv2.line(head, (96, 95), (92, 116), (200, 155, 130), 2, cv2.LINE_AA)
    oval(100, 142, 20, 7, (175, 85, 85))
    oval(100, 141, 20, 2, (110, 40, 40))
    picture = np.full((256, 256, 3), (120, 125, 130), np.uint8)
    corner = slice((256 - FACE_PX) // 2, (256 + FACE_PX) // 2)
    soft = cv2.GaussianBlur(head, (0, 0), 1.2)
    picture[corner, corner] = cv2.resize(soft, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
    return picture
