"""What the containers are called, what they take and how each is told to keep its hands off. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

MUXERS = {
    "mp4": "mp4", "m4v": "mp4", "mov": "mov", "qt": "mov", "mkv": "matroska", "webm": "webm", "ts": "mpegts",
    "m2ts": "mpegts", "mts": "mpegts", "mxf": "mxf", "avi": "avi", "mpg": "vob", "mpeg": "vob", "vob": "vob",
}  # fmt: skip
# as what a source's own container is written where the name of the output does not say
SAME = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "matroska", "mpeg": "vob"}
# these muxers cannot be asked which codecs they take
TAKES = {
    "mpegts": frozenset({"libx264", "libx265", "mpeg1video", "mpeg2video", "mpeg4"}),
    "vob": frozenset({"mpeg1video", "mpeg2video", "libx264"}),
    "mxf": frozenset({"mpeg2video", "dnxhd", "libx264", "prores_ks", "ffv1"}),
}
# nor which sound and subtitles
HOLDS = {
    "mpegts": frozenset(
        {"aac", "aac_latm", "mp1", "mp2", "mp3", "ac3", "eac3", "dts", "opus", "dvb_subtitle"}
    ),
    "vob": frozenset({"mp1", "mp2", "mp3", "ac3", "dts", "dvd_subtitle"}),
    "mxf": frozenset({"pcm_s16le", "pcm_s24le"}),
}
# and this one says yes to what it then refuses
REFUSES = {"mov": frozenset({"libvpx-vp9", "libsvtav1", "opus", "flac"})}
UNTURNED = ("mpegts", "vob", "avi", "mxf")  # no display matrix
LONGEST_TICK_COUNT = 1 << 30  # of an mp4's movie time scale, a 32-bit field


def muxer_for(target: Path, source_format: str) -> str:
    """FFmpeg's muxer for a target such as "a.mp4.part" or "a.part.mp4"; else the source's own container."""
    for suffix in reversed(target.suffixes):
        if (name := MUXERS.get(suffix[1:].lower())) is not None:
            return name
    return SAME.get(source_format, source_format)


def telling_suffix(target: Path) -> str:
    """The part of a name that says its container; "" where none does."""
    return next((s for s in reversed(target.suffixes) if s[1:].lower() in MUXERS), "")


def muxer_options(
    muxer: str, video: Fraction, others: Iterable[Fraction], suffix: str = ""
) -> dict[str, str]:
    """Options that keep time as it is, and an MPEG-TS of the kind that its name says. `video`, `others`: time
    bases of the streams, in seconds."""
    if muxer in ("mp4", "mov"):
        ticks = video.denominator
        movie = math.lcm(ticks, *(base.denominator for base in others))
        # edit lists, and so start offsets, are counted in ticks of the movie: 1/1000 s unless told
        movie = movie if movie <= LONGEST_TICK_COUNT else ticks
        return {"video_track_timescale": str(ticks), "movie_timescale": str(movie)}
    if muxer == "mpegts":
        return {"mpegts_copyts": "1", "mpegts_m2ts_mode": str(int(suffix.lower() in (".m2ts", ".mts")))}
    return {"preload": "0"} if muxer == "vob" else {}


def holds(muxer: str, codec: str) -> bool:
    """Whether a container takes sound or subtitles of this codec, as far as is known before trying."""
    return codec in HOLDS.get(muxer, (codec,)) and codec not in REFUSES.get(muxer, ())


def starts_at_zero(muxer: str, codec: str, source_format: str) -> bool:
    """Whether a container has no time before zero for this sound. Matroska states a lead-in apart, where
    the source does so too or the codec itself (Opus)."""
    apart = codec == "opus" or "matroska" in source_format
    return muxer in ("mpegts", "vob", "avi") or (muxer in ("matroska", "webm") and not apart)


def may_reorder(muxer: str, first_pts: int, frame_ticks: int) -> bool:
    """Whether frames may be stored out of order: decoding then begins a few frames before the first
    pts, and some containers have no time before zero. An avi has no presentation times at all, an mxf
    none that FFmpeg reads."""
    if muxer in ("avi", "mxf"):
        return False
    return muxer not in ("mpegts", "vob") or first_pts >= 8 * frame_ticks
