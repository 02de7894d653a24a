"""Settings: frozen, checked where they are made, unknown keys refused.

`configs/veilcast.toml` is the annotated sample; a test keeps the two in step.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from veilcast.errors import ConfigError

Device = Literal["cpu", "cuda"]  # where networks run


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Detect(Section):
    """Scores are on CenterFace's scale, 0 to 1; two detectors that agree add up."""

    thresh: float = Field(
        0.33, ge=0, le=1, description="score from which a detection starts a track: 3 of 4 of these are faces"
    )
    weak: float = Field(
        0.22,
        ge=0,
        le=1,
        description="score from which a detection prolongs a track: 1 of 3 of these are faces",
    )
    look_s: float = Field(
        0.16, ge=0, le=0.5, description="seconds between looks: a head moves less than its own width in it"
    )
    thorough_every: int = Field(
        3,
        ge=1,
        le=100,
        description="every how many looks at most the better network sees small faces too: costs most",
    )


class Tracking(Section):
    coast_s: float = Field(1.0, ge=0, description="seconds a track is carried on without a detection")
    lead_s: float = Field(0.4, ge=0, description="seconds that cover leads the first detection (files)")
    lag_s: float = Field(0.4, ge=0, description="seconds that cover lags the last detection (files)")
    lone_s: float = Field(0.2, ge=0, description="lead and lag of a face that was seen once or twice")
    doubt_s: float = Field(0.15, ge=0, description="lead and lag of a face never seen clearly (files)")
    hold_s: float = Field(0.25, ge=0, description="seconds more for a face lost away from the border")
    bridge_s: float = Field(1.0, ge=0, description="longest gap across which a face stays one track (files)")
    growth: float = Field(1.0, ge=0, description="standard deviations that a predicted box grows by")
    max_growth: float = Field(0.5, ge=0, description="of its size, on each side: the most that it grows")


class Cover(Section):
    replacewith: Literal["solid", "mosaic", "blur", "synthetic"] = Field(
        "solid", description="the cover of faces; `run` makes it synthetic where none is named"
    )
    mask_scale: float = Field(1.3, ge=1, le=3, description="ellipse size over detected box size")
    margin_px: float = Field(2.0, ge=0, description="added to the ellipse on each side")
    feather: float = Field(0.1, ge=0, le=1, description="of the face, outside the full cover; solid has none")
    cells: int = Field(4, ge=1, le=64, description="cells across a face that mosaic and blur keep")
    levels: int = Field(16, ge=2, le=256, description="brightness steps that mosaic and blur keep")
    on_lost: Literal["hold", "slate", "stop"] = Field(
        "hold", description="a face lost inside the picture: hold its cover, cover all, or stop"
    )
    allow_keep: bool = Field(False, description='heed "action": "keep" in a detections file')


class Synthetic(Section):
    """The generative cover; its faces are not those of anybody in the video."""

    model: Path | None = Field(None, description="a generator's folder; none = the built-in one")
    identity_key_file: Path | None = Field(
        None, description="file of a secret key that identities are drawn with; none = a new one for each run"
    )
    seed: int | None = Field(None, description="for tests alone: a guessable seed undoes the anonymity")
    attributes: str = Field(
        "", description='what the new faces keep: "age=keep|any|25-35,gender=keep|any,skin=keep|any"'
    )


class Encode(Section):
    codec: str | None = Field(None, description="encoder family; none = the source's")
    crf: float | None = Field(None, ge=0, le=63, description="lower is better; none = visually lossless")
    preset: str | None = Field(None, description="the encoder's own speed preset; none = ours for it")
    pix_fmt: str | None = Field(None, description="pixel format; none = the source's")
    audio: Literal["keep", "drop"] = Field(
        "keep", description="audio tracks: copied as they are, or left out"
    )
    threads: int = Field(2, ge=1, le=64, description="encoder threads: part of what fixes the output's bytes")


