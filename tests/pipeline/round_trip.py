"""A clip's way through decode, cover and encode, and what can be seen of a file before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from veilcast.config import Cover, Encode
from veilcast.pipeline.admission import codec_name
from veilcast.pipeline.carriers import display_matrix, side_data
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.description import timecode
from veilcast.pipeline.encode import Encoder
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.shapes import Region
from veilcast.pipeline.verification import verify
from veilcast.types import Colour, Frame, Orientation

UNCOVERED: tuple[Region, ...] = ()


def carry_over(
    source: Path,
    target: Path,
    settings: Encode | None = None,
    regions: Sequence[Region] = UNCOVERED,
    each: Callable[[Frame], None] | None = None,
) -> Encoder:
    """`source` -> `target` with `regions` covered; the output is verified. `each` sees frames before."""
    ledger = Ledger()
    with Decoder(source) as decoder, Encoder(decoder, target, settings or Encode()) as encoder:
        for frame in decoder.frames():
            if each is not None:
                each(frame)
            encoder.write(release(frame, tuple(regions), Cover(), ledger))
    verify(target, encoder.expected)
    return encoder


@dataclass(frozen=True)
class Look:
    """What must survive."""

    codec: str
    pixel_format: str
    size: tuple[int, int]
    times: tuple[Fraction, ...]
    durations: tuple[Fraction, ...]
    aspect: Fraction
    colour: Colour
    orientation: Orientation
    matrix: tuple[int, ...] | None
    interlaced: tuple[bool, int]
    mastering: bytes | None
    content_light: bytes | None
    captions: tuple[bytes | None, ...]
    timecode: str | None
    chapters: tuple[tuple[Fraction, Fraction, str | None], ...]
    streams: tuple[tuple[str, str, str | None, str], ...]  # kind, codec, language, dispositions


def look(path: Path) -> Look:
    with Decoder(path) as decoder:
        decoder.carry(frozenset())
        info, stream = decoder.info, decoder.stream
        seen = [(frame.time, decoder.carrier(frame.index).picture) for frame in decoder.frames()]
        streams = (
            (s.type, codec_name(s), s.metadata.get("language"), str(s.disposition))
            for s in decoder.container.streams
            if s.type in ("video", "audio", "subtitle")
        )
        return Look(
            codec=info.codec,
            pixel_format=info.format.name,
            size=(info.width, info.height),
            times=tuple(time for time, _ in seen),
            durations=tuple(picture.duration * info.time_base for _, picture in seen),
            aspect=info.sample_aspect_ratio,
            colour=info.colour,
            orientation=info.orientation,
            matrix=display_matrix(decoder.first),
            interlaced=(decoder.first.interlaced_frame, int(stream.codec_context.field_order)),
            mastering=side_data(decoder.first, "MASTERING_DISPLAY_METADATA"),
            content_light=side_data(decoder.first, "CONTENT_LIGHT_LEVEL"),
            captions=tuple(side_data(picture, "A53_CC") for _, picture in seen),
            timecode=timecode(decoder.container, decoder.stream),
            chapters=tuple(_chapter(chapter) for chapter in decoder.container.chapters()),
            streams=tuple(sorted(streams, key=str)),
        )


def _chapter(chapter: Any) -> tuple[Fraction, Fraction, str | None]:
    base = chapter["time_base"]
    return chapter["start"] * base, chapter["end"] * base, chapter["metadata"].get("title")


Packets = list[tuple[Fraction | None, bytes]]


def packets(path: Path, kind: str) -> list[Packets]:
    """(time in seconds, bytes) of all packets of each stream of a kind."""
    found: dict[int, Packets] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.stream.type == kind:
                time = None if packet.pts is None else Fraction(packet.pts * (packet.time_base or 0))
                found.setdefault(packet.stream.index, []).append((time, bytes(packet)))
    return list(found.values())


def samples(path: Path) -> list[tuple[np.ndarray, ...]]:
    """Copies of the planes of all frames."""
    with Decoder(path) as decoder:
        return [tuple(plane.copy() for plane in frame.planes) for frame in decoder.frames()]
