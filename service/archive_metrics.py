"""An archive job's numbers for Prometheus: on a loopback port, or in a text file for node_exporter."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
    write_to_textfile,
)

from veilcast.errors import ConfigError, NotWritable
from veilcast.pipeline.batch import Event
from veilcast.pipeline.journal import NAME, SETTLED, Journal, State

_EVERY_S = 5.0


class ArchiveMetrics:
    """Called with events. A context manager. Holds no names: labels are states and steps alone.

    where: a port number, served on 127.0.0.1, or the path of a text file.
    """

    def __init__(self, where: str, folder: Path) -> None:
        self._where, self._folder = where, folder
        self._registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self._registry}
        self._files = Gauge("veilcast_archive_files", "Files of the job, by state", ["state"], **made)
        self._frames = Counter("veilcast_archive_frames", "Frames of files that are done", **made)
        self._faces = Counter("veilcast_archive_faces", "Faces covered in them", **made)
        self._seconds = Counter("veilcast_archive_footage_seconds", "Footage of files that are done", **made)
        self._bytes = Counter("veilcast_archive_bytes", "Bytes of files that are done", ["end"], **made)
        self._failures = Counter("veilcast_archive_failures", "Files that were not done", ["kind"], **made)
        self._work = Histogram(
            "veilcast_archive_file_seconds", "From taking a file to its end",
            buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000), **made,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._due_s = 0.0
        self._server: Any = None

    def __enter__(self) -> Self:
        if self._where.isdigit():
            try:
                self._server = start_http_server(int(self._where), "127.0.0.1", self._registry)
            except (OSError, OverflowError):
                raise ConfigError(
                    f"port {self._where} cannot be opened; give --metrics another one"
                ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write()
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.state in SETTLED:
                self._settled(event)
            if time.monotonic() >= self._due_s:
                self._due_s = time.monotonic() + _EVERY_S
                self._write()

    def _settled(self, event: Event) -> None:
        row = event.row
        if row.began and row.ended:
            self._work.observe(row.ended - row.began)
        if event.state is not State.DONE:
            self._failures.labels(row.kind or "unknown").inc()
            return
        self._frames.inc(row.facts["frames"])
        self._faces.inc(row.facts["faces"])
        self._seconds.inc(row.facts["seconds_in"])
        self._bytes.labels("in").inc(row.facts["bytes_in"])
        self._bytes.labels("out").inc(row.facts["bytes_out"])

    def _write(self) -> None:
        if not (self._folder / NAME).is_file():  # nothing was begun
            return
        with Journal(self._folder) as journal:
            for state, count in journal.counts().items():
                self._files.labels(str(state)).set(count)
        if not self._where.isdigit():
            try:
                write_to_textfile(self._where, self._registry)
            except OSError as error:
                raise NotWritable(f"cannot write {self._where}: {error.strerror}") from None
