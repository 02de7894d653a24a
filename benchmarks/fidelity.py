"""What the re-encoding costs outside the covers, and how fast it is, per codec and setting.

Decodes a clip, covers an ellipse that moves over it, encodes, decodes the result and compares it with the
decoded source outside the covers: SSIM (Wang et al. 2004, luma, Gaussian window of sigma 1.5) mean and
worst frame, PSNR, size against the source. Speed is in frames per CPU second over decode, cover and
encode, which a busy machine disturbs less than wall time.

    python -m benchmarks.fidelity CLIP [--codecs h264,hevc] [--crf 15,18] [--presets superfast] [--out FILE]
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter

import cv2
import numpy as np
from benchmarks import outcome
from benchmarks.clips import named

from veilcast.config import Cover, Encode
from veilcast.errors import VeilcastError
from veilcast.pipeline.codecs import FAMILIES
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import Encoder
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.shapes import Ellipse, bounds
from veilcast.types import Frame

SUFFIX = {"prores": ".mov", "dnxhd": ".mov", "mpeg1video": ".mkv", "mpeg2video": ".ts", "vp9": ".webm"}
HEADER = (
    "codec       encoder     preset     quality   SSIM mean / worst  PSNR dB   size  frames/   frames/\n"
    "                                                                              CPU s         s"
)
MARGIN_PX = 24  # around a cover, where the encoder's blocks may mix it with the rest


@dataclass(frozen=True)
class Row:
    codec: str
    encoder: str
    preset: str | None
    quality: str
    ssim_mean: float
    ssim_worst: float
    psnr_db: float
    size_ratio: float
    frames_per_cpu_s: float
    frames_per_s: float


def moving(frame: Frame) -> Ellipse:
    """A face-sized ellipse that crosses the picture in a hundred frames."""
    width, height = frame.displayed_size
    return Ellipse(width * (frame.index % 100) / 100, height * 0.4, height * 0.08, height * 0.11)


def encode(clip: Path, target: Path, settings: Encode, most: int) -> tuple[Encoder, int, float, float]:
    """Returns the encoder, the frames written, CPU seconds, seconds."""
    started, clock = cpu_s(), perf_counter()
    ledger = Ledger()
    with Decoder(clip) as decoder, Encoder(decoder, target, settings) as encoder:
        frames = islice(decoder.frames(), most)
        count = 0
        for frame in frames:
            encoder.write(release(frame, (moving(frame),), Cover(), ledger))
            count += 1
    return encoder, count, cpu_s() - started, perf_counter() - clock


def cpu_s() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def luma(path: Path, most: int) -> Iterator[tuple[Frame, np.ndarray]]:
    with Decoder(path) as decoder:
        for frame in islice(decoder.frames(), most):
            yield frame, frame.planes[0].astype(np.float32) / ((1 << frame.format.depth) - 1)


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Wang et al. 2004, equation 13, with K1 = .01, K2 = .03 and L = 1."""

    def blur(x: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5))

    ma, mb = blur(a), blur(b)
    va, vb, cab = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * ma * mb + c1) * (2 * cab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return np.asarray(likeness)


def compare(clip: Path, target: Path, most: int) -> tuple[float, float, float]:
    """SSIM mean, SSIM of the worst frame, PSNR in dB: all outside the covers."""
    ssims, errors = [], []
    for (frame, before), (_, after) in zip(luma(clip, most), luma(target, most), strict=True):
        outside = np.ones(before.shape, bool)
        width, height = frame.size
        if (rect := bounds(moving(frame), width, height, MARGIN_PX)) is not None:
            outside[rect.slices()] = False
        ssims.append(float(ssim_map(before, after)[outside].mean()))
        errors.append(float(((before - after)[outside] ** 2).mean()))
    error = float(np.mean(errors))
    return float(np.mean(ssims)), min(ssims), float("inf") if error == 0 else -10 * float(np.log10(error))


def measure(clip: Path, settings: Encode, most: int) -> Row:
    family = FAMILIES[settings.codec or ""]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"out{SUFFIX.get(family.codec, '.mkv')}"
        encoder, count, used_s, took_s = encode(clip, target, settings, most)
        mean, worst, psnr = compare(clip, target, most)
        chosen = encoder.choice.family
        return Row(
            codec=family.codec,
            encoder=chosen.encoder,
            preset=chosen.preset,
            quality=f"{chosen.quality} {chosen.default:g}" if chosen.quality else "fixed",
            ssim_mean=round(mean, 5),
            ssim_worst=round(worst, 5),
            psnr_db=round(psnr, 2),
            size_ratio=round(target.stat().st_size / (clip.stat().st_size * share(clip, count)), 3),
            frames_per_cpu_s=round(count / used_s, 1),
            frames_per_s=round(count / took_s, 1),
        )


def line(row: Row) -> str:
    return (
        f"{row.codec:11} {row.encoder:11} {row.preset or '-':10} {row.quality:9} {row.ssim_mean:.5f} / "
        f"{row.ssim_worst:.5f} {row.psnr_db:7.2f} {row.size_ratio:6.2f} {row.frames_per_cpu_s:8.1f} "
        f"{row.frames_per_s:8.1f}"
    )


def share(clip: Path, count: int) -> float:
    with Decoder(clip) as decoder:
        return count / (decoder.info.frames or count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clip", type=named)
    parser.add_argument("--codecs", default=",".join(FAMILIES))
    parser.add_argument("--crf", default="", help="comma separated; empty = the default of each codec")
    parser.add_argument("--presets", default="", help="comma separated; empty = the default of each codec")
    parser.add_argument("--pix-fmt", default=None)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    outcome.add_out(parser, "fidelity")
    args = parser.parse_args()
    rows = []
    print(f"{args.clip.name}, first {args.frames} frames, {platform.processor() or platform.machine()}")
    print(HEADER)
    for codec in args.codecs.split(","):
        for preset in args.presets.split(",") if args.presets else [None]:
            for crf in map(float, args.crf.split(",")) if args.crf else [None]:
                settings = Encode(
                    codec=codec, crf=crf, preset=preset, pix_fmt=args.pix_fmt, threads=args.threads
                )
                try:
                    row = measure(args.clip, settings, args.frames)
                except VeilcastError as error:
                    print(f"{codec:11} {error}")
                    continue
                rows.append(row)
                print(line(row), flush=True)
    outcome.leave([asdict(row) for row in rows], args.out)


if __name__ == "__main__":
    main()
