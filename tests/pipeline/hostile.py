"""Media files broken on purpose, and a child process that tries to anonymise them.

    python -m tests.pipeline.hostile FOLDER      one line of JSON per file that was tried

The child does what the product does: decode, cover, encode, verify, rename.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tests.media import Clip, make

from veilcast.config import Cover, Encode, Limits
from veilcast.errors import VeilcastError
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import Encoder
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.shapes import Ellipse
from veilcast.pipeline.verification import verify

FACE = Ellipse(48, 32, 20, 20)
KINDS: dict[str, Clip] = {
    "a.mp4": Clip(frames=30, options={"g": "10"}, audio=["eng"]),
    "front.mov": Clip(frames=30, muxer_options={"movflags": "faststart"}, chapters=["one"]),
    "pieces.mp4": Clip(frames=30, muxer_options={"movflags": "frag_keyframe+empty_moov"}),
    "a.mkv": Clip(frames=30, options={"g": "10"}, audio=["eng"], subtitles=["eng"]),
    "a.ts": Clip(frames=30, options={"g": "10"}),
    "hevc.mp4": Clip(encoder="libx265", frames=20, options={"x265-params": "log-level=none:keyint=8"}),
    "av1.webm": Clip(encoder="libsvtav1", frames=20, options={"preset": "11"}),
    "vp9.webm": Clip(encoder="libvpx-vp9", frames=20, options={"deadline": "realtime", "cpu-used": "8"}),
    "mpeg2.mpg": Clip(encoder="mpeg2video", frames=30),
    "mpeg4.avi": Clip(encoder="mpeg4", frames=30),
    "mjpeg.avi": Clip(encoder="mjpeg", pix_fmt="yuvj420p", frames=10),
    "prores.mov": Clip(encoder="prores_ks", pix_fmt="yuv422p10le", frames=6),
    "ffv1.mkv": Clip(encoder="ffv1", frames=8),
    "mpeg2.mxf": Clip(encoder="mpeg2video", frames=20),
}
Mutation = Callable[[bytearray, np.random.Generator], bytearray]


def flip_bits(data: bytearray, random: np.random.Generator) -> bytearray:
    for at in random.integers(0, len(data), int(random.integers(1, 30))):
        data[at] ^= 1 << int(random.integers(8))
    return data


def spoil_a_run(data: bytearray, random: np.random.Generator) -> bytearray:
    at, length = int(random.integers(len(data))), int(random.integers(2, 600))
    data[at : at + length] = random.bytes(len(data[at : at + length]))
    return data


def blank_a_run(data: bytearray, random: np.random.Generator) -> bytearray:
    at, length = int(random.integers(len(data))), int(random.integers(16, 4000))
    data[at : at + length] = bytes(len(data[at : at + length]))
    return data


def cut(data: bytearray, random: np.random.Generator) -> bytearray:
    return data[: int(random.integers(1, len(data)))]


def cut_out(data: bytearray, random: np.random.Generator) -> bytearray:
    at, length = int(random.integers(len(data))), int(random.integers(1, 2000))
    return data[:at] + data[at + length :]


def repeat(data: bytearray, random: np.random.Generator) -> bytearray:
    at, length = int(random.integers(len(data))), int(random.integers(1, 2000))
    return data[:at] + data[at : at + length] + data[at:]


def spoil_the_head(data: bytearray, random: np.random.Generator) -> bytearray:
    for at in random.integers(0, min(len(data), 600), 4):
        data[at] = int(random.choice([0, 1, 0x7F, 0x80, 0xFF]))
    return data


def huge_number(data: bytearray, random: np.random.Generator) -> bytearray:
    at = int(random.integers(0, max(1, len(data) - 8))) & ~3
    data[at : at + 4] = random.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00"])
    return data


MUTATIONS: Sequence[Mutation] = (
    flip_bits, spoil_a_run, blank_a_run, cut, cut_out, repeat, spoil_the_head, huge_number,
)  # fmt: skip


def corpus(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """`count` broken files, the same for the same seed; each kind and mutation in turn."""
    whole = {name: make(folder / f"whole_{name}", clip).read_bytes() for name, clip in KINDS.items()}
    made = []
    for number in range(count):
        name = list(KINDS)[number % len(KINDS)]
        mutate = MUTATIONS[number // len(KINDS) % len(MUTATIONS)]
        random = np.random.default_rng([seed, number])
        path = folder / f"{number:04}_{mutate.__name__}_{name}"
        path.write_bytes(bytes(mutate(bytearray(whole[name]), random)))
        made.append(path)
    return made


def attempt(source: Path, damaged: str) -> str:
    """Anonymises one file into the folder "out". Returns what became of it."""
    final = source.parent / "out" / f"{damaged}_{source.name}"
    part = final.with_name(final.name + ".part")
    ledger = Ledger()
    limits = Limits(max_pixels=1 << 20, max_duration_s=3600)
    try:
        with (
            Decoder(source, limits, "slate" if damaged == "slate" else "refuse") as decoder,
            Encoder(decoder, part, Encode()) as encoder,
        ):
            for frame in decoder.frames():
                encoder.write(release(frame, (FACE,), Cover(), ledger))
        verify(part, encoder.expected, limits)
        part.rename(final)
    except VeilcastError as error:
        return type(error).__name__
    return "done"


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "out").mkdir()
    for source in sorted(folder.glob("[0-9]*")):
        for damaged in ("refuse", "slate"):
            say({"trying": source.name, "damaged": damaged})
            say({"tried": source.name, "damaged": damaged, "became": attempt(source, damaged)})


def say(what: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
