"""An RTSP server for the tests, run by the system's own Python (its `gi` is Debian's):

    /usr/bin/python3 tests/rtsp_server.py [UNITS] [--user NAME --password WORD] [--port N]

/cam plays UNITS again and again at --rate pictures a second, as a camera does: whoever comes begins at
the first. UNITS: H.264 access units, each behind its length (4 bytes, big endian). /live takes ANNOUNCE
and RECORD, /back plays what is published there. Prints the port, and for each reader of /cam the time
(CLOCK_MONOTONIC) of its first picture. Ends with its standard input.
"""

import argparse
import struct
import sys
import threading
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"
SOURCE = f"( appsrc name=src is-live=true format=time do-timestamp=true caps={CAPS} ! h264parse ! "
PAY = "rtph264pay name=pay0 pt=96 config-interval=-1 )"


def units(path):
    data, at, found = Path(path).read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


class Camera:
    """Pushes units into each reader's own pipeline."""

    def __init__(self, found, rate):
        self.units, self.period_s = found, 1 / rate
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.factory.set_launch(SOURCE + PAY)
        self.factory.set_latency(0)
        self.factory.connect("media-configure", self.configure)

    def configure(self, factory, media):
        source = media.get_element().get_child_by_name("src")
        ended = threading.Event()
        media.connect("unprepared", lambda media: ended.set())
        threading.Thread(target=self.push, args=(source, ended), daemon=True).start()

    def push(self, source, ended):
        start_s, n = time.monotonic(), 0
        print(f"{start_s:.6f}", flush=True)
        while not ended.is_set():
            flow = source.emit("push-buffer", Gst.Buffer.new_wrapped(self.units[n % len(self.units)]))
            if flow != Gst.FlowReturn.OK:
                return
            n += 1
            time.sleep(max(0, start_s + n * self.period_s - time.monotonic()))


class Hub:
    """What is published at /live, for the readers of /back: from the next key frame on."""

    def __init__(self):
        self.readers = {}  # appsrc -> whether it has begun
        self.lock = threading.Lock()
        self.live = GstRtspServer.RTSPMediaFactory()
        self.live.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        self.live.set_latency(0)
        self.live.set_launch(
            f"( rtph264depay name=depay0 ! h264parse config-interval=-1 ! {CAPS} ! "
            "appsink name=sink emit-signals=true sync=false )"
        )
        self.live.connect("media-configure", self.record)
        self.back = GstRtspServer.RTSPMediaFactory()
        self.back.set_launch(SOURCE + PAY)
        self.back.set_latency(0)
        self.back.connect("media-configure", self.play)

    def record(self, factory, media):
        media.get_element().get_child_by_name("sink").connect("new-sample", self.sample)

    def sample(self, sink):
        buffer = sink.emit("pull-sample").get_buffer()
        key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        data = buffer.extract_dup(0, buffer.get_size())
        with self.lock:
            for reader, begun in list(self.readers.items()):
                if begun or key:
                    self.readers[reader] = True
                    if reader.emit("push-buffer", Gst.Buffer.new_wrapped(data)) != Gst.FlowReturn.OK:
                        del self.readers[reader]
        return Gst.FlowReturn.OK

    def play(self, factory, media):
        source = media.get_element().get_child_by_name("src")
        with self.lock:
            self.readers[source] = False
        media.connect("unprepared", lambda media: self.readers.pop(source, None))


def protect(server, camera, user, password):
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(2)  # digest
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    role = GstRtspServer.RTSPPermissions()
    role.add_permission_for_role("user", "media.factory.access", True)
    role.add_permission_for_role("user", "media.factory.construct", True)
    camera.set_permissions(role)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("units", nargs="?")
    options.add_argument("--rate", type=float, default=25)
    options.add_argument("--user")
    options.add_argument("--password")
    options.add_argument("--port", default="0")
    options.add_argument("--address", default="127.0.0.1")
    given = options.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(given.address)
    server.set_service(given.port)
    pool = GstRtspServer.RTSPThreadPool()
    pool.set_max_threads(-1)  # else DESCRIBE waits for itself
    server.set_thread_pool(pool)
    mounts = server.get_mount_points()
    kept = []
    if given.units:
        camera = Camera(units(given.units), given.rate)
        kept.append(camera)
        if given.user:
            protect(server, camera.factory, given.user, given.password)
        mounts.add_factory("/cam", camera.factory)
    hub = Hub()
    mounts.add_factory("/live", hub.live)
    mounts.add_factory("/back", hub.back)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


main()
