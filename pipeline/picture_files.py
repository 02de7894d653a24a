"""One picture file <-> one `Frame`: upright, its ICC profile kept, every other piece of metadata dropped.

Sets: JPEG (coded again with its own tables), PNG, WebP and TIFF; 8 bits a channel in grey or RGB, with
or without alpha, and 16-bit grey. Anything else is refused by name: what cannot be carried exactly is
not carried at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from veilcast.errors import DamagedMedia, InputTooLarge, UnsupportedMedia, VerificationFailed
from veilcast.types import Frame, PixelFormat, Plane

CONVERTED = {"1": "L", "P": "RGB", "PA": "RGBA"}  # palettes cannot hold a cover's colours
SEE_THROUGH = {"L": "LA", "RGB": "RGBA", "P": "RGBA"}  # where a PNG names one level or colour as transparent
LAYOUTS = {
    "L": PixelFormat("gray", "grey", 8),
    "LA": PixelFormat("ya8", "grey", 8, alpha=True),
    "I;16": PixelFormat("gray16le", "grey", 16),
    "RGB": PixelFormat("rgb24", "rgb", 8),
    "RGBA": PixelFormat("rgba", "rgb", 8, alpha=True),
}
LOSSY_LEVELS = 48  # a decoded 8 x 8 block may differ by this much in the mean from what was coded
BLOCK = 8
TIFF_LOSSLESS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits")


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright picture as samples (h, w) or (h, w, channels), and how to write it again."""

    samples: np.ndarray
    mode: str
    format: str
    options: Mapping[str, Any]
    lossless: bool

    def frame(self, index: int) -> Frame:
        """A frame whose planes are views of `samples`: covering it covers the picture."""
        samples = self.samples
        planes: tuple[Plane, ...] = (
            (samples,) if samples.ndim == 2 else tuple(samples[..., c] for c in range(samples.shape[2]))
        )
        return Frame(index, index, Fraction(1), planes, LAYOUTS[self.mode])


def read(path: Path, max_pixels: int) -> Picture:
    """Raises UnsupportedMedia, DamagedMedia, InputTooLarge."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit on pixels; ours is checked below
            with Image.open(path, formats=["JPEG", "PNG", "WEBP", "TIFF"]) as opened:
                _check(opened, path, max_pixels)
                return _upright(opened, path)
    except UnidentifiedImageError:
        raise UnsupportedMedia(f"{path.name} is not a JPEG, PNG, WebP or TIFF picture") from None
    except Image.DecompressionBombError:
        raise InputTooLarge(f"{path.name} has more pixels than limits.max_pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError):
        raise DamagedMedia(f"{path.name} is damaged: it does not decode to its end") from None


def _check(opened: Image.Image, path: Path, max_pixels: int) -> None:
    if opened.width * opened.height > max_pixels:
        raise InputTooLarge(f"{path.name} has {opened.width}x{opened.height} pixels, over limits.max_pixels")
    if getattr(opened, "n_frames", 1) > 1:
        raise UnsupportedMedia(f"{path.name} holds several pictures; split it first")
    deep = opened.mode.startswith("RGB") and any("16" in str(tile[3]) for tile in getattr(opened, "tile", ()))
    if deep or CONVERTED.get(opened.mode, opened.mode) not in LAYOUTS:
        raise UnsupportedMedia(
            f"{path.name} is {'16-bit RGB' if deep else opened.mode}; convert it to 8-bit RGB or grey first"
        )
    if "transparency" in opened.info and opened.mode not in SEE_THROUGH:
        raise UnsupportedMedia(f"{path.name} has a transparent level of grey; give it an alpha channel first")


def _upright(opened: Image.Image, path: Path) -> Picture:
    format_name = str(opened.format)
    options, lossless = _coding(opened, path)
    if profile := opened.info.get("icc_profile"):
        options["icc_profile"] = profile
    modes = SEE_THROUGH if "transparency" in opened.info else CONVERTED
    mode = modes.get(opened.mode, opened.mode)
    turned = ImageOps.exif_transpose(opened)
    samples = np.array(turned if turned.mode == mode else turned.convert(mode))
    return Picture(samples, mode, format_name, options, lossless)


def _coding(opened: Image.Image, path: Path) -> tuple[dict[str, Any], bool]:
    """Options for Pillow's `save`, as near to the source's coding as can be, and whether it is exact."""
    match opened.format:
        case "JPEG":
            sampling = JpegImagePlugin.get_sampling(opened)
            tables = opened.quantization  # type: ignore[attr-defined]
            same = {"qtables": tables, "subsampling": sampling if sampling >= 0 else 0}
            return {**same, "progressive": bool(opened.info.get("progressive"))}, False
        case "WEBP":
            exact = _is_lossless_webp(path)
            return ({"lossless": True, "exact": True} if exact else {"quality": 95}), exact
        case "TIFF":
            compression = str(opened.info.get("compression", "raw"))
            known = compression in TIFF_LOSSLESS
            return {"compression": compression if known else "tiff_adobe_deflate"}, True
    return {"compress_level": 3}, True  # PNG: half of the time of the default for a few per cent


def _is_lossless_webp(path: Path) -> bool:
    """Whether the picture data is a VP8L chunk (WebP container specification)."""
    with path.open("rb") as file:
        head = file.read(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8 ", b"VP8L"):
                return head[:4] == b"VP8L"
            size = int.from_bytes(head[4:], "little")
            file.seek(size + size % 2, 1)
    return False


def write(picture: Picture, path: Path) -> None:
    """The picture's samples to `path`, with its profile and nothing else. Raises OSError."""
    # a new image knows nothing of the source's metadata
    Image.fromarray(np.ascontiguousarray(picture.samples)).save(
        path, format=picture.format, **picture.options
    )


def verify(picture: Picture, path: Path) -> None:
    """Reads `path` again. Raises VerificationFailed where it does not show `picture` or says more."""
    try:
        with Image.open(path, formats=[picture.format]) as opened:
            samples = np.asarray(opened)
            says_more = (bool(opened.getexif()) and picture.format != "TIFF") or "xmp" in opened.info
    except (OSError, SyntaxError, ValueError):
        raise VerificationFailed(f"{path.name} does not decode again") from None
    if samples.shape != picture.samples.shape or says_more:
        raise VerificationFailed(f"{path.name} is not the picture that was written")
    difference = cv2.absdiff(samples, picture.samples)
    same = not difference.any() if picture.lossless else _worst_block(difference) <= LOSSY_LEVELS
    if not same:
        raise VerificationFailed(f"{path.name} does not show what was written")


def _worst_block(difference: np.ndarray) -> float:
    """The largest mean of a block, of any channel."""
    height, width = difference.shape[:2]
    # whole blocks alone: four times as fast, and where JPEG has its own
    whole = cv2.copyMakeBorder(difference, 0, -height % BLOCK, 0, -width % BLOCK, cv2.BORDER_REPLICATE)
    cells = whole.shape[1] // BLOCK, whole.shape[0] // BLOCK
    return float(np.max(cv2.resize(whole, cells, interpolation=cv2.INTER_AREA)))
