"""What was done to a file, for whoever must answer for it: facts, hashes, counts, settings, versions.

Holds no pixels, embeddings, seeds or paths; names are file names only.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from veilcast.config import Config
from veilcast.errors import VeilcastError
from veilcast.pipeline.files import write_durably

Json = dict[str, Any]

# what IPTC calls a picture in which a trained model has replaced parts
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

_PACKAGES = ("veilcast", "av", "numpy", "opencv-python-headless", "openvino", "onnxruntime", "filterpy")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One end of a run."""

    name: str
    bytes: int
    sha256: str

    def json(self, **more: Any) -> Json:
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256, **more}


def done(source: FileFacts, output: FileFacts, rendered: Mapping[str, Any], config: Config) -> Json:
    """The report of a run whose output was verified. `rendered`: what the worker told (tasks.py)."""
    kept = [track["track"] for track in rendered["tracks"] if track["kept_frames"]]
    return {
        "outcome": "done",
        **_made(),
        "input": source.json(media=rendered["media"]),
        "output": output.json(frames=rendered["frames"]),
        "ledger": rendered["ledger"],
        "tracks": rendered["tracks"],
        "kept_tracks": kept if config.cover.allow_keep else [],
        "streams": rendered["streams"],
        **({"synthetic": rendered["synthetic"]} if "synthetic" in rendered else {}),
        "settings": settings(config),
        "versions": versions(),
    }


def refused(name: str, error: VeilcastError, config: Config, paths: Iterable[Path] = ()) -> Json:
    """The report of a run that gave no output. `paths`: files that the error may tell of."""
    message = str(error)
    for path in sorted((path for path in paths if path.name), key=lambda path: -len(str(path))):
        message = message.replace(str(path), path.name)
    return {
        "outcome": "refused",
        **_made(),
        "input": {"name": name},
        "error": {"kind": type(error).__name__, "exit_code": error.exit_code, "message": message},
        "settings": settings(config),
        "versions": versions(),
    }


def write(path: Path, report: Json) -> None:
    """On the disk when this returns."""
    text = json.dumps(report, indent=1, ensure_ascii=False)
    # a name that is no UTF-8 has halves of characters, which JSON writes as it does all others: \udce9
    write_durably(path, text.encode(errors="backslashreplace") + b"\n")


def settings(config: Config) -> Json:
    """All settings but the seed and the key's file: with them identities could be drawn again."""
    told = config.model_dump(mode="json", exclude={"synthetic": {"seed", "identity_key_file"}})
    model = config.synthetic.model
    told["synthetic"]["model"] = model and model.name
    return told


def versions() -> dict[str, str]:
    """What took part, by name."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _made() -> Json:
    return {"made": datetime.now(UTC).isoformat(timespec="seconds")}
