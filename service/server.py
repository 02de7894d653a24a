"""Health, metrics and the preview page over HTTP, in a thread of their own.

Only what has left through the gate can be seen here: the preview is one more output.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from veilcast.errors import ConfigError
from veilcast.service import health, metrics

Status = Callable[[], Sequence[dict[str, Any]]]

SEGMENT = re.compile(r"live(-\d{1,24}\.(m4s|mp4)|\.m3u8)")
TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".m4s": "video/mp4", ".mp4": "video/mp4"}
STARTED_WITHIN_S = 15.0
MOST_CONNECTIONS = 100  # at once; others are told to come again later
ASKED = ["GET", "HEAD"]  # monitors and proxies want the head alone
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "media-src 'self' blob:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def build(status: Status, previews: Path | None, hosts: Sequence[str] = LOOPBACK) -> FastAPI:
    """The application. `previews`: the folder with one folder of HLS for each camera. `hosts`: the names that
    it answers to. A page of anybody's may have its own name lead here, and would read what is said here."""
    app = FastAPI(title="veilcast", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await go_on(request)
        answer.headers.update(HEADERS)
        return answer

    @app.api_route("/livez", methods=ASKED)
    def livez() -> JSONResponse:
        return JSONResponse({"alive": True})

    @app.api_route("/readyz", methods=ASKED)
    def readyz() -> JSONResponse:
        good, wrong = health.ready(status())
        return JSONResponse({"ready": good, "cameras": wrong}, 200 if good else 503)

    @app.api_route("/metrics", methods=ASKED)
    def figures() -> Response:
        return Response(metrics.text(status), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.api_route("/status", methods=ASKED)
    def said() -> JSONResponse:
        return JSONResponse(list(status()))

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(_page("index.html"))

    @app.get("/preview.js")
    def script() -> Response:
        return Response(_page("preview.js"), media_type="text/javascript")

    @app.get("/hls/{camera}/{name}")
    def segment(camera: str, name: str) -> Response:
        known = {item["name"] for item in status()}
        if previews is None or camera not in known or not SEGMENT.fullmatch(name):
            return Response(status_code=404)
        path = previews / camera / name
        return (
            FileResponse(path, media_type=TYPES[path.suffix]) if path.is_file() else Response(status_code=404)
        )

    return app


def _page(name: str) -> str:
    return files("veilcast.service").joinpath("page", name).read_text()


@contextmanager
def serving(
    listen: tuple[str, int], status: Status, previews: Path | None, hosts: Sequence[str] = ()
) -> Iterator[int]:
    """Serves until the block is left; gives the port. `hosts`: names that it answers to, besides its own
    address and the loopback's. Raises ConfigError where the address is taken or the server does not start."""
    names = [*LOOPBACK, *(_bracketed(name) for name in (listen[0], *hosts))]
    listener = _bound(listen)
    config = uvicorn.Config(
        build(status, previews, names),
        log_level="critical",
        access_log=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="service", daemon=True)
    thread.start()
    try:
        if not _started(server, thread):
            raise ConfigError(f"the service on {listen[0]}:{listen[1]} does not start; listen somewhere else")
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()


def _bound(listen: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(listen)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {listen[0]}:{listen[1]}: {error.strerror}") from None
    return listener


def _started(server: uvicorn.Server, thread: threading.Thread) -> bool:
    end_s = time.monotonic() + STARTED_WITHIN_S
    while not server.started and thread.is_alive() and time.monotonic() < end_s:
        time.sleep(0.02)
    return server.started and thread.is_alive()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
