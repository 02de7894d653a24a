"""veilcast doctor: whether this machine is ready, shown by doing the work on a drawn face."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from veilcast.errors import VeilcastError
from veilcast.trt_engines.processor import CPUINFO, described

if TYPE_CHECKING:
    from veilcast.pipeline.addresses import Address

app = typer.Typer()


LOOK_S = 2.0  # at a camera
MOST_PICTURES = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer. `good` None = a fact, neither good nor bad."""

    what: str
    said: str
    good: bool | None = None


@app.command()
def doctor(
    models: Annotated[Path | None, typer.Option("--models", help="Folder of weights.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="A live input to look at as well.")] = None,
    credentials: Annotated[
        Path | None, typer.Option("--credentials", help="File with user:password of the camera.")
    ] = None,
    transport: Annotated[
        Literal["tcp", "udp"], typer.Option("--transport", help="How an RTSP camera sends.")
    ] = "tcp",
) -> None:
    """Say whether this machine is ready; the exit code is 1 where it is not."""
    signs = {True: "ok  ", False: "FAIL", None: "    "}
    bad = 0
    findings: Iterable[Finding] = examined(models)
    if camera is not None:
        address = camera_address(camera, credentials)
        seen = checked(f"camera {address}", lambda: look_at(address, transport))
        findings = chain(findings, [seen])
    for finding in findings:
        typer.echo(f"{signs[finding.good]} {finding.what}: {finding.said}")
        bad += finding.good is False
    if bad:
        raise typer.Exit(1)


def camera_address(camera: str, credentials: Path | None) -> Address:
    """Raises ConfigError."""
    from veilcast.errors import ConfigError
    from veilcast.pipeline.addresses import holds_password, parse_input, read_credentials

    if holds_password(camera):
        raise ConfigError("an address on the command line must not hold a password; use --credentials FILE")
    return parse_input(camera, read_credentials(credentials) if credentials else None)


def look_at(address: Address, transport: Literal["tcp", "udp"]) -> str:
    """What a camera sends, from its first two seconds. Raises StreamLost and what else reading raises."""
    from veilcast.config import Config, overlay
    from veilcast.errors import StreamLost
    from veilcast.pipeline.clocks import TICKS, Clock
    from veilcast.pipeline.receiving import connecting

    clock, start_s = Clock(), time.monotonic()
    config = overlay(Config(), {"live.transport": transport})
    pictures = damaged = 0
    first_s = None
    with connecting(address, config)(clock, start_s, None)(0) as receiver:
        try:
            for arrival in receiver.frames():
                first_s = first_s or arrival.arrived_s
                pictures, damaged = pictures + 1, damaged + arrival.frame.damaged
                if arrival.arrived_s - first_s > LOOK_S or pictures >= MOST_PICTURES:
                    break
        except StreamLost:
            if not pictures:  # else it is short, or a file
                raise
        facts = receiver.facts
    width, height = facts["size"]
    return (
        f"{facts['codec']} {width}x{height}, {TICKS / clock.usual:.1f} pictures a second, the first after "
        f"{(first_s or start_s) - start_s:.1f} s, {damaged} of {pictures} damaged, {clock.jumps} clock jumps"
    )


def examined(models: Path | None) -> Iterator[Finding]:
    """Each finding as soon as it is known, the slow ones last."""
    from veilcast.pipeline.report import versions

    yield Finding("versions", ", ".join(f"{name} {version}" for name, version in versions().items()))
    yield Finding("processor", processor())
    yield Finding("for --device cuda", gpu())
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


def processor(info: Path = CPUINFO) -> str:
    """Its name, cores and what it can do, as far as the system tells."""
    name, features = described(info)
    return f"{name or 'unknown'}, {os.cpu_count()} threads, {' '.join(features) or 'no AVX2'}"


def gpu() -> str:
    """What there is of a GPU; none is no fault."""
    from veilcast.pipeline.gpu.card import equipment

    try:
        return equipment()
    except VeilcastError as error:
        return f"nothing ({error})"


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
    from veilcast.pipeline.detect import open_detector
    from veilcast.pipeline.drawn import frame, looked_at
    from veilcast.trt_engines.models import Models

    with open_detector(Detect(), Models(models)) as finder:
        face = looked_at(finder)
        start_s = time.perf_counter()
        finder.find(frame(10))
        took_ms = (time.perf_counter() - start_s) * 1000
    return f"{face}, {took_ms:.0f} ms a picture"
