"""Which encoder takes over from which codec, at what quality, and which pixel formats can be carried.

Pure tables: what an encoder of this machine really accepts is asked in encode.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from veilcast.config import Encode
from veilcast.errors import ConfigError, UnsupportedMedia
from veilcast.pipeline import hdr
from veilcast.types import PixelFormat

PLANAR = re.compile(
    r"(?P<kind>yuva?j?)(?P<sub>4[124][0-4])p(?P<depth>\d+)?(?:le)?"
    r"|(?P<grey>gray|ya)(?P<grey_depth>\d+)?(?:le)?"
    r"|(?P<rgb>gbra?p)(?P<rgb_depth>\d+)?(?:le)?"
)
LOG2_CHROMA = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
# bytes from one sample to the next, then where each component lies (R G B, alpha)
PACKED = {
    "rgb24": (3, (0, 1, 2)),
    "bgr24": (3, (2, 1, 0)),
    "bgr0": (4, (2, 1, 0)),
    "rgb0": (4, (0, 1, 2)),
    "bgra": (4, (2, 1, 0, 3)),
    "rgba": (4, (0, 1, 2, 3)),
}

# seconds and frames between two key frames of x264's and x265's, at most: to seek by, and for the check of
# the output; a short video has one in its middle, but none sooner than a second after the last one
KEY_S, KEY_FRAMES, SOONEST_S = 5, 250, 1


def pixel_format(name: str) -> PixelFormat:
    """The layout behind FFmpeg's name. Raises UnsupportedMedia for one that is not carried exactly:
    palettes, bit streams, big endian, floating point, two components in one plane of chroma."""
    if name in PACKED:
        return PixelFormat(name, "rgb", 8, alpha=len(PACKED[name][1]) == 4)
    match = PLANAR.fullmatch(name)
    if match is None or name == "ya16le":
        raise UnsupportedMedia(
            f"the pixel format {name} cannot be carried exactly; convert the video to a planar format first"
        )
    if match["kind"]:
        w, h = LOG2_CHROMA[match["sub"]]
        return PixelFormat(name, "yuv", int(match["depth"] or 8), w, h, "a" in match["kind"])
    if match["grey"]:
        return PixelFormat(name, "grey", int(match["grey_depth"] or 8), alpha=match["grey"] == "ya")
    return PixelFormat(name, "rgb", int(match["rgb_depth"] or 8), alpha="a" in match["rgb"])


@dataclass(frozen=True, slots=True)
class Family:
    """One encoder and how it is set. `quality` is the option that `--crf` fills."""

    codec: str  # FFmpeg's codec name: "h264"
    encoder: str
    quality: str | None  # "crf", "qp", "qscale"; None = lossless or fixed by its profile
    default: float
    preset: str | None = None
    preset_option: str = "preset"
    presets: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    interlaced: bool = False  # the bit stream or its container can say so, field by field
    aspect: bool = True  # the bit stream itself says the sample aspect ratio
    delay: int = 0  # frames by which decoding runs ahead, where frames are stored out of order
    faster: tuple[str, ...] = ()  # the library's parameters on top of our preset; a person's own is as it is


X26X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
DIGITS = tuple(str(n) for n in range(14))

FAMILIES = {
    family.codec: family
    for family in (
        # as good and about as large as the preset alone, a fifth less work, and a third less to decode
        Family("h264", "libx264", "crf", 18, "superfast", presets=X26X_PRESETS, interlaced=True, delay=2,
               faster=("b-adapt=0", "no-cabac=1", "scenecut=0")),
        # rows of one picture that wait for each other leave a core idle: two pictures side by side instead;
        # at quantisers this fine there is hardly an edge between blocks to be filtered
        Family("hevc", "libx265", "crf", 15.5, "ultrafast", presets=X26X_PRESETS, delay=2,
               faster=("ctu=16", "wpp=0", "psy-rd=0", "temporal-mvp=0", "strong-intra-smoothing=0",
                       "no-deblock=1")),
        Family("av1", "libsvtav1", "crf", 20, "10", presets=DIGITS, aspect=False),
        Family("vp9", "libvpx-vp9", "crf", 18, "8", "cpu-used", DIGITS[:10],
               (("deadline", "realtime"), ("row-mt", "1"), ("tile-columns", "2"), ("b", "0")), aspect=False),
        Family("mpeg1video", "mpeg1video", "qscale", 2),
        Family("mpeg2video", "mpeg2video", "qscale", 2, interlaced=True),
        Family("mpeg4", "mpeg4", "qscale", 2, interlaced=True),
        Family("mjpeg", "mjpeg", "qscale", 2, interlaced=True),
        Family("prores", "prores_ks", None, 0, interlaced=True, aspect=False),
        Family("dnxhd", "dnxhd", None, 0),
        Family("ffv1", "ffv1", None, 0, options=(("level", "3"), ("slicecrc", "1")), interlaced=True,
               aspect=False),
    )
}  # fmt: skip
ALIASES = {"h265": "hevc", "x264": "h264", "x265": "hevc", "mpeg1": "mpeg1video", "mpeg2": "mpeg2video"}
ALIASES |= {family.encoder: codec for codec, family in FAMILIES.items()}
# codecs that are only read, and the family that takes over
RELATIVES = {
    "vp8": "vp9",
    "msmpeg4v3": "mpeg4",
    "msmpeg4v2": "mpeg4",
    "h263": "mpeg4",
    "mpegvideo": "mpeg2video",
}
FALLBACKS = ("hevc", "av1", "ffv1")
# luma samples of a picture and of a second up to which H.265 may use blocks of 16 (Rec. ITU-T H.265, A.4)
SMALL_BLOCKS = (2_228_224, 133_693_440)


@dataclass(frozen=True, slots=True)
class Choice:
    """The encoder that will be used. `reason` says why it is not the source's family; "" if it is."""

    family: Family
    pix_fmt: str
    reason: str = ""


