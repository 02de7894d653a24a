"""`python -m tests.listen URL FILE [KEY=VALUE...]`: what comes to an address, as lossless video in FILE.

A process of its own: a library that waits for its peer may hold the interpreter, and the peer's too."""

from __future__ import annotations

import sys

import av


def main(url: str, target: str, *options: str) -> None:
    given = dict(option.split("=", 1) for option in options)
    with av.open(url, container_options=given, timeout=(40, 8)) as source, av.open(target, "w") as out:
        stream = None
        try:
            for n, frame in enumerate(source.decode(video=0)):
                if stream is None:
                    stream = out.add_stream("ffv1", rate=25)
                    assert isinstance(stream, av.VideoStream)
                    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
                frame.pts, frame.time_base = n, 1 / stream.codec_context.framerate
                out.mux(stream.encode(frame))
        except av.error.FFmpegError:
            pass  # the sender has left
        if stream is not None:
            out.mux(stream.encode(None))


if __name__ == "__main__":
    main(*sys.argv[1:])
