"""veilcast live: cameras in, the same pictures out with every face covered, as they come."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from veilcast.commands import _options as option
from veilcast.errors import ConfigError, VeilcastError

if TYPE_CHECKING:
    from veilcast.pipeline.camera_file import Site
    from veilcast.pipeline.cameras import Cameras

app = typer.Typer()

LOOK_S = 1.0  # between two looks at the cameras file


@app.command()
def live(
    source: Annotated[
        str | None, typer.Option("--in", help="Camera: rtsp, rtmp, http, HLS, udp, /dev/video0, or a file.")
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--out", help="rtsp, rtmp, udp, FOLDER/X.m3u8, FOLDER/ or a file; may be given again."),
    ] = None,
    credentials: Annotated[
        Path | None, typer.Option("--credentials", help="File with user:password of the camera.")
    ] = None,
    out_credentials: Annotated[
        Path | None, typer.Option("--out-credentials", help="File with user:password of the outputs.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Cameras and settings; read again when it changes.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", help="HOST:PORT of health, metrics and the preview page.")
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", help="Name that it answers to besides that address; may be given again."),
    ] = None,
    replacewith: option.Replace = None,
    mask_scale: option.MaskScale = None,
    thresh: option.Thresh = None,
    zones: option.Zones = None,
    on_lost: option.OnLost = None,
    model: option.Generator = None,
    identity_key_file: option.KeyFile = None,
    attributes: option.Attributes = None,
    max_latency: Annotated[
        float | None, typer.Option("--max-latency", help="Seconds from a picture's arrival to the output.")
    ] = None,
    look_ahead: Annotated[
        float | None, typer.Option("--look-ahead", help="Seconds of it that cover leads detection.")
    ] = None,
    transport: Annotated[
        Literal["tcp", "udp"] | None, typer.Option("--transport", help="How an RTSP camera sends.")
    ] = None,
    audio: Annotated[
        Literal["keep", "drop"] | None, typer.Option("--audio", help="Sound; dropped unless kept.")
    ] = None,
    captions: Annotated[
        Literal["keep", "drop"] | None, typer.Option("--captions", help="Captions; dropped unless kept.")
    ] = None,
    device: option.Device = None,
    models: option.Models = None,
) -> None:
    """Cover every face of live cameras; whatever fails, a slate is shown and never the source."""
    changes = {
        **option.cover(replacewith, mask_scale, False, zones, None, None, on_lost),
        **option.synthetic(model, identity_key_file, None, attributes),
        "detect__thresh": thresh,
        "live__max_latency_s": max_latency,
        "live__look_ahead_s": look_ahead,
        "live__transport": transport,
        "live__audio": audio,
        "live__captions": captions,
        "device": device,
    }
    with _folder(listen is not None or config is not None) as previews:
        if source is not None:
            logins = (credentials, out_credentials)
            site = _one(source, outputs or [], logins, config, listen, changes, previews, models)
            _serve(_named(site, hosts), None, previews, models)
        elif config is not None:
            if outputs or any(value is not None for value in changes.values()):
                raise ConfigError("with cameras in --config, their outputs and settings belong there too")
            site = _named(_site(config, _place(listen), previews, models), hosts)
            _serve(site, config, previews, models)
        else:
            raise ConfigError("name a camera with --in and an output with --out, or cameras with --config")


def _one(
    source: str,
    outputs: list[str],
    logins: tuple[Path | None, Path | None],
    config: Path | None,
    listen: str | None,
    changes: dict[str, object],
    previews: Path | None,
    models: Path | None,
) -> Site:
    from veilcast.pipeline import addresses
    from veilcast.pipeline.camera_file import Site
    from veilcast.pipeline.live_job import Camera

    if any(addresses.holds_password(text) for text in [source, *outputs]):
        raise ConfigError(
            "an address on the command line must not hold a user or a password, which every user of this "
            "machine can read there; give them in a file: --credentials, --out-credentials"
        )
    settings = option.settings(config, **changes)
    option.warn(settings)
    login, out_login = (None if path is None else addresses.read_credentials(path) for path in logins)
    if not outputs and (previews is None or listen is None):
        raise ConfigError("name an output with --out")
    camera = Camera(
        "camera",
        addresses.parse_input(source, login),
        tuple(addresses.parse_output(text, out_login) for text in outputs),
        settings,
        previews / "camera" if previews and listen else None,
        models,
    )
    return Site((camera,), settings, _place(listen))


def _place(listen: str | None) -> tuple[str, int] | None:
    from veilcast.pipeline.camera_file import parse_listen

    return parse_listen(listen) if listen else None


def _site(config: Path, listen: tuple[str, int] | None, previews: Path | None, models: Path | None) -> Site:
    from veilcast.pipeline.camera_file import load

    site = load(config, previews, models, listen)
    if not site.cameras:
        raise ConfigError(f"{config} has no [[camera]]; name one with --in and --out")
    return site


def _named(site: Site, hosts: list[str] | None) -> Site:
    from dataclasses import replace

    from veilcast.pipeline.camera_file import parse_hosts

    return replace(site, hosts=(*site.hosts, *parse_hosts(hosts or [])))


def _serve(site: Site, file: Path | None, previews: Path | None, models: Path | None) -> None:
    from veilcast.pipeline.cameras import Cameras
    from veilcast.service.logs import event, setup
    from veilcast.trt_engines.device import check_driver

    if any(camera.config.device == "cuda" for camera in site.cameras):
        check_driver()
    setup()
    for camera in site.cameras:
        if camera.preview is not None:
            camera.preview.mkdir(parents=True, exist_ok=True)
        live = camera.config.live
        policy = {"audio": live.audio, "captions": live.captions, "data": "drop"}
        event("policy", {"camera": camera.name, **policy})
    again = _Reload(file, previews if site.listen else None, models, site.listen)
    with Cameras(event) as cameras, _service(site, cameras, previews):
        cameras.apply(site.cameras)
        while not cameras.over():
            time.sleep(0.2)
            if (changed := again.look()) is not None:
                _apply(changed, cameras)
        failed = [error for keeper in cameras.keepers if (error := keeper.failed)]
    if failed:
        raise failed[0]


def _apply(site: Site, cameras: Cameras) -> None:
    from veilcast.service.logs import event

    for camera in site.cameras:
        if camera.preview is not None:
            camera.preview.mkdir(parents=True, exist_ok=True)
    try:
        cameras.apply(site.cameras)
        event("reloaded", {"cameras": [camera.name for camera in site.cameras]})
    except VeilcastError as error:
        event("reload refused", {"error": str(error)})


class _Reload:
    """Looks whether the cameras file has changed, or SIGHUP asks to read it. What makes no sense is told
    and changes nothing. The service stays as it is: it has what was said of it when it was started."""

    def __init__(
        self,
        file: Path | None,
        previews: Path | None,
        models: Path | None,
        listen: tuple[str, int] | None,
    ) -> None:
        self._file, self._previews, self._models, self._listen = file, previews, models, listen
        self._stamp = self._stamped()
        self._due_s = 0.0
        self._asked = False
        signal.signal(signal.SIGHUP, self._ask)

    def look(self) -> Site | None:
        from veilcast.service.logs import event

        now_s = time.monotonic()
        if self._file is None or (now_s < self._due_s and not self._asked):
            return None
        self._due_s = now_s + LOOK_S
        stamp = self._stamped()
        if stamp == self._stamp and not self._asked:
            return None
        self._stamp, self._asked = stamp, False
        try:
            return _site(self._file, self._listen, self._previews, self._models)
        except VeilcastError as error:
            event("reload refused", {"error": str(error)})
            return None

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _stamped(self) -> tuple[int, int] | None:
        try:
            stat = self._file.stat() if self._file else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size) if stat else None


@contextmanager
def _folder(wanted: bool) -> Iterator[Path | None]:
    """Where previews are kept, for this user alone; gone with the run."""
    with tempfile.TemporaryDirectory(prefix="veilcast-live-") if wanted else nullcontext() as name:
        yield Path(name) if name else None


@contextmanager
def _service(site: Site, cameras: Cameras, previews: Path | None) -> Iterator[None]:
    if site.listen is None:
        yield
        return
    try:
        from veilcast.service.server import serving
    except ImportError:
        raise ConfigError("a service (--listen) needs more: pip install 'veilcast[live]'") from None
    with serving(site.listen, cameras.status, previews, site.hosts):
        yield
