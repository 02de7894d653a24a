"""What is compared: originals and outputs, as clips whose frames come two by two."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from veilcast.errors import ConfigError, EvaluationFailed, InputMissing, UnsupportedMedia
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.pixels import to_rgb
from veilcast.pipeline.sniff import promises, promises_picture
from veilcast.types import Rgb


@dataclass(frozen=True, slots=True)
class Clip:
    """One video or picture and its output. `person`: who is in it, where that is known; `scope`: what
    one identity scope spans."""

    original: Path
    output: Path
    name: str
    person: str | None = None
    scope: str | None = None

    @property
    def still(self) -> bool:
        return promises_picture(self.original.name)


@dataclass(frozen=True, slots=True)
class FramePair:
    """The same displayed picture twice; equal sizes."""

    index: int
    time_s: float
    original: Rgb
    output: Rgb


def clips(original: Path, output: Path) -> list[Clip]:
    """Two files, or two folders of the same layout; a picture's person is its folder's name. Raises
    InputMissing where an original has no output, or there is nothing to compare."""
    for path in (original, output):
        if not path.exists():
            raise InputMissing(f"{path} does not exist")
    if original.is_file() and output.is_file():
        return [Clip(original, output, original.name)]
    if original.is_file() or output.is_file():
        raise ConfigError(f"give two files or two folders, got {original} and {output}")
    known = {p.relative_to(output).with_suffix(""): p for p in sorted(output.rglob("*")) if is_media(p)}
    return [_from_folder(original, path, known) for path in media(original)]


def media(folder: Path) -> list[Path]:
    """Videos and pictures in a folder and below it. Raises InputMissing where there is none."""
    found = [p for p in sorted(folder.rglob("*")) if is_media(p)]
    if not found:
        raise InputMissing(f"{folder} holds neither videos nor pictures")
    return found


def is_media(path: Path) -> bool:
    return (promises(path.name) or promises_picture(path.name)) and path.is_file()


def _from_folder(folder: Path, path: Path, outputs: dict[Path, Path]) -> Clip:
    relative = path.relative_to(folder)
    output = outputs.get(relative.with_suffix(""))
    if output is None:
        raise InputMissing(
            f"{relative} has no output; run the anonymisation to its end, or take out what it refused"
        )
    parent = relative.parent.name
    person = parent if parent and promises_picture(path.name) else None
    return Clip(path, output, str(relative), person)


def listed(path: Path) -> list[Clip]:
    """Pairs of a CSV file with the columns original, output and, where known, person and scope; paths
    are relative to it. Raises ConfigError, InputMissing."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputMissing(f"cannot read the list {path}: {error.strerror}") from None
    if not rows or not {"original", "output"} <= set(rows[0]):
        raise ConfigError(f"{path} needs a header line with the columns original and output, and rows")
    found = []
    for row in rows:
        clip = Clip(
            path.parent / row["original"],
            path.parent / row["output"],
            row["original"],
            row.get("person") or None,
            row.get("scope") or None,
        )
        for needed in (clip.original, clip.output):
            if not needed.is_file():
                raise InputMissing(f"{path}: no file {needed}")
        found.append(clip)
    return found


def frames(clip: Clip) -> Iterator[FramePair]:
    """The clip's frames in order. Raises InputError for media that does not decode, and
    EvaluationFailed where sizes or numbers of frames differ: then nothing can be compared."""
    pairs = _stills(clip) if clip.still else _moving(clip)
    for index, (time_s, original, output) in enumerate(pairs):
        if original.shape != output.shape:
            raise EvaluationFailed(
                f"{clip.name}: frame {index} is {_size(original)} and its output {_size(output)}; "
                "only pictures of one size can be compared"
            )
        yield FramePair(index, time_s, original, output)


def _moving(clip: Clip) -> Iterator[tuple[float, Rgb, Rgb]]:
    with Decoder(clip.original) as original, Decoder(clip.output) as output:
        pairs = zip(original.frames(), output.frames(), strict=True)
        while True:
            try:
                a, b = next(pairs)
            except StopIteration:
                return
            except ValueError:  # of zip: one ended before the other
                raise EvaluationFailed(
                    f"{clip.name}: original and output have different numbers of frames"
                ) from None
            yield float(a.time), to_rgb(a), to_rgb(b)


def _stills(clip: Clip) -> Iterator[tuple[float, Rgb, Rgb]]:
    yield 0.0, read_picture(clip.original), read_picture(clip.output)


def read_picture(path: Path) -> Rgb:
    """RGB of a picture file as displayed (EXIF orientation applied). Raises UnsupportedMedia."""
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
        raise UnsupportedMedia(f"{path} is not a picture that can be read") from None


def _size(rgb: Rgb) -> str:
    return f"{rgb.shape[1]}x{rgb.shape[0]}"