def named(codec: str) -> Family:
    """The family a person named. Raises ConfigError."""
    name = ALIASES.get(codec.lower(), codec.lower())
    if name not in FAMILIES:
        raise ConfigError(f"unknown codec {codec!r}; known are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def checked(family: Family, settings: Encode) -> Family:
    """The family with a person's preset and CRF. Raises ConfigError for a preset it does not have."""
    preset = settings.preset or family.preset
    if settings.preset is not None and settings.preset not in family.presets:
        known = f"its presets are {', '.join(family.presets)}" if family.presets else "it has no presets"
        raise ConfigError(f"preset {settings.preset!r} does not exist for {family.encoder}; {known}")
    quality = family.default if settings.crf is None else settings.crf
    faster = family.faster if settings.preset is None else ()
    return replace(family, preset=preset, default=quality, faster=faster)


def holds(formats: Collection[str], name: str) -> str | None:
    """The encoder's own name for exactly this layout, if it has one: yuvj420p is yuv420p whose range is
    said elsewhere, and bgr0 is bgra without a meaning for the last byte."""
    same = {
        name,
        name.replace("yuvj", "yuv"),
        {"rgb24": "bgr0", "rgb0": "bgr0", "bgr24": "bgr0"}.get(name, name),
    }
    return next((n for n in (name, *sorted(same)) if n in formats), None)


def choose(
    codec: str,
    source: PixelFormat,
    interlaced: bool,
    aspect: bool,
    settings: Encode,
    formats: Callable[[str], Collection[str]],
    muxable: Callable[[str], bool],
) -> Choice:
    """The encoder for a source. `interlaced`, `aspect`: the bit stream must be able to say so itself.
    `formats(encoder)` gives an encoder's pixel formats, `muxable(encoder)` whether the output container
    takes it. Raises UnsupportedMedia where nothing holds the picture exactly."""
    wanted = settings.pix_fmt or source.name
    if settings.codec is not None:
        family = checked(named(settings.codec), settings)
        pix_fmt = holds(formats(family.encoder), wanted)
        if pix_fmt is None or not muxable(family.encoder):
            raise UnsupportedMedia(
                f"{family.encoder} cannot hold {wanted} in this container; choose another codec"
            )
        return Choice(family, pix_fmt, "asked for")
    own = FAMILIES.get(RELATIVES.get(codec, codec))
    for family in _candidates(own):
        pix_fmt = holds(formats(family.encoder), wanted)
        faithful = (family.interlaced or not interlaced or family is own) and (family.aspect or not aspect)
        if pix_fmt and faithful and muxable(family.encoder):
            return Choice(checked(family, settings) if family is own else family, pix_fmt,
                          "" if family.codec == codec else _why(codec, wanted, own, family))  # fmt: skip
    raise UnsupportedMedia(
        f"no encoder holds {codec} {wanted} exactly in this container; write to a .mkv file, "
        "or give -c:v and --pix-fmt"
    )


def _candidates(own: Family | None) -> Iterator[Family]:
    if own is not None:
        yield own
    yield from (FAMILIES[name] for name in FALLBACKS if own is None or name != own.codec)


def _why(codec: str, pix_fmt: str, own: Family | None, taken: Family) -> str:
    if own is None:
        return f"there is no encoder for {codec}"
    if own is taken:
        return f"there is no encoder for {codec}; {own.codec} is its successor"
    return f"{own.encoder} cannot hold {pix_fmt} in this container"


def encoder_options(
    choice: Choice,
    threads: int,
    light: hdr.Light,
    samples: int = 0,
    rate: float = 0,
    frames: int | None = None,
) -> dict[str, str]:
    """The encoder's own options, for pictures of so many luma samples at so many a second; `frames`: in all,
    where that is known. Nothing a person typed is in them unchecked."""
    family = choice.family
    options = dict(family.options)
    if family.quality in ("crf", "qp"):
        options[family.quality] = f"{family.default:g}"
    if family.preset is not None:
        options[family.preset_option] = family.preset
    if family.encoder in ("libx264", "libx265"):
        options["a53cc"] = "1"  # captions that come with the frame
    often = [f"keyint={key_interval(rate, frames)}"] if rate else []
    if family.encoder == "libx264":
        options["x264-params"] = ":".join(["log-level=none", *often, *family.faster, *hdr.x264_params(light)])
    elif family.encoder == "libx265":
        small = samples <= SMALL_BLOCKS[0] and samples * rate <= SMALL_BLOCKS[1]
        faster = family.faster if small else ()
        # a key frame that nothing refers across, as x264's are
        fixed = ["log-level=none", f"pools={threads}", "frame-threads=2", "open-gop=0", *often, *faster]
        options["x265-params"] = ":".join([*fixed, *hdr.x265_params(light)])
    elif family.encoder == "libsvtav1":
        options["svtav1-params"] = ":".join([f"lp={threads}", *hdr.svt_params(light)])
    elif family.encoder == "dnxhd":
        profiles = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx"}
        options["profile"] = profiles.get(choice.pix_fmt, "dnxhr_444")
    elif family.encoder == "prores_ks":
        options["profile"] = "hq" if "422" in choice.pix_fmt else "4444"
    return options


def slices(width: int, height: int, layout: PixelFormat) -> int:
    """Into how many pieces FFV1 cuts a picture: four where that can be. Chroma must not have a column or row
    more than its piece, as it would in the last of two halves of an odd width (RFC 9043, 4.6)."""
    for down in range(2, 9):
        for across in range(down, 2 * down + 1):
            if _cuts(width, across, layout.log2_chroma_w) and _cuts(height, down, layout.log2_chroma_h):
                return down * across
    return 1


def _cuts(length: int, pieces: int, log2_chroma: int) -> bool:
    block = 1 << log2_chroma
    last = length - length * (pieces - 1) // pieces
    return pieces <= length >> log2_chroma and (length % block == 0 or last % block != 0)


def key_interval(rate: float, frames: int | None) -> int:
    """How many frames from one key frame to the next, at most."""
    longest = min(KEY_FRAMES, round(KEY_S * rate))
    half = longest if frames is None else max(-(-frames // 2), round(SOONEST_S * rate))
    return max(1, min(longest, half))
