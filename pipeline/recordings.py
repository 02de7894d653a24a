"""Names of recordings: live outputs that are files. None takes the place of another or of anybody's file: a
name that is taken is refused when a camera is new, and numbered when its output is opened again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from veilcast.errors import NotWritable, OutputExists
from veilcast.pipeline.addresses import Address
from veilcast.pipeline.files import part_of

# options by muxer: what a killed process leaves lacks its last second at most, and MP4 that was ended is
# as any other
SURVIVING = {
    "matroska": {"cluster_time_limit": "900"},
    "mp4": {"movflags": "hybrid_fragmented+frag_keyframe"},
    "mov": {"movflags": "hybrid_fragmented+frag_keyframe"},
}
_CLAIM = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def check_new(address: Address) -> None:
    """Raises OutputExists where a recording that is to begin would find its name taken."""
    if address.kind != "file":
        return
    target = Path(address.path)
    for path in (target, part_of(target)):
        if path.exists():
            raise OutputExists(
                f"{path} exists, and a recording replaces nothing; name another file, or a folder (FOLDER/) "
                "for files that get names of their own"
            )


def claimed(target: Path) -> Path:
    """`target`, or the first of `target-0001`, `-0002`, ... that nobody has, finished or as a part. Its part,
    which is there from now on, belongs to the caller. Raises OSError."""
    for path in _names(target):
        if path.exists():
            continue
        try:
            os.close(os.open(part_of(path), _CLAIM, 0o666))
        except FileExistsError:  # another one's, or left behind by a process that was killed
            continue
        if not path.exists():
            return path
        part_of(path).unlink(missing_ok=True)  # another one got its final name between the two looks
    raise AssertionError("names do not end")


def keep(path: Path) -> None:
    """The finished recording under its own name, on the disk. Raises NotWritable, OSError: it is
    in its part then."""
    part = part_of(path)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    if path.exists():
        raise NotWritable(f"{path} has appeared meanwhile; what was recorded is in {part}")
    part.rename(path)


def _names(target: Path) -> Iterator[Path]:
    yield target
    for number in count(1):
        yield target.with_name(f"{target.stem}-{number:04}{target.suffix}")
