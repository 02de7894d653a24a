"""The card's encoder (NVENC) in place of the processor's, where a card has one: data centres' cards mostly
have none. It gets the same frames, from the same gate, in this process's memory.

Not to the same bytes: what a card makes of a picture depends on the card.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction

import av.error
from av.video.codeccontext import VideoCodecContext

from veilcast.config import Encode
from veilcast.pipeline.codecs import ALIASES, Choice, Family, encoder_options
from veilcast.pipeline.hdr import Light
from veilcast.types import StreamInfo

log = logging.getLogger(__name__)

# one quantiser for every picture, which is as close as it comes to --crf; none waits for a later one
OPTIONS = (("rc", "constqp"), ("tune", "hq"), ("a53cc", "1"))
CARDS = {
    family.codec: family
    for family in (
        Family("h264", "h264_nvenc", "qp", 18, "p5", options=OPTIONS),
        Family("hevc", "hevc_nvenc", "qp", 18, "p5", options=OPTIONS),
    )
}
PIX_FMT = "yuv420p"


def on_card(choice: Choice, info: StreamInfo, interlaced: bool, light: Light, settings: Encode) -> Choice:
    """The same codec by the card; `choice` itself where the card has no encoder for these frames, or a person
    named the processor's encoder or one of its presets."""
    family = CARDS.get(choice.family.codec)
    by_name = settings.preset is not None or (settings.codec or "").lower() in _ENCODERS
    if family is None or by_name or interlaced or light != Light() or choice.pix_fmt != PIX_FMT:
        return choice
    quality = family.default if settings.crf is None else round(settings.crf)
    taken = Choice(replace(family, default=quality), choice.pix_fmt, "by the card")
    if opens(taken, info.width, info.height):
        return taken
    log.info("encoded by the processor: %s does not open here", family.encoder)
    return choice


def is_here() -> bool:
    """Whether a card encodes here."""
    return opens(Choice(CARDS["h264"], PIX_FMT), 640, 368)


def opens(choice: Choice, width: int, height: int) -> bool:
    """Whether there is a card here whose encoder takes frames of this size."""
    context = VideoCodecContext.create(choice.family.encoder, "w")
    assert isinstance(context, VideoCodecContext)  # by the kind of the encoder
    context.width, context.height, context.pix_fmt = width, height, choice.pix_fmt
    context.time_base = Fraction(1, 25)
    context.options = encoder_options(choice, 1, Light())
    try:
        context.open()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


_ENCODERS = {name for name, codec in ALIASES.items() if name.startswith("lib") and codec in CARDS}
