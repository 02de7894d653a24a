"""What a file promises to be by its name, and what it is by its first bytes: the containers that decode.py
opens. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

# names that promise a video: one that is none is a failure; any other file that is none is left behind
VIDEO_NAMES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".m2ts", ".mts", ".mxf", ".avi", ".mpg", ".mpeg"}
)
# those of the formats that picture_files.py carries, and of no others
PICTURE_NAMES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})
ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
MXF = b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02"


def promises(name: str) -> bool:
    """Whether a name says that this is a video."""
    return PurePosixPath(name).suffix.lower() in VIDEO_NAMES


def promises_picture(name: str) -> bool:
    """Whether a name says that this is a picture which can be carried."""
    return PurePosixPath(name).suffix.lower() in PICTURE_NAMES


def is_video(head: bytes) -> bool:
    """Whether a file that begins with `head` may be a video in a container that is read here."""
    if head[4:8] in ATOMS or head[:4] == b"\x1aE\xdf\xa3":  # ISO media, Matroska
        # still pictures in ISO media
        return head[4:8] != b"ftyp" or head[8:12] not in (b"heic", b"heix", b"mif1", b"avif", b"M4A ")
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[:4] in (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3") or head.find(MXF, 0, 1024) >= 0:
        return True
    return any(_synced(head, start, step) for start, step in ((0, 188), (4, 192), (0, 204)))


def _synced(head: bytes, start: int, step: int) -> bool:
    """Whether the sync byte of an MPEG transport stream stands at each of the first places."""
    places = head[start : start + 8 * step : step]
    return len(places) >= 3 and set(places) == {0x47}