class Limits(Section):
    """What hostile or runaway media may cost."""

    max_pixels: int = Field(8192 * 4320, ge=1, description="of one picture")
    max_rate: float = Field(300, gt=0, description="frames a second of one file")
    max_streams: int = Field(64, ge=1, description="in one file")
    max_duration_s: float = Field(24 * 3600, gt=0, description="seconds that one file may last")
    max_bytes: int = Field(1 << 40, ge=1, description="of one input")
    max_memory_bytes: int = Field(3 << 30, ge=1, description="resident memory of the worker process")
    stall_s: float = Field(120, gt=0, description="seconds without progress after which the worker is killed")
    deadline_s: float | None = Field(None, gt=0, description="seconds that one file may take; none = no end")


class Live(Section):
    """Streams that never end. Audio, captions and data do not leave unless they are asked for."""

    max_latency_s: float = Field(
        0.5, ge=0.1, le=30, description="seconds from a picture's arrival to the output: later ones give way"
    )
    look_ahead_s: float = Field(
        0.2, ge=0, le=5, description="seconds that cover leads detection: part of the latency"
    )
    transport: Literal["tcp", "udp"] = Field("tcp", description="how an RTSP camera sends its pictures")
    audio: Literal["keep", "drop"] = Field("drop", description="sound: encoded again, or left out")
    captions: Literal["keep", "drop"] = Field("drop", description="captions inside the picture's stream")
    allow_hosts: tuple[str, ...] = Field(
        (), description="hosts and networks that a stream may come from besides its own: names or CIDR"
    )
    connect_s: float = Field(5, gt=0, le=120, description="seconds that a peer has to answer")
    stall_s: float = Field(3, gt=0, le=120, description="seconds without data after which a camera is lost")
    slate_after_s: float = Field(
        1, gt=0, le=10, description="seconds without a new picture after which the slate is shown"
    )
    backoff_s: float = Field(0.5, gt=0, description="seconds before the second try; twice as long each time")
    backoff_max_s: float = Field(10, gt=0, description="seconds between two tries at most")
    hang_s: float = Field(10, gt=0, description="seconds without a sign of life that end a process")
    restarts: int = Field(
        5, ge=0, le=1000, description="of a camera's process in a minute; then the slate holds and alarms"
    )
    crf: float = Field(23, ge=0, le=51, description="quality of the live encoder, lower is better")
    preset: str = Field("veryfast", description="of the live encoder (H.264)")
    segment_s: float = Field(60, ge=1, description="seconds of one file where the output is a folder")
    playlist: int = Field(10, ge=3, le=1000, description="segments of a second that an HLS folder keeps")


class Config(Section):
    detect: Detect = Detect()
    tracking: Tracking = Tracking()
    cover: Cover = Cover()
    synthetic: Synthetic = Synthetic()
    encode: Encode = Encode()
    limits: Limits = Limits()
    live: Live = Live()
    device: Device = Field(
        "cpu", description="where networks run; cuda has not been tried on a GPU yet: look at the result"
    )
    damaged: Literal["refuse", "slate"] = Field(
        "refuse", description="damaged input: refuse it, or cover each damaged frame whole"
    )
    zones: str = Field(
        "", description='always covered: "x,y x,y x,y; ..." in pixels, or a TOML file of [[zone]]'
    )
    start_s: float | None = Field(
        None, ge=0, description="cover from this second on; none = from the beginning"
    )
    end_s: float | None = Field(None, ge=0, description="cover until this second; none = to the end")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.start_s is not None and self.end_s is not None and self.start_s >= self.end_s:
            raise ValueError(f"start_s = {self.start_s} must be before end_s = {self.end_s}")
        return self


def load(path: Path) -> Config:
    """The settings in a TOML file. Raises ConfigError, with the key, for anything it does not know."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return validated(values, str(path))


def overlay(config: Config, changes: Mapping[str, object]) -> Config:
    """`config` with some settings changed, each named as in the file: {"cover.replacewith": "blur"}.
    None leaves a setting as it is. Raises ConfigError."""
    values = config.model_dump()
    for name, value in changes.items():
        if value is not None:
            *sections, key = name.split(".")
            reduce(getitem, sections, values)[key] = value
    return validated(values, "the options")


def validated(values: dict[str, Any], where: str) -> Config:
    """The settings in `values`, which `where` holds. Raises ConfigError, with the key."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: setting {setting}: {first['msg']}") from None
