"""Whether an mp4 or mov is all there: its top-level boxes (ISO/IEC 14496-12, 4.2) against the file's size."""

from __future__ import annotations

import struct
from pathlib import Path

MOST_BOXES = 100_000  # a fragmented file has two per fragment


def missing_bytes(path: Path) -> int:
    """By how much the last top-level box reaches beyond the end of the file. FFmpeg does not mind: it
    shows what is there and drops streams whose description is cut off."""
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        for _ in range(MOST_BOXES):
            if size - at < 8:
                break
            file.seek(at)
            head = file.read(16)
            length = struct.unpack(">I", head[:4])[0]
            if length == 1 and len(head) == 16:
                length = struct.unpack(">Q", head[8:])[0]
            if length == 0:  # to the end of the file
                return 0
            if length < 8:  # not a box: what follows the last one is nobody's
                break
            at += length
    return max(0, at - size)
