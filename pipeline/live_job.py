"""One camera as its process is told of it: a line of JSON on a pipe, so that no password is ever an
argument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from veilcast.config import Config
from veilcast.pipeline.addresses import Address, parse_input, parse_output
from veilcast.pipeline.publish import PREVIEW_PX, Output, check
from veilcast.pipeline.watching import check_config

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Camera:
    """What is asked for. Raises ConfigError, NotWritable."""

    name: str
    source: Address
    outputs: tuple[Address, ...]
    config: Config = Config()  # noqa: RUF009 (frozen)
    preview: Path | None = None  # folder of the preview page's HLS
    models: Path | None = None
    generator: Path | None = None  # socket of one that other cameras ask too

    def __post_init__(self) -> None:
        check_config(self.config)
        for address in self.outputs:
            check(address)

    def publishing(self) -> list[Output]:
        """The outputs as they are to be opened, the preview last."""
        live = self.config.live
        found = [Output(address, live) for address in self.outputs]
        if self.preview is not None:
            found.append(Output(parse_output(str(self.preview / "live.m3u8")), live, PREVIEW_PX))
        return found

    def to_json(self) -> Json:
        """With all secrets: for a pipe between two of our own processes alone."""
        return {
            "name": self.name,
            "source": self.source.reveal(),
            "outputs": [_revealed(address) for address in self.outputs],
            "config": self.config.model_dump(mode="json"),
            "preview": self.preview and str(self.preview),
            "models": self.models and str(self.models),
            "generator": self.generator and str(self.generator),
        }

    @classmethod
    def from_json(cls, job: Json) -> Self:
        return cls(
            job["name"],
            parse_input(job["source"]),
            tuple(parse_output(text) for text in job["outputs"]),
            Config.model_validate(job["config"]),
            Path(job["preview"]) if job["preview"] else None,
            Path(job["models"]) if job["models"] else None,
            Path(job["generator"]) if job["generator"] else None,
        )


def _revealed(address: Address) -> str:
    return address.reveal() + ("/" if address.kind == "segments" else "")
