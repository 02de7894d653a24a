"""A video decoded by the card (NVDEC), for who only looks: frames go to the shelf and have no planes here.

Whether a card says that something is broken inside a picture is not known, so it counts as hiding it; the
decoder of the processor, set to be strict, does not. So a file may be searched with the card's frames, but
what leaves is decoded by the processor, which refuses or slates what is damaged; both must agree about every
frame's time.
"""

from __future__ import annotations

import logging
from pathlib import Path

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from veilcast.config import Limits
from veilcast.errors import UnsupportedMedia, VeilcastError
from veilcast.pipeline.admission import codec_name
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.demux import open_input
from veilcast.pipeline.gpu.shelf import Shelf
from veilcast.types import Elsewhere, PixelFormat, Plane

log = logging.getLogger(__name__)

CODECS = ("h264", "hevc", "vp9")  # decoded by rule to the bit; their own decoders here know the card
HELD = "nv12"  # how the card keeps 8-bit 4:2:0


def is_here() -> bool:
    """Whether a card decodes here."""
    try:
        HWAccel("cuda").create(av.Codec("h264", "r"))
    except (av.error.FFmpegError, NotImplementedError):
        return False
    return True


def open_decoder(source: Path, limits: Limits, shelf: Shelf) -> Decoder:
    """The card's decoder, or the processor's where the card cannot decode this file: told in the log, and no
    loss, for it is the stricter one. Raises what Decoder raises."""
    try:
        return CardDecoder(source, shelf, limits)
    except (VeilcastError, NotImplementedError, RuntimeError) as error:
        log.info("decoded by the processor: %s", error)
        return Decoder(source, limits, writable=False)


class CardDecoder(Decoder):
    """As Decoder, which refuses what it sees is damaged. Raises UnsupportedMedia for what a card does not
    decode."""

    def __init__(self, source: Path, shelf: Shelf, limits: Limits = Limits()) -> None:  # noqa: B008 (frozen)
        self._shelf = shelf
        super().__init__(source, limits, writable=False)

    def _open_container(self) -> InputContainer:
        if not is_here():
            raise UnsupportedMedia("there is no card here that decodes")
        card = HWAccel("cuda", is_hw_owned=True, allow_software_fallback=False)
        container = open_input(self.source, card)
        stream = container.streams.best("video")
        if stream is None or codec_name(stream) not in CODECS or not stream.codec_context.is_hwaccel:
            container.close()
            raise UnsupportedMedia(f"{self.source} has no video that a card decodes")
        return container

    def _layout(self, decoded: av.VideoFrame) -> PixelFormat:
        held = decoded.sw_format
        if held is None or held.name != HELD or decoded.width % 2 or decoded.height % 2:
            name = decoded.format.name if held is None else held.name
            raise UnsupportedMedia(f"{self.source} has {name} frames of {decoded.width}x{decoded.height}")
        return pixel_format("yuv420p")

    def _own(self, decoded: av.VideoFrame) -> None:
        """What lies on the card is copied before it is looked at."""

    def _samples(self, decoded: av.VideoFrame) -> tuple[tuple[Plane, ...], Elsewhere | None]:
        return (), self._shelf.take(*decoded.planes)
