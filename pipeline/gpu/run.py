"""Files through the pipeline on a device: the same plan, covers, gate, ledger and encoder as `stages.run`,
decoded once instead of twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from veilcast.config import Config
from veilcast.errors import UnsupportedMedia
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import Encoder
from veilcast.pipeline.gate import release
from veilcast.pipeline.gpu.pipeline import DevicePipeline, Done, Source, fits
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.stages import Covers, Rendered, displayed_size, marks


@dataclass(slots=True)
class _Open:
    """One file under way."""

    decoder: Decoder
    encoder: Encoder
    covers: Covers
    ledger: Ledger = field(default_factory=Ledger)
    start: Fraction | None = None  # seconds, of the first frame
    frames: int = 0

    def write(self, done: Done, config: Config) -> None:
        frame = done.frame
        self.start = frame.time if self.start is None else self.start
        wanted = self.covers.regions(frame, done.tracks, start=self.start)
        self.encoder.write(release(frame, wanted, config.cover, self.ledger, faces=done.painters))
        self.frames += 1

    def close(self) -> Rendered:
        self.encoder.close()
        self.ledger.balance(self.frames)
        encoder = self.encoder
        return Rendered(
            self.frames, self.ledger, tuple(encoder.streams), encoder.expected, self.decoder.facts
        )


def run_files(files: Sequence[tuple[Path, Path]], config: Config, pipeline: DevicePipeline) -> list[Rendered]:
    """Every (source, target), all at a time. Raises UnsupportedMedia for a video whose frames cannot stay
    on the device: the pipeline of the processor takes it."""
    with ExitStack() as stack:
        opened = [_opened(stack, source, target, config) for source, target in files]
        sources = [Source(f.decoder.frames(), displayed_size(f.decoder.info)) for f in opened]
        for done in pipeline.run(sources):
            opened[done.source].write(done, config)
        return [file.close() for file in opened]


def _opened(stack: ExitStack, source: Path, target: Path, config: Config) -> _Open:
    decoder = stack.enter_context(Decoder(source, config.limits, config.damaged))
    if not fits(decoder.info):
        raise UnsupportedMedia(
            f"{source} has {decoder.info.format.name} frames; the pipeline on a GPU takes 8-bit 4:2:0 alone"
        )
    encoder = stack.enter_context(Encoder(decoder, target, config.encode, marks(config)))
    return _Open(decoder, encoder, Covers.of(config))
