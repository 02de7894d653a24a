"""What the header of a copied track leaves with: what a decoder must know, without the free text and the
pictures that some codecs keep beside it. Pure: bytes of FFmpeg's extradata -> bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

UNCHECKED_BYTES = 512  # of the header of a codec that is not known here, at most: no room for a picture
STREAMINFO_BYTES = 34  # of FLAC (RFC 9639, 8.2)
NO_COMMENTS = b"\x03vorbis" + bytes(8) + b"\x01"  # no vendor, an empty list (Vorbis I, 5.2)
# of an SSA script: what says how lines are laid out; fonts, graphics and an editor's paths are in others
SCRIPT_SECTIONS = ("[script info]", "[v4 styles]", "[v4+ styles]", "[events]")
SCRIPT_FACTS = (
    "scripttype", "playresx", "playresy", "playdepth", "layoutresx", "layoutresy", "wrapstyle", "timer",
    "scaledborderandshadow", "ycbcr matrix", "collisions", "kerning",
)  # fmt: skip


def bare_header(codec: str, header: bytes) -> bytes:
    """The header without comments and pictures. Raises ValueError where it cannot be told what it holds."""
    if codec in BARE:
        return BARE[codec](header) if header else header
    if len(header) > UNCHECKED_BYTES:
        raise ValueError(f"{len(header)} bytes of {codec}")
    return header


def _vorbis(header: bytes) -> bytes:
    first, _, setup = _xiph(header)
    if not (first.startswith(b"\x01vorbis") and len(first) == 30 and setup.startswith(b"\x05vorbis")):
        raise ValueError("no headers of Vorbis")
    return b"\x02" + bytes([len(first), len(NO_COMMENTS)]) + first + NO_COMMENTS + setup


def _xiph(header: bytes) -> tuple[bytes, bytes, bytes]:
    """Three packets, each behind its length of 16 bits, or behind a table of the first two's ("lacing")."""
    if header[0] == 2:
        at, lengths = 1, [0, 0]
        for i in range(2):
            more = 255
            while more == 255:
                more = header[at] if at < len(header) else 0
                lengths[i] += more
                at += 1
        end = at + lengths[0]
        return header[at:end], header[end : end + lengths[1]], header[end + lengths[1] :]
    return tuple(_sized(header))  # type: ignore[return-value]  # unpacked, and so counted, by the caller


def _sized(header: bytes) -> Iterator[bytes]:
    while header:
        (length,) = struct.unpack(">H", header[:2].rjust(2, b"\0"))
        yield header[2 : 2 + length]
        header = header[2 + length :]


def _flac(header: bytes) -> bytes:
    """STREAMINFO alone, which FFmpeg gives without what stands before it in a file."""
    info = header[8:] if header.startswith(b"fLaC") else header
    return info[:STREAMINFO_BYTES]


def _opus(header: bytes) -> bytes:
    """OpusHead (RFC 7845, 5.1) to its end, which the mapping family decides."""
    if not header.startswith(b"OpusHead") or len(header) < 19:
        raise ValueError("no header of Opus")
    return header[: 21 + header[9] if header[18] else 19]


def _script(header: bytes) -> bytes:
    kept: list[str] = []
    section = ""
    for line in header.decode(errors="replace").splitlines():
        name = line.strip().lower()
        if name.startswith("["):
            section = name
        fact = section != "[script info]" or name == section or name.partition(":")[0] in SCRIPT_FACTS
        if section in SCRIPT_SECTIONS and fact:
            kept.append(line)
    return "".join(f"{line}\r\n" for line in kept).encode()


def _index(header: bytes) -> bytes:
    """Of a DVD's subtitles (.idx): the size of the picture and the colours."""
    lines = header.decode(errors="replace").splitlines()
    kept = [line for line in lines if line.partition(":")[0].strip() in ("size", "palette", "custom colors")]
    return "".join(f"{line}\n" for line in kept).encode()


BARE: dict[str, Callable[[bytes], bytes]] = {
    "vorbis": _vorbis,
    "flac": _flac,
    "opus": _opus,
    "ass": _script,
    "ssa": _script,
    "dvd_subtitle": _index,
}
