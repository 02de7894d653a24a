"""cameras.toml: settings for all, as in configs/veilcast.toml, and one [[camera]] table for each camera.

    [service]
    listen = "127.0.0.1:8080"         # health, metrics, preview
    hosts = ["cameras.example"]       # names that it answers to, besides that address and localhost
    [live]
    max_latency_s = 0.5               # for all cameras
    [[camera]]
    name = "door"
    in = "rtsp://192.168.1.20/stream1"
    in_credentials = "door.secret"    # file: user:password
    out = ["rtsp://127.0.0.1:8554/door", "hls/door/index.m3u8"]
    preview = true
    zones = "0,0 100,0 100,80"
    [camera.cover]
    replacewith = "mosaic"            # for this camera alone

Paths are those seen from the file's own folder.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from veilcast.config import Config, Section, validated
from veilcast.errors import ConfigError
from veilcast.pipeline.addresses import Address, Secret, parse_input, parse_output, read_credentials
from veilcast.pipeline.live_job import Camera

S = TypeVar("S", bound=Section)

OWN = {"name", "in", "in_credentials", "out", "out_credentials", "preview"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?")


@dataclass(frozen=True, slots=True)
class Site:
    """What a file asks for. `listen`: (host, port) of the service, None = none. `hosts`: names that it
    answers to, besides its address."""

    cameras: tuple[Camera, ...]
    config: Config
    listen: tuple[str, int] | None = None
    hosts: tuple[str, ...] = ()


def load(
    path: Path,
    previews: Path | None = None,
    models: Path | None = None,
    listen: tuple[str, int] | None = None,
) -> Site:
    """previews: the folder of preview pages. listen: where the service is, whatever the file says. Raises
    ConfigError, NotWritable."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the cameras file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # the parser's own text may quote a line with a password
        raise ConfigError(f"{path} is not valid TOML") from None
    tables, service = values.pop("camera", []), values.pop("service", {})
    shared = validated(values, str(path))
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: cameras are [[camera]] tables")
    said, hosts = _service(service, path)
    listen = listen or said
    watched = previews if listen else None  # nobody sees a preview without the service
    cameras = [_camera(t, n, values, path, watched, models) for n, t in enumerate(tables, 1)]
    return Site(tuple(cameras), shared, listen, hosts)


def parse_listen(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f'"{text}" is not HOST:PORT, such as 127.0.0.1:8080')
    return host.strip("[]"), int(port)


def parse_hosts(names: Sequence[str]) -> tuple[str, ...]:
    """Names or addresses without a port; *.NAME and * stand for many. Raises ConfigError."""
    for name in names:
        if not HOST.fullmatch(name):
            raise ConfigError(f'"{name}" is not a host\'s name or address, such as cameras.example')
    return tuple(names)


def _service(service: Any, path: Path) -> tuple[tuple[str, int] | None, tuple[str, ...]]:
    hosts: Any = service.get("hosts", []) if isinstance(service, dict) else None
    if not _is_texts(hosts) or set(service) - {"listen", "hosts"}:
        raise ConfigError(f'{path}: [service] holds listen = "HOST:PORT" and hosts = ["NAME"], nothing else')
    listen = parse_listen(str(service["listen"])) if "listen" in service else None
    return listen, parse_hosts(hosts)


def _camera(
    table: dict[str, Any],
    number: int,
    shared: dict[str, Any],
    path: Path,
    previews: Path | None,
    models: Path | None,
) -> Camera:
    where = f"{path}: camera {number}"
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{where} needs a name of letters, digits, dots, lines")
    where = f"{path}: camera {name}"
    source, outputs = table.get("in"), table.get("out", [])
    outputs = [outputs] if isinstance(outputs, str) else outputs
    if not isinstance(source, str) or not _is_texts(outputs):
        raise ConfigError(f'{where} needs in = "ADDRESS" and out = "ADDRESS" or a list of them')
    wants_preview = table.get("preview", True)
    preview = previews / name if previews is not None and wants_preview else None
    if not outputs and preview is None:
        raise ConfigError(
            f"{where} has no output; name one with out, or show its preview with listen in [service]"
        )
    settings = validated(_merged(shared, {k: v for k, v in table.items() if k not in OWN}), where)
    return Camera(
        name,
        _input(source, _login(table, "in_credentials", path), path),
        tuple(_output(text, _login(table, "out_credentials", path), path) for text in outputs),
        _with_paths(settings, path),
        preview,
        models,
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _input(text: str, login: Secret | None, path: Path) -> Address:
    local = "://" not in text and not text.startswith("/")
    return parse_input(str(path.parent / text) if local else text, login)


def _output(text: str, login: Secret | None, path: Path) -> Address:
    local = "://" not in text and not text.startswith("/")
    folder = "/" if text.endswith("/") else ""
    return parse_output(f"{path.parent / text}{folder}" if local else text, login)


def _with_paths(config: Config, path: Path) -> Config:
    """Every file that settings name, as seen from the folder of `path`. Zones may be one, or polygons."""
    settings = _from_folder(config, path.parent)
    if settings.zones.endswith(".toml"):
        return settings.model_copy(update={"zones": str(path.parent / settings.zones)})
    return settings


def _from_folder(section: S, folder: Path) -> S:
    found: dict[str, object] = {}
    for name, value in section:
        if isinstance(value, Path):
            found[name] = folder / value
        elif isinstance(value, Section):
            found[name] = _from_folder(value, folder)
    return section.model_copy(update=found)


def _login(table: dict[str, Any], key: str, path: Path) -> Secret | None:
    return read_credentials(path.parent / str(table[key])) if key in table else None


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` wins, section by section, key by key."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
